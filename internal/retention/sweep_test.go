package retention_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

func openRepo(t *testing.T, st store.Store) *manifest.Repository {
	t.Helper()
	repo, err := manifest.OpenOrCreate(t.Context(), st, "cluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func openLog(t *testing.T, repo *manifest.Repository) *manifest.Log {
	t.Helper()
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// upload puts a segment that no entry names yet.
func upload(t *testing.T, repo *manifest.Repository, log *manifest.Log, counter uint64) string {
	t.Helper()
	key := manifest.SegmentKey(log.Writer(), counter)
	if _, err := repo.Store().Put(t.Context(), key, strings.NewReader(strings.Repeat("x", 100)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return key
}

// commit names it, with a point.
func commit(log *manifest.Log, counter uint64) error {
	_, err := log.Append(context.Background(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Segments: []manifest.Segment{{Counter: counter, Ref: segment.Ref{Size: 100}}}, Point: &manifest.Point{}}, nil
	})
	return err
}

func keys(list []store.Info) (names []string) {
	for _, o := range list {
		names = append(names, o.Key)
	}
	return names
}

func objects(t *testing.T, repo *manifest.Repository) (names []string) {
	t.Helper()
	err := repo.Store().List(t.Context(), manifest.SegmentPrefix, func(i store.Info) error {
		names = append(names, i.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func sweeper(repo *manifest.Repository, all bool) *retention.Sweeper {
	return &retention.Sweeper{Repository: repo, All: all, Now: func() time.Time { return time.Now().Add(time.Minute) }}
}

// A writer that died leaves segments behind. They go away, nothing else does, and
// if it was only paused it can no longer commit them, even if they had stayed.
func TestSweep(t *testing.T) {
	repo := openRepo(t, mem.New())
	dead, alive := openLog(t, repo), openLog(t, repo)
	named := upload(t, repo, dead, 1)
	if err := commit(dead, 1); err != nil {
		t.Fatal(err)
	}
	orphan := upload(t, repo, dead, 2)
	mine := upload(t, repo, alive, 1)
	if err := commit(alive, 1); err != nil {
		t.Fatal(err)
	}
	next := upload(t, repo, alive, 2) // on its way: its entry comes next

	dry, err := sweeper(repo, false).Sweep(t.Context(), true)
	if err != nil || !slices.Equal(keys(dry.Orphans), []string{orphan}) || !slices.Equal(keys(dry.Spared), []string{next}) || len(objects(t, repo)) != 4 {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	done, err := sweeper(repo, false).Sweep(t.Context(), false)
	if err != nil || !slices.Equal(keys(done.Orphans), []string{orphan}) || !slices.Equal(done.Fenced, []manifest.ID{dead.Writer()}) {
		t.Fatalf("%+v, %v", done, err)
	}
	left := []string{named, mine, next}
	slices.Sort(left)
	if got := objects(t, repo); !slices.Equal(got, left) {
		t.Errorf("left are %v, want %v", got, left)
	}
	if err := commit(dead, 2); !errors.Is(err, manifest.ErrSwept) {
		t.Errorf("the dead writer wakes up and commits: %v", err)
	}
	if err := commit(alive, 2); err != nil {
		t.Errorf("the one that is alive: %v", err)
	}

	// What it uploads now needs no fence any more.
	late := upload(t, repo, dead, 3)
	done, err = sweeper(repo, false).Sweep(t.Context(), false)
	if err != nil || !slices.Equal(keys(done.Orphans), []string{late}) || len(done.Fenced) != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// To look takes no key to sign with.
func TestSweepDryWithoutTheSigningKey(t *testing.T) {
	st := mem.New()
	key, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	repo := openRepo(t, st)
	repo.SignWith(key)
	dead, log := openLog(t, repo), openLog(t, repo)
	if err := commit(log, 1); err != nil {
		t.Fatal(err)
	}
	orphan := upload(t, repo, dead, 1)
	without := sweeper(openRepo(t, st), true)
	r, err := without.Sweep(t.Context(), true)
	if err != nil || !slices.Equal(keys(r.Orphans), []string{orphan}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := without.Sweep(t.Context(), false); !errors.Is(err, manifest.ErrNoSigningKey) {
		t.Errorf("not dry: %v", err)
	}
}

// What is a copy is refused also to who only looks.
func TestDryRunsOnACopy(t *testing.T) {
	st := mem.New()
	repo := openRepo(t, st)
	log := openLog(t, repo)
	if err := commit(log, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Put(t.Context(), manifest.ReplicaKey, strings.NewReader("a mark"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := sweeper(repo, true).Sweep(t.Context(), true); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("sweep: %v", err)
	}
	if _, err := (&retention.Pruner{Repository: repo, Now: time.Now}).Plan(t.Context()); !errors.Is(err, manifest.ErrReplica) {
		t.Errorf("prune: %v", err)
	}
}

// Who has put something a short time ago may be at work.
func TestSweepSparesTheYoung(t *testing.T) {
	repo := openRepo(t, mem.New())
	fresh := openLog(t, repo)
	key := upload(t, repo, fresh, 1)
	w := sweeper(repo, true)
	w.OlderThan = time.Hour
	if r, err := w.Sweep(t.Context(), false); err != nil || !slices.Equal(keys(r.Spared), []string{key}) || len(r.Orphans) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	w.OlderThan = 0
	if r, err := w.Sweep(t.Context(), false); err != nil || !slices.Equal(keys(r.Orphans), []string{key}) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := commit(fresh, 1); !errors.Is(err, manifest.ErrSwept) {
		t.Errorf("%v", err)
	}
}

// An entry may say of what a point needs that it was removed, and is deleted, although it
// is there: whoever may append can have it say so. It is no orphan, whoever named it, and
// stays, as does what was brought back after it was deleted.
func TestSweepKeepsWhatTheLogSaysIsDeleted(t *testing.T) {
	repo := openRepo(t, mem.New())
	dead := openLog(t, repo)
	named := upload(t, repo, dead, 1)
	if err := commit(dead, 1); err != nil {
		t.Fatal(err)
	}
	orphan, forger := upload(t, repo, dead, 2), openLog(t, repo)
	lot := func() *manifest.SegmentLot {
		l := &manifest.SegmentLot{Segments: make(manifest.SegmentSet), Bytes: 100}
		l.Segments.Add(dead.Writer(), 1)
		return l
	}
	for _, e := range []*manifest.Entry{{Removed: lot()}, {Deleted: lot()}} {
		if _, err := forger.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return e, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, dry := range []bool{true, false} {
		r, err := sweeper(repo, true).Sweep(t.Context(), dry)
		if err != nil || !slices.Equal(keys(r.Orphans), []string{orphan}) || !slices.Equal(keys(r.Kept), []string{named}) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if got := objects(t, repo); !slices.Equal(got, []string{named}) {
		t.Errorf("left are %v", got)
	}
}

// racing commits while somebody lists segments, as a writer that wakes up does.
type racing struct {
	store.Store
	then func()
}

func (r *racing) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	err := r.Store.List(ctx, prefix, fn)
	if prefix == manifest.SegmentPrefix && r.then != nil {
		then := r.then
		r.then = nil
		then()
	}
	return err
}

// What is committed while it is looked for is no orphan, and its writer not fenced.
func TestSweepWhileItIsCommitted(t *testing.T) {
	st := mem.New()
	slow := openLog(t, openRepo(t, st))
	key := upload(t, openRepo(t, st), slow, 1)
	r := &racing{Store: st, then: func() {
		if err := commit(slow, 1); err != nil {
			t.Error(err)
		}
	}}
	repo := openRepo(t, r)
	done, err := sweeper(repo, true).Sweep(t.Context(), false)
	if err != nil || len(done.Orphans) != 0 || len(done.Fenced) != 0 || !slices.Equal(objects(t, repo), []string{key}) {
		t.Errorf("%+v, %v", done, err)
	}
}

// Whatever call fails, no segment that is named goes away, and the next sweep does
// what is left.
func TestSweepKilledAtEachCall(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.ErrorBefore, faulty.ErrorAfter} {
		fired := 0
		for call := 1; call < 40; call++ {
			repo := openRepo(t, mem.New())
			dead := openLog(t, repo)
			named := upload(t, repo, dead, 1)
			if err := commit(dead, 1); err != nil {
				t.Fatal(err)
			}
			upload(t, repo, dead, 2)
			st := faulty.New(repo.Store(), faulty.Rule{Call: call, Fault: fault})
			through, err := manifest.Open(t.Context(), st)
			if err == nil {
				_, err = sweeper(through, true).Sweep(t.Context(), false)
			}
			fired += st.Fired()
			if got := objects(t, repo); !slices.Contains(got, named) {
				t.Fatalf("%v at call %d: left are %v, %v", fault, call, got, err)
			}
			if len(objects(t, repo)) == 1 && commit(dead, 2) == nil {
				t.Fatalf("%v at call %d: what is deleted was committed", fault, call)
			}
			if _, err := sweeper(repo, true).Sweep(t.Context(), false); err != nil {
				t.Fatalf("%v at call %d, again: %v", fault, call, err)
			}
		}
		if fired < 4 {
			t.Errorf("%v: %d calls failed", fault, fired)
		}
	}
}

// A store that keeps an object, because it is locked, is told, and asked again by
// the next prune; the others are deleted. Nothing is removed beyond the share, and
// nothing at all under a legal hold.
func TestPruneRefusals(t *testing.T) {
	st := &locked{Store: mem.New()}
	repo := openRepo(t, st)
	log := openLog(t, repo)
	_, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		e := &manifest.Entry{
			Topics:  []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Partitions: 1}}},
			Streams: []manifest.NewStream{{Parent: -1}}, LogStarts: []manifest.LogStart{{Offset: 3}}, Point: &manifest.Point{},
		}
		for c := range uint64(4) {
			upload(t, repo, log, c)
			e.Segments = append(e.Segments, manifest.Segment{Counter: c, Ref: segment.Ref{Size: 100}})
		}
		e.Ranges = []manifest.Range{{Spans: []manifest.Span{{Offsets: 1}, {Segment: 1, Offsets: 1}, {Segment: 2, Offsets: 1}, {Segment: 3, Offsets: 1}}}}
		return e, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &retention.Pruner{Repository: repo, MaxShare: 0.5, Now: time.Now}
	if r, err := p.Prune(t.Context()); !errors.Is(err, retention.ErrShare) || r.Removed.Segments != 3 || len(log.State().Removals) > 0 {
		t.Errorf("three of four: %+v, %v", r, err)
	}
	if r, err := p.Plan(t.Context()); !errors.Is(err, retention.ErrShare) || r.Removed.Bytes != 300 {
		t.Errorf("plan: %+v, %v", r, err)
	}
	p.Force, p.Policy.LegalHold = true, true
	if r, err := p.Prune(t.Context()); err != nil || r.Entry != 0 || r.Removed.Segments != 0 {
		t.Errorf("under a legal hold: %+v, %v", r, err)
	}
	p.Policy.LegalHold, p.Grace = false, time.Hour
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 3 || r.Deleted.Segments != 0 || r.Waiting.Bytes != 300 || r.Until.IsZero() || len(objects(t, repo)) != 4 {
		t.Errorf("within the grace: %+v, %v", r, err)
	}
	st.key, p.Grace = manifest.SegmentKey(log.Writer(), 1), 0
	r, err := p.Prune(t.Context())
	if !errors.Is(err, retention.ErrKept) || r.Deleted.Segments != 2 || len(r.Refused) != 1 || r.Refused[0].Key != st.key || r.Waiting.Segments != 1 || len(objects(t, repo)) != 2 {
		t.Errorf("locked: %+v, %v", r, err)
	}
	st.key = ""
	if r, err := p.Prune(t.Context()); err != nil || r.Deleted.Segments != 1 || r.Waiting.Segments != 0 || len(objects(t, repo)) != 1 {
		t.Errorf("when it is not locked any more: %+v, %v", r, err)
	}
}

// locked does not delete one object.
type locked struct {
	store.Store
	key string
}

func (l *locked) Delete(ctx context.Context, keys ...string) error {
	if slices.Contains(keys, l.key) {
		return errors.New("it is locked until tomorrow")
	}
	return l.Store.Delete(ctx, keys...)
}

// Rules that are wrong take away a bearable share each day: what was removed within the
// grace counts with what is to be removed, but not what a merge has replaced.
func TestShareOfSeveralDays(t *testing.T) {
	st := mem.New()
	repo := openRepo(t, st)
	log := openLog(t, repo)
	now := time.Now()
	st.Now = func() time.Time { return now }
	add := func(e manifest.Entry) {
		t.Helper()
		e.Time = now.UnixMilli()
		if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &e, nil }); err != nil {
			t.Fatal(err)
		}
	}
	e := manifest.Entry{Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Partitions: 1}}}, Streams: []manifest.NewStream{{Parent: -1}}, Ranges: []manifest.Range{{}}}
	for c := range uint64(10) {
		upload(t, repo, log, c)
		e.Segments = append(e.Segments, manifest.Segment{Counter: c, Ref: segment.Ref{Size: 100}})
		e.Ranges[0].Spans = append(e.Ranges[0].Spans, manifest.Span{Segment: int(c), Offsets: 1})
	}
	add(e)
	// One is moved into another segment, which takes its place.
	upload(t, repo, log, 10)
	moved := &manifest.SegmentLot{Segments: make(manifest.SegmentSet), Bytes: 100}
	moved.Segments.Add(log.Writer(), 9)
	add(manifest.Entry{
		Segments: []manifest.Segment{{Counter: 10, Ref: segment.Ref{Size: 100}}}, Removed: moved,
		Moves: &manifest.Moves{List: []manifest.Move{{Start: 9, Span: manifest.Span{Offsets: 1}}}},
	})
	p := &retention.Pruner{Repository: repo, MaxShare: 0.5, Grace: 24 * time.Hour, Policy: retention.Policy{Rules: retention.Rules{Last: 1}}, Now: func() time.Time { return now }}
	for _, day := range []struct {
		start   int64
		after   time.Duration
		removed bool
	}{{3, 0, true}, {6, 24*time.Hour + time.Minute, false}, {6, 2 * time.Hour, true}} {
		now = now.Add(day.after)
		if err := log.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		add(manifest.Entry{LogStarts: []manifest.LogStart{{Offset: day.start}}, Point: &manifest.Point{Time: now.UnixMilli()}})
		r, err := p.Prune(t.Context())
		if errors.Is(err, retention.ErrShare) == day.removed || r == nil || r.Removed.Bytes != 300 {
			t.Errorf("the start is %d, %v later: %+v, %v", day.start, day.after, r, err)
		}
		if plan, perr := p.Plan(t.Context()); !day.removed && !errors.Is(perr, retention.ErrShare) {
			t.Errorf("plan: %+v, %v", plan, perr)
		}
	}
}
