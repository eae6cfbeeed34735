package manifest

import (
	"maps"
	"slices"

	"github.com/offsite-kafka/offsite/internal/wire"
)

func (s *State) appendSegmentSet() (b []byte) {
	if len(s.Segments) == 0 {
		return nil
	}
	return s.Segments.append(nil)
}

func (s *State) appendPending() (b []byte) {
	if len(s.Removals) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(s.Removals)))
	for i := range s.Removals {
		m := &s.Removals[i]
		b = m.Segments.append(Moment{m.Sequence, m.Time}.append(b))
	}
	return b
}

func (s *State) parsePending(r *wire.Reader) {
	s.Removals = make([]Removal, count(r, "removals", 27))
	for i := range s.Removals {
		at := s.parseMoment(r)
		s.Removals[i] = Removal{Sequence: at.Entry, Time: at.Time, Segments: parseSet(r)}
		if i > 0 && at.Entry <= s.Removals[i-1].Sequence {
			r.Failf("removals out of order")
		}
		if r.Err() != nil {
			return
		}
		if s.pending.Meets(s.Removals[i].Segments) {
			r.Failf("a segment is removed twice")
			return
		}
		s.pending.AddAll(s.Removals[i].Segments)
	}
}

func (s *State) appendFenced() (b []byte) {
	if len(s.Fenced) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(s.Fenced)))
	for _, writer := range slices.SortedFunc(maps.Keys(s.Fenced), ID.compare) {
		b = append(b, writer[:]...)
		b = wire.AppendUvarint(b, s.Fenced[writer])
	}
	return b
}

func (s *State) parseFenced(r *wire.Reader) {
	var before ID
	for i := range count(r, "fences", 17) {
		var writer ID
		copy(writer[:], r.Bytes(len(writer)))
		s.Fenced[writer] = r.Max("entry", s.Sequence)
		if i > 0 && writer.compare(before) <= 0 {
			r.Failf("writers out of order")
		}
		before = writer
	}
}

func (id ID) compare(o ID) int { return slices.Compare(id[:], o[:]) }
