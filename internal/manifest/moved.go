package manifest

import (
	"context"
	"crypto/sha256"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// moved is what a state knows of where data is: up to an entry from a layout's object,
// which is only read when somebody asks.
type moved struct {
	base  *LayoutRef // nil: nothing was moved before
	since *Layout    // what was moved behind it; nil: that is not known
}

// applyMoved takes in what the entry moves, or gives up. That of a log in which moves do
// not fit together nobody can use: who reads it, is told.
func (s *State) applyMoved(e *Entry) {
	if s.moved.since != nil && (e.Moves != nil || e.Losses != nil) && s.moved.since.Add(e) != nil {
		s.moved = moved{}
	}
}

// movedUpTo returns where data is that was moved up to a state, which knows it.
func (r *Repository) movedUpTo(ctx context.Context, s *State, wanted func(stream int) bool) (l *Layout, err error) {
	l = NewLayout(wanted)
	if s.moved.base != nil {
		if l, err = r.openLayout(ctx, *s.moved.base, wanted); err != nil {
			return nil, err
		}
	}
	err = l.overlay(s.moved.since)
	l.reached = s.Sequence
	return l, err
}

// overlay puts pieces that were moved later in the place of what was there.
func (l *Layout) overlay(later *Layout) error {
	for stream, list := range later.pieces {
		if !l.wants(stream) {
			continue
		}
		for from, to := 0, 1; from < len(list); from, to = to, to+1 {
			for to < len(list) && list[to].Start == list[to-1].Next() {
				to++
			}
			if err := l.replace(list[from].In.Entry, list[from:to]); err != nil {
				return err
			}
		}
	}
	return nil
}

// LayoutAt returns where the data of the wanted streams is that was moved up to a state:
// from the layout that the state's snapshot states, or else from the log.
func (r *Repository) LayoutAt(ctx context.Context, s *State, wanted func(stream int) bool) (*Layout, error) {
	if s.moved.since != nil {
		l, err := r.movedUpTo(ctx, s, wanted)
		if err == nil {
			return l, nil
		}
		r.Debug.Debug("a layout is of no use, so that all of the log is read", "error", err)
	} else {
		r.Debug.Debug("no snapshot of the log states where data was moved, so that all of the log is read")
	}
	l := NewLayout(wanted)
	_, err := r.Read(ctx, s.Sequence, func(_ *State, e *Entry) error { return l.Add(e) })
	return l, err
}

// layoutRef names the layout that a snapshot of the state states, if there is one.
func (s *State) layoutRef() *LayoutRef {
	switch {
	case s.moved.since == nil || s.Moved == 0:
		return nil
	case s.moved.base == nil:
		return &LayoutRef{s.Moved, sha256.Sum256(s.moved.since.append(nil))}
	case s.moved.base.Sequence == s.Moved:
		return s.moved.base
	}
	return nil // it was not settled
}

func (s *State) appendMoved() []byte {
	ref := s.layoutRef()
	if ref == nil {
		return nil
	}
	return ref.Digest[:]
}

func (s *State) parseMoved(r *wire.Reader) {
	s.moved.base = &LayoutRef{Sequence: s.Moved}
	copy(s.moved.base.Digest[:], r.Bytes(len(s.moved.base.Digest)))
	if s.Moved == 0 {
		r.Failf("a layout, although nothing was moved")
	}
}

// Growth are partitions that a topic got.
type Growth struct {
	Moment
	Topic    int // number
	From, To int32
	Ends     []int64 // by partition below From: the position after the entry, 0 for none
}

// growing returns what an entry adds to topics that there are. It comes before the
// entry is applied.
func (s *State) growing(e *Entry) (list []Growth) {
	for i := range e.Topics {
		if t := &e.Topics[i]; t.Number < len(s.Topics) && t.Partitions > s.Topics[t.Number].Partitions {
			list = append(list, Growth{Moment{e.Sequence, e.Time}, t.Number, s.Topics[t.Number].Partitions, t.Partitions, nil})
		}
	}
	return list
}

// grow notes it, after the entry has been applied.
func (s *State) grow(list []Growth) {
	for _, g := range list {
		g.Ends = make([]int64, g.From)
		for p := range g.Ends {
			if n, ok := s.current[StreamKey{s.Topics[g.Topic].ID, int32(p)}]; ok {
				g.Ends[p] = s.Streams[n].Next
			}
		}
		s.Growths = append(s.Growths, g)
	}
}

func (s *State) appendGrowths() []byte {
	b := wire.AppendUvarint(nil, uint64(len(s.Growths)))
	for i := range s.Growths {
		g := &s.Growths[i]
		b = Moment{g.Entry, g.Time}.append(b)
		b = wire.AppendUvarint(b, uint64(g.Topic))
		b = wire.AppendUvarint(b, uint64(g.From))
		b = wire.AppendUvarint(b, uint64(g.To-g.From))
		for _, end := range g.Ends {
			b = wire.AppendUvarint(b, uint64(end))
		}
	}
	return b
}

func (s *State) parseGrowths(r *wire.Reader) {
	n := r.Count("growths", 12)
	for range n {
		g := Growth{Moment: s.parseMoment(r), Topic: int(r.Max("topic", maxNumber)), From: int32(r.Max("partitions", maxNumber))}
		g.To = g.From + int32(r.Max("partitions", maxNumber))
		if g.Topic >= len(s.Topics) || g.From == g.To || int(g.From) > r.Len() {
			r.Failf("topic %d grows from %d to %d partitions", g.Topic, g.From, g.To)
		}
		if r.Err() != nil {
			return
		}
		g.Ends = make([]int64, g.From)
		for p := range g.Ends {
			g.Ends[p] = int64(r.Max("offset", maxOffset))
		}
		s.Growths = append(s.Growths, g)
	}
}

// withoutParts are two states without what snapshots did not have at first, if one of
// them lacks it.
func withoutParts(s, other *State) (*State, *State) {
	a, b := *s, *other
	if a.early || b.early {
		a.early, b.early = true, true
		for i := range a.Verified {
			a.Verified[i].Known, b.Verified[i].Known = KnownDamage{}, KnownDamage{}
		}
	}
	if a.stretches.unknown || b.stretches.unknown {
		a.stretches.unknown, b.stretches.unknown = true, true
	}
	if a.layoutRef() == nil || b.layoutRef() == nil {
		a.moved, b.moved = moved{}, moved{}
	}
	return &a, &b
}
