package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// notes plans a restore of topics to a point, without a cluster, and returns the notes, but not those about retention.
func (a *author) notes(at string, req Request) string {
	a.t.Helper()
	snap, err := Load(a.t.Context(), a.repo, at, now)
	if err != nil {
		a.t.Fatal(err)
	}
	plan, err := snap.Plan(a.t.Context(), nil, req, now)
	if err != nil {
		a.t.Fatal(err)
	}
	notes := slices.DeleteFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "its retention will delete") })
	return strings.Join(notes, "\n")
}

// wantNotes fails the test unless the notes say all of the words, and no more lines than there are of them.
func (a *author) wantNotes(name, notes string, words ...string) {
	a.t.Helper()
	if n := len(strings.Split(notes, "\n")); n != max(1, len(words)) {
		a.t.Errorf("%s: %d notes, want %d:\n%s", name, n, len(words), notes)
	}
	for _, w := range words {
		if !strings.Contains(notes, w) {
			a.t.Errorf("%s: the notes do not say %q:\n%s", name, w, notes)
		}
	}
	if len(words) == 0 && notes != "" {
		a.t.Errorf("%s: the notes are %s", name, notes)
	}
}

// A plan tells which offsets were rewritten before its point, and the newest point that has what was there before.
func TestPlanAcrossRewrittenOffsets(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 2), topicNamed(1, "bills", false, 1)},
		Streams: []manifest.NewStream{{Parent: -1}, {Partition: 1, Parent: -1}, {Topic: 1, Parent: -1}}, Point: point()},
		written{0, 0, []spec{{last: 3}}}, written{1, 0, []spec{{last: 3}}}, written{2, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{Point: point()}, written{0, 4, []spec{{base: 4, last: 3}}})
	a.commit(manifest.Entry{Point: &manifest.Point{Time: now.UnixMilli(), Exceptions: []manifest.CutException{{Stream: 0, Behind: 2}}}}, written{0, 8, []spec{{base: 8, last: 1}}})
	a.commit(manifest.Entry{}, written{1, 4, []spec{{base: 4, last: 1}}})
	a.commit(manifest.Entry{Streams: []manifest.NewStream{{Parent: 0, First: 6}, {Partition: 1, Parent: 1, First: 4}}, Time: now.UnixMilli(), Point: point()}, written{3, 6, []spec{{base: 6, last: 5}}})
	a.sound()

	const first = "orders-0: offsets [6,10) were rewritten by an unclean leader election, noticed 2026-"
	const second = "orders-1: offsets [4,6) were rewritten by an unclean leader election, noticed 2026-"
	a.wantNotes("behind", a.notes("5", Request{}), first, second)
	a.wantNotes("the newest that has it", a.notes("5", Request{}), "point 3 is the newest to have: --at 3", "no recovery point has what was there before")
	for _, at := range []string{"1", "2", "3"} {
		a.wantNotes("before: "+at, a.notes(at, Request{}))
	}
	a.wantNotes("another topic", a.notes("5", Request{Topics: []string{"bills"}}))
	ended := a.notes("5", Request{Vector: Vector{{"orders", 0}: 6, {"orders", 1}: 3}})
	if strings.Contains(ended, "rewritten") {
		t.Errorf("a restore that ends before it tells it: %s", ended)
	}

	for _, id := range []string{"3", "2"} { // 2 holds [6,8), 1 nothing of it
		if _, err := a.log.DeletePoint(t.Context(), func(s *manifest.State) (manifest.PointRef, error) { return NamedPoint(s.Points, id) }); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"3": "point 2 is the newest", "2": "no recovery point has"}[id]
		a.wantNotes("without point "+id, a.notes("5", Request{Topics: []string{"orders"}}), want, second)
	}

	a.commit(manifest.Entry{Streams: []manifest.NewStream{{Parent: 3, First: 5}}, Time: now.UnixMilli(), Point: point()}, written{5, 5, []spec{{base: 5, last: 1}}})
	a.wantNotes("rewritten again", a.notes("latest", Request{}), first, second, "orders-0: offsets [5,12)")
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 5, Offset: 11}}, Point: point()}, written{5, 7, []spec{{base: 7, last: 5}}})
	a.wantNotes("deleted since", a.notes("latest", Request{}), second, "orders-0: offsets [5,12)")
}

// It tells what else happened to its topics, and no more than a few of each.
func TestPlanAcrossOtherEvents(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "bills", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()},
		written{0, 0, []spec{{last: 1}}})
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", true, 1), topicNamed(2, "orders", false, 2)}, Streams: []manifest.NewStream{{Topic: 2, Parent: -1}}, Time: now.UnixMilli(), Point: point()},
		written{1, 0, []spec{{last: 2}}})
	for _, n := range []int32{3, 4, 6, 9, 12} {
		a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, "orders", false, n)}, Time: now.UnixMilli(), Point: point()})
	}
	const again = "orders was deleted and created again, noticed 2026-"
	a.wantNotes("the first life", a.notes("1", Request{}))
	a.wantNotes("the second life", a.notes("2", Request{}), again)
	a.wantNotes("with the first beside", a.notes("2", Request{Topics: []string{"orders", "orders@1"}, Rename: map[string]string{"orders@1": "old"}}))
	a.wantNotes("another topic", a.notes("latest", Request{Topics: []string{"bills"}}))
	a.wantNotes("grown", a.notes("3", Request{}), again, "orders: partitions were added (3 instead of 2, noticed 2026-")
	a.wantNotes("grown more", a.notes("latest", Request{}), "what it held before is orders@1", "(3 instead of 2, noticed ")
	a.wantNotes("grown often", a.notes("latest", Request{}), again, "3 times more, at last 12 instead of 9, noticed ")

	for range 25 {
		next := a.log.State().Streams[1].Next
		a.commit(manifest.Entry{Ranges: []manifest.Range{{Stream: 1, Spans: []manifest.Span{{Gap: true, Reason: manifest.GapEmpty, Offsets: 2}}}}})
		a.commit(manifest.Entry{Point: point()}, written{1, next + 2, []spec{{base: next + 2, last: 1}}})
	}
	many := a.notes("latest", Request{})
	if n := strings.Count(many, "are not in the backup"); n != 10 || !strings.Contains(many, "… and 15 more like the last one") || strings.Count(many, "; lost is what lay between 20") != 10 {
		t.Errorf("%d of 25 gaps:\n%s", n, many)
	}
}

// What is known of the time that a gap has cost.
func TestLost(t *testing.T) {
	for want, e := range map[string]manifest.Event{
		"": {},
		"; lost is what lay behind 1970-01-01T00:00:01.000Z":                               {OldestLost: 1000},
		"; lost is what lay before 1970-01-01T00:00:02.000Z":                               {NewestLost: 2000},
		"; lost is what lay between 1970-01-01T00:00:01.000Z and 1970-01-01T00:00:02.000Z": {OldestLost: 1000, NewestLost: 2000},
	} {
		if got := Lost(&e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
