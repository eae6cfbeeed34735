package metrics

import (
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// view are the numbers of a log.
type view struct {
	sequence uint64
	time     int64 // of the last entry, ms since 1970

	points         int
	newest, oldest manifest.PointRef

	segments, bytes, removedBytes int64
	verified                      []manifest.Verified

	topics map[string]*topicView // by name: those that are not gone
}

// topicView has the numbers of a topic, with all incarnations of its name.
type topicView struct {
	incarnations int
	records      int64
	gaps, lost   int
	gapOffsets   map[manifest.GapReason]int64
}

func viewOf(s *manifest.State) view {
	v := view{
		sequence: s.Sequence, time: s.Time,
		points: len(s.Points), segments: s.SegmentCount, bytes: s.SegmentBytes, removedBytes: s.RemovedBytes,
		verified: s.Verified[:], topics: topicsOf(s),
	}
	v.verified = append([]manifest.Verified(nil), v.verified...)
	if v.points > 0 {
		v.oldest, v.newest = s.Points[0], s.Points[v.points-1]
	}
	return v
}

func topicsOf(s *manifest.State) map[string]*topicView {
	topics := make(map[string]*topicView)
	for i := range s.Topics {
		if t := &s.Topics[i]; !t.Gone {
			topics[t.Name] = &topicView{gapOffsets: make(map[manifest.GapReason]int64)}
		}
	}
	for i := range s.Topics {
		if t := topics[s.Topics[i].Name]; t != nil {
			t.incarnations++
		}
	}
	of := func(stream int) *topicView { return topics[s.Topics[s.Streams[stream].Topic].Name] }
	for i := range s.Streams {
		if t := of(i); t != nil {
			t.records += s.Streams[i].Records
		}
	}
	for i := range s.Gaps {
		if t, g := of(s.Gaps[i].Stream), &s.Gaps[i]; t != nil {
			t.gaps++
			t.gapOffsets[g.Reason] += g.To - g.From
		}
	}
	for i := range s.Lost {
		if t := of(s.Lost[i].Stream); t != nil {
			t.lost++
		}
	}
	return topics
}
