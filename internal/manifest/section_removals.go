package manifest

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// The sections of an entry that take segments and writers away.
const (
	secRemovals  = 12
	secFences    = 14
	secDeletions = 15
)

// ErrSwept is ErrFenced for a writer whose uncommitted segments were declared
// orphans.
var ErrSwept = fmt.Errorf("%w: this writer was declared dead, and its segments that were not committed yet are deleted (backupd sweep)", ErrFenced)

// SegmentLot are segments that are removed, or deleted, together.
type SegmentLot struct {
	Segments SegmentSet
	Bytes    int64 // of all their objects; information only
}

// Removal is an entry that removed segments whose objects are not deleted yet.
type Removal struct {
	Sequence uint64
	Time     int64 // ms since 1970, by the clock of its writer
	Segments SegmentSet
	Circumstances
}

func (l *SegmentLot) append() (b []byte) {
	if l == nil {
		return nil
	}
	return wire.AppendUvarint(l.Segments.append(nil), uint64(l.Bytes))
}

func (s SegmentSet) append(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(len(s)))
	for writer := range s.Writers() {
		runs := s[writer]
		b = append(b, writer[:]...)
		b = wire.AppendUvarint(b, uint64(len(runs)))
		for i, r := range runs {
			first := r.First
			if i > 0 {
				first -= runs[i-1].Last + 2
			}
			b = wire.AppendUvarint(b, first)
			b = wire.AppendUvarint(b, r.Last-r.First)
		}
	}
	return b
}

func parseLot(r *wire.Reader) *SegmentLot {
	l := &SegmentLot{Segments: parseSet(r)}
	l.Bytes = int64(r.Max("bytes", math.MaxInt64))
	return l
}

func parseSet(r *wire.Reader) SegmentSet {
	n := count(r, "writers", 18)
	s := make(SegmentSet, n)
	var before ID
	for i := range n {
		var writer ID
		copy(writer[:], r.Bytes(len(writer)))
		if i > 0 && slices.Compare(writer[:], before[:]) <= 0 {
			r.Failf("writers out of order")
		}
		s[writer] = parseRuns(r)
		before = writer
	}
	return s
}

func parseRuns(r *wire.Reader) []CounterRun {
	runs := make([]CounterRun, count(r, "runs", 2))
	for i := range runs {
		first, more := r.Uvarint(), r.Uvarint()
		if i > 0 {
			least := runs[i-1].Last + 2
			if least < 2 || first > math.MaxUint64-least {
				r.Failf("counters out of range")
				return runs
			}
			first += least
		}
		if more > math.MaxUint64-first {
			r.Failf("counters out of range")
			return runs
		}
		runs[i] = CounterRun{first, first + more}
	}
	return runs
}

func (e *Entry) appendFences() (b []byte) {
	if len(e.Fences) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Fences)))
	for _, writer := range e.Fences {
		b = append(b, writer[:]...)
	}
	return b
}

func (e *Entry) parseFences(r *wire.Reader) {
	e.Fences = make([]ID, count(r, "fences", 16))
	for i := range e.Fences {
		copy(e.Fences[i][:], r.Bytes(16))
		if i > 0 && slices.Compare(e.Fences[i][:], e.Fences[i-1][:]) <= 0 {
			r.Failf("writers out of order")
		}
	}
}

// Readable says whether a segment that an entry names may still be read.
func (s *State) Readable(writer ID, counter uint64) bool {
	return s.Segments.Has(writer, counter) && !s.pending.Has(writer, counter)
}

// Pending are all segments that are removed and whose objects are not deleted yet.
// Read only, and changed by the next entry.
func (s *State) Pending() SegmentSet { return s.pending }

// checkSegments wants what an entry names to be new, what it removes to be there,
// and what it deletes to be removed.
func (s *State) checkSegments(e *Entry) error {
	if _, fenced := s.Fenced[e.Writer]; fenced {
		return fmt.Errorf("its writer %s was fenced by entry %d", e.Writer, s.Fenced[e.Writer])
	}
	own := make(SegmentSet)
	for i := range e.Segments {
		c := e.Segments[i].Counter
		if s.Segments.Has(e.Writer, c) || own.Has(e.Writer, c) {
			return fmt.Errorf("it names %s again", SegmentKey(e.Writer, c))
		}
		own.Add(e.Writer, c)
	}
	for _, writer := range e.Fences {
		if _, twice := s.Fenced[writer]; twice || writer == e.Writer {
			return fmt.Errorf("a fence for %s, which is fenced, or its own writer", writer)
		}
	}
	if l := e.Removed; l != nil && (!s.Segments.Contains(l.Segments) || s.pending.Meets(l.Segments) || l.Bytes > s.SegmentBytes) {
		return errors.New("it removes segments that are not there")
	}
	if l := e.Deleted; l != nil && (!s.pending.Contains(l.Segments) || l.Bytes > s.RemovedBytes) {
		return errors.New("it deletes segments that no entry has removed")
	}
	return nil
}

func (s *State) applySegments(e *Entry) {
	var why Circumstances
	if e.Removed != nil {
		why = s.circumstances(e)
	}
	for i := range e.Segments {
		s.Segments.Add(e.Writer, e.Segments[i].Counter)
		s.SegmentCount++
		s.SegmentBytes += e.Segments[i].Size
	}
	for _, writer := range e.Fences {
		s.Fenced[writer] = e.Sequence
	}
	if l := e.Deleted; l != nil { // before what is removed now, which it cannot be about
		s.forget(l)
	}
	if l := e.Removed; l != nil {
		s.LastRemoval = e.Sequence
		s.Removals = append(s.Removals, Removal{e.Sequence, e.Time, l.Segments.Clone(), why})
		s.pending.AddAll(l.Segments)
		s.SegmentCount -= l.Segments.Count()
		s.SegmentBytes -= l.Bytes
		s.RemovedBytes += l.Bytes
	}
}

// forget forgets segments whose objects are deleted.
func (s *State) forget(l *SegmentLot) {
	s.Segments.RemoveAll(l.Segments)
	s.pending.RemoveAll(l.Segments)
	s.RemovedBytes -= l.Bytes
	for i := range s.Removals {
		s.Removals[i].Segments.RemoveAll(s.Removals[i].Segments.Common(l.Segments))
	}
	s.Removals = slices.DeleteFunc(s.Removals, func(r Removal) bool { return len(r.Segments) == 0 })
	if len(s.Removals) == 0 {
		s.Removals, s.RemovedBytes = nil, 0
	}
}
