package manifest_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"pgregory.net/rapid"
)

// lot is one that an entry may have, or nil.
func lot(t *rapid.T) *manifest.SegmentLot {
	set := segmentSet(t)
	if len(set) == 0 {
		return nil
	}
	return &manifest.SegmentLot{Segments: set, Bytes: offset(t)}
}

// counters are few, at both ends of what there is, so that runs touch and overlap.
func counters() *rapid.Generator[uint64] {
	return rapid.Custom(func(t *rapid.T) uint64 {
		c := rapid.Uint64Range(0, 9).Draw(t, "counter")
		if rapid.Bool().Draw(t, "from the end") {
			return math.MaxUint64 - c
		}
		return c
	})
}

func segmentSet(t *rapid.T) manifest.SegmentSet {
	s := make(manifest.SegmentSet)
	for range rapid.IntRange(0, 12).Draw(t, "segments") {
		s.Add(manifest.ID{byte(rapid.IntRange(0, 1).Draw(t, "writer"))}, counters().Draw(t, "counter"))
	}
	return s
}

type segmentName struct {
	writer  manifest.ID
	counter uint64
}

// names lists a set, and checks its form.
func names(t *rapid.T, s manifest.SegmentSet) map[segmentName]bool {
	list := make(map[segmentName]bool)
	for writer, runs := range s {
		if len(runs) == 0 {
			t.Fatalf("a writer without a run in %v", s)
		}
		for i, r := range runs {
			if r.First > r.Last || i > 0 && (runs[i-1].Last >= r.First-1 || r.First == 0) {
				t.Fatalf("runs are %v", runs)
			}
			for c := r.First; ; c++ {
				list[segmentName{writer, c}] = true
				if c == r.Last {
					break
				}
			}
		}
	}
	return list
}

// A set of runs does what a set of names does.
func TestSegmentSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := segmentSet(t), segmentSet(t)
		as, bs := names(t, a), names(t, b)
		inBoth, all, rest := make(map[segmentName]bool), make(map[segmentName]bool), make(map[segmentName]bool)
		for n := range as {
			all[n] = true
			if bs[n] {
				inBoth[n] = true
			} else {
				rest[n] = true
			}
		}
		for n := range bs {
			all[n] = true
			if a.Has(n.writer, n.counter) != as[n] {
				t.Fatalf("%v has %v: %v", a, n, !as[n])
			}
		}
		if got := a.Common(b); !reflect.DeepEqual(names(t, got), inBoth) {
			t.Fatalf("common of %v and %v: %v", a, b, got)
		}
		if a.Meets(b) != (len(inBoth) > 0) || a.Contains(b) != (len(inBoth) == len(bs)) || a.Count() != int64(len(as)) {
			t.Fatalf("%v and %v: meets %v, contains %v, count %d", a, b, a.Meets(b), a.Contains(b), a.Count())
		}
		less := a.Clone()
		less.RemoveAll(a.Common(b))
		if !reflect.DeepEqual(names(t, less), rest) {
			t.Fatalf("%v without %v: %v", a, b, less)
		}
		less.AddAll(b)
		if !reflect.DeepEqual(names(t, less), all) {
			t.Fatalf("%v and %v together: %v", a, b, less)
		}
		if !reflect.DeepEqual(names(t, a), as) {
			t.Fatalf("%v was changed to %v", as, a)
		}
	})
}

func TestRemovalBounds(t *testing.T) {
	w := func(b byte) []byte { return append([]byte{b}, make([]byte, 15)...) }
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"one", section(12, uv(1), w(1), uv(1, 0, 0, 5)), true},
		{"deleted", section(15, uv(1), w(1), uv(1, 0, 0, 5)), true},
		{"no writer", section(12, uv(0, 5)), false},
		{"no run", section(12, uv(1), w(1), uv(0, 5)), false},
		{"two writers", section(12, uv(2), w(1), uv(1, 0, 0), w(2), uv(1, 0, 0, 5)), true},
		{"a writer twice", section(12, uv(2), w(1), uv(1, 0, 0), w(1), uv(1, 5, 0, 5)), false},
		{"writers out of order", section(12, uv(2), w(2), uv(1, 0, 0), w(1), uv(1, 0, 0, 5)), false},
		{"all counters", section(12, uv(1), w(1), uv(1, 0, math.MaxUint64, 5)), true},
		{"beyond the last counter", section(12, uv(1), w(1), uv(1, 1, math.MaxUint64, 5)), false},
		{"up to the last counter", section(12, uv(1), w(1), uv(2, 0, 0, math.MaxUint64-2, 0, 5)), true},
		{"a run beyond the last counter", section(12, uv(1), w(1), uv(2, 0, 0, math.MaxUint64-1, 0, 5)), false},
		{"a run behind the last counter", section(12, uv(1), w(1), uv(2, 0, math.MaxUint64, 0, 0, 5)), false},
		{"most bytes", section(12, uv(1), w(1), uv(1, 0, 0, math.MaxInt64)), true},
		{"too many bytes", section(12, uv(1), w(1), uv(1, 0, 0, math.MaxInt64+1)), false},
		{"without bytes", section(12, uv(1), w(1), uv(1, 0, 0)), false},
		{"a fence", section(14, uv(1), w(1)), true},
		{"no fence", section(14, uv(0)), false},
		{"two fences", section(14, uv(2), w(1), w(2)), true},
		{"fences out of order", section(14, uv(2), w(2), w(1)), false},
		{"a fence twice", section(14, uv(2), w(1), w(1)), false},
		{"a fence cut short", section(14, uv(1), w(1)[:15]), false},
		{"left over", section(14, uv(1), w(1), []byte{0}), false},
	} {
		_, err := manifest.DecodeEntry(plain(tc.body))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

var writerA, writerB = manifest.ID{0xa}, manifest.ID{0xb}

func lotOf(bytes int64, writer manifest.ID, runs ...manifest.CounterRun) *manifest.SegmentLot {
	return &manifest.SegmentLot{Segments: manifest.SegmentSet{writer: runs}, Bytes: bytes}
}

// stored is a state with the segments 1 to 4 of writer A, of 100 bytes each, of
// which 1 and 2 are removed by entry 2; writer B is fenced.
func stored(t testing.TB) *manifest.State {
	s := manifest.NewState()
	e := manifest.Entry{Writer: writerA}
	for c := range uint64(4) {
		e.Segments = append(e.Segments, manifest.Segment{Counter: 1 + c, Ref: segment.Ref{Size: 100}})
	}
	follow(t, s, e)
	follow(t, s, manifest.Entry{Time: 7, Removed: lotOf(200, writerA, manifest.CounterRun{First: 1, Last: 2}), Fences: []manifest.ID{writerB}})
	return s
}

func TestCheckSegments(t *testing.T) {
	run := func(first, last uint64) manifest.CounterRun { return manifest.CounterRun{First: first, Last: last} }
	names := func(counters ...uint64) (list []manifest.Segment) {
		for _, c := range counters {
			list = append(list, manifest.Segment{Counter: c})
		}
		return list
	}
	for _, tc := range []struct {
		name  string
		entry manifest.Entry
		want  string // "" if it is allowed
	}{
		{"a segment", manifest.Entry{Writer: writerA, Segments: names(5, 6)}, ""},
		{"the same counter of another writer", manifest.Entry{Segments: names(1)}, ""},
		{"a segment again", manifest.Entry{Writer: writerA, Segments: names(4)}, "names data/0a000000000000000000000000000000/00000004 again"},
		{"a removed one again", manifest.Entry{Writer: writerA, Segments: names(1)}, "again"},
		{"one twice", manifest.Entry{Segments: names(7, 7)}, "again"},
		{"a fenced writer", manifest.Entry{Writer: writerB}, "was fenced by entry 2"},
		{"fence", manifest.Entry{Fences: []manifest.ID{{1}, writerA}}, ""},
		{"fence again", manifest.Entry{Fences: []manifest.ID{writerB}}, "is fenced"},
		{"fence oneself", manifest.Entry{Writer: writerA, Fences: []manifest.ID{writerA}}, "its own writer"},
		{"remove", manifest.Entry{Removed: lotOf(200, writerA, run(3, 4))}, ""},
		{"remove more bytes than there are", manifest.Entry{Removed: lotOf(201, writerA, run(3, 4))}, "removes segments"},
		{"remove again", manifest.Entry{Removed: lotOf(1, writerA, run(2, 3))}, "removes segments"},
		{"remove what is not there", manifest.Entry{Removed: lotOf(1, writerA, run(4, 5))}, "removes segments"},
		{"remove another writer's", manifest.Entry{Removed: lotOf(1, writerB, run(3, 3))}, "removes segments"},
		{"remove what the entry names", manifest.Entry{Writer: writerA, Segments: names(5), Removed: lotOf(0, writerA, run(5, 5))}, "removes segments"},
		{"delete", manifest.Entry{Deleted: lotOf(200, writerA, run(1, 2))}, ""},
		{"delete one", manifest.Entry{Deleted: lotOf(100, writerA, run(2, 2))}, ""},
		{"delete more bytes than are removed", manifest.Entry{Deleted: lotOf(201, writerA, run(2, 2))}, "deletes segments"},
		{"delete what is not removed", manifest.Entry{Deleted: lotOf(0, writerA, run(2, 3))}, "deletes segments"},
		{"remove and delete at once", manifest.Entry{Removed: lotOf(0, writerA, run(3, 3)), Deleted: lotOf(0, writerA, run(3, 3))}, "deletes segments"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := stored(t)
			tc.entry.Sequence, tc.entry.Previous = s.Sequence+1, s.Head
			err := s.Check(&tc.entry)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
			if !reflect.DeepEqual(s, stored(t)) {
				t.Error("check has changed the state")
			}
		})
	}
}

func TestApplyRemovals(t *testing.T) {
	s := stored(t)
	if s.SegmentCount != 2 || s.SegmentBytes != 200 || s.RemovedBytes != 200 || len(s.Removals) != 1 || s.Removals[0].Time != 7 {
		t.Errorf("%d segments of %d bytes, %d removed: %v", s.SegmentCount, s.SegmentBytes, s.RemovedBytes, s.Removals)
	}
	if s.Readable(writerA, 2) || !s.Readable(writerA, 3) || s.Readable(writerA, 5) || !reflect.DeepEqual(s.Pending(), s.Removals[0].Segments) {
		t.Error("what may be read is wrong")
	}
	removed := lotOf(100, writerA, manifest.CounterRun{First: 4, Last: 4})
	follow(t, s, manifest.Entry{Removed: removed, Deleted: lotOf(100, writerA, manifest.CounterRun{First: 2, Last: 2})})
	follow(t, s, manifest.Entry{Deleted: lotOf(100, writerA, manifest.CounterRun{First: 1, Last: 1})})
	want := manifest.SegmentSet{writerA: {{First: 3, Last: 4}}}
	if !reflect.DeepEqual(s.Segments, want) || len(s.Removals) != 1 || s.Removals[0].Sequence != 3 || s.RemovedBytes != 100 || s.SegmentCount != 1 {
		t.Errorf("segments are %v, removals %v, %d bytes of them", s.Segments, s.Removals, s.RemovedBytes)
	}
	follow(t, s, manifest.Entry{Deleted: lotOf(100, writerA, manifest.CounterRun{First: 4, Last: 4})})
	if s.Readable(writerA, 4) || len(s.Removals) != 0 || !reflect.DeepEqual(removed, lotOf(100, writerA, manifest.CounterRun{First: 4, Last: 4})) {
		t.Errorf("removals are %v, and the entry's own %v", s.Removals, removed)
	}
}

// Whoever looks after a repository is not who captures into it.
func TestTendingLeavesTheAgentAlone(t *testing.T) {
	s := manifest.NewState()
	follow(t, s, manifest.Entry{Writer: writerA, Agent: &manifest.Agent{Program: "backupd run"}, Point: &manifest.Point{}})
	follow(t, s, manifest.Entry{Writer: writerB, Agent: &manifest.Agent{Program: "backupd prune"}, PointChanges: []manifest.PointChange{{Point: 1, Held: true}}})
	if s.Agent.Program != "backupd run" || s.Capturer != writerA || !s.Points[0].Held {
		t.Errorf("agent is %v, writer %s, points %v", s.Agent, s.Capturer, s.Points)
	}
}

// A fenced writer learns it from its next append, before it puts anything, and
// nobody else does.
func TestAppendOfAFencedWriter(t *testing.T) {
	repo := begin(t, mem.New(), 1)
	a, b := openLog(t, repo), openLog(t, repo)
	_, err := b.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Fences: []manifest.ID{a.Writer()}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.Append(t.Context(), extend(0, 0, 5)); !errors.Is(err, manifest.ErrSwept) || !errors.Is(err, manifest.ErrFenced) {
			t.Errorf("the fenced writer: %v", err)
		}
	}
	if _, err := b.Append(t.Context(), extend(0, 0, 5)); err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestHoldPoint(t *testing.T) {
	repo := begin(t, mem.New(), 1)
	log := openLog(t, repo)
	point, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Point: &manifest.Point{Name: "a"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	find := byID(point.Sequence)
	for _, step := range []struct {
		do           func(*manifest.Log) (manifest.PointRef, error)
		pinned, held bool
	}{
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.HoldPoint(t.Context(), find, true) }, false, true},
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.PinPoint(t.Context(), find, true) }, true, true},
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.HoldPoint(t.Context(), find, false) }, true, false},
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.HoldPoint(t.Context(), find, true) }, true, true},
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.PinPoint(t.Context(), find, false) }, false, true},
		{func(l *manifest.Log) (manifest.PointRef, error) { return l.HoldPoint(t.Context(), find, true) }, false, true},
	} {
		p, err := step.do(log)
		if err != nil || p.Pinned != step.pinned || p.Held != step.held || log.State().Points[0] != p {
			t.Fatalf("got %+v, %v, want %+v", p, err, step)
		}
	}
	if _, err := log.DeletePoint(t.Context(), find); !errors.Is(err, manifest.ErrHeld) {
		t.Errorf("delete: %v", err)
	}
}
