package retention

import (
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// merge moves units, and often removes the segments that are empty then.
func (h *history) merge(s *manifest.State) (*manifest.Entry, func()) {
	e := &manifest.Entry{Moves: &manifest.Moves{After: s.Moved}, Segments: []manifest.Segment{h.segment(), h.segment()}}
	after := make(map[int][]unit)
	for i := range s.Streams {
		list := h.units[i]
		if after[i] = list; len(list) == 0 || h.oneIn(2) {
			continue
		}
		from := h.IntN(len(list))
		to := min(len(list), from+1+h.IntN(6))
		after[i] = slices.Concat(list[:from], h.move(s, e, i, list[from:to]), list[to:])
	}
	if len(e.Moves.List) == 0 {
		return nil, nil
	}
	if h.oneIn(5) { // who captures and merges at once
		for i := range s.Streams {
			if s.Streams[i].Child < 0 && h.oneIn(2) {
				after[i] = append(after[i], h.data(e, i, map[int]int64{i: s.Streams[i].Next})...)
			}
		}
	}
	if !h.oneIn(4) {
		e.Removed = h.emptied(s, after)
	}
	return e, func() { h.units = after }
}

// move moves units of a stream, some of them together.
func (h *history) move(s *manifest.State, e *manifest.Entry, stream int, list []unit) (out []unit) {
	writer := h.log.Writer()
	isMoved := func(u *unit) bool { return u.in.Writer == writer && u.in.Counter >= e.Segments[0].Counter }
	for _, u := range list {
		if u.lost && !h.oneIn(4) || !s.Readable(u.in.Writer, u.in.Counter) {
			out = append(out, u)
			continue
		}
		u.lost = false
		u.span.Segment = h.IntN(len(e.Segments))
		u.in = manifest.SegmentName{Writer: writer, Counter: e.Segments[u.span.Segment].Counter}
		if n := len(out) - 1; n >= 0 && h.oneIn(2) && out[n].next() == u.start && out[n].in == u.in {
			last := &out[n].span
			last.Offsets += u.span.Offsets
			last.Records += u.span.Records
			last.MinTimestamp, last.MaxTimestamp = min(last.MinTimestamp, u.span.MinTimestamp), max(last.MaxTimestamp, u.span.MaxTimestamp)
		} else {
			out = append(out, u)
		}
	}
	for i := range out {
		if u := &out[i]; isMoved(u) {
			e.Moves.List = append(e.Moves.List, manifest.Move{Stream: stream, Start: u.start, Span: u.span})
		}
	}
	return out
}

// emptied are the segments of which nothing is left.
func (h *history) emptied(s *manifest.State, after map[int][]unit) *manifest.SegmentLot {
	held := make(manifest.SegmentSet)
	for _, list := range after {
		for _, u := range list {
			held.Add(u.in.Writer, u.in.Counter)
		}
	}
	return h.lot(s, func(u *unit) bool { return !held.Has(u.in.Writer, u.in.Counter) })
}

// lot are the segments of some units, or nil.
func (h *history) lot(s *manifest.State, some func(u *unit) bool) *manifest.SegmentLot {
	lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	for i := range s.Streams {
		for j := range h.units[i] {
			if u := &h.units[i][j]; some(u) && s.Readable(u.in.Writer, u.in.Counter) {
				lot.Segments.Add(u.in.Writer, u.in.Counter)
			}
		}
	}
	if lot.Bytes = lot.Segments.Count() * 50; lot.Bytes == 0 || lot.Bytes > s.SegmentBytes {
		return nil
	}
	return lot
}

// forge draws an entry that removes what may be needed.
func (h *history) forge(s *manifest.State) (*manifest.Entry, func()) {
	lot := h.lot(s, func(*unit) bool { return h.oneIn(20) })
	if lot == nil {
		return nil, nil
	}
	return &manifest.Entry{Removed: lot}, func() {}
}

// lose draws an entry that gives units up.
func (h *history) lose(s *manifest.State) (*manifest.Entry, func()) {
	e := &manifest.Entry{Losses: &manifest.Losses{After: s.Moved}}
	var lost []*unit
	for i := range s.Streams {
		for j := range h.units[i] {
			if u := &h.units[i][j]; !u.lost && h.oneIn(10) && s.Readable(u.in.Writer, u.in.Counter) {
				e.Losses.List = append(e.Losses.List, manifest.Loss{
					Stream: i, Start: u.start, Offsets: u.span.Offsets, Records: u.span.Records, MinTimestamp: u.span.MinTimestamp, MaxTimestamp: u.span.MaxTimestamp, Epoch: -1, In: u.in, Reason: "gone",
				})
				lost = append(lost, u)
			}
		}
	}
	if len(lost) == 0 {
		return nil, nil
	}
	return e, func() {
		for _, u := range lost {
			u.lost = true
		}
	}
}
