package source

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Scope says what a verification looks at.
type Scope struct {
	Level manifest.Level // of LevelReplay all but the restore, which is a Rehearsal's
	// Share of the segments to read, in millionths, chosen by Seed, and one at least if there are
	// any; 0 and manifest.WholeShare are all of them. That the others exist is checked, too.
	Share int64
	Seed  uint64
	// SinceLast leaves out what was verified before at this level or a deeper one, as
	// the log has it, whole and without a damage. The log is read from a snapshot on that
	// such a verification has looked at, if that is enough to know; see docs/cli.md.
	SinceLast bool
	// Workers is how many segments are read at the same time; 0 is as many as there
	// is something to gain.
	Workers int
	// Keeping, which may be nil, says which points are kept for which topics. Without it all of a
	// point is to be there; see restored verify in docs/cli.md.
	Keeping func(points []manifest.PointRef) Keeping
	// LogNeeds, which may be nil, returns what is kept of the log of groups as of a newest point.
	// Without it only what came after the newest point is to be there.
	LogNeeds func(newest manifest.PointRef) LogNeeds
}

// chooses says whether an object, or a topic, is in the share that is looked at.
// The same seed always chooses the same.
func (s *Scope) chooses(name string) bool {
	return s.Share == 0 || s.Share == manifest.WholeShare || s.lot(name) < s.Share
}

// lot is a number from 0 to WholeShare - 1 that only seed and name decide on.
func (s *Scope) lot(name string) int64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, s.Seed), name...))
	lot, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), manifest.WholeShare)
	return int64(lot)
}

// Outcome is what the log keeps of a report, or nil if no entry was in its scope.
func (r *Report) Outcome() *manifest.Verification {
	last := min(r.head, r.Entries)
	if r.First > last || last == 0 {
		return nil
	}
	v := &manifest.Verification{
		Level: r.Level, First: r.First, Last: last, Share: r.Share, Seed: r.Seed,
		Segments: r.Segments, Bytes: r.Read, Damages: int64(len(r.Damages) + r.Differing()),
	}
	if len(r.Damages) > 0 {
		v.Text = r.Damages[0].Key + ": " + r.Damages[0].Reason
	} else if v.Damages > 0 {
		v.Text = fmt.Sprintf("a restore to point %d does not bring back what the point has", r.Rehearsed.Point.Sequence)
	}
	return v
}
