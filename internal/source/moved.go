package source

import (
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// fetched is a piece whose turn comes, and what it is for.
type fetched struct {
	*manifest.Piece
	track  *track
	branch branch
}

// covers says whether all that the tracks have up to a state was moved, or lies in gaps:
// nothing of what the log says up to there has to be read then. It returns the positions.
func (w *walker) covers(state *manifest.State) (map[int]int64, bool) {
	from := make(map[int]int64)
	for n, t := range w.byStream {
		if n >= len(state.Streams) {
			continue
		}
		from[n] = state.Streams[n].Next
		b := t.branch(n)
		for at, to := b.lo, min(b.hi, from[n]); at < to; {
			if p := w.layout.At(n, at); p != nil {
				at = p.Next()
				continue
			}
			next := w.gapEnd(n, at)
			if next == at {
				return nil, false
			}
			at = next
		}
	}
	return from, true
}

// gapEnd returns where the gap ends that an offset of a stream lies in, if it does.
func (w *walker) gapEnd(stream int, at int64) int64 {
	for _, g := range w.gaps[stream] {
		if g[0] <= at && at < g[1] {
			return g[1]
		}
	}
	return at
}

// branch returns the part of the track that a stream provides.
func (t *track) branch(stream int) branch {
	return t.branches[slices.IndexFunc(t.branches, func(b branch) bool { return b.stream == stream })]
}

// before calls fn for what has to be read of what was moved and lies before the positions at
// which the walk begins: one segment after the other, each once if the order of offsets
// allows it.
func (w *walker) before(tracks []*track, fn func() error) error {
	lists := make([][]fetched, len(tracks))
	for i, t := range tracks {
		lists[i] = w.moved(t)
	}
	q := newQueue(lists)
	for list := q.next(); list != nil; list = q.next() {
		w.reset()
		for _, f := range list {
			w.give(f.Piece, f.track, f.branch)
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return nil
}

// moved returns the pieces of a track before where the walk begins, in the order of offsets.
func (w *walker) moved(t *track) (list []fetched) {
	for _, b := range t.branches {
		to, known := w.from[b.stream]
		if !known {
			continue
		}
		for at := b.lo; at < min(b.hi, to); {
			p := w.layout.At(b.stream, at)
			if p == nil {
				at = w.gapEnd(b.stream, at)
				continue
			}
			list = append(list, fetched{p, t, b})
			at = p.Next()
		}
	}
	return list
}

// queue puts pieces into an order in which segments are read as a whole where possible.
type queue struct {
	lists [][]fetched            // by track, what is left
	runs  []int                  // by track, how many of these lie first in one segment
	left  map[*manifest.Home]int // pieces of all tracks by segment
	heads map[*manifest.Home]*heads
	whole []*manifest.Home // segments of which all that is left comes first in its tracks
	at    int              // all tracks before are done
}

// heads are the tracks whose next pieces lie in a segment.
type heads struct {
	tracks []int
	pieces int
}

func newQueue(lists [][]fetched) *queue {
	q := &queue{lists: lists, runs: make([]int, len(lists)), left: make(map[*manifest.Home]int), heads: make(map[*manifest.Home]*heads)}
	for _, list := range lists {
		for _, f := range list {
			q.left[f.In]++
		}
	}
	for i := range lists {
		q.meet(i)
	}
	return q
}

// meet finds out where the next pieces of a track lie.
func (q *queue) meet(i int) {
	list := q.lists[i]
	if len(list) == 0 {
		return
	}
	in, n := list[0].In, 1
	for n < len(list) && list[n].In == in {
		n++
	}
	q.runs[i] = n
	h := q.heads[in]
	if h == nil {
		h = &heads{}
		q.heads[in] = h
	}
	h.tracks = append(h.tracks, i)
	if h.pieces += n; h.pieces == q.left[in] {
		q.whole = append(q.whole, in)
	}
}

// next returns pieces that lie in one segment, or nil if none is left.
func (q *queue) next() (list []fetched) {
	for q.at < len(q.lists) && len(q.lists[q.at]) == 0 {
		q.at++
	}
	if q.at == len(q.lists) {
		return nil
	}
	in := q.lists[q.at][0].In // of which others come later, so that it is read again
	if len(q.whole) > 0 {
		in, q.whole = q.whole[0], q.whole[1:]
	}
	tracks := q.heads[in].tracks
	delete(q.heads, in)
	slices.Sort(tracks)
	for _, i := range tracks {
		list = append(list, q.lists[i][:q.runs[i]]...)
		q.lists[i] = q.lists[i][q.runs[i]:]
	}
	q.left[in] -= len(list)
	for _, i := range tracks {
		q.meet(i)
	}
	return list
}
