package manifest

import (
	"fmt"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secSnapshot is a section that readers may skip.
const secSnapshot = 129

// statedWithin is how far behind a snapshot the entry may be that states its
// digest. It bounds what a reader looks at before it trusts one.
const statedWithin = 16

// SnapshotRef names a log snapshot that may be trusted.
type SnapshotRef struct {
	Sequence uint64 // of the last entry in it
	Digest   Digest // SHA-256 of its object
}

func (r *SnapshotRef) append() (b []byte) {
	if r == nil {
		return nil
	}
	b = wire.AppendUvarint(nil, r.Sequence)
	return append(b, r.Digest[:]...)
}

func parseSnapshotRef(r *wire.Reader) *SnapshotRef {
	ref := &SnapshotRef{Sequence: r.Uvarint()}
	copy(ref.Digest[:], r.Bytes(len(ref.Digest)))
	return ref
}

// CanState says whether the entry with the given sequence number may state the
// snapshot. With none there is nothing to state.
func (r *SnapshotRef) CanState(entry uint64) bool {
	return r != nil && 0 < r.Sequence && r.Sequence < entry && entry-r.Sequence <= statedWithin
}

func (e *Entry) checkSnapshot() error {
	if e.Snapshot != nil && !e.Snapshot.CanState(e.Sequence) {
		return fmt.Errorf("the digest of a snapshot after entry %d in entry %d", e.Snapshot.Sequence, e.Sequence)
	}
	return nil
}
