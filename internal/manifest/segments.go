package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// ReadFooter fetches and checks the footer of a segment that the log names.
// What is missing or not as the log says is a *Damage.
func (r *Repository) ReadFooter(ctx context.Context, key string, ref segment.Ref) (*segment.Footer, error) {
	tail, err := readTail(ctx, r.store, key, ref)
	if err != nil {
		return nil, err
	}
	return r.OpenFooter(ctx, key, ref, tail)
}

// readTail reads the bytes that Open needs, and one more that must not be
// there. An object that is missing, too short or too long is damage.
func readTail(ctx context.Context, st store.Store, key string, ref segment.Ref) ([]byte, error) {
	body, err := st.Get(ctx, key, ref.Size-ref.TailLength(), ref.TailLength()+1)
	if errors.Is(err, store.ErrNotExist) {
		return nil, damaged(key, "%w: missing: %w", segment.ErrCorrupt, store.ErrNotExist)
	}
	if errors.Is(err, store.ErrRange) {
		return nil, damaged(key, "%w: its footer: %w", segment.ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	defer body.Close()
	b, err := segment.ReadExactly(body, ref.TailLength())
	if err == io.EOF {
		return nil, damaged(key, "%w: it ends before byte %d", segment.ErrCorrupt, ref.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	switch _, err := io.CopyN(io.Discard, body, 1); {
	case err == nil:
		return nil, damaged(key, "%w: it goes on after byte %d", segment.ErrCorrupt, ref.Size)
	case err != io.EOF:
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	return b, nil
}

// BlockError names the block that could not be read. If the object is missing or
// too short, or err is segment.ErrCorrupt, it is a *Damage.
func BlockError(key string, k *segment.Block, err error) error {
	err = fmt.Errorf("block at byte %d: %w", k.Position, err)
	switch {
	case errors.Is(err, segment.ErrCorrupt):
		return &Damage{Key: key, Err: err}
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrRange), errors.Is(err, io.EOF):
		return &Damage{Key: key, Err: fmt.Errorf("%w: %w", segment.ErrCorrupt, err)}
	}
	return fmt.Errorf("read segment %s: %w", key, err)
}

// Blocks returns the blocks of a stream in a segment that make up a span of data
// which begins at start, and proves that they are what the log says: the same
// offsets, without a gap between, the same number of records, the same timestamps.
func (s *Span) Blocks(of *segment.StreamBlocks, start int64) ([]segment.Block, error) {
	next := start + s.Offsets
	from := slices.IndexFunc(of.Blocks, func(k segment.Block) bool { return k.Start == start })
	at, sum := start, Span{}
	to := from
	for ; from >= 0 && to < len(of.Blocks) && of.Blocks[to].Start == at && at < next; to++ {
		at = of.Blocks[to].Next
		sum.Join(of.Blocks[to].Summary)
	}
	if at != next || sum.Records != s.Records {
		return nil, fmt.Errorf("%w: the blocks of %s-%d do not make up the offsets [%d,%d) with %d records that the log states",
			segment.ErrCorrupt, of.Topic, of.Partition, start, next, s.Records)
	}
	if !sum.sameTimes(s) {
		return nil, fmt.Errorf("%w: the blocks of %s-%d from offset %d have timestamps from %d to %d, the log says %d to %d",
			segment.ErrCorrupt, of.Topic, of.Partition, start, sum.MinTimestamp, sum.MaxTimestamp, s.MinTimestamp, s.MaxTimestamp)
	}
	return of.Blocks[from:to], nil
}

func (s *Span) sameTimes(o *Span) bool {
	return s.Records == 0 || s.MinTimestamp == o.MinTimestamp && s.MaxTimestamp == o.MaxTimestamp
}
