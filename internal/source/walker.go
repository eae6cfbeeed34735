package source

import (
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// unit is what is read of one segment at once.
type unit struct {
	key       string
	entry     uint64 // that names the segment
	ref       segment.Ref
	stretches []stretch
}

// walker finds out, from one entry of the log after the other, what is to be read where.
type walker struct {
	byStream map[int]*track
	layout   *manifest.Layout
	gaps     map[int][][2]int64                   // by stream
	from     map[int]int64                        // by stream: the position at which the walk begins
	given    map[*manifest.Piece]bool             // those that have been read
	in       map[*manifest.Home][]*manifest.Piece // what else lies where something was moved to

	// Of the entry at hand:
	units []*unit
	last  map[string]int // by key: the last of its units
	used  map[int]int    // by stream: the unit of its last stretch
	lost  []lostPiece
}

// lostPiece is what would have to be read, and is lost.
type lostPiece struct {
	in *manifest.Home // the segment that held it
	stretch
}

func newWalker(byStream map[int]*track, state *manifest.State, layout *manifest.Layout) *walker {
	w := &walker{byStream: byStream, layout: layout, gaps: make(map[int][][2]int64), given: make(map[*manifest.Piece]bool), in: make(map[*manifest.Home][]*manifest.Piece)}
	layout.Pieces(func(p *manifest.Piece) { w.in[p.In] = append(w.in[p.In], p) })
	for _, g := range state.Gaps {
		if byStream[g.Stream] != nil {
			w.gaps[g.Stream] = append(w.gaps[g.Stream], [2]int64{g.From, g.To})
		}
	}
	return w
}

func (w *walker) reset() {
	w.units, w.last, w.used, w.lost = nil, make(map[string]int), make(map[int]int), nil
}

// entry finds out what is to be read because of an entry, in the order in which it
// has to be.
func (w *walker) entry(state *manifest.State, e *manifest.Entry) error {
	w.reset()
	for i := range e.Segments {
		w.addUnit(manifest.SegmentKey(e.Writer, e.Segments[i].Counter), e.Sequence, e.Segments[i].Ref)
	}
	own := w.units
	var homes []*manifest.Home
	for i := range e.Ranges {
		r := &e.Ranges[i]
		t := w.byStream[r.Stream]
		if t == nil {
			continue
		}
		b := t.branch(r.Stream)
		at := state.Start(r)
		for _, sp := range r.Spans {
			start := at
			if at += sp.Offsets; sp.Gap {
				continue
			}
			pieces, err := w.layout.Find(r.Stream, start, sp)
			if err != nil {
				return err
			}
			if max(start, b.lo) >= min(at, b.hi) {
				continue
			}
			if pieces == nil {
				w.want(own[sp.Segment], stretch{b, t, start, at, sp, epochUnstated})
			}
			for _, p := range pieces {
				if !w.given[p] && max(p.Start, b.lo) < min(p.Next(), b.hi) {
					w.give(p, t, b)
					homes = append(homes, p.In)
				}
			}
		}
	}
	for _, h := range homes {
		w.neighbours(state, h)
	}
	return nil
}

func (w *walker) addUnit(key string, entry uint64, ref segment.Ref) int {
	w.units = append(w.units, &unit{key: key, entry: entry, ref: ref})
	w.last[key] = len(w.units) - 1
	return len(w.units) - 1
}

// want adds a stretch to a unit of its segment, behind those that the stream has
// been in: one segment may have to be read twice.
func (w *walker) want(u *unit, s stretch) {
	i, ok := w.last[u.key]
	if !ok || i < w.used[s.stream] {
		i = w.addUnit(u.key, u.entry, u.ref)
	}
	w.used[s.stream] = i
	w.units[i].stretches = append(w.units[i].stretches, s)
}

// give wants a piece from where it was moved to, unless it is lost.
func (w *walker) give(p *manifest.Piece, t *track, b branch) {
	w.given[p] = true
	if p.Lost {
		w.lost = append(w.lost, lostPiece{p.In, stretch{b, t, p.Start, p.Next(), p.Span, epochUnstated}})
		return
	}
	w.want(&unit{key: p.In.Key, entry: p.In.Entry, ref: p.In.Ref}, stretch{b, t, p.Start, p.Next(), p.Span, epochUnstated})
}

// neighbours wants, of a segment that is read anyway, the other pieces whose turn
// it is as well: that the first of what they replace comes up later would mean to
// read the segment again for each.
func (w *walker) neighbours(state *manifest.State, h *manifest.Home) {
	for _, p := range w.in[h] {
		t := w.byStream[p.Stream]
		if w.given[p] || p.Stream >= len(state.Streams) || state.Streams[p.Stream].Next != p.Start {
			continue
		}
		b := t.branch(p.Stream)
		if max(p.Start, b.lo) < min(p.Next(), b.hi) {
			w.give(p, t, b)
		}
	}
}
