package retention_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// shares is a repository of ten segments of 100 bytes, with one record each, on a clock of its own.
type shares struct {
	t    *testing.T
	repo *manifest.Repository
	log  *manifest.Log
	now  time.Time
}

func newShares(t *testing.T) *shares {
	t.Helper()
	st := mem.New()
	k := &shares{t: t, repo: openRepo(t, st), now: time.Now()}
	k.log = openLog(t, k.repo)
	st.Now = func() time.Time { return k.now }
	e := manifest.Entry{Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Partitions: 1}}}, Streams: []manifest.NewStream{{Parent: -1}}, Ranges: []manifest.Range{{}}, Point: &manifest.Point{}}
	for c := range uint64(10) {
		upload(t, k.repo, k.log, c)
		e.Segments = append(e.Segments, manifest.Segment{Counter: c, Ref: segment.Ref{Size: 100}})
		e.Ranges[0].Spans = append(e.Ranges[0].Spans, manifest.Span{Segment: int(c), Offsets: 1})
	}
	k.add(k.log, e)
	return k
}

func (k *shares) add(log *manifest.Log, e manifest.Entry) uint64 {
	k.t.Helper()
	if e.Time == 0 {
		e.Time = k.now.UnixMilli()
	}
	done, err := log.Append(k.t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &e, nil })
	if err != nil {
		k.t.Fatal(err)
	}
	return done.Sequence
}

// starts has the source begin at an offset, so that the newest point needs nothing before it.
func (k *shares) starts(at int64) {
	k.t.Helper()
	if err := k.log.CatchUp(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	k.add(k.log, manifest.Entry{LogStarts: []manifest.LogStart{{Offset: at}}, Point: &manifest.Point{Time: k.now.UnixMilli()}})
}

func (k *shares) pruner() *retention.Pruner {
	return &retention.Pruner{Repository: k.repo, MaxShare: 0.5, Grace: 24 * time.Hour, Policy: retention.Policy{Rules: retention.Rules{Last: 1}}, Now: func() time.Time { return k.now }}
}

// Whoever may append to the log can have it say that nothing is needed any more, in one
// entry or in several with other times: an honest prune does not delete that, nor
// anything else, without being told to.
func TestShareOfForgedRemovals(t *testing.T) {
	for name, entries := range map[string]int{"one entry": 1, "in parts": 5} {
		t.Run(name, func(t *testing.T) {
			k := newShares(t)
			thief := openLog(t, k.repo)
			forged := manifest.Entry{
				Agent: &manifest.Agent{Program: "backupd prune", Host: "ops-9"}, LogStarts: []manifest.LogStart{{Offset: 10}},
				PointChanges: []manifest.PointChange{{Point: 1, Deleted: true}}, Point: &manifest.Point{Time: k.now.UnixMilli()},
			}
			for n := range entries {
				forged.Removed = &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
				for c := n * 10 / entries; c < (n+1)*10/entries; c++ {
					forged.Removed.Segments.Add(k.log.Writer(), uint64(c))
				}
				k.add(thief, forged) // its bytes are none, as it says
				forged = manifest.Entry{Time: k.now.AddDate(0, 0, -7*n).UnixMilli()}
			}
			if r, err := k.pruner().Prune(t.Context()); err != nil || r.Deleted.Segments != 0 {
				t.Errorf("within the grace: %+v, %v", r, err)
			}
			k.now = k.now.Add(25 * time.Hour)
			for _, do := range []func() (*retention.Report, error){
				func() (*retention.Report, error) { return k.pruner().Plan(t.Context()) },
				func() (*retention.Report, error) { return k.pruner().Prune(t.Context()) },
			} {
				r, err := do()
				if !errors.Is(err, retention.ErrShare) || r == nil || r.Deleted.Segments != 0 && entries == 1 {
					t.Fatalf("%+v, %v", r, err)
				}
				for _, want := range []string{"log entry ", `"backupd prune" on host "ops-9"`, "--log-until ", "--force", "retention.maxRemovedShare"} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s is not in %v", want, err)
					}
				}
			}
			if got := objects(t, k.repo); len(got) != 10 {
				t.Fatalf("%d objects are left", len(got))
			}
			p := k.pruner()
			p.Force = true
			if r, err := p.Prune(t.Context()); err != nil || r.Deleted.Segments != 10 {
				t.Errorf("by force: %+v, %v", r, err)
			}
		})
	}
}

// Removals that passed the check come due together when nobody has pruned for a while: they
// are deleted. What was removed by force, and what comes after it within the grace, needs it again.
func TestShareOfHonestRemovals(t *testing.T) {
	k := newShares(t)
	pin := putPin(t, k.repo)
	for _, at := range []int64{4, 6, 7} { // 4 of 10, 2 of 6, 1 of 4
		k.now = k.now.Add(26 * time.Hour)
		if err := k.repo.PutPin(t.Context(), pin); err != nil {
			t.Fatal(err)
		}
		k.starts(at)
		if r, err := k.pruner().Prune(t.Context()); err != nil || r.Removed.Segments == 0 || r.Deleted.Segments != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	k.now = k.now.AddDate(0, 0, 3) // the pin is stale
	if r, err := k.pruner().Prune(t.Context()); err != nil || r.Deleted.Segments != 7 || r.Waiting.Segments != 0 || len(objects(t, k.repo)) != 3 {
		t.Errorf("%+v, %v, and %d objects are left", r, err, len(objects(t, k.repo)))
	}
	k.starts(9)
	p := k.pruner()
	p.Force = true
	if r, err := p.Prune(t.Context()); err != nil || r.Removed.Segments != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := k.pruner().Prune(t.Context()); err != nil {
		t.Errorf("within the grace: %+v, %v", r, err)
	}
	k.now = k.now.AddDate(0, 0, 3)
	if r, err := k.pruner().Prune(t.Context()); !errors.Is(err, retention.ErrShare) {
		t.Errorf("what was removed by force: %+v, %v", r, err)
	}
	if r, err := p.Prune(t.Context()); err != nil || r.Deleted.Segments != 2 {
		t.Errorf("by force: %+v, %v", r, err)
	}
}

// A prune says which topics no point has any more.
func TestLostTopics(t *testing.T) {
	k := newShares(t)
	k.add(k.log, manifest.Entry{Topics: []manifest.TopicChange{{Number: 1, Topic: manifest.Topic{ID: [16]byte{2}, Name: "ledger", Partitions: 1}}}, Point: &manifest.Point{Name: "audit"}})
	k.add(k.log, manifest.Entry{Topics: []manifest.TopicChange{
		{Number: 1, Topic: manifest.Topic{ID: [16]byte{2}, Name: "ledger", Gone: true, Partitions: 1}},
		{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Gone: true, Partitions: 1}},
		{Number: 2, Topic: manifest.Topic{ID: [16]byte{3}, Name: "a", Partitions: 1}},
	}, Point: &manifest.Point{}})
	for last, want := range map[int]string{3: "", 2: "", 1: "a@1 ledger"} {
		p := k.pruner()
		p.Policy.Last, p.Force = last, true
		if r, err := p.Plan(t.Context()); err != nil || strings.Join(r.Lost, " ") != want {
			t.Errorf("of the last %d: %q, %v", last, r.Lost, err)
		}
	}
	p := k.pruner()
	if r, err := p.Prune(t.Context()); !errors.Is(err, retention.ErrShare) || len(r.Lost) != 2 || len(k.log.State().Points) != 3 {
		t.Errorf("refused: %+v, %v", r, err)
	}
	p.Force = true
	if r, err := p.Prune(t.Context()); err != nil || len(r.Lost) != 2 || !r.Forced {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := p.Prune(t.Context()); err != nil || len(r.Lost) != 0 {
		t.Errorf("once they are lost: %+v, %v", r, err)
	}
}
