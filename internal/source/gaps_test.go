package source

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// gapStory is a repository in which offsets [4,9) of orders and [2,5) of bills
// were deleted between the points 1 and 4, an hour apart; bills' gap is stated
// by an entry that is no point.
func gapStory(t testing.TB) *author {
	a := newAuthor(t)
	at := func(hour int) *manifest.Point {
		return &manifest.Point{Time: now.Add(time.Duration(hour) * time.Hour).UnixMilli()}
	}
	gone := func(stream int, offsets int64) manifest.Entry {
		return manifest.Entry{
			Ranges:    []manifest.Range{{Stream: stream, Spans: []manifest.Span{{Gap: true, Reason: manifest.GapRetention, Offsets: offsets}}}},
			LogStarts: []manifest.LogStart{{Stream: stream, Offset: []int64{9, 5}[stream]}},
		}
	}
	a.commit(manifest.Entry{
		Topics:  []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "bills", false, 1), topicNamed(2, "calm", false, 1)},
		Streams: []manifest.NewStream{{Parent: -1}, {Topic: 1, Parent: -1}, {Topic: 2, Parent: -1}}, Point: at(-3),
	}, written{0, 0, []spec{{last: 3}}}, written{1, 0, []spec{{last: 1}}}, written{2, 0, []spec{{last: 1}}})
	a.commit(gone(1, 3))
	a.commit(gone(0, 5))
	a.commit(manifest.Entry{Point: at(-2)}, written{0, 9, []spec{{base: 9, last: 1}}})
	a.commit(manifest.Entry{Point: at(-1)})
	return a
}

// A time at which records were there that nobody has any more is not restored
// to without a word; a point is what it is.
func TestTimeInsideAGap(t *testing.T) {
	a := gapStory(t)
	for _, tc := range []struct {
		at     string
		topics []string
		want   string // of the partitions that lack something
	}{
		{"1", nil, ""},
		{"-3h", nil, ""}, // the very time of the point
		{"-150m", nil, "orders-0 [4,9) bills-0 [2,5)"},
		{"-150m", []string{"bills"}, "bills-0 [2,5)"},
		{"-150m", []string{"calm"}, ""},
		{"-2h", nil, ""},
		{"-90m", nil, ""},
		{"latest", nil, ""},
		{"-1m", nil, ""},
	} {
		t.Run(fmt.Sprint(tc.at, tc.topics), func(t *testing.T) {
			for _, accept := range []bool{false, true} {
				snap, err := Load(t.Context(), a.repo, tc.at, now)
				if err != nil {
					t.Fatal(err)
				}
				plan, err := snap.Plan(t.Context(), nil, Request{Topics: tc.topics, AcceptGap: accept}, now)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, g := range plan.Lost {
					got = append(got, fmt.Sprintf("%s-%d [%d,%d)", g.Topic, g.Partition, g.From, g.To))
				}
				for _, g := range got {
					if !strings.Contains(tc.want, g) {
						t.Errorf("%s is lost", g)
					}
				}
				if strings.Count(tc.want, "[") != len(got) {
					t.Errorf("lost is %q, want %q", got, tc.want)
				}
				if refused := len(plan.Refusals) > 0; refused != (!accept && tc.want != "") {
					t.Errorf("accepted %v: refusals are %q", accept, plan.Refusals)
				}
				if accept && strings.Count(strings.Join(plan.Notes, "\n"), "accepted") != len(got) {
					t.Errorf("notes are %q", plan.Notes)
				}
			}
		})
	}
}

// A gap that retention made inside of what a point holds is refused, too.
func TestGapInsideAPoint(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}, written{0, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{Ranges: []manifest.Range{{Stream: 0, Spans: []manifest.Span{{Gap: true, Reason: manifest.GapRetention, Offsets: 5}}}}})
	a.commit(manifest.Entry{Point: point()}, written{0, 9, []spec{{base: 9, last: 1}}})
	_, plan := a.replay()
	if len(plan.Lost) != 1 || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "orders-0") || !strings.Contains(plan.Refusals[0], "[4,9)") || !strings.Contains(plan.Refusals[0], "--accept-gap") {
		t.Errorf("lost %+v, refusals %q", plan.Lost, plan.Refusals)
	}
}

// What is not there any more is not found, by no name, and its time means the
// point before it.
func TestDeletedPoint(t *testing.T) {
	a := gapStory(t)
	if _, err := a.log.DeletePoint(t.Context(), func(s *manifest.State) (manifest.PointRef, error) { return NamedPoint(s.Points, "5") }); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), a.repo, "5", now); !errors.Is(err, ErrNoPoint) {
		t.Errorf("by its id: %v", err)
	}
	for _, at := range []string{"latest", "-1m"} {
		if snap, err := Load(t.Context(), a.repo, at, now); err != nil || snap.Point.Sequence != 4 {
			t.Errorf("%s: %+v, %v", at, snap, err)
		}
	}
	if _, err := LoadPoint(t.Context(), a.repo, 5); err != nil {
		t.Errorf("a restore that has begun cannot go on: %v", err)
	}
}

// What was accepted is in the state of the restore, and stays there when a later run does not come past the gap.
func TestAcceptedGapsAreKept(t *testing.T) {
	a, f := gapStory(t), fake(t)
	accepted := func() string {
		t.Helper()
		state, err := readState(t.Context(), connect(t, f), a.repo.ID)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("orders %s, bills %s, calm %s", state.topics["orders"].accepted, state.topics["bills"].accepted, state.topics["calm"].accepted)
	}
	const want = "orders 0:4-9, bills 0:2-5, calm "
	a.run(f, Request{At: "-150m", AcceptGap: true})
	if got := accepted(); got != want {
		t.Errorf("the state says %s, want %s", got, want)
	}
	state, err := readState(t.Context(), connect(t, f), a.repo.ID)
	if err != nil {
		t.Fatal(err)
	}
	state.topics["orders"].phase = phaseRunning // as if it had been killed
	a.saveState(f, kafka.GroupOffset{Topic: "orders", Metadata: state.topics["orders"].metadata()})
	plan, err := Prepare(t.Context(), a.repo, connect(t, f), Request{At: "1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(plan.Notes, "\n"); strings.Count(notes, "an earlier run has accepted") != 2 || !strings.Contains(notes, "topic orders: ") || !strings.Contains(notes, " 0:4-9 ") {
		t.Errorf("notes are %q", plan.Notes)
	}
	a.run(f, Request{At: "1"}) // the same point by its id has no gap
	if got := accepted(); got != want {
		t.Errorf("after a second run the state says %s, want %s", got, want)
	}
}

// However many gaps there are, brokers take the state.
func TestAcceptedIsBounded(t *testing.T) {
	p, topic := &Plan{Request: Request{AcceptGap: true}}, &TopicPlan{}
	for i := range 1000 {
		p.lose(topic, math.MaxInt32, math.MaxInt64-int64(i), math.MaxInt64, manifest.GapRetention)
	}
	first := p.accepted(topic)
	if n := len(first); n > 2000 || !strings.HasSuffix(first, ",+980") {
		t.Errorf("%d bytes: %s", n, first)
	}
	topic.accepted = strings.Split(first, ",")
	if again := p.accepted(topic); again != first {
		t.Errorf("a second run makes it %s", again)
	}
	p.Request.AcceptGap, topic.accepted = false, nil
	if got := p.accepted(topic); got != "" {
		t.Errorf("without --accept-gap: %s", got)
	}
}
