package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// keeper writes a repository by hand that is pruned meanwhile, on a clock of its own.
type keeper struct {
	*author
	*rand.Rand
	now    time.Time
	policy retention.Policy
	every  uint64 // entries from snapshot to snapshot
	near   uint64 // see retention.Pruner; 0: all of the log is read
}

func newKeeper(t testing.TB, seed uint64) *keeper {
	r := rand.New(rand.NewPCG(seed, 77))
	st := mem.New()
	k := &keeper{author: newAuthorIn(t, st), Rand: r, now: firstTime.AddDate(100, 0, 0)}
	st.Now = func() time.Time { return k.now }
	some := func(n int) int { return max(0, r.IntN(2*n)-n) }
	rules := func() retention.Rules {
		return retention.Rules{Window: time.Duration(some(40)) * time.Hour, Last: some(3), Daily: some(4), Weekly: some(3)}
	}
	short, _ := pattern.Parse([]string{"short"})
	k.every = 3 + seed%5
	k.policy = retention.Policy{Rules: rules(), MinPoints: 1 + r.IntN(2), Topics: []retention.TopicRules{{Name: "short", Topics: short, Rules: rules()}}}
	return k
}

func (k *keeper) pruner() *retention.Pruner {
	p := &retention.Pruner{Repository: k.repo, Policy: k.policy, Grace: 24 * time.Hour, MaxShare: 1, Now: func() time.Time { return k.now }}
	if k.near > 0 {
		p.WholeLog, p.Near = 1, k.near
	}
	return p
}

func (k *keeper) sound() {
	k.t.Helper()
	k.soundBy(func(points []manifest.PointRef) Keeping { return k.policy.Keeping(points, k.now) })
}

// live happens to the repository for a while.
func (k *keeper) live(steps int) {
	for range steps {
		k.now = k.now.Add(time.Duration(k.Int64N(int64(8 * time.Hour))))
		s := k.log.State()
		e := manifest.Entry{Time: k.now.UnixMilli(), Snapshot: k.snapshot()}
		var blocks []written
		fresh := len(s.Streams)
		switch k.IntN(8) {
		case 0: // a topic, perhaps in the place of one of its name
			name := []string{"a", "b", "short"}[k.IntN(3)]
			for n, t := range s.Topics {
				if t.Name == name && !t.Gone {
					t.Gone = true
					e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: t})
				}
			}
			e.Topics = append(e.Topics, topicNamed(len(s.Topics), name, false, 2))
			for q := range int32(2) {
				e.Streams = append(e.Streams, manifest.NewStream{Topic: len(s.Topics), Partition: q, Parent: -1, First: k.Int64N(3)})
			}
		case 1: // a topic is gone
			if n := len(s.Topics); n > 0 && k.IntN(2) == 0 {
				if t := s.Topics[k.IntN(n)]; !t.Gone {
					t.Gone = true
					number, _ := s.TopicNumber(t.ID)
					e.Topics = []manifest.TopicChange{{Number: number, Topic: t}}
				}
			}
		case 2: // an unclean leader election
			if n := fresh; n > 0 {
				parent := k.IntN(n)
				if st := &s.Streams[parent]; st.Child < 0 && st.Next > st.First && !s.Topics[st.Topic].Gone {
					e.Streams = []manifest.NewStream{{Topic: st.Topic, Partition: st.Partition, Parent: parent, First: st.First + k.Int64N(st.Next-st.First)}}
				}
			}
		case 3: // the source has removed something
			for n := range s.Streams {
				if st := &s.Streams[n]; st.Next > st.LogStart && k.IntN(2) == 0 {
					e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: n, Offset: st.LogStart + k.Int64N(st.Next-st.LogStart+1)})
				}
			}
		default:
			for n := range s.Streams {
				st := &s.Streams[n]
				if st.Child < 0 && !s.Topics[st.Topic].Gone && k.IntN(3) > 0 {
					blocks = append(blocks, written{n, st.Next, []spec{{base: st.Next, last: k.Int32N(4), size: 1 + k.IntN(99)}}})
				}
			}
		}
		if k.IntN(2) == 0 && len(s.Topics) > 0 {
			e.Point = &manifest.Point{Time: k.now.UnixMilli() - k.Int64N(5000)}
			for _, b := range blocks {
				if k.IntN(6) == 0 {
					e.Point.Exceptions = append(e.Point.Exceptions, manifest.CutException{Stream: b.stream, Behind: 1})
				}
			}
		}
		if n := len(s.Points); n > 0 && k.IntN(15) == 0 {
			p := s.Points[k.IntN(n)]
			if c := (manifest.PointChange{Point: p.Sequence, Pinned: k.IntN(3) == 0, Held: k.IntN(3) == 0}); c.Pinned != p.Pinned || c.Held != p.Held {
				e.PointChanges = []manifest.PointChange{c}
			}
		}
		k.commit(e, blocks...)
	}
}

// snapshot puts one of the log now and then.
func (k *keeper) snapshot() *manifest.SnapshotRef {
	if s := k.log.State(); s.Sequence == 0 || s.Sequence%k.every > 0 {
		return nil
	}
	ref, err := k.log.PutSnapshot(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return ref
}

// reopen goes on as another writer.
func (k *keeper) reopen() {
	k.t.Helper()
	var err error
	if k.log, err = k.repo.OpenLog(k.t.Context(), time.Now); err != nil {
		k.t.Fatal(err)
	}
	k.counter = 0
}

// restored returns what a restore to a point yields of each topic, or the refusal.
func restored(t testing.TB, repo *manifest.Repository, point uint64) map[string]any {
	t.Helper()
	snap, err := Load(context.Background(), repo, fmt.Sprint(point), now)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]any)
	for _, i := range snap.Incarnations() {
		if i.Gone {
			continue
		}
		plan, err := snap.Plan(context.Background(), nil, Request{Topics: []string{i.Name}}, now)
		if err != nil {
			t.Fatalf("point %d: %v", point, err)
		}
		if len(plan.Refusals) > 0 {
			all[i.Name] = errors.New(strings.Join(plan.Refusals, "; ") + "\n" + strings.Join(plan.Notes, "\n"))
			continue
		}
		list := make(map[int32][]string)
		if err := plan.EachRecord(context.Background(), func(_ *TopicPlan, partition int32, r *batch.Record) error {
			list[partition] = append(list[partition], identityOf(r))
			return nil
		}); err != nil {
			t.Fatalf("point %d, %s: %v", point, i.Name, err)
		}
		all[i.Name] = list
	}
	return all
}

func allRestored(t testing.TB, repo *manifest.Repository, points []manifest.PointRef) map[uint64]map[string]any {
	t.Helper()
	all := make(map[uint64]map[string]any)
	for _, p := range points {
		all[p.Sequence] = restored(t, repo, p.Sequence)
	}
	return all
}

// stateOf reads the log.
func stateOf(t testing.TB, repo *manifest.Repository) *manifest.State {
	t.Helper()
	s, err := repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check holds what there is against what there was before a prune.
func (k *keeper) check(before map[uint64]map[string]any, report *retention.Report) (refused int) {
	k.t.Helper()
	state := stateOf(k.t, k.repo)
	only := func(topic string) *retention.Policy { // the rules of this topic alone
		p := k.policy
		if topic == "short" && len(p.Topics) > 0 {
			p.Rules = p.Topics[0].Rules
		}
		p.Topics = nil
		return &p
	}
	for _, d := range report.Decisions {
		_, there := slices.BinarySearchFunc(state.Points, d.Point.Sequence, func(p manifest.PointRef, id uint64) int { return int(p.Sequence) - int(id) })
		if there != d.Keep {
			k.t.Fatalf("point %d is there: %v, want %v: %v", d.Point.Sequence, there, d.Keep, d.Reasons)
		}
		if !there {
			if _, err := Load(k.t.Context(), k.repo, fmt.Sprint(d.Point.Sequence), now); !errors.Is(err, ErrNoPoint) {
				k.t.Fatalf("dropped point %d: %v", d.Point.Sequence, err)
			}
			continue
		}
		after := restored(k.t, k.repo, d.Point.Sequence)
		for topic, was := range before[d.Point.Sequence] {
			var points []manifest.PointRef
			for _, o := range report.Decisions {
				points = append(points, o.Point)
			}
			kept := slices.ContainsFunc(only(topic).Decide(points, k.now), func(o retention.Decision) bool { return o.Point.Sequence == d.Point.Sequence && o.Keep })
			err, isRefused := after[topic].(error)
			switch {
			case isRefused:
				refused++
				if _, before := was.(error); kept && !before || !strings.Contains(err.Error(), "removed from the backup by its retention") || !strings.Contains(err.Error(), "all of "+topic) {
					k.t.Fatalf("point %d: %s: %v", d.Point.Sequence, topic, err)
				}
			case !reflect.DeepEqual(after[topic], was):
				k.t.Fatalf("point %d: %s yields\n%v, before it was\n%v", d.Point.Sequence, topic, after[topic], was)
			}
		}
	}
	return refused
}

// After any prune each point that is kept yields what it did before, and what
// nobody needs is gone: in random histories, with random rules, again and again.
func TestPruneKeepsWhatPointsNeed(t *testing.T) {
	removed, deleted, refused, merged := pruneHistories(t, 0, 14, 0)
	t.Logf("removed %d, deleted %d, refused %d, merged %d", removed, deleted, refused, merged)
	if merged < 40 || removed < 8 || deleted < 30 || refused < 3 {
		t.Errorf("removed %d, deleted %d segments, and refused %d restores: that tries little", removed, deleted, refused)
	}
}

// So it is if most of the log is not read.
func TestPruneOfALongLogKeepsWhatPointsNeed(t *testing.T) {
	removed, deleted, refused, merged := pruneHistories(t, 5000, 8, 2)
	t.Logf("removed %d, deleted %d, refused %d, merged %d", removed, deleted, refused, merged)
	if removed < 2 || deleted < 2 {
		t.Errorf("removed %d, deleted %d segments: that tries little", removed, deleted)
	}
}

// pruneHistories prunes random histories.
func pruneHistories(t *testing.T, first, count, near uint64) (removed, deleted, refused, merged int64) {
	t.Helper()
	for seed := first; seed < first+count; seed++ {
		if t.Failed() {
			t.Fatalf("seed %d", seed-1)
		}
		k := newKeeper(t, seed)
		k.near = near
		for range 3 {
			k.live(14)
			if k.IntN(2) == 0 {
				merged += k.merge()
			}
			before := allRestored(t, k.repo, stateOf(t, k.repo).Points)
			planned, err := k.pruner().Plan(t.Context())
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			report, err := k.pruner().Prune(t.Context())
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if report.Removed != planned.Removed || report.Deleted != planned.Deleted || report.Waiting != planned.Waiting {
				t.Fatalf("seed %d: planned %v %v %v, done %v %v %v", seed, planned.Removed, planned.Deleted, planned.Waiting, report.Removed, report.Deleted, report.Waiting)
			}
			removed += report.Removed.Segments
			deleted += report.Deleted.Segments
			refused += int64(k.check(before, report))
			again, err := k.pruner().Prune(t.Context())
			if err != nil || near == 0 && (again.Entry != 0 || again.Removed.Segments != 0) {
				t.Fatalf("seed %d: a second prune: %+v, %v", seed, again, err)
			}
			if again.Entry != 0 { // the first has let it look closer
				k.check(before, report)
			}
			k.sound()
			k.checkObjects()
			k.reopen()
		}
	}
	return removed, deleted, refused, merged
}

// merge merges what it can, and returns how many segments went into others.
func (k *keeper) merge() int64 {
	k.t.Helper()
	m := merge.New(k.repo, merge.Config{TargetBytes: 4 << 10, MinSegments: 3, MinPieces: 2}, manifest.Agent{}, slog.New(slog.DiscardHandler), func() time.Time { return k.now })
	r, err := m.Run(k.t.Context())
	if err != nil || r.Damaged > 0 {
		k.t.Fatalf("merge: %+v, %v", r, err)
	}
	return int64(r.Read)
}

// checkObjects wants the objects to be those that the log has not forgotten.
func (k *keeper) checkObjects() {
	k.t.Helper()
	s := stateOf(k.t, k.repo)
	n := int64(0)
	err := k.repo.Store().List(k.t.Context(), manifest.SegmentPrefix, func(info store.Info) error {
		writer, counter, ok := manifest.ParseSegmentKey(info.Key)
		if !ok || !s.Segments.Has(writer, counter) {
			k.t.Errorf("%s is there", info.Key)
		}
		n++
		return nil
	})
	if err != nil || n != s.Segments.Count() {
		k.t.Errorf("%d objects, the log knows of %d: %v", n, s.Segments.Count(), err)
	}
}

// Two prunes at once do what one does.
func TestTwoPrunesAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		k := newKeeper(t, 1000+seed)
		k.live(30)
		first := stateOf(t, k.repo).Points
		before := allRestored(t, k.repo, first)
		whole := &retention.Report{Decisions: k.policy.Decide(first, k.now)}
		reports := make([]*retention.Report, 3)
		for range 2 { // the second time to delete
			var g sync.WaitGroup
			for i := range reports {
				g.Go(func() {
					repo, err := manifest.Open(t.Context(), k.repo.Store())
					if err != nil {
						t.Error(err)
						return
					}
					p := k.pruner()
					p.Repository = repo
					if reports[i], err = p.Prune(t.Context()); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
				})
			}
			g.Wait()
			if t.Failed() {
				return
			}
			if s := stateOf(t, k.repo); len(s.Removals) > 1 {
				t.Fatalf("seed %d: removed by %d entries", seed, len(s.Removals))
			}
			k.check(before, whole) // by the clock of the first prune
			k.now = k.now.Add(25 * time.Hour)
		}
		if s := stateOf(t, k.repo); len(s.Removals) > 0 {
			t.Fatalf("seed %d: not deleted: %v", seed, s.Removals)
		}
		k.sound()
		k.checkObjects()
	}
}

// Killed at any call to the store, and done again, a prune does what it does
// uninterrupted; no point that is kept suffers at any time.
func TestPruneKilledAtEachCall(t *testing.T) {
	build := func() (*keeper, map[uint64]map[string]any) {
		k := newKeeper(t, 7)
		k.policy = retention.Policy{Rules: retention.Rules{Last: 2}, MinPoints: 1}
		k.live(25)
		if _, err := k.pruner().Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.reopen()
		k.live(15)
		k.now = k.now.Add(48 * time.Hour)
		return k, allRestored(t, k.repo, stateOf(t, k.repo).Points)
	}
	// prune works through a store that fails, and reports how many calls it made.
	prune := func(k *keeper, rules ...faulty.Rule) (*retention.Report, *faulty.Store, error) {
		st := faulty.New(k.repo.Store(), rules...)
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			return nil, st, err
		}
		p := k.pruner()
		p.Repository = repo
		r, err := p.Prune(t.Context())
		return r, st, err
	}
	whole, before := build()
	report, counted, err := prune(whole)
	if err != nil || report.Removed.Segments == 0 || report.Deleted.Segments == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	whole.check(before, report)
	want := stateOf(t, whole.repo)
	fired := 0
	for _, fault := range []faulty.Fault{faulty.ErrorBefore, faulty.ErrorAfter} {
		var step int
		for call := 1; call <= counted.Calls(faulty.Any); call += step {
			if step = 1; counted.History()[call-1].Op == faulty.Get { // most are of the log, and alike
				step = 17
			}
			k, before := build()
			_, st, err := prune(k, faulty.Rule{Call: call, Fault: fault})
			fired += st.Fired()
			for _, p := range stateOf(t, k.repo).Points {
				if got := restored(t, k.repo, p.Sequence); !reflect.DeepEqual(got, before[p.Sequence]) {
					t.Fatalf("%v at call %d (%v): point %d yields %v, before it was %v", fault, call, err, p.Sequence, got, before[p.Sequence])
				}
			}
			if _, _, err := prune(k); err != nil {
				t.Fatalf("%v at call %d, again: %v", fault, call, err)
			}
			got := stateOf(t, k.repo)
			if !reflect.DeepEqual(got.Points, want.Points) || got.SegmentCount != want.SegmentCount || got.SegmentBytes != want.SegmentBytes || got.RemovedBytes != want.RemovedBytes {
				t.Fatalf("%v at call %d: %d points, %d segments of %d bytes, %d removed; want %d, %d, %d, %d", fault, call,
					len(got.Points), got.SegmentCount, got.SegmentBytes, got.RemovedBytes, len(want.Points), want.SegmentCount, want.SegmentBytes, want.RemovedBytes)
			}
			k.checkObjects()
		}
	}
	if fired == 0 {
		t.Error("no call failed")
	}
}

// A restore that was planned before a prune goes on while the objects are there, and
// says what happened when they are not.
func TestRestoreDuringPrune(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()},
		written{0, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Offset: 4}}, Point: point()}, written{0, 4, []spec{{base: 4, last: 1}}})
	snap, err := Load(t.Context(), a.repo, "1", now)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, now)
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n int, err error) {
		err = plan.EachRecord(t.Context(), func(*TopicPlan, int32, *batch.Record) error {
			n++
			return nil
		})
		return n, err
	}
	p := &retention.Pruner{Repository: a.repo, Policy: retention.Policy{Rules: retention.Rules{Last: 1}}, Grace: time.Hour, MaxShare: 1, Now: time.Now}
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 1 || r.Deleted.Segments != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n, err := count(); n != 4 || err != nil {
		t.Errorf("within the grace: %d records, %v", n, err)
	}
	p.Grace = 0
	if r, err := p.Prune(t.Context()); err != nil || r.Deleted.Segments != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n, err := count(); n != 0 || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "removed by the backup's retention") {
		t.Errorf("after it: %d records, %v", n, err)
	}
	a.sound()
}

// What a topic lacks because its rules keep fewer points is told by the plan, by the
// list and by what a point holds; --accept-gap brings back the rest.
func TestPartlyRemoved(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "short", false, 1)},
		Streams: []manifest.NewStream{{Topic: 0, Parent: -1}, {Topic: 1, Parent: -1}}}, written{0, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{}, written{1, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{Point: point()}, written{1, 4, []spec{{base: 4, last: 1}}})
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 1, Offset: 4}}, Point: point()}, written{0, 4, []spec{{base: 4, last: 1}}})
	short, _ := pattern.Parse([]string{"short"})
	p := &retention.Pruner{Repository: a.repo, MaxShare: 1, Now: time.Now, Policy: retention.Policy{Topics: []retention.TopicRules{{Name: "short", Topics: short, Rules: retention.Rules{Last: 1}}}}}
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 1 || !r.Decisions[0].Keep {
		t.Fatalf("%+v, %v", r, err)
	}
	snap, err := Load(t.Context(), a.repo, "3", now)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, now)
	if err != nil || len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "short-0: what is asked for lies in a gap: offsets [0,4) were removed from the backup by its retention (log entry 5 of") {
		t.Fatalf("%v, %v", plan.Refusals, err)
	}
	if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, "point 4 of") || !strings.Contains(notes, "has all of short@1") {
		t.Errorf("notes are %s", notes)
	}
	plan, err = snap.Plan(t.Context(), nil, Request{AcceptGap: true}, now)
	if err != nil || len(plan.Refusals) != 0 {
		t.Fatalf("%v, %v", plan.Refusals, err)
	}
	got := make(map[string]int)
	if err := plan.EachRecord(t.Context(), func(t *TopicPlan, _ int32, _ *batch.Record) error {
		got[t.Target]++
		return nil
	}); err != nil || got["orders"] != 4 || got["short"] != 2 {
		t.Errorf("accepted: %v, %v", got, err)
	}
	w, err := ReadWindow(t.Context(), a.repo, Listing{})
	if err != nil || w.Topics[0].PartlyRemoved != 0 || w.Topics[0].First.ID != 3 || w.Topics[1].PartlyRemoved != 1 || w.Topics[1].First.ID != 4 {
		t.Errorf("the list: %+v, %v", w.Topics, err)
	}
	c := snap.Content()
	if err := c.MarkRemoved(t.Context(), snap); err != nil || c.Topics[0].PartlyRemoved || !c.Topics[1].PartlyRemoved {
		t.Errorf("the point: %+v, %v", c.Topics, err)
	}
	a.soundBy(func(points []manifest.PointRef) Keeping { return p.Policy.Keeping(points, now) })
}

// Any writer may append an entry that removes everything. Whoever may delete, and has a policy that keeps all, does not do so.
func TestPruneKeepsWhatIsNeededThoughRemoved(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()},
		written{0, 0, []spec{{last: 3}}})
	a.commit(manifest.Entry{Point: point()}, written{0, 4, []spec{{base: 4, last: 1}}})
	log, err := a.repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	first := func(s *manifest.State) (manifest.PointRef, error) { return s.Points[0], nil }
	if _, err := log.HoldPoint(t.Context(), first, true); err != nil {
		t.Fatal(err)
	}
	thief, err := a.repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Removed: &manifest.SegmentLot{Segments: s.Segments.Clone(), Bytes: s.SegmentBytes}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	p := &retention.Pruner{Repository: a.repo, Policy: retention.Policy{MinPoints: 1}, Grace: 0, MaxShare: 0.25, Now: func() time.Time { return time.Now().Add(time.Hour) }}
	r, err := p.Prune(t.Context())
	if !errors.Is(err, retention.ErrKept) || len(r.Refused) != 2 || r.Deleted.Segments > 0 {
		t.Errorf("%v; %+v", err, r)
	}
	left := 0
	if err := a.repo.Store().List(t.Context(), manifest.SegmentPrefix, func(store.Info) error { left++; return nil }); err != nil || left != 2 {
		t.Errorf("%d objects are left, %v", left, err)
	}
}

// A restore yields what it does without snapshots of the log, and tells the same: in
// random histories, with merges and prunes.
func TestRestoreBySnapshots(t *testing.T) {
	fewer := 0
	for seed := range uint64(10) {
		k := newKeeper(t, 300+seed)
		for range 3 {
			k.live(16)
			k.merge()
			if _, err := k.pruner().Prune(t.Context()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			k.reopen()
		}
		k.live(4)
		bare := mem.New()
		if err := k.repo.Store().List(t.Context(), "", func(i store.Info) error {
			if strings.HasPrefix(i.Key, manifest.SnapshotPrefix) || strings.HasPrefix(i.Key, manifest.LayoutPrefix) {
				return nil
			}
			body, err := k.repo.Store().Get(t.Context(), i.Key, 0, -1)
			if err == nil {
				_, err = bare.Put(t.Context(), i.Key, body, store.PutOptions{})
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		with, without := faulty.New(k.repo.Store()), faulty.New(bare)
		points := stateOf(t, k.repo).Points
		for _, p := range points {
			a, b := told(t, with, p.Sequence), told(t, without, p.Sequence)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d: point %d: with snapshots\n%q\nwithout\n%q", seed, p.Sequence, a, b)
			}
		}
		if with.Calls(faulty.Get) < without.Calls(faulty.Get) {
			fewer++
		}
	}
	if fewer == 0 {
		t.Error("snapshots save nothing")
	}
}

// told is what a restore of all topics to a point yields, and what its plan says.
func told(t testing.TB, st store.Store, point uint64) []string {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := LoadPoint(t.Context(), repo, point)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, now)
	if errors.Is(err, ErrNothing) {
		return []string{err.Error()}
	}
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Concat(plan.Refusals, plan.Notes, []string{fmt.Sprint(plan.Bytes, plan.Gaps, plan.Lost)})
	for _, topic := range plan.Topics {
		list = append(list, fmt.Sprintf("%+v", [...]int64{topic.Records, topic.Bytes, topic.Reencoded, topic.Oldest}))
	}
	if len(plan.Refusals) > 0 {
		return list
	}
	records := make(map[string][]string)
	if err := plan.EachRecord(t.Context(), func(topic *TopicPlan, partition int32, r *batch.Record) error {
		key := fmt.Sprint(topic.Target, partition)
		records[key] = append(records[key], identityOf(r))
		return nil
	}); err != nil {
		t.Fatalf("point %d: %v", point, err)
	}
	return append(list, fmt.Sprint(records))
}
