package manifest

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/offsite-kafka/offsite/internal/segment"
)

// Layout says where the data of some streams is that was moved, or given up. It is not safe for concurrent use.
type Layout struct {
	wanted func(stream int) bool // nil: all
	pieces map[int][]*Piece      // by stream, by offset, without overlap
	sums   map[int]*tally        // by stream

	reached uint64  // the last entry that was taken in
	damage  *Damage // why no later one was, if there are any
}

// NewLayout returns that of an empty log.
func NewLayout(wanted func(stream int) bool) *Layout {
	return &Layout{wanted: wanted, pieces: make(map[int][]*Piece), sums: make(map[int]*tally)}
}

func (l *Layout) wants(stream int) bool { return l.wanted == nil || l.wanted(stream) }

// Piece is a range of a stream whose data was moved, and not moved again.
type Piece struct {
	Stream int
	Start  int64
	Span   Span  // Segment means nothing here
	In     *Home // of what is lost, the segment that held it
	Lost   bool  // nobody can read it
}

// Next is the offset behind the piece.
func (p *Piece) Next() int64 { return p.Start + p.Span.Offsets }

// Home is a segment into which data was moved.
type Home struct {
	Entry   uint64
	Name    SegmentName
	Key     string
	Ref     segment.Ref
	Streams int // of which something was moved into it, whether wanted and in force or not

	last int // of these streams
}

// holds notes a stream of which something was moved into it. They ascend.
func (h *Home) holds(stream int) {
	if stream != h.last {
		h.Streams++
		h.last = stream
	}
}

// ReadLayout finds out where the data of the wanted streams was moved, by all of the
// log. Of one that is damaged, the sound part counts. It is for one way through the log
// from its beginning, see Find.
func (r *Repository) ReadLayout(ctx context.Context, wanted func(stream int) bool) (*Layout, error) {
	s, err := r.State(ctx, 0)
	var d *Damage
	if errors.As(err, &d) {
		if sound, ok := d.Sound(); ok && sound > 0 {
			s, err = r.State(ctx, sound)
		}
	}
	if err != nil {
		return nil, err
	}
	l, err := r.LayoutAt(ctx, s, wanted)
	if err == nil {
		l.damage = d
	}
	return l, err
}

// Knows returns nil if the layout has all that the log says up to an entry, or else
// the damage for which it has not. What was moved later may look as if it were lost.
func (l *Layout) Knows(entry uint64) error {
	switch {
	case l.reached >= entry:
		return nil
	case l.damage != nil:
		return l.damage
	}
	return damaged(LogKey(l.reached+1), "it is missing, although the log goes on to entry %d", entry)
}

// Add takes in the next entry of the log.
func (l *Layout) Add(e *Entry) error {
	l.reached = e.Sequence
	pieces := l.stated(e)
	for from, to := 0, 1; from < len(pieces); from, to = to, to+1 {
		for to < len(pieces) && pieces[to].Stream == pieces[from].Stream && pieces[to].Start == pieces[to-1].Next() {
			to++
		}
		if err := l.replace(e.Sequence, pieces[from:to]); err != nil {
			return err
		}
	}
	return nil
}

// stated returns the pieces of an entry, by stream and offset.
func (l *Layout) stated(e *Entry) (pieces []*Piece) {
	if e.Moves != nil {
		homes := make([]*Home, len(e.Segments))
		for i := range homes {
			name := SegmentName{e.Writer, e.Segments[i].Counter}
			homes[i] = &Home{Entry: e.Sequence, Name: name, Key: name.Key(), Ref: e.Segments[i].Ref, last: -1}
		}
		for _, m := range e.Moves.List {
			if homes[m.Span.Segment].holds(m.Stream); l.wants(m.Stream) {
				pieces = append(pieces, &Piece{Stream: m.Stream, Start: m.Start, Span: m.Span, In: homes[m.Span.Segment]})
			}
		}
	}
	if e.Losses == nil {
		return pieces
	}
	for _, x := range e.Losses.List {
		if l.wants(x.Stream) {
			pieces = append(pieces, &Piece{Stream: x.Stream, Start: x.Start, Span: x.Span(), In: &Home{Entry: e.Sequence, Name: x.In, Key: x.In.Key()}, Lost: true})
		}
	}
	slices.SortFunc(pieces, func(a, b *Piece) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Start, b.Start)) })
	return pieces
}

// replace puts pieces beside each other in the place of what was there. Others may
// have to begin and end where they do, but not inside.
func (l *Layout) replace(entry uint64, pieces []*Piece) error {
	stream, start, next := pieces[0].Stream, pieces[0].Start, pieces[len(pieces)-1].Next()
	list := l.pieces[stream]
	from, to := l.from(stream, start), l.from(stream, next)
	if from < len(list) && list[from].Start < start || to < len(list) && list[to].Start < next {
		return damaged(LogKey(entry), "it moves the offsets [%d,%d) of stream %d, of which others were moved together", start, next, stream)
	}
	l.pieces[stream] = slices.Replace(list, from, to, pieces...)
	return nil
}

// from returns the index of the first piece of a stream that ends behind an offset.
func (l *Layout) from(stream int, offset int64) int {
	i, found := slices.BinarySearchFunc(l.pieces[stream], offset, func(p *Piece, at int64) int { return cmp.Compare(p.Next(), at) })
	if found {
		i++
	}
	return i
}

// Live says whether a piece is still in force.
func (l *Layout) Live(p *Piece) bool {
	i := l.from(p.Stream, p.Start)
	return i < len(l.pieces[p.Stream]) && l.pieces[p.Stream][i] == p
}

// At returns the piece that holds an offset of a stream, or nil.
func (l *Layout) At(stream int, offset int64) *Piece {
	if i := l.from(stream, offset); i < len(l.pieces[stream]) && l.pieces[stream][i].Start <= offset {
		return l.pieces[stream][i]
	}
	return nil
}

// Holds says whether something of a range of a stream was moved.
func (l *Layout) Holds(stream int, start, next int64) bool {
	i := l.from(stream, start)
	return i < len(l.pieces[stream]) && l.pieces[stream][i].Start < next
}

// Covers says whether all of a range of a stream was moved.
func (l *Layout) Covers(stream int, start, next int64) bool {
	list := l.pieces[stream]
	for i := l.from(stream, start); start < next; i++ {
		if i == len(list) || list[i].Start > start {
			return false
		}
		start = list[i].Next()
	}
	return true
}

// Pieces calls fn for each piece, those of a stream by offset.
func (l *Layout) Pieces(fn func(*Piece)) {
	for _, list := range l.pieces {
		for _, p := range list {
			fn(p)
		}
	}
}

// Find returns the pieces that hold a data span of the log, or nil if it was not
// moved. It is called for the spans of a stream in the order in which they come,
// and proves that the pieces replace them as they are: whole, and with as many
// records of the same times.
func (l *Layout) Find(stream int, start int64, span Span) ([]*Piece, error) {
	next := start + span.Offsets
	if !l.Holds(stream, start, next) {
		return nil, nil
	}
	from, to := l.from(stream, start), l.from(stream, next)
	list := l.pieces[stream]
	if to < len(list) && list[to].Start < next {
		to++
	}
	list = list[from:to]
	if !l.Covers(stream, start, next) {
		p := list[0]
		return nil, damaged(LogKey(p.In.Entry), "it moves the offsets [%d,%d) of stream %d, and so a part only of [%d,%d)", p.Start, p.Next(), stream, start, next)
	}
	return list, l.compare(stream, start, span, list)
}

// tally compares spans of a stream with the pieces in their place: each time that
// both end at the same offset.
type tally struct {
	spans, pieces     Span
	spansTo, piecesTo int64
}

// compare takes in a span and its pieces.
func (l *Layout) compare(stream int, start int64, span Span, list []*Piece) error {
	t := l.sums[stream]
	if t == nil || t.spansTo != start || t.spansTo == t.piecesTo {
		if list[0].Start != start { // of a log that is not read from its beginning, nobody knows
			delete(l.sums, stream)
			return nil
		}
		t = &tally{spansTo: start, piecesTo: start}
		l.sums[stream] = t
	}
	t.spans.join(span)
	t.spansTo += span.Offsets
	for _, p := range list {
		if p.Start == t.piecesTo {
			t.pieces.join(p.Span)
			t.piecesTo = p.Next()
		}
	}
	if t.spansTo != t.piecesTo {
		return nil
	}
	if s, p := &t.spans, &t.pieces; s.Records != p.Records || !s.sameTimes(p) {
		last := list[len(list)-1]
		return damaged(LogKey(last.In.Entry), "it moves the offsets [%d,%d) of stream %d with %d records from %d to %d, in the place of %d offsets with %d records from %d to %d",
			t.piecesTo-p.Offsets, t.piecesTo, stream, p.Records, p.MinTimestamp, p.MaxTimestamp, s.Offsets, s.Records, s.MinTimestamp, s.MaxTimestamp)
	}
	return nil
}

// join adds what follows a span of data.
func (s *Span) join(o Span) {
	s.Join(segment.Summary{Next: o.Offsets, Records: o.Records, MinTimestamp: o.MinTimestamp, MaxTimestamp: o.MaxTimestamp})
}
