package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// errUnproven: what the cluster has there cannot be proven to be what was captured.
var errUnproven = errors.New("the cluster has batches there of which nothing tells whether they are those that were captured")

// rereader reads from the cluster what was captured from it before.
type rereader struct {
	from    *live
	fetcher *kafka.Fetcher
}

// proven are batches of the cluster that are those which were captured.
type proven struct {
	from   int64 // the first offset; what was before it, the cluster has deleted
	span   manifest.Span
	digest [sha256.Size]byte // of all batches
}

// each calls fn for the batches of a stretch, as the cluster has them, and returns
// from which offset on it has all of it.
func (r *rereader) each(ctx context.Context, w *stretch, fn func(h *batch.Header, raw []byte) error) (from int64, err error) {
	key := w.track.key
	part := &livePartition{TopicPartition: kafka.TopicPartition{Topic: w.track.name, Partition: key.Partition}, id: kafka.TopicID(key.TopicID), leader: -1}
	from = w.start
	for at := from; at < w.next; {
		fp, err := r.from.fetch(ctx, r.fetcher, part, at)
		if errors.Is(err, kafka.ErrOffsetOutOfRange) && at == from {
			if from, err = r.from.deletedUpTo(ctx, part, at); err != nil || from >= w.next {
				return 0, errors.Join(errTooOld, err)
			}
			at = from
			continue
		}
		if err != nil {
			return 0, err
		}
		next, beyond := at, false
		for rest := fp.Records; len(rest) > 0; {
			h, one, after, err := batch.Next(rest)
			if beyond = err == nil && h.BaseOffset >= w.next; beyond || err != nil { // the last one may be cut short
				break
			}
			if rest = after; h.NextOffset() <= next {
				continue
			}
			next = h.NextOffset()
			if from > h.BaseOffset { // it begins in what is deleted, and is there as a whole
				from = max(h.BaseOffset, w.start)
			}
			if err := fn(&h, one); err != nil {
				return 0, err
			}
		}
		if next == at && !beyond {
			return 0, errOtherBytes
		}
		if at = next; beyond { // nothing is in the offsets up to there
			break
		}
	}
	return from, nil
}

// prove reads a stretch, and proves that it is what was captured: of this
// incarnation of the topic, which the fetch names; of this branch, since the
// last batch was written in the same leader epoch, in which there is one batch for an
// offset only, and one only that it can follow; and all of it, since as many records of the same times
// are there. Of a stretch whose beginning is deleted nobody knows how many there were: then no
// offset may be without a record. The block, if it is known, tells more.
func (r *rereader) prove(ctx context.Context, w *stretch, block *segment.Block) (*proven, error) {
	sum, raw, dense, digest := segment.Summary{}, int64(0), true, sha256.New()
	from, err := r.each(ctx, w, func(h *batch.Header, one []byte) error {
		if w.epoch < 0 {
			return errUnproven // if there is anything: what is deleted is said to be
		}
		dense = dense && h.IsDense() && (raw == 0 || h.BaseOffset == sum.Next)
		if raw == 0 {
			sum.Start = h.BaseOffset
		}
		addHeader(&sum, h)
		raw += int64(len(one))
		digest.Write(one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &proven{from: from, span: manifest.Span{Offsets: w.next - from, Records: sum.Records, MinTimestamp: sum.MinTimestamp, MaxTimestamp: sum.MaxTimestamp}}
	digest.Sum(p.digest[:0])
	switch {
	case from >= w.next:
		return nil, errTooOld
	case w.epoch < 0:
		return nil, errUnproven
	case sum.Next > w.next || sum.LeaderEpoch != w.epoch:
		return nil, errOtherBytes
	case from > w.start:
		if !dense || sum.Start != from || sum.Next != w.next || !w.mayHold(&p.span) {
			return nil, errUnproven
		}
	case !sameSpan(&p.span, &w.span) || block != nil && (raw != block.ServedLength() || sum.Batches != block.Batches):
		return nil, errOtherBytes
	}
	return p, nil
}

func sameSpan(a, b *manifest.Span) bool {
	return a.Offsets == b.Offsets && a.Records == b.Records && (a.Records == 0 || a.MinTimestamp == b.MinTimestamp && a.MaxTimestamp == b.MaxTimestamp)
}

// mayHold says whether some of the stretch may be what a span says.
func (w *stretch) mayHold(part *manifest.Span) bool {
	return part.Records < w.span.Records && (part.Records == 0 || part.MinTimestamp >= w.span.MinTimestamp && part.MaxTimestamp <= w.span.MaxTimestamp)
}

// rereadBlock is the size in bytes at which a block of what was read again is closed.
const rereadBlock = 4 << 20

// blocks reads again what was proven, and hands it out block by block.
func (r *rereader) blocks(ctx context.Context, w *stretch, p *proven, write func(segment.Summary, []byte) error) error {
	rest := *w
	rest.start = p.from
	b := newRebuilt(p.from)
	digest := sha256.New()
	from, err := r.each(ctx, &rest, func(h *batch.Header, one []byte) error {
		if n := len(b.raw); n > 0 && n+len(one) > rereadBlock {
			if err := write(b.summary(b.sum.Next), b.raw); err != nil {
				return err
			}
			b = newRebuilt(b.sum.Next)
		}
		digest.Write(one)
		return b.add(h, one)
	})
	if err != nil {
		return err
	}
	if from != p.from || !isDigest(digest, p.digest) {
		return fmt.Errorf("%s-%d changed in the cluster while it was read", w.track.name, w.track.key.Partition)
	}
	return write(b.summary(w.next), b.raw)
}

func isDigest(h hash.Hash, want [sha256.Size]byte) bool { return [sha256.Size]byte(h.Sum(nil)) == want }

// rebuilt is a block that is made anew.
type rebuilt struct {
	sum  segment.Summary
	raw  []byte
	open map[int64]bool // producers with data since their last marker in the block
}

func newRebuilt(start int64) *rebuilt {
	return &rebuilt{sum: segment.Summary{Start: start, Next: start, Plain: true}, open: make(map[int64]bool)}
}

func (b *rebuilt) add(h *batch.Header, raw []byte) error {
	addHeader(&b.sum, h)
	b.raw = append(b.raw, raw...)
	if !h.IsTransactional() {
		return nil
	}
	e, ok, err := eventOf(h, raw, b.sum.Start)
	if err != nil || !ok || e.Kind == segment.TxnData && b.open[e.ProducerID] {
		return err
	}
	b.sum.Events = append(b.sum.Events, e)
	b.open[e.ProducerID] = e.Kind == segment.TxnData
	return nil
}

// summary is that of the block, which covers the offsets up to next.
func (b *rebuilt) summary(next int64) segment.Summary {
	s := b.sum
	s.Plain = s.Plain && s.Next == next
	s.Next = next
	return s
}
