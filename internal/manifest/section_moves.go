package manifest

import (
	"fmt"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secMoves is the section of an entry that says where data is read from that
// entries before it have added.
const secMoves = 13

// Moves are ranges whose data is in segments of this entry from now on. Segments
// of which nothing is left are removed by the same entry.
type Moves struct {
	// After is the State.Moved that their author knew: who moves data must know
	// of all moves before.
	After uint64
	List  []Move // by stream and offset
}

// Move says that the data of a stream in [Start, Start + Span.Offsets) is in the
// segment Span.Segment of the entry.
type Move struct {
	Stream int
	Start  int64
	Span   Span
}

// Next is the offset behind the range.
func (m *Move) Next() int64 { return m.Start + m.Span.Offsets }

// SegmentName names a segment of the repository.
type SegmentName struct {
	Writer  ID
	Counter uint64
}

// Key is the key of the segment's object.
func (n SegmentName) Key() string { return SegmentKey(n.Writer, n.Counter) }

func (e *Entry) appendMoves() (b []byte) {
	if e.Moves == nil {
		return nil
	}
	b = wire.AppendUvarint(b, e.Moves.After)
	b = wire.AppendUvarint(b, uint64(len(e.Moves.List)))
	stream, next := 0, int64(0)
	for i := range e.Moves.List {
		m := &e.Moves.List[i]
		if m.Stream != stream {
			next = 0
		}
		b = wire.AppendUvarint(b, uint64(m.Stream-stream))
		b = wire.AppendUvarint(b, uint64(m.Start-next))
		b = e.appendSpan(b, m.Span, false)
		stream, next = m.Stream, m.Next()
	}
	return b
}

func (e *Entry) parseMoves(r *wire.Reader) {
	m := &Moves{After: r.Uvarint()}
	e.Moves = m
	m.List = make([]Move, count(r, "moves", 5))
	stream, next := 0, int64(0)
	for i := range m.List {
		v := &m.List[i]
		if v.Stream = stream + int(r.Max("stream", maxNumber)); v.Stream != stream {
			next = 0
		}
		v.Start = next + int64(r.Max("offset", uint64(maxOffset-next)))
		if e.parseSpan(r, &v.Span, false); v.Span.Gap || v.Span.Offsets > maxOffset-v.Start {
			r.Failf("a move of what is no data")
			return
		}
		stream, next = v.Stream, v.Next()
	}
}

// checkMoves says whether the entry's author knew where data is, and moves only
// what is there. That a range replaces whole spans with as many records, readers
// find out, who have the spans.
func (s *State) checkMoves(e *Entry) error {
	if e.Moves == nil {
		return nil
	}
	if e.Moves.After != s.Moved {
		return fmt.Errorf("it moves data by what was known after entry %d, and entry %d has moved some since then", e.Moves.After, s.Moved)
	}
	for i := range e.Moves.List {
		m := &e.Moves.List[i]
		if m.Stream >= len(s.Streams) {
			return fmt.Errorf("move of stream %d of %d", m.Stream, len(s.Streams))
		}
		if st := &s.Streams[m.Stream]; m.Start < st.First || m.Next() > st.Next {
			return fmt.Errorf("move of the offsets [%d,%d) of stream %d, which has [%d,%d)", m.Start, m.Next(), m.Stream, st.First, st.Next)
		}
	}
	return nil
}

func (s *State) applyMoves(e *Entry) {
	if e.Moves != nil {
		s.Moved = e.Sequence
	}
}
