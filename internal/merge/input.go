package merge

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// skipBytes is how much is read and thrown away rather than asking anew.
const skipBytes = 1 << 20

// input is a segment that is read block by block, in an order that is known
// before.
type input struct {
	store  store.Store
	name   manifest.SegmentName
	key    string
	ref    segment.Ref
	atOnce bool // read it into memory: its blocks are wanted in another order than they lie

	plan  []*segment.Block // what is wanted, in this order
	read  int              // of plan
	steps int              // that are not written yet

	held map[int64][]byte // by position: blocks in memory, with atOnce
	body io.ReadCloser
	at   int64 // where body is
}

func newInput(st store.Store, name manifest.SegmentName, ref segment.Ref) *input {
	return &input{store: st, name: name, key: name.Key(), ref: ref}
}

// next returns the stored bytes of the next block of the plan. They are checked.
func (in *input) next(ctx context.Context) ([]byte, error) {
	k := in.plan[in.read]
	b, err := in.bytes(ctx, k)
	if err == nil {
		err = k.Check(b)
	}
	if err != nil {
		return nil, manifest.BlockError(in.key, k, err)
	}
	if in.read++; in.read == len(in.plan) {
		in.close()
	}
	return b, nil
}

func (in *input) bytes(ctx context.Context, k *segment.Block) ([]byte, error) {
	if in.atOnce && in.held == nil {
		if err := in.load(ctx); err != nil {
			return nil, err
		}
	}
	if b, ok := in.held[k.Position]; ok {
		delete(in.held, k.Position) // it is wanted once
		return b, nil
	}
	if in.body != nil && (k.Position < in.at || k.Position-in.at > skipBytes) {
		in.close()
	}
	if in.body == nil {
		body, err := in.store.Get(ctx, in.key, k.Position, in.runEnd()-k.Position)
		if err != nil {
			return nil, err
		}
		in.body, in.at = body, k.Position
	}
	if _, err := io.CopyN(io.Discard, in.body, k.Position-in.at); err != nil {
		return nil, err
	}
	b, err := segment.ReadExactly(in.body, k.StoredLength)
	in.at = k.Position + k.StoredLength
	return b, err
}

// runEnd is where the blocks end that come next and lie behind each other.
func (in *input) runEnd() int64 {
	end := in.plan[in.read].Position + in.plan[in.read].StoredLength
	for _, k := range in.plan[in.read+1:] {
		if k.Position < end || k.Position-end > skipBytes {
			break
		}
		end = k.Position + k.StoredLength
	}
	return end
}

// load reads all blocks at once.
func (in *input) load(ctx context.Context) error {
	size := in.ref.Size - in.ref.TailLength()
	body, err := in.store.Get(ctx, in.key, 0, size)
	if err != nil {
		return err
	}
	defer body.Close()
	header, err := segment.ReadExactly(body, segment.HeaderSize)
	if err == nil {
		err = segment.CheckHeader(header)
	}
	in.held = make(map[int64][]byte, len(in.plan))
	at := segment.HeaderSize
	for _, k := range slices.SortedFunc(slices.Values(in.plan), func(a, b *segment.Block) int { return cmp.Compare(a.Position, b.Position) }) {
		if err == nil {
			_, err = io.CopyN(io.Discard, body, k.Position-at)
		}
		if err != nil {
			break
		}
		in.held[k.Position], err = segment.ReadExactly(body, k.StoredLength)
		at = k.Position + k.StoredLength
	}
	return err
}

func (in *input) close() {
	in.held = nil
	if in.body != nil {
		in.body.Close()
		in.body = nil
	}
}
