package manifest

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// Bounds of stretches, see docs/format.md.
const (
	stretchEntries = 1000  // of one
	stretchesOpen  = 16    // that still take something
	manyStretches  = 65536 // from here on none begins that another one could be in the place of
)

// groupLog is the topic of what groups commit: no point needs its data for as long as
// that of others.
const groupLog = "__consumer_offsets"

// Stretch are segments that were named soon after each other, and some data that they
// hold: as long as somebody needs that, one need not ask for the rest.
type Stretch struct {
	First, Last uint64 // the entries that name them, and others between
	Stream      int    // each of the segments holds something of it; -1 for those into which data was moved
	Start, Next int64  // of its offsets
	Segments    SegmentSet
}

// Stretches returns those of all segments that are not deleted, in the order in which
// they began. They are not known if the state began at a snapshot without them.
func (s *State) Stretches() (list []Stretch, known bool) {
	return s.stretches.list, !s.stretches.unknown
}

// stretches are those of a state.
type stretches struct {
	list    []Stretch
	unknown bool
}

// withStretches reads the log anew for a state that began at a snapshot of before they had
// stretches, so that the next one has them. What is damaged before it is left to others.
func (r *Repository) withStretches(ctx context.Context, s *State) *State {
	if !s.stretches.unknown {
		return s
	}
	r.Debug.Debug("the newest snapshot of the log has no stretches, so that all of the log is read")
	whole, err := r.Read(ctx, s.Sequence, nil)
	if err != nil {
		r.Debug.Debug("the log cannot be read from its beginning", "error", err)
		return s
	}
	return whole
}

// content is what a segment holds of one stream.
type content struct {
	stream         int
	start, next    int64
	offsets, lives int64 // lives: as long as the source keeps it
}

// contents returns what each segment of an entry holds, by stream. The entry is applied.
func (s *State) contents(e *Entry) [][]content {
	list := make([][]content, len(e.Segments))
	for i := range list {
		list[i] = make([]content, 0, len(e.Ranges)/len(list))
	}
	topic, lives := -1, int64(0)
	for i := range e.Ranges {
		r := &e.Ranges[i]
		if n := s.Streams[r.Stream].Topic; n != topic {
			topic, lives = n, s.Topics[n].lives()
		}
		at := s.Start(r)
		for _, sp := range r.Spans {
			if !sp.Gap && sp.Segment < len(list) {
				held := &list[sp.Segment]
				if n := len(*held) - 1; n >= 0 && (*held)[n].stream == r.Stream {
					(*held)[n].next = at + sp.Offsets
					(*held)[n].offsets += sp.Offsets
				} else {
					*held = append(*held, content{r.Stream, at, at + sp.Offsets, sp.Offsets, lives})
				}
			}
			at += sp.Offsets
		}
	}
	return list
}

// lives returns for how many milliseconds the source keeps records of the topic, as far
// as its configs say.
func (t *Topic) lives() int64 {
	if t.Name == groupLog {
		return -1
	}
	const days = 7 * 24 * 60 * 60 * 1000 // what Kafka does by default
	lives := int64(days)
	for _, c := range t.Configs {
		switch {
		case c.Value == nil:
		case c.Name == "cleanup.policy" && strings.Contains(*c.Value, "compact"):
			return math.MaxInt64
		case c.Name == "retention.ms":
			if ms, err := strconv.ParseInt(*c.Value, 10, 64); err == nil {
				lives = ms
			}
		}
	}
	if lives < 0 {
		return math.MaxInt64
	}
	return lives
}

// applyStretches takes in the segments of an entry that is applied otherwise.
func (s *State) applyStretches(e *Entry) {
	if s.stretches.unknown {
		return
	}
	if e.Deleted != nil {
		s.stretches.forget(e.Deleted.Segments)
	}
	for i, held := range s.contents(e) {
		t := s.stretchFor(e, held)
		if len(held) == 0 {
			t.Stream = -1
		} else if n := slices.IndexFunc(held, func(c content) bool { return c.stream == t.Stream }); n >= 0 {
			t.Start, t.Next = min(t.Start, held[n].start), max(t.Next, held[n].next)
		}
		t.Last = e.Sequence
		t.Segments.Add(e.Writer, e.Segments[i].Counter)
	}
}

// stretchFor returns the stretch into which a segment is put that holds something.
func (s *State) stretchFor(e *Entry, held []content) *Stretch {
	best := content{stream: -1, lives: math.MinInt64}
	for _, c := range held {
		if c.lives > best.lives || c.lives == best.lives && c.offsets > best.offsets {
			best = c
		}
	}
	list := s.stretches.list
	for i := len(list) - 1; i >= max(0, len(list)-stretchesOpen); i-- {
		if t := &list[i]; e.Sequence-t.First < stretchEntries && s.takes(t, held, &best) {
			return t
		}
	}
	s.stretches.list = append(list, Stretch{First: e.Sequence, Stream: best.stream, Start: best.start, Next: best.next, Segments: make(SegmentSet)})
	return &s.stretches.list[len(list)]
}

// takes says whether a segment may be put into a stretch by what it holds.
func (s *State) takes(t *Stretch, held []content, best *content) bool {
	if t.Stream < 0 || len(held) == 0 {
		return t.Stream < 0 && len(held) == 0
	}
	if len(s.stretches.list) >= manyStretches {
		return true
	}
	return slices.ContainsFunc(held, func(c content) bool { return c.stream == t.Stream }) &&
		best.lives <= s.Topics[s.Streams[t.Stream].Topic].lives()
}

// forget forgets segments that are deleted.
func (l *stretches) forget(deleted SegmentSet) {
	for i := range l.list {
		if set := l.list[i].Segments; set.Meets(deleted) {
			set.RemoveAll(set.Common(deleted))
		}
	}
	l.list = slices.DeleteFunc(l.list, func(t Stretch) bool { return len(t.Segments) == 0 })
}

// Lowered says that a stream's log start, which only rises elsewhere, has not. That of a
// branch may be so from its begin.
type Lowered struct {
	Stream int
	Entry  uint64 // the last one that lowered it
}

// noteLowered is called before the log starts of an entry are applied.
func (s *State) noteLowered(e *Entry) {
	for _, l := range e.LogStarts {
		begins := l.Stream >= len(s.Streams)-len(e.Streams) && s.Streams[l.Stream].Parent < 0
		if begins || l.Offset >= s.Streams[l.Stream].LogStart {
			continue
		}
		i, found := slices.BinarySearchFunc(s.Lowered, l.Stream, func(o Lowered, stream int) int { return o.Stream - stream })
		if !found {
			s.Lowered = slices.Insert(s.Lowered, i, Lowered{Stream: l.Stream})
		}
		s.Lowered[i].Entry = e.Sequence
	}
}

func (s *State) appendStretches() []byte {
	if s.stretches.unknown {
		return nil
	}
	b := wire.AppendUvarint(nil, uint64(len(s.Lowered)))
	for _, l := range s.Lowered {
		b = wire.AppendUvarint(b, uint64(l.Stream))
		b = wire.AppendUvarint(b, l.Entry)
	}
	b = wire.AppendUvarint(b, uint64(len(s.stretches.list)))
	before := uint64(0)
	for i := range s.stretches.list {
		t := &s.stretches.list[i]
		b = wire.AppendUvarint(b, t.First-before)
		b = wire.AppendUvarint(b, t.Last-t.First)
		b = wire.AppendUvarint(b, uint64(t.Stream+1))
		if t.Stream >= 0 {
			b = wire.AppendUvarint(b, uint64(t.Start))
			b = wire.AppendUvarint(b, uint64(t.Next-t.Start))
		}
		b = t.Segments.append(b)
		before = t.First
	}
	return b
}

func (s *State) parseStretches(r *wire.Reader) {
	for range r.Count("log starts", 2) {
		l := Lowered{int(r.Max("stream", maxNumber)), r.Max("entry", s.Sequence)}
		if n := len(s.Lowered); l.Stream >= len(s.Streams) || n > 0 && l.Stream <= s.Lowered[n-1].Stream {
			r.Failf("log starts of streams out of order")
			return
		}
		s.Lowered = append(s.Lowered, l)
	}
	s.stretches.list = make([]Stretch, r.Count("stretches", 22))
	before := uint64(0)
	for i := range s.stretches.list {
		t := &s.stretches.list[i]
		t.First = before + r.Max("entry", s.Sequence-before)
		before = t.First
		t.Last = t.First + r.Max("entry", s.Sequence-t.First)
		t.Stream = int(r.Max("stream", uint64(len(s.Streams)))) - 1
		if t.Stream >= 0 {
			t.Start = int64(r.Max("offset", maxOffset))
			t.Next = t.Start + int64(r.Max("offsets", uint64(maxOffset-t.Start)))
		}
		if t.Segments = parseSet(r); r.Err() != nil {
			return
		}
	}
}
