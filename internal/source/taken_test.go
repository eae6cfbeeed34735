package source

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/retention"
)

// threeTimes captures orders and bills three times, with a point each time.
func threeTimes(t *testing.T) *author {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "bills", false, 1)},
		Streams: []manifest.NewStream{{Topic: 0, Parent: -1}, {Topic: 1, Parent: -1}}}, written{1, 0, []spec{{last: 3}}})
	for n := range int64(3) {
		a.commit(manifest.Entry{Point: point()}, written{0, 4 * n, []spec{{base: 4 * n, last: 3}}})
	}
	return a
}

// remove appends an entry that removes the segments that some entries name.
func remove(t *testing.T, a *author, entries ...uint64) {
	t.Helper()
	lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	if _, err := a.repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for _, n := range entries {
			if e.Sequence == n {
				lot.Segments.Add(e.Writer, e.Segments[0].Counter)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	thief, err := a.repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Time: firstTime.UnixMilli(), Removed: lot}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// An entry that removes what points need is damage at each level, whoever wrote it: what it costs is named, and how to
// get it back as long as that is possible.
func TestVerifyFindsWrongRemovals(t *testing.T) {
	a := threeTimes(t)
	remove(t, a, 3)
	for level := manifest.LevelIndex; level <= manifest.LevelDecode; level++ {
		report, err := Verify(t.Context(), a.repo, Scope{Level: level, Share: 1}, nil)
		if err != nil || len(report.Damages) != 1 {
			t.Fatalf("level %s: %+v, %v", level, report, err)
		}
		d := &report.Damages[0]
		if d.Key != manifest.LogKey(5) || len(d.Lost) != 1 || d.Lost[0].String() != "orders-0 [4,8)" {
			t.Errorf("level %s: %+v", level, d)
		}
		for _, want := range []string{Clock(firstTime.UnixMilli()), "1 segment", "2 recovery points", "from 3 to 4", "still there", "--log-until 4"} {
			if !strings.Contains(d.Reason, want) {
				t.Errorf("level %s: %q does not say %q", level, d.Reason, want)
			}
		}
		if r := report.Restorable; len(r) != 2 || r[0].Count != 1 || len(r[0].Topics) > 0 || r[1].First.Sequence != 3 || fmt.Sprint(r[1].Topics) != "[orders]" {
			t.Errorf("level %s: restorable is %+v", level, r)
		}
	}
	key := ""
	if _, err := a.repo.Read(t.Context(), 3, func(_ *manifest.State, e *manifest.Entry) error {
		key = manifest.SegmentKey(e.Writer, e.Segments[0].Counter)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.repo.Store().Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), a.repo, Scope{}, nil)
	if err != nil || len(report.Damages) != 1 || !strings.Contains(report.Damages[0].Reason, "deleted by now") {
		t.Errorf("%+v, %v", report, err)
	}
}

// Whoever drops the points that need it hides no removal: the newest point that there ever was, and what came after it, is never
// removed by the rules.
func TestVerifyFindsRemovalsWithoutPoints(t *testing.T) {
	for name, test := range map[string]struct {
		drop   []uint64
		remove []uint64
		lost   string
		words  string
	}{
		"all points":                 {[]uint64{2, 3, 4}, []uint64{1, 2, 3, 4}, "[bills-0 [0,4) orders-0 [0,12)]", "the newest that the log ever had"},
		"the newest":                 {[]uint64{4}, []uint64{4}, "[orders-0 [8,12)]", "recovery point 4, the newest"},
		"what came after the newest": {nil, []uint64{5}, "[orders-0 [12,16)]", "recovery point 4, the newest"},
	} {
		a := threeTimes(t)
		a.commit(manifest.Entry{}, written{0, 12, []spec{{base: 12, last: 3}}})
		dropped := manifest.Entry{Time: firstTime.UnixMilli()}
		for _, id := range test.drop {
			dropped.PointChanges = append(dropped.PointChanges, manifest.PointChange{Point: id, Deleted: true})
		}
		if len(test.drop) > 0 {
			a.commit(dropped)
		}
		remove(t, a, test.remove...)
		report, err := Verify(t.Context(), a.repo, Scope{}, nil)
		if err != nil || len(report.Damages) != 1 || fmt.Sprint(report.Damages[0].Lost) != test.lost {
			t.Errorf("%s: %+v, %v", name, report.Damages, err)
			continue
		}
		until := fmt.Sprintf("all of the objects are still there, and --log-until %d reads them", report.Entries-1)
		if d := report.Damages[0]; d.Key != manifest.LogKey(report.Entries) || !strings.Contains(d.Reason, test.words) || !strings.Contains(d.Reason, until) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}, written{0, 0, []spec{{last: 3}}})
	remove(t, a, 1)
	report, err := Verify(t.Context(), a.repo, Scope{}, nil)
	if err != nil || len(report.Damages) != 1 || !strings.Contains(report.Damages[0].Reason, "before there is a recovery point") {
		t.Errorf("before the first point: %+v, %v", report.Damages, err)
	}
}

// What prune keeps of the log of groups is not removed in good order; what it removes is.
func TestVerifyFindsRemovalsFromTheLogOfGroups(t *testing.T) {
	policy := retention.Policy{Rules: retention.Rules{Window: 150 * time.Minute}}
	scope := Scope{LogNeeds: func(newest manifest.PointRef) LogNeeds { return policy.GroupLog(newest, now) }}
	made := func() *author {
		a := newAuthor(t)
		e := manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, kafka.GroupLogTopic, false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}
		for n := range int64(6) { // a point each hour, the last one now
			e.Time, e.Point = hoursAgo(int(5-n)), &manifest.Point{Time: hoursAgo(int(5 - n))}
			a.commit(e, written{0, 4 * n, []spec{{base: 4 * n, last: 3}}})
			e = manifest.Entry{}
		}
		return a
	}
	a := made()
	p := &retention.Pruner{Repository: a.repo, Policy: policy, MaxShare: 1, Grace: time.Hour, Now: func() time.Time { return now }}
	pruned, err := p.Prune(t.Context())
	must(t, err)
	kept := pruned.Stored.Segments - pruned.Removed.Segments
	if pruned.Removed.Segments == 0 || kept < 3 {
		t.Fatalf("pruned %+v: the test tests nothing", pruned)
	}
	if report, err := Verify(t.Context(), a.repo, scope, nil); err != nil || len(report.Damages) > 0 {
		t.Errorf("what prune removed: %+v, %v", report.Damages, err)
	}
	if report, err := Verify(t.Context(), a.repo, Scope{LogNeeds: func(newest manifest.PointRef) LogNeeds { return new(retention.Policy).GroupLog(newest, now) }}, nil); err != nil || len(report.Damages) > 0 {
		t.Errorf("without the rules: %+v, %v", report.Damages, err)
	}
	for n := uint64(pruned.Removed.Segments) + 1; n <= 6; n++ {
		a := made()
		remove(t, a, n)
		report, err := Verify(t.Context(), a.repo, scope, nil)
		if want := fmt.Sprintf("[__consumer_offsets-0 [%d,%d)]", 4*(n-1), 4*n); err != nil || len(report.Damages) != 1 || fmt.Sprint(report.Damages[0].Lost) != want ||
			!strings.Contains(report.Damages[0].Reason, "group offsets as of a time between points are told from: all of the objects are still there, and --log-until 6 reads them") {
			t.Errorf("segment %d: %+v, %v", n, report.Damages, err)
		}
	}
}

// What no point needs any more is removed in good order, and so is what the rules of a topic do not keep.
func TestVerifyLeavesRightRemovalsAlone(t *testing.T) {
	a := threeTimes(t)
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 0, Offset: 12}}, Point: point()}, written{0, 12, []spec{{base: 12, last: 3}}})
	sound := func(what string, keeping func([]manifest.PointRef) Keeping, wrong ...string) {
		t.Helper()
		report, err := Verify(t.Context(), a.repo, Scope{Keeping: keeping}, nil)
		var lost []string
		for _, d := range report.Damages {
			lost = append(lost, fmt.Sprint(d.Lost))
		}
		if err != nil || !reflect.DeepEqual(lost, wrong) {
			t.Errorf("%s: %v, want %v; %+v, %v", what, lost, wrong, report.Damages, err)
		}
	}
	orders, _ := pattern.Parse([]string{"orders"})
	policy := retention.Policy{Topics: []retention.TopicRules{{Name: "orders", Topics: orders, Rules: retention.Rules{Last: 2}}}}
	keeping := func(points []manifest.PointRef) Keeping { return policy.Keeping(points, now) }
	p := &retention.Pruner{Repository: a.repo, Policy: policy, MaxShare: 1, Grace: time.Hour, Now: time.Now}
	if _, err := p.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	sound("nothing is removed", nil)
	policy.Topics[0].Last = 1
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	sound("by the rules of a topic", keeping)
	sound("without these rules", nil, "[orders-0 [0,12)]")
	policy.Topics[0].Last = 2
	sound("with stricter ones", keeping, "[orders-0 [0,12)]")
	policy = retention.Policy{Rules: retention.Rules{Last: 1}}
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	p.Policy = policy
	if r, err := p.Prune(t.Context()); err != nil || r.Entry == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	sound("points that are deleted need nothing", nil)
}
