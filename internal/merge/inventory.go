package merge

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// inventory is what the log says of segments from which data is read. It keeps
// little of each: what lies in it, its footer says.
type inventory struct {
	captured []captured          // by backupd, in the order of the log
	layout   *manifest.Layout    // of what was moved
	removed  manifest.SegmentSet // from which nobody may read any more, deleted or not
	streams  map[manifest.StreamKey][]begun
	bad      map[string]bool // by key: what cannot be read
}

// captured is a segment as backupd has written it.
type captured struct {
	entry uint64
	time  int64
	name  manifest.SegmentName
	ref   segment.Ref
}

// sorted is a segment that a merge has written.
type sorted struct {
	home    *manifest.Home
	pieces  []*manifest.Piece // that are in force, those of a stream beside each other
	streams []int             // that have them
}

// begun says from which entry on a partition is captured as which stream.
type begun struct {
	entry  uint64
	stream int
}

func newInventory() *inventory {
	all := func(int) bool { return true }
	return &inventory{layout: manifest.NewLayout(all), removed: make(manifest.SegmentSet), streams: make(map[manifest.StreamKey][]begun), bad: make(map[string]bool)}
}

// add takes in the next entry of the log.
func (v *inventory) add(state *manifest.State, e *manifest.Entry) error {
	for i := range e.Streams {
		n := len(state.Streams) - len(e.Streams) + i
		key := state.Key(n)
		v.streams[key] = append(v.streams[key], begun{e.Sequence, n})
	}
	if err := v.layout.Add(e); err != nil {
		return err
	}
	moved := make(map[int]bool)
	if e.Moves != nil {
		for i := range e.Moves.List {
			moved[e.Moves.List[i].Span.Segment] = true
		}
	}
	if e.Removed != nil {
		v.removed.AddAll(e.Removed.Segments)
		v.captured = slices.DeleteFunc(v.captured, func(c captured) bool { return v.gone(c.name) })
	}
	if e.Losses != nil { // nothing is read of them any more
		v.captured = slices.DeleteFunc(v.captured, func(c captured) bool { return state.Quarantined(c.name.Writer, c.name.Counter) })
	}
	for i := range e.Segments {
		if !moved[i] {
			v.captured = append(v.captured, captured{e.Sequence, e.Time, manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[i].Counter}, e.Segments[i].Ref})
		}
	}
	return nil
}

// gone says whether a segment that was there was removed: the layout has its pieces all the same.
func (v *inventory) gone(n manifest.SegmentName) bool { return v.removed.Has(n.Writer, n.Counter) }

// stream returns the number of the stream as which a partition was captured by
// an entry.
func (v *inventory) stream(key manifest.StreamKey, entry uint64) (int, bool) {
	list := v.streams[key]
	i := len(list) - 1
	for i >= 0 && list[i].entry > entry {
		i--
	}
	if i < 0 {
		return 0, false
	}
	return list[i].stream, true
}

// homes returns the segments that merges have written and that are there, in the order of the log.
func (v *inventory) homes() []*sorted {
	all := make(map[*manifest.Home]*sorted)
	v.layout.Pieces(func(p *manifest.Piece) {
		if p.Lost || v.gone(p.In.Name) {
			return
		}
		if all[p.In] == nil {
			all[p.In] = &sorted{home: p.In}
		}
		s := all[p.In]
		s.pieces = append(s.pieces, p)
		if n := len(s.streams); n == 0 || s.streams[n-1] != p.Stream {
			s.streams = append(s.streams, p.Stream)
		}
	})
	list := make([]*sorted, 0, len(all))
	for _, s := range all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *sorted) int {
		return cmp.Or(cmp.Compare(a.home.Entry, b.home.Entry), cmp.Compare(a.home.Name.Counter, b.home.Name.Counter))
	})
	return list
}

// tiers returns the sorted segments in which streams have less than enough bytes,
// by how much they have, each tier eight times that of the one before.
func (v *inventory) tiers(enough int64) [][]*sorted {
	var tiers [][]*sorted
	for _, s := range v.homes() {
		mean := s.home.Ref.Size / int64(s.home.Streams)
		if mean >= enough || v.bad[s.home.Key] {
			continue
		}
		n := bits.Len64(uint64(mean)>>12) / 3
		for len(tiers) <= n {
			tiers = append(tiers, nil)
		}
		tiers[n] = append(tiers[n], s)
	}
	return tiers
}
