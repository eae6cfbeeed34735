package source

import "github.com/offsite-kafka/offsite/internal/manifest"

// claims returns what the entry says that segment i holds.
func claims(state *manifest.State, e *manifest.Entry, i int) []stretch {
	var list []stretch
	for j := range e.Ranges {
		r := &e.Ranges[j]
		at := state.Start(r)
		last := len(r.Spans) - 1
		for last > 0 && r.Spans[last].Gap {
			last--
		}
		for n, sp := range r.Spans {
			if !sp.Gap && sp.Segment == i {
				w := claim(state, r.Stream, at, at+sp.Offsets, sp)
				if n == last {
					w.epoch = state.Streams[r.Stream].LeaderEpoch
				}
				list = append(list, w)
			}
			at += sp.Offsets
		}
	}
	if e.Moves == nil {
		return list
	}
	for _, m := range e.Moves.List {
		if m.Span.Segment == i {
			list = append(list, claim(state, m.Stream, m.Start, m.Next(), m.Span))
		}
	}
	return list
}

// claim is what the log says of a stream in a segment.
func claim(state *manifest.State, stream int, start, next int64, sp manifest.Span) stretch {
	t := &track{key: state.Key(stream), name: state.Topics[state.Streams[stream].Topic].Name}
	return stretch{branch{stream, start, next}, t, start, next, sp, epochUnstated}
}

// lostOf is all that a segment was to hold.
func lostOf(claims []stretch) []LostRange {
	list := make([]LostRange, len(claims))
	for i, w := range claims {
		list[i] = LostRange{w.track.name, w.track.key, w.start, w.next, []int{w.stream}}
	}
	return list
}
