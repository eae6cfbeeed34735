package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// unit is a range of a stream that is moved as a whole.
type unit struct {
	start int64
	span  manifest.Span
	in    manifest.SegmentName
	lost  bool
}

func (u *unit) next() int64 { return u.start + u.span.Offsets }

// history draws what happens to a repository.
type history struct {
	*rand.Rand
	t     *testing.T
	st    store.Store
	repo  *manifest.Repository
	log   *manifest.Log
	now   time.Time
	units map[int][]unit // by stream
	next  uint64         // counter of the next segment
	calm  bool           // no points for a while
}

func newHistory(t *testing.T, seed uint64) *history {
	m := mem.New()
	h := &history{Rand: rand.New(rand.NewPCG(seed, 7)), t: t, st: m, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), units: make(map[int][]unit)}
	m.Now = func() time.Time { return h.now }
	var err error
	if h.repo, err = manifest.OpenOrCreate(t.Context(), m, "c", h.now); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	return h
}

func (h *history) reopen() {
	var err error
	if h.log, err = h.repo.OpenLog(h.t.Context(), func() time.Time { return h.now }); err != nil {
		h.t.Fatal(err)
	}
	h.next = 0
}

func (h *history) oneIn(n int) bool { return h.IntN(n) == 0 }

func (h *history) step() {
	if h.oneIn(60) {
		h.reopen()
	}
	if err := h.log.CatchUp(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.now = h.now.Add(time.Duration(h.IntN(600)) * time.Second)
	ref := h.snapshot()
	var commit func()
	_, err := h.log.Append(h.t.Context(), func(s *manifest.State) (e *manifest.Entry, err error) {
		switch {
		case h.oneIn(6) && s.Sequence > 5:
			e, commit = h.merge(s)
		case h.oneIn(25) && s.Sequence > 5:
			e, commit = h.lose(s)
		case h.oneIn(40) && s.Sequence > 5:
			e, commit = h.forge(s)
		default:
			e, commit = h.capture(s)
		}
		if e == nil {
			return nil, nil
		}
		e.Time, e.Snapshot = h.now.UnixMilli()-h.Int64N(30_000), ref
		if h.oneIn(9) {
			e.Agent = &manifest.Agent{Program: "x", Host: fmt.Sprint(h.IntN(3)), Principal: "p"}
		}
		return e, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if commit != nil {
		commit()
	}
}

// snapshot puts one now and then. Some of them no entry states, others are lost later.
func (h *history) snapshot() *manifest.SnapshotRef {
	if h.log.State().Sequence == 0 || !h.oneIn(9) {
		return nil
	}
	ref, err := h.log.PutSnapshot(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	if h.oneIn(7) {
		return nil
	}
	return ref
}

// loseSnapshots loses some of those that there are.
func (h *history) loseSnapshots() {
	err := h.st.List(h.t.Context(), manifest.SnapshotPrefix, func(info store.Info) error {
		if h.oneIn(6) {
			return h.st.Delete(h.t.Context(), info.Key)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// capture draws an entry of who captures, and what is to be noted once it is in the log.
func (h *history) capture(s *manifest.State) (*manifest.Entry, func()) {
	e := &manifest.Entry{}
	topics := h.topics(s, e)
	ends, starts := h.streams(s, e, topics)
	for range h.IntN(3) {
		e.Segments = append(e.Segments, h.segment())
	}
	fresh := make(map[int][]unit)
	for i := range len(s.Streams) + len(e.Streams) {
		topic := 0
		if i < len(s.Streams) {
			topic = s.Streams[i].Topic
		} else {
			topic = e.Streams[i-len(s.Streams)].Topic
		}
		if _, open := ends[i]; open && !h.oneIn(3) && (!topics[topic].Gone || h.oneIn(10)) {
			fresh[i] = h.data(e, i, ends)
			switch {
			case h.oneIn(5):
				e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: i, Offset: min(ends[i]+5, starts[i]+h.Int64N(60))})
			case h.oneIn(60), i >= len(s.Streams) && h.oneIn(3):
				e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: i, Offset: h.Int64N(starts[i] + 1)})
			}
		}
	}
	h.points(s, e, ends)
	return e, func() {
		for i, list := range fresh {
			h.units[i] = append(h.units[i], list...)
		}
	}
}

func (h *history) segment() manifest.Segment {
	h.next++
	return manifest.Segment{Counter: h.next - 1, Ref: segment.Ref{Size: 50 + h.Int64N(100)}}
}

// topics draws changes of topics, and returns all that there are then.
func (h *history) topics(s *manifest.State, e *manifest.Entry) []manifest.Topic {
	all := slices.Clone(s.Topics)
	busy := func(name string) bool {
		return slices.ContainsFunc(all, func(o manifest.Topic) bool { return o.Name == name && !o.Gone })
	}
	for n := range all {
		t := &all[n]
		if !h.oneIn(25) || t.Gone && busy(t.Name) {
			continue
		}
		if t.Gone = !t.Gone && h.oneIn(2); !t.Gone {
			t.Partitions++
		}
		e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: *t})
	}
	name := []string{"a", "b", "c", groupLog}[h.IntN(4)]
	if n := len(all); n < 9 && (n < 2 || h.oneIn(6)) && !busy(name) {
		t := manifest.Topic{ID: [16]byte{byte(n + 1)}, Name: name, Partitions: int32(1 + h.IntN(2))}
		policy, keep := "compact", strconv.Itoa(h.IntN(1e7))
		t.Configs = [][]manifest.Config{{{Name: "cleanup.policy", Value: &policy}}, {{Name: "retention.ms", Value: &keep}}, nil, nil}[h.IntN(4)]
		all = append(all, t)
		e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: t})
	}
	return all
}

// streams draws new ones and branches, and returns the positions and log starts of those that are open then.
func (h *history) streams(s *manifest.State, e *manifest.Entry, topics []manifest.Topic) (ends, starts map[int]int64) {
	ends, starts = make(map[int]int64), make(map[int]int64)
	for i := range s.Streams {
		if s.Streams[i].Child < 0 {
			ends[i], starts[i] = s.Streams[i].Next, s.Streams[i].LogStart
		}
	}
	add := func(n manifest.NewStream, start int64) {
		i := len(s.Streams) + len(e.Streams)
		ends[i], starts[i] = n.First, start
		e.Streams = append(e.Streams, n)
	}
	for n := range topics {
		for q := range topics[n].Partitions {
			i, known := s.Current(manifest.StreamKey{TopicID: topics[n].ID, Partition: q})
			switch {
			case !known && h.oneIn(2):
				first := h.Int64N(20)
				add(manifest.NewStream{Topic: n, Partition: q, Parent: -1, First: first}, first)
			case known && h.oneIn(30):
				st := &s.Streams[i]
				delete(ends, i)
				add(manifest.NewStream{Topic: n, Partition: q, Parent: i, First: st.First + h.Int64N(st.Next-st.First+1)}, st.LogStart)
			}
		}
	}
	return ends, starts
}

// data draws what a stream advances by.
func (h *history) data(e *manifest.Entry, stream int, ends map[int]int64) (list []unit) {
	r := manifest.Range{Stream: stream}
	for range h.IntN(3) {
		sp := manifest.Span{Offsets: 1 + h.Int64N(30)}
		if sp.Gap = len(e.Segments) == 0 || h.oneIn(8); !sp.Gap {
			sp.Segment, sp.Records = h.IntN(len(e.Segments)), sp.Offsets
			sp.MaxTimestamp = h.now.UnixMilli() - h.Int64N(100_000)
			sp.MinTimestamp = sp.MaxTimestamp
			list = append(list, unit{start: ends[stream], span: sp, in: manifest.SegmentName{Writer: h.log.Writer(), Counter: e.Segments[sp.Segment].Counter}})
		}
		r.Spans = append(r.Spans, sp)
		ends[stream] += sp.Offsets
	}
	if len(r.Spans) > 0 {
		e.Ranges = append(e.Ranges, r)
	}
	return list
}

func (h *history) points(s *manifest.State, e *manifest.Entry, ends map[int]int64) {
	for _, p := range s.Points {
		if h.oneIn(30) {
			e.PointChanges = append(e.PointChanges, manifest.PointChange{Point: p.Sequence, Pinned: !p.Pinned, Held: !p.Pinned && h.oneIn(2)})
		}
	}
	if h.oneIn(50) {
		h.calm = !h.calm
	}
	if h.calm || !h.oneIn(4) {
		return
	}
	if e.Point = (&manifest.Point{Time: h.now.UnixMilli()}); h.oneIn(9) {
		e.Point.Name = fmt.Sprint("p", s.Sequence)
	}
	for i := range len(s.Streams) + len(e.Streams) {
		if end := ends[i]; end > 0 && h.oneIn(6) {
			e.Point.Exceptions = append(e.Point.Exceptions, manifest.CutException{Stream: i, Behind: 1 + h.Int64N(min(end, 20))})
		}
	}
}
