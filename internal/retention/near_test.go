package retention_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// entriesRead counts the log entries that are read.
type entriesRead struct {
	store.Store
	n atomic.Int64
}

func (s *entriesRead) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(key, "log/") {
		s.n.Add(1)
	}
	return s.Store.Get(ctx, key, off, n)
}

// aging is a repository of a topic that the source keeps for 100 entries, with a
// segment in each entry, a point in every fifth and a snapshot after every 100th.
type aging struct {
	t    *testing.T
	st   *entriesRead
	repo *manifest.Repository
	log  *manifest.Log
	now  time.Time
	ref  *manifest.SnapshotRef
}

func newAging(t *testing.T) *aging {
	m := mem.New()
	a := &aging{t: t, st: &entriesRead{Store: m}, now: time.Now()}
	m.Now = func() time.Time { return a.now }
	a.repo = openRepo(t, a.st)
	a.log = openLog(t, a.repo)
	return a
}

func (a *aging) grow(entries int) {
	a.t.Helper()
	if err := a.log.CatchUp(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	for range entries {
		_, err := a.log.Append(a.t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			a.now = a.now.Add(10 * time.Second)
			e := &manifest.Entry{Time: a.now.UnixMilli(), Snapshot: a.ref}
			if s.Sequence == 0 {
				e.Topics = []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "a", Partitions: 1}}}
				e.Streams = []manifest.NewStream{{Parent: -1}}
			}
			e.Segments = []manifest.Segment{{Counter: s.Sequence, Ref: segment.Ref{Size: 100}}}
			e.Ranges = []manifest.Range{{Spans: []manifest.Span{{Offsets: 10, Records: 10, MaxTimestamp: e.Time, MinTimestamp: e.Time}}}}
			if s.Sequence > 100 {
				e.LogStarts = []manifest.LogStart{{Offset: 10 * (int64(s.Sequence) - 100)}}
			}
			if s.Sequence%5 == 0 {
				e.Point = &manifest.Point{Time: e.Time}
			}
			return e, nil
		})
		if err != nil {
			a.t.Fatal(err)
		}
		upload(a.t, a.repo, a.log, a.log.State().Sequence-1)
		if a.ref = nil; a.log.State().Sequence%100 == 0 {
			if a.ref, err = a.log.PutSnapshot(a.t.Context()); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

func (a *aging) pruner() *retention.Pruner {
	p := &retention.Pruner{Repository: a.repo, MaxShare: 1, WholeLog: 1, Near: 100, Now: func() time.Time { return a.now }}
	p.Policy.Window = 10 * time.Minute
	p.Policy.Hourly = 3
	return p
}

// What a prune reads of the log does not grow with its age.
func TestPruneReadsLittleOfALongLog(t *testing.T) {
	read := make(map[int]int64)
	for _, age := range []int{4000, 9000} {
		a := newAging(t)
		a.grow(age)
		first, err := a.pruner().Prune(t.Context())
		if err != nil || first.Removed.Segments < int64(age)/2 || first.Deleted != first.Removed {
			t.Fatalf("the first prune: removed %v, deleted %v: %v", first.Removed, first.Deleted, err)
		}
		a.grow(40)
		a.st.n.Store(0)
		if _, err := a.pruner().Plan(t.Context()); err != nil {
			t.Fatal(err)
		}
		read[age] = a.st.n.Load()
		r, err := a.pruner().Prune(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("of a log of %d entries the first prune removes %v, and a plan of the next one reads %d; it removes %v", age, first.Removed, read[age], r.Removed)
	}
	if read[9000] > 1000 || read[9000] > read[4000]+100 {
		t.Errorf("read are %v entries", read)
	}
}

// A leader that was elected uncleanly may have a log that begins before that of the one
// before: a point behind that needs what no other one does.
func TestNearKeepsWhatABranchBringsBack(t *testing.T) {
	for name, whole := range map[string]uint64{"near": 1, "exact": 10_000} {
		a := newAging(t)
		a.grow(2300)
		for _, start := range []int64{15_000, 22_000} {
			_, err := a.log.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
				e := &manifest.Entry{Time: a.now.UnixMilli(), LogStarts: []manifest.LogStart{{Stream: 1, Offset: start}}, Point: &manifest.Point{Time: a.now.UnixMilli()}}
				if len(s.Streams) == 1 {
					e.Streams = []manifest.NewStream{{Parent: 0, First: s.Streams[0].Next}}
				}
				return e, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p := a.pruner()
		p.WholeLog, p.Policy.Rules = whole, retention.Rules{Last: 2}
		if _, err := p.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.log.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !a.log.State().Segments.Has(a.log.Writer(), 1600) {
			t.Errorf("%s: a segment is gone that a point needs", name)
		}
	}
}
