package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// What looks like a time, and is none, is told with what may be meant.
func TestParseTimeAdvice(t *testing.T) {
	for text, want := range map[string]string{"2h": `"-2h"`, "-1": `"-2h"`, "-1000000000000": "RFC 3339", "1763649000": "1763649000000", "yesterday": "RFC 3339"} {
		if _, err := ParseTime(text, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-20T14:30:00Z":           "2026-11-20T14:30:00Z",
		"2026-11-20T14:30:00.25Z":        "2026-11-20T14:30:00.25Z",
		"2026-11-20T14:30:00+02:00":      "2026-11-20T12:30:00Z",
		"2026-11-20T14:30:00":            "2026-11-20T14:30:00Z",
		"2026-11-20 14:30:00":            "2026-11-20T14:30:00Z",
		"2026-11-20T14:30":               "2026-11-20T14:30:00Z",
		"2026-11-20 14:30":               "2026-11-20T14:30:00Z",
		"2026-11-20":                     "2026-11-20T00:00:00Z",
		"1763649000000":                  "2025-11-20T14:30:00Z",
		"-2h":                            "2026-11-22T10:00:00Z",
		"-1h30m":                         "2026-11-22T10:30:00Z",
		"-250ms":                         "2026-11-22T11:59:59.75Z",
		"":                               "",
		"-":                              "",
		"-2":                             "",
		"-2d":                            "",
		"2h":                             "",
		"yesterday":                      "",
		"12345":                          "", // too short for milliseconds: it would be a point
		"1763649000000x":                 "",
		"+1763649000000":                 "",
		"01763649000000":                 "",
		"2026-13-01":                     "",
		"2026-02-30T00:00:00Z":           "",
		"2026-11-20T14:30:00Z ":          "",
		"9223372036854775808":            "",
		"1763649000000 or so":            "",
		"2026-11-20T14:30:00+02:00[CET]": "",
	} {
		got, err := ParseTime(text, now)
		if (err == nil) != (want != "") || err == nil && got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestFindPoint(t *testing.T) {
	at := func(seq uint64, minute int, name string) manifest.PointRef {
		return manifest.PointRef{Sequence: seq, Time: now.Add(time.Duration(minute) * time.Minute).UnixMilli(), Name: name}
	}
	points := []manifest.PointRef{at(3, -30, ""), at(7, -20, "evening"), at(9, -20, ""), at(12, -10, "nightly"), at(14, -13, "one"), at(15, -12, "")}
	for text, want := range map[string]uint64{
		"": 15, "latest": 15, "3": 3, "12": 12, "nightly": 12, "-20m": 9, "-19m": 9, "-29m": 3, "-11m": 15, "-1m": 15,
		"2026-11-22T11:30:00Z": 3, "2026-11-22T11:29:59Z": 0, "2020-01-01": 0, "4": 0, "16": 0, "Nightly": 0, "0": 0, "03": 0,
	} {
		got, err := findPoint(points, text, now)
		if got.Sequence != want || (err == nil) != (want > 0) || err != nil && !errors.Is(err, ErrNoPoint) {
			t.Errorf("%q is point %d, %v, want %d", text, got.Sequence, err, want)
		}
	}
	if p, err := NamedPoint(points, "latest"); err != nil || p.Sequence != 15 {
		t.Errorf("the latest is %v, %v", p, err)
	}
	if _, err := findPoint(points, "nope", now); err == nil || strings.Contains(err.Error(), "did you mean") {
		t.Errorf("nope: %v", err)
	}
	if _, err := findPoint(nil, "latest", now); !errors.Is(err, ErrNoPoint) {
		t.Errorf("without points: %v", err)
	}
	for text, want := range map[string]string{
		"junk": "from 3 to 15", "nighty": "did you mean nightly? the ids", "Nightly": "did you mean nightly?", "nig": "nightly", "2026-11-20": "the window goes from point 3 of 2026-11-22T11:30:00.000Z to point 15 of 2026-11-22T11:48:00.000Z",
	} {
		if _, err := findPoint(points, text, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error does not help: %v", text, err)
		}
	}
}

// author writes a repository by hand.
type author struct {
	t       testing.TB
	repo    *manifest.Repository
	log     *manifest.Log
	counter uint64
}

func newAuthor(t testing.TB) *author {
	t.Helper()
	return newAuthorIn(t, mem.New())
}

func newAuthorIn(t testing.TB, st store.Store) *author {
	t.Helper()
	repo, err := manifest.OpenOrCreate(context.Background(), st, "source", firstTime)
	if err != nil {
		t.Fatal(err)
	}
	log, err := repo.OpenLog(context.Background(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &author{t: t, repo: repo, log: log}
}

// written is one block for a stream of the log.
type written struct {
	stream int
	start  int64
	specs  []spec
}

// commit appends an entry with one segment of the given blocks, and their ranges.
func (a *author) commit(e manifest.Entry, blocks ...written) {
	a.t.Helper()
	_, err := a.log.Append(context.Background(), func(s *manifest.State) (*manifest.Entry, error) {
		if len(blocks) > 0 {
			e.Segments = []manifest.Segment{a.segment(s, &e, blocks)}
		}
		return &e, nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *author) segment(s *manifest.State, e *manifest.Entry, blocks []written) manifest.Segment {
	a.t.Helper()
	var buf bytes.Buffer
	w, err := segment.NewWriter(&buf)
	if err != nil {
		a.t.Fatal(err)
	}
	enc, err := segment.NewEncoder(zstd.SpeedFastest)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, b := range blocks {
		raw, k := block(b.start, b.specs...)
		stored, err := enc.Encode(k, raw, true)
		if err != nil {
			a.t.Fatal(err)
		}
		if err := w.WriteBlock(a.streamName(s, e, b.stream), *k, stored); err != nil {
			a.t.Fatal(err)
		}
		var span manifest.Span
		span.Join(k.Summary)
		if n := len(e.Ranges); n > 0 && e.Ranges[n-1].Stream == b.stream {
			e.Ranges[n-1].Spans = append(e.Ranges[n-1].Spans, span)
		} else {
			known := b.stream < len(s.Streams) && s.Streams[b.stream].LeaderEpoch == k.LeaderEpoch
			e.Ranges = append(e.Ranges, manifest.Range{Stream: b.stream, LeaderEpoch: k.LeaderEpoch, EpochGiven: !known, Spans: []manifest.Span{span}})
		}
	}
	ref, _, err := w.Finish()
	if err != nil {
		a.t.Fatal(err)
	}
	a.counter++
	key := manifest.SegmentKey(a.log.Writer(), a.counter)
	if _, err := a.repo.Store().Put(context.Background(), key, &buf, store.PutOptions{}); err != nil {
		a.t.Fatal(err)
	}
	return manifest.Segment{Counter: a.counter, Ref: ref}
}

// streamName finds the name of a stream, which may be new in the entry.
func (a *author) streamName(s *manifest.State, e *manifest.Entry, stream int) segment.Stream {
	var topic int
	var partition int32
	if stream < len(s.Streams) {
		topic, partition = s.Streams[stream].Topic, s.Streams[stream].Partition
	} else {
		n := e.Streams[stream-len(s.Streams)]
		topic, partition = n.Topic, n.Partition
	}
	for _, t := range e.Topics {
		if t.Number == topic {
			return segment.Stream{TopicID: t.ID, Topic: t.Name, Partition: partition}
		}
	}
	return segment.Stream{TopicID: s.Topics[topic].ID, Topic: s.Topics[topic].Name, Partition: partition}
}

func topicNamed(number int, name string, gone bool, partitions int32) manifest.TopicChange {
	return manifest.TopicChange{Number: number, Topic: manifest.Topic{ID: [16]byte{byte(number + 1)}, Name: name, Gone: gone, Partitions: partitions, ReplicationFactor: 1}}
}

func point() *manifest.Point { return &manifest.Point{Time: now.UnixMilli()} }

// replay replays the newest point and returns the offsets of the source of the
// records of each partition, which are told by their keys.
func (a *author) replay() (map[string][]string, *Plan) {
	a.t.Helper()
	snap, err := Load(context.Background(), a.repo, "latest", now)
	if err != nil {
		a.t.Fatal(err)
	}
	plan, err := snap.Plan(context.Background(), nil, Request{}, now)
	if err != nil {
		a.t.Fatal(err)
	}
	got, err := replayed(context.Background(), a.repo.Store())
	if err != nil {
		a.t.Fatal(err)
	}
	return got, plan
}

// expect compares with the given records of batches.
func (a *author) expect(got map[string][]string, place string, want ...spec) {
	a.t.Helper()
	var list []string
	for _, s := range want {
		for _, d := range s.deltas() {
			list = append(list, s.identity(s.base+int64(d)))
		}
	}
	if !reflect.DeepEqual(append([]string{}, got[place]...), append([]string{}, list...)) {
		a.t.Errorf("%s holds\n%s\nwant\n%s", place, strings.Join(got[place], "\n"), strings.Join(list, "\n"))
	}
}

func (a *author) sound() {
	a.t.Helper()
	a.soundBy(nil)
}

// soundBy does so where the rules of the retention do not keep all points for all topics.
func (a *author) soundBy(keeping func([]manifest.PointRef) Keeping) {
	a.t.Helper()
	report, err := Verify(context.Background(), a.repo, Scope{Level: manifest.LevelDecode, Keeping: keeping}, nil)
	if err != nil || len(report.Damages) > 0 {
		a.t.Errorf("verify: %+v, %v", report, err)
	}
}

// TestBranch: offsets that an unclean leader election rewrote come from the
// branch, what is below from the parent; also where batches straddle the fork.
func TestBranch(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}},
		written{0, 0, []spec{{last: 3}, {base: 4, last: 5}}})
	a.commit(manifest.Entry{Streams: []manifest.NewStream{{Parent: 0, First: 6}}, Point: point()},
		written{1, 6, []spec{{base: 6, last: 1, size: 50}, {base: 8, last: 4, size: 50}}})
	a.sound()
	got, plan := a.replay()
	a.expect(got, "orders-0", spec{last: 3}, spec{base: 4, last: 1}, spec{base: 6, last: 1, size: 50}, spec{base: 8, last: 4, size: 50})
	if tr := plan.tracks[0]; tr.lo != 0 || tr.hi != 13 || !reflect.DeepEqual(tr.branches, []branch{{0, 0, 6}, {1, 6, 13}}) {
		t.Errorf("track is %+v", tr)
	}

	// A branch of the branch that goes back further takes all of it.
	a.commit(manifest.Entry{Streams: []manifest.NewStream{{Parent: 1, First: 4}}, Point: point()}, written{2, 4, []spec{{base: 4, last: 2, size: 70}}})
	a.sound()
	got, plan = a.replay()
	a.expect(got, "orders-0", spec{last: 3}, spec{base: 4, last: 2, size: 70})
	if tr := plan.tracks[0]; tr.hi != 7 || !reflect.DeepEqual(tr.branches, []branch{{0, 0, 4}, {2, 4, 7}}) {
		t.Errorf("track is %+v", tr)
	}
	// The point before it is as it was.
	snap, err := Load(t.Context(), a.repo, "2", now)
	if err != nil {
		t.Fatal(err)
	}
	if tr := snap.track(1); tr.hi != 13 || len(tr.branches) != 2 {
		t.Errorf("track at the earlier point is %+v", tr)
	}
}

// TestTracks: what a point says of a stream.
func TestTracks(t *testing.T) {
	streams := []manifest.Stream{
		{Parent: -1, Child: 1, First: 10, Next: 50, LogStart: 10},
		{Parent: 0, Child: -1, First: 30, Next: 60, LogStart: 10},
	}
	for _, tc := range []struct {
		name     string
		logStart int64
		cut      int64 // of stream 1, -1 for none
		lo, hi   int64
		branches []branch
	}{
		{"as it is", 10, -1, 10, 60, []branch{{0, 10, 30}, {1, 30, 60}}},
		{"trimmed", 20, -1, 20, 60, []branch{{0, 20, 30}, {1, 30, 60}}},
		{"trimmed below the first offset", 5, -1, 10, 60, []branch{{0, 10, 30}, {1, 30, 60}}},
		{"cut", 10, 40, 10, 40, []branch{{0, 10, 30}, {1, 30, 40}}},
		{"cut at the fork", 10, 30, 10, 30, []branch{{0, 10, 30}}},
		{"cut below the fork", 10, 25, 10, 25, []branch{{0, 10, 25}}},
		{"cut at the beginning", 10, 10, 10, 10, nil},
		{"trimmed beyond the cut", 45, 40, 40, 40, nil},
		{"trimmed to its end", 60, -1, 60, 60, nil},
	} {
		s := &Snapshot{State: &manifest.State{Streams: append([]manifest.Stream{}, streams...)}, cut: map[int]int64{}}
		s.State.Streams[1].LogStart = tc.logStart
		if tc.cut >= 0 {
			s.cut[1] = tc.cut
		}
		tr := s.track(1)
		var branches []branch // those that hold something
		for _, b := range tr.branches {
			if b.lo < b.hi {
				branches = append(branches, b)
			}
		}
		if tr.lo != tc.lo || tr.hi != tc.hi || !reflect.DeepEqual(branches, tc.branches) {
			t.Errorf("%s: got [%d,%d) %v, want [%d,%d) %v", tc.name, tr.lo, tr.hi, tr.branches, tc.lo, tc.hi, tc.branches)
		}
	}
}

// TestTrimsGapsAndCuts replays a stream with all of them.
func TestTrimsGapsAndCuts(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 2)}, Streams: []manifest.NewStream{{Parent: -1, First: 2}}},
		written{0, 2, []spec{{base: 2, last: 3}}}) // [2,6)
	a.commit(manifest.Entry{Ranges: []manifest.Range{{Stream: 0, Spans: []manifest.Span{{Gap: true, Reason: manifest.GapEmpty, Offsets: 4}}}}}) // [6,10)
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 0, Offset: 4}}, Point: &manifest.Point{Name: "p", Time: now.UnixMilli(), Exceptions: []manifest.CutException{{Stream: 0, Behind: 3}}}},
		written{0, 10, []spec{{base: 10, last: 4}, {base: 15, last: 1}}}) // [10,17), cut at 14
	a.sound()
	got, plan := a.replay()
	a.expect(got, "orders-0", spec{base: 4, last: 1}, spec{base: 10, last: 3})
	if want := []GapNote{{"orders", 0, 6, 10, manifest.GapEmpty.String()}}; !reflect.DeepEqual(plan.Gaps, want) {
		t.Errorf("gaps are %+v", plan.Gaps)
	}
	if !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "orders-0: offsets [6,10)") }) {
		t.Errorf("notes are %q", plan.Notes)
	}
	if len(plan.tracks) != 1 {
		t.Errorf("%d tracks: a partition that was never seen has none", len(plan.tracks))
	}
}

// TestLogAndFooterDisagree: each is intact, and yet they do not say the same.
func TestLogAndFooterDisagree(t *testing.T) {
	specs := []spec{{last: 4}}
	for name, lie := range map[string]func(e *manifest.Entry){
		"fewer offsets":   func(e *manifest.Entry) { e.Ranges[0].Spans[0].Offsets-- },
		"more offsets":    func(e *manifest.Entry) { e.Ranges[0].Spans[0].Offsets++ },
		"fewer records":   func(e *manifest.Entry) { e.Ranges[0].Spans[0].Records-- },
		"a later end":     func(e *manifest.Entry) { e.Ranges[0].Spans[0].MaxTimestamp++ },
		"a later begin":   func(e *manifest.Entry) { e.Ranges[0].Spans[0].MinTimestamp++ },
		"another epoch":   func(e *manifest.Entry) { e.Ranges[0].LeaderEpoch++ },
		"no epoch":        func(e *manifest.Entry) { e.Ranges[0].EpochGiven = false },
		"another stream":  func(e *manifest.Entry) { e.Ranges[0].Stream = 1 },
		"a later start":   func(e *manifest.Entry) { e.Streams[0].First++ },
		"another counter": func(e *manifest.Entry) { e.Segments[0].Counter++ },
		"two spans": func(e *manifest.Entry) {
			s := e.Ranges[0].Spans[0]
			s.Offsets, s.Records = 2, 2
			e.Ranges[0].Spans = []manifest.Span{s, {Offsets: 3, Records: 3, MinTimestamp: s.MinTimestamp, MaxTimestamp: s.MaxTimestamp}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthor(t)
			_, err := a.log.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
				e := manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 2)}, Streams: []manifest.NewStream{{Parent: -1}, {Partition: 1, Parent: -1}}, Point: point()}
				e.Segments = []manifest.Segment{a.segment(s, &e, []written{{0, 0, specs}})}
				lie(&e)
				return &e, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			report, err := Verify(t.Context(), a.repo, Scope{Level: manifest.LevelDecode}, nil)
			if err != nil || len(report.Damages) != 1 {
				t.Errorf("verify: %+v, %v", report, err)
			}
			// What a leader epoch is, no record depends on.
			harmless := strings.HasSuffix(name, "epoch")
			if _, err := replayed(t.Context(), a.repo.Store()); errors.Is(err, manifest.ErrDamaged) == harmless {
				t.Errorf("replay: %v", err)
			}
		})
	}
}

// incarnations is a repository in which orders was deleted and created twice.
func incarnations(t testing.TB) *author {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "bills", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()},
		written{0, 0, []spec{{last: 1}}})
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", true, 1), topicNamed(2, "orders", false, 1)}, Streams: []manifest.NewStream{{Topic: 2, Parent: -1}}, Point: point()},
		written{1, 0, []spec{{last: 2}}})
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(1, "bills", true, 1)}, Point: point()})
	return a
}

func TestSelect(t *testing.T) {
	a := incarnations(t)
	second := kafka.TopicID([16]byte{3}).String()
	for _, tc := range []struct {
		at       string
		patterns []string
		want     []string // labels
		err      string
	}{
		{"latest", nil, []string{"orders@2"}, ""},
		{"1", nil, []string{"bills@1", "orders@1"}, ""},
		{"2", nil, []string{"bills@1", "orders@2"}, ""},
		{"latest", []string{"*"}, []string{"orders@2"}, ""},
		{"latest", []string{"orders"}, []string{"orders@2"}, ""},
		{"latest", []string{"orders@1"}, []string{"orders@1"}, ""},
		{"latest", []string{"orders@" + second}, []string{"orders@2"}, ""},
		{"latest", []string{"orders@1", "orders"}, []string{"orders@1", "orders@2"}, ""},
		{"latest", []string{"orders@2", "orders"}, []string{"orders@2"}, ""},
		{"latest", []string{"bills@1"}, []string{"bills@1"}, ""},
		{"latest", []string{"x*"}, nil, ""},
		{"2", []string{"!bills"}, []string{"orders@2"}, ""},
		{"latest", []string{"bills"}, nil, "was gone at this point; select bills@1"},
		{"latest", []string{"orders@3"}, nil, "no incarnation orders@3"},
		{"latest", []string{"orders@"}, nil, "no incarnation"},
		{"latest", []string{"nothing"}, nil, "no topic nothing"},
		{"latest", []string{"/[/"}, nil, "pattern"},
	} {
		t.Run(fmt.Sprint(tc.at, tc.patterns), func(t *testing.T) {
			snap, err := Load(t.Context(), a.repo, tc.at, now)
			if err != nil {
				t.Fatal(err)
			}
			chosen, err := snap.Select(tc.patterns)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || tc.err != "pattern" && !errors.Is(err, ErrNothing) {
					t.Errorf("got %v, want it to say %q", err, tc.err)
				}
				return
			}
			var got []string
			for _, i := range chosen {
				got = append(got, i.Label())
			}
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

// Both incarnations can come back side by side.
func TestReplayOfIncarnations(t *testing.T) {
	a := incarnations(t)
	a.sound()
	snap, err := Load(t.Context(), a.repo, "latest", now)
	if err != nil {
		t.Fatal(err)
	}
	req := Request{Topics: []string{"orders@1", "orders"}}
	plan, err := snap.Plan(t.Context(), nil, req, now)
	if err != nil || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "--rename orders@2=NEW") {
		t.Fatalf("both to one name: %+v, %v", plan.Refusals, err)
	}
	req.Rename = map[string]string{"orders@1": "old"}
	if plan, err = snap.Plan(t.Context(), nil, req, now); err != nil || len(plan.Refusals) != 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if plan.Topics[0].Target != "old" || plan.Topics[0].Records != 2 || plan.Topics[1].Target != "orders" || plan.Topics[1].Records != 3 {
		t.Errorf("got %+v and %+v", plan.Topics[0], plan.Topics[1])
	}
}

func TestLoadRefuses(t *testing.T) {
	a := incarnations(t)
	a.commit(manifest.Entry{Agent: &manifest.Agent{Program: "no point"}})
	if _, err := LoadPoint(t.Context(), a.repo, 4); !errors.Is(err, ErrNoPoint) {
		t.Errorf("an entry without a point: %v", err)
	}
	if _, err := LoadPoint(t.Context(), a.repo, 9); err == nil {
		t.Error("an entry that is not there")
	}
	snap, err := Load(t.Context(), a.repo, "latest", now)
	if err != nil || snap.Point.Sequence != 3 || snap.State.Sequence != 3 {
		t.Errorf("got %+v, %v", snap, err)
	}
	if _, err := Load(t.Context(), newAuthor(t).repo, "latest", now); !errors.Is(err, ErrNoPoint) {
		t.Errorf("an empty repository: %v", err)
	}
}

func TestContent(t *testing.T) {
	a := incarnations(t)
	a.commit(manifest.Entry{Groups: []manifest.GroupChange{{ID: "g", Type: "classic", Offsets: []manifest.OffsetChange{{Topic: "orders", Committed: true, Offset: 2, Metadata: "m"}}}}, Point: point()})
	snap, err := Load(t.Context(), a.repo, "latest", now)
	if err != nil {
		t.Fatal(err)
	}
	c := snap.Content()
	var got []string
	for _, topic := range c.Topics {
		got = append(got, fmt.Sprintf("%s@%d gone=%v %v", topic.Topic, topic.Incarnation, topic.Gone, topic.Partitions))
	}
	want := []string{"bills@1 gone=true [{0 0 0}]", "orders@1 gone=true [{0 0 2}]", "orders@2 gone=false [{0 0 3}]"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("topics are %q, want %q", got, want)
	}
	if c.Point != 4 || len(c.Groups) != 1 || c.Groups[0].Group != "g" || c.Groups[0].Offsets[0] != (OffsetContent{"orders", 0, 2, "m"}) {
		t.Errorf("got %+v", c)
	}
}
