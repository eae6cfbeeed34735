package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// Any writer may have the log say that data is in another segment from now on. What was
// captured stays until it is deleted, and as long as it is there, what is read in its
// place is held against it.

// mostParts bounds how many ranges of originals are kept in memory: what is more than
// that, takes another way through the log.
const mostParts = 200_000

// moved is a segment into which data was moved.
type moved struct {
	*manifest.Home
	blocks  byStream             // nil as long as the footer has not been read
	unread  bool                 // the footer cannot be read, which is damage by itself
	parts   int                  // of originals
	covered taken                // by originals that it is held against
	held    map[int][]*heldRange // by stream: what is to be read in it
	differs []LostRange
	from    *origin // of the first of these
	at      int64   // and where it is
}

// origin is a segment from which data was moved, and whose object is there.
type origin struct {
	name  manifest.SegmentName
	ref   segment.Ref
	entry uint64
	parts []originPart
}

// originPart is a range of a stream that was moved elsewhere.
type originPart struct {
	to     *moved
	stream int
	lo, hi int64
}

// heldRange is what an original has in a range of offsets.
type heldRange struct {
	of     *origin
	lo, hi int64
	opened bool // what is stored re-encoded has no other bytes to compare
	want   [sha256.Size]byte
	got    hash.Hash
	block  segment.Block // of the original
}

// holdMoves compares what was moved with its originals. The first of these were found when
// the segments were read.
func (v *verifier) holdMoves(ctx context.Context) error {
	for f := v.origins; len(f.pending) > 0; {
		h, err := newHolder(v)
		if err != nil {
			return err
		}
		for _, o := range f.list {
			if err := h.take(ctx, o, f.now); err != nil {
				return err
			}
		}
		for _, m := range f.pending[:f.last] {
			if err := h.compare(ctx, m); err != nil {
				return err
			}
		}
		f = v.newFinder(f.pending[f.last:])
		if len(f.pending) == 0 {
			return nil
		}
		if _, err := v.read(ctx, v.head.Sequence, func(state *manifest.State, e *manifest.Entry) error { f.entry(state, e); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// movedHomes are the segments in scope that something was moved into, in the order of the log.
func (v *verifier) movedHomes() (list []*moved) {
	if v.scope.Level < manifest.LevelDigest {
		return nil
	}
	seen := make(map[*manifest.Home]bool)
	v.layout.Pieces(func(p *manifest.Piece) {
		h := p.In
		if p.Lost || seen[h] || h.Entry < v.report.First || h.Entry > v.head.Sequence || !v.head.Readable(h.Name.Writer, h.Name.Counter) {
			return
		}
		if seen[h] = true; v.scope.chooses(h.Key) {
			list = append(list, &moved{Home: h, covered: make(taken), held: make(map[int][]*heldRange)})
		}
	})
	slices.SortFunc(list, func(a, b *moved) int { return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Key, b.Key)) })
	return list
}

// finder finds the originals of as many of some segments as memory allows, one at least.
type finder struct {
	*verifier
	pending []*moved
	last    int // as many of them have their turn
	byHome  map[*manifest.Home]*moved
	now     map[*moved]bool // those
	parts   int
	list    []*origin
}

func (v *verifier) newFinder(pending []*moved) *finder {
	f := &finder{verifier: v, pending: pending, last: len(pending), byHome: make(map[*manifest.Home]*moved), now: make(map[*moved]bool)}
	for _, m := range pending {
		f.byHome[m.Home], f.now[m], m.parts = m, true, 0
	}
	return f
}

// entry is told each entry of the log, up to the head.
func (f *finder) entry(state *manifest.State, e *manifest.Entry) {
	if len(f.pending) == 0 || e.Sequence > f.head.Sequence {
		return
	}
	origins := make([]*origin, len(e.Segments))
	there := func(i int) bool { return f.listed.Has(e.Writer, e.Segments[i].Counter) }
	eachSpan(state, e, func(stream int, from int64, sp manifest.Span) {
		if there(sp.Segment) {
			f.add(&origins[sp.Segment], e, sp.Segment, stream, from, from+sp.Offsets)
		}
	})
	if e.Moves == nil {
		return
	}
	for _, m := range e.Moves.List {
		if there(m.Span.Segment) {
			f.add(&origins[m.Span.Segment], e, m.Span.Segment, m.Stream, m.Start, m.Next())
		}
	}
}

// add takes in a range of a segment that an entry names.
func (f *finder) add(o **origin, e *manifest.Entry, segment, stream int, start, next int64) {
	for _, p := range f.piecesIn(stream, start, next) {
		m := f.byHome[p.In]
		if m == nil || !f.now[m] || p.Lost || p.In.Entry <= e.Sequence {
			continue
		}
		if *o == nil {
			g := &e.Segments[segment]
			*o = &origin{name: manifest.SegmentName{Writer: e.Writer, Counter: g.Counter}, ref: g.Ref, entry: e.Sequence}
			f.list = append(f.list, *o)
		}
		(*o).parts = append((*o).parts, originPart{m, stream, max(start, p.Start), min(next, p.Next())})
		m.parts++
		for f.parts++; f.parts > mostParts && f.last > 1; {
			f.last--
			f.parts -= f.pending[f.last].parts
			delete(f.now, f.pending[f.last])
		}
	}
}

// piecesIn returns the pieces that hold some of a range of a stream.
func (v *verifier) piecesIn(stream int, start, next int64) (list []*manifest.Piece) {
	for start < next {
		p := v.layout.At(stream, start)
		if p == nil {
			return list
		}
		list = append(list, p)
		start = p.Next()
	}
	return list
}

// holder compares blocks.
type holder struct {
	*verifier
	dec    *segment.Decoder
	opener batch.Opener
	form   []byte

	last []byte // what raw has returned last
	err  error
}

func newHolder(v *verifier) (*holder, error) {
	dec, err := segment.NewDecoder()
	return &holder{verifier: v, dec: dec}, err
}

// unread says whether an error only means that something cannot be compared.
func unread(err error) bool {
	return errors.Is(err, manifest.ErrDamaged) || isCorrupt(err) || errors.Is(err, manifest.ErrLocked)
}

// byStream are the blocks of a segment, those of a partition in offset order.
type byStream map[manifest.StreamKey][]segment.Block

func (h *holder) blocks(ctx context.Context, key string, ref segment.Ref) (byStream, error) {
	f, err := h.ReadFooter(ctx, key, ref)
	if err != nil {
		return nil, err
	}
	m := make(byStream, len(f.Streams))
	for i := range f.Streams {
		m[manifest.StreamKey{TopicID: f.Streams[i].TopicID, Partition: f.Streams[i].Partition}] = f.Streams[i].Blocks
	}
	return m, nil
}

// within returns the blocks that hold some of a range.
func (b byStream) within(key manifest.StreamKey, lo, hi int64) []segment.Block {
	all := b[key]
	i, _ := slices.BinarySearchFunc(all, lo, func(k segment.Block, at int64) int { return cmp.Or(cmp.Compare(k.Next, at), -1) })
	j := i
	for j < len(all) && all[j].Start < hi {
		j++
	}
	return all[i:j]
}

// take reads what an original holds. Blocks that were copied as they are, need no reading.
func (h *holder) take(ctx context.Context, o *origin, now map[*moved]bool) error {
	parts := slices.DeleteFunc(o.parts, func(p originPart) bool { return !now[p.to] })
	if len(parts) == 0 {
		return nil
	}
	blocks, err := h.blocks(ctx, o.name.Key(), o.ref)
	if err != nil {
		if !unread(err) {
			return err
		}
		h.report.Uncompared += int64(len(parts))
		return nil
	}
	type wanted struct {
		*heldRange
		part originPart
	}
	var list []wanted
	for _, p := range parts {
		if p.to.blocks == nil {
			if p.to.blocks, err = h.blocks(ctx, p.to.Key, p.to.Ref); err != nil && !unread(err) {
				return err
			} else if err != nil {
				p.to.blocks, p.to.unread = make(byStream), true
			}
		}
		if p.to.unread {
			h.report.Uncompared++
			continue
		}
		key := h.head.Key(p.stream)
		for _, k := range blocks.within(key, p.lo, p.hi) {
			c := &heldRange{of: o, lo: max(k.Start, p.lo), hi: min(k.Next, p.hi), block: k}
			if p.to.isCovered(p.stream, c.lo, c.hi) {
				continue
			}
			there := p.to.blocks.within(key, c.lo, c.hi)
			if len(there) == 1 && sameBlock(&there[0], &k) {
				h.report.Compared++
				p.to.cover(p.stream, c.lo, c.hi)
				continue
			}
			c.opened = k.Codec == segment.Reencoded || slices.ContainsFunc(there, func(b segment.Block) bool { return b.Codec == segment.Reencoded })
			list = append(list, wanted{c, p})
		}
	}
	slices.SortFunc(list, func(a, b wanted) int { return cmp.Compare(a.block.Position, b.block.Position) })
	for i, w := range list {
		raw, err := h.raw(ctx, o.name.Key(), &w.block, i > 0 && list[i-1].block.Position == w.block.Position)
		if err == nil {
			sum := sha256.New()
			err = h.digest(sum, &w.block, raw, w.heldRange)
			sum.Sum(w.want[:0])
		}
		if err != nil {
			if !unread(err) {
				return err
			}
			h.report.Uncompared++
			continue
		}
		w.got = sha256.New()
		w.part.to.held[w.part.stream] = append(w.part.to.held[w.part.stream], w.heldRange)
		w.part.to.cover(w.part.stream, w.lo, w.hi)
	}
	return nil
}

// sameBlock says whether a block is a copy of another one.
func sameBlock(a, b *segment.Block) bool {
	return a.Digest == b.Digest && a.Codec == b.Codec && a.StoredLength == b.StoredLength && a.RawLength == b.RawLength && a.Served == b.Served &&
		(a.Key == nil) == (b.Key == nil) && reflect.DeepEqual(a.Summary, b.Summary)
}

func (m *moved) isCovered(stream int, lo, hi int64) bool {
	in := m.covered.within(stream, lo, hi)
	return len(in) == 1 && in[0] == [2]int64{lo, hi}
}

func (m *moved) cover(stream int, lo, hi int64) {
	one := taken{stream: append(m.covered[stream], [2]int64{lo, hi})}
	one.sort()
	m.covered[stream] = one[stream]
}

// raw reads a block and returns its batches, or those that it has returned last.
func (h *holder) raw(ctx context.Context, key string, k *segment.Block, again bool) ([]byte, error) {
	if !again {
		h.last, h.err = h.read(ctx, key, k)
	}
	return h.last, h.err
}

func (h *holder) read(ctx context.Context, key string, k *segment.Block) ([]byte, error) {
	body, err := h.Store().Get(ctx, key, k.Position, k.StoredLength)
	if err != nil {
		return nil, manifest.BlockError(key, k, err)
	}
	defer body.Close()
	stored, err := segment.ReadExactly(body, k.StoredLength)
	if err != nil {
		return nil, manifest.BlockError(key, k, err)
	}
	return h.dec.Decode(k, stored, nil)
}

// digest adds the batches of a block that lie in the range of a claim. Batches that
// are stored re-encoded on one side are on both.
func (h *holder) digest(sum hash.Hash, k *segment.Block, raw []byte, c *heldRange) error {
	for len(raw) > 0 {
		b, one, rest, _, err := nextIn(k, raw)
		if err != nil {
			return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
		}
		form := raw[:len(raw)-len(rest)]
		raw = rest
		if b.NextOffset() <= c.lo || b.BaseOffset >= c.hi {
			continue
		}
		switch {
		case !c.opened:
			form = one
		case k.Codec != segment.Reencoded || form[0] == byte(batch.None):
			h.form = h.opener.Append(h.form[:0], one, batch.MaxOpened)
			form = h.form
		}
		sum.Write(form)
	}
	return nil
}

// compare reads what is in the place of originals, and notes where that is something else.
func (h *holder) compare(ctx context.Context, m *moved) error {
	for stream, claims := range m.held {
		slices.SortFunc(claims, func(a, b *heldRange) int { return cmp.Compare(a.lo, b.lo) })
		blocks := m.blocks[h.head.Key(stream)]
		for i := range blocks {
			k := &blocks[i]
			first, _ := slices.BinarySearchFunc(claims, k.Start, func(c *heldRange, at int64) int { return cmp.Or(cmp.Compare(c.hi, at), -1) })
			if first == len(claims) || claims[first].lo >= k.Next {
				continue
			}
			raw, err := h.raw(ctx, m.Key, k, false)
			if err != nil && !unread(err) {
				return err
			}
			for _, c := range claims[first:] {
				if c.lo >= k.Next {
					break
				}
				if err == nil && c.got != nil {
					err = h.digest(c.got, k, raw, c)
				}
				if err != nil { // damage, if there is any, is noted as that
					c.got = nil
				}
			}
		}
		for _, c := range claims {
			h.judge(m, stream, c)
		}
	}
	m.note(h.report)
	return nil
}

// judge says whether a range has what its original had.
func (h *holder) judge(m *moved, stream int, c *heldRange) {
	switch {
	case c.got == nil:
		h.report.Uncompared++
		return
	case isDigest(c.got, c.want):
		h.report.Compared++
		return
	}
	h.report.Compared++
	topic := h.head.Topics[h.head.Streams[stream].Topic].Name
	m.differs = append(m.differs, LostRange{topic, h.head.Key(stream), c.lo, c.hi, []int{stream}})
	if m.from != nil {
		return
	}
	m.from = c.of
	if there := m.blocks.within(h.head.Key(stream), c.lo, c.hi); len(there) > 0 {
		m.at = there[0].Position
	}
}

// note reports what differs.
func (m *moved) note(r *Report) {
	if len(m.differs) == 0 {
		return
	}
	slices.SortFunc(m.differs, func(a, b LostRange) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Key.Partition, b.Key.Partition), cmp.Compare(a.From, b.From))
	})
	r.Damages = append(r.Damages, DamageNote{
		Key: m.Key, Position: m.at, Lost: m.differs, entry: m.Entry, contradicts: true,
		Reason: fmt.Sprintf("log entry %d has moved data here that is not what was captured: %s is something else in %s (log entry %d), which is still there: --log-until %d reads it",
			m.Entry, m.differs[0], m.from.name.Key(), m.from.entry, m.Entry-1),
	})
}
