package manifest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secLosses is the section of an entry that says which data nobody can read any more.
const secLosses = 17

// maxLossReason bounds Loss.Reason in bytes.
const maxLossReason = 1 << 10

// Losses are ranges whose data is damaged and could not be had again: they are
// quarantined. Of the segments that they name nothing is read any more.
type Losses struct {
	After uint64 // as in Moves
	List  []Loss // by stream and offset
}

// Loss says that the data of a stream in [Start, Start + Offsets) is lost.
type Loss struct {
	Stream         int
	Start, Offsets int64
	Records        int64
	// In ms since 1970; bounds, where only the whole is known that it was a part of.
	MinTimestamp, MaxTimestamp int64
	Epoch                      int32 // leader epoch of the last batch, -1 if that is not known
	In                         SegmentName
	Reason                     string // for people
}

// Next is the offset behind the range.
func (l *Loss) Next() int64 { return l.Start + l.Offsets }

// Span is what is lost.
func (l *Loss) Span() Span {
	return Span{Offsets: l.Offsets, Records: l.Records, MinTimestamp: l.MinTimestamp, MaxTimestamp: l.MaxTimestamp}
}

// Lost is a loss in force.
type Lost struct {
	Loss
	Entry uint64 // that states it
	Time  int64  // ms since 1970, by the clock of its writer
}

func (l *Losses) append() (b []byte) {
	if l == nil {
		return nil
	}
	b = wire.AppendUvarint(b, l.After)
	b = wire.AppendUvarint(b, uint64(len(l.List)))
	var place lossPlace
	for i := range l.List {
		b = l.List[i].append(b, &place)
	}
	return b
}

// lossPlace is where the loss before ends.
type lossPlace struct {
	stream int
	next   int64
}

func (p *lossPlace) at(stream int) int64 {
	if stream != p.stream {
		*p = lossPlace{stream: stream}
	}
	return p.next
}

func (l *Loss) append(b []byte, p *lossPlace) []byte {
	b = wire.AppendUvarint(b, uint64(l.Stream-p.stream))
	b = wire.AppendUvarint(b, uint64(l.Start-p.at(l.Stream)))
	b = wire.AppendUvarint(b, uint64(l.Offsets))
	b = wire.AppendVarint(b, l.Offsets-l.Records)
	if l.Records > 0 {
		b = wire.AppendVarint(b, l.MaxTimestamp)
		b = wire.AppendUvarint(b, uint64(l.MaxTimestamp)-uint64(l.MinTimestamp))
	}
	b = wire.AppendVarint(b, int64(l.Epoch))
	b = append(b, l.In.Writer[:]...)
	b = wire.AppendUvarint(b, l.In.Counter)
	p.next = l.Next()
	return wire.AppendString(b, l.Reason)
}

func parseLosses(r *wire.Reader) *Losses {
	l := &Losses{After: r.Uvarint()}
	l.List = make([]Loss, count(r, "losses", 23))
	var place lossPlace
	for i := range l.List {
		if l.List[i].parse(r, &place); r.Err() != nil {
			break
		}
	}
	return l
}

func (l *Loss) parse(r *wire.Reader, p *lossPlace) {
	l.Stream = p.stream + int(r.Max("stream", maxNumber))
	before := p.at(l.Stream)
	l.Start = before + int64(r.Max("offset", uint64(maxOffset-before)))
	l.Offsets = int64(r.Max("offsets", uint64(maxOffset-l.Start)))
	if l.Records = l.Offsets - r.Varint(); l.Offsets == 0 || l.Records < 0 {
		r.Failf("a loss of %d records at %d offsets", l.Records, l.Offsets)
	}
	if l.Records > 0 {
		l.MaxTimestamp = r.Varint()
		if l.MinTimestamp = int64(uint64(l.MaxTimestamp) - r.Uvarint()); l.MinTimestamp > l.MaxTimestamp {
			r.Failf("timestamps out of range")
		}
	}
	epoch := r.Varint()
	if l.Epoch = int32(epoch); epoch < -1 || epoch > math.MaxInt32 {
		r.Failf("leader epoch %d", epoch)
	}
	copy(l.In.Writer[:], r.Bytes(len(l.In.Writer)))
	l.In.Counter = r.Uvarint()
	l.Reason = r.String("reason", maxLossReason)
	p.next = l.Next()
}

// checkLosses says whether the entry's author knew where data is, and gives up only
// what is there.
func (s *State) checkLosses(e *Entry) error {
	if e.Losses == nil {
		return nil
	}
	if e.Losses.After != s.Moved {
		return fmt.Errorf("it gives up data by what was known after entry %d, and entry %d has moved some since then", e.Losses.After, s.Moved)
	}
	for i := range e.Losses.List {
		l := &e.Losses.List[i]
		if l.Stream >= len(s.Streams) {
			return fmt.Errorf("loss of stream %d of %d", l.Stream, len(s.Streams))
		}
		if st := &s.Streams[l.Stream]; l.Start < st.First || l.Next() > st.Next {
			return fmt.Errorf("loss of the offsets [%d,%d) of stream %d, which has [%d,%d)", l.Start, l.Next(), l.Stream, st.First, st.Next)
		}
		if !s.Readable(l.In.Writer, l.In.Counter) || e.Removed != nil && e.Removed.Segments.Has(l.In.Writer, l.In.Counter) {
			return fmt.Errorf("a loss in %s, which is not there", l.In.Key())
		}
	}
	return nil
}

// applyLosses is called after removals have been applied.
func (s *State) applyLosses(e *Entry) {
	if len(s.Lost) > 0 && (e.Moves != nil || e.Losses != nil || e.Removed != nil) {
		s.Lost = slices.DeleteFunc(slices.Clone(s.Lost), func(l Lost) bool {
			return e.restates(l.Stream, l.Start, l.Next()) || !s.Readable(l.In.Writer, l.In.Counter)
		})
		if len(s.Lost) == 0 {
			s.Lost = nil
		}
	}
	if e.Losses == nil {
		return
	}
	s.Moved = e.Sequence
	for _, l := range e.Losses.List {
		s.Lost = append(s.Lost, Lost{l, e.Sequence, e.Time})
	}
	slices.SortFunc(s.Lost, func(a, b Lost) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Start, b.Start)) })
}

// restates says whether the entry says anew where something of a range is.
func (e *Entry) restates(stream int, start, next int64) bool {
	meets := func(at int, from, to int64) bool { return at == stream && max(from, start) < min(to, next) }
	if e.Moves != nil && slices.ContainsFunc(e.Moves.List, func(m Move) bool { return meets(m.Stream, m.Start, m.Next()) }) {
		return true
	}
	return e.Losses != nil && slices.ContainsFunc(e.Losses.List, func(l Loss) bool { return meets(l.Stream, l.Start, l.Next()) })
}

// Quarantined says whether nothing may be read of a segment, since some of it is lost.
func (s *State) Quarantined(writer ID, counter uint64) bool {
	return slices.ContainsFunc(s.Lost, func(l Lost) bool { return l.In == SegmentName{writer, counter} })
}

func (s *State) appendLost() (b []byte) {
	if len(s.Lost) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(s.Lost)))
	var place lossPlace
	for i := range s.Lost {
		l := &s.Lost[i]
		b = Moment{l.Entry, l.Time}.append(b)
		b = l.append(b, &place)
	}
	return b
}

func (s *State) parseLost(r *wire.Reader) {
	s.Lost = make([]Lost, count(r, "losses", 32))
	var place lossPlace
	for i := range s.Lost {
		at, l := s.parseMoment(r), &s.Lost[i]
		l.Entry, l.Time = at.Entry, at.Time
		if l.parse(r, &place); r.Err() == nil && l.Stream >= len(s.Streams) {
			r.Failf("loss of stream %d of %d", l.Stream, len(s.Streams))
		}
		if r.Err() != nil {
			return
		}
	}
}
