package manifest_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A year of a cluster with 2,000 partitions and an entry every 10 s, a point each
// minute: so many entries, and of those the last ones are behind the newest snapshot.
const (
	yearEntries    = 365 * 24 * 360
	yearTail       = 999
	yearPartitions = 2000
	yearStep       = 1000 // entries from snapshot to snapshot
)

// yearOld is a store with such a repository. What nobody should read of it is not
// there: it is only listed.
type yearOld struct {
	store.Store
	mu           sync.Mutex
	gets, pages  int // requests, of pages with 1,000 keys each
	bytes        int64
	snapshot     uint64
	wholeListing bool
}

func (y *yearOld) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	body, err := y.Store.Get(ctx, key, off, n)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.gets++
	return counted{body, y}, err
}

type counted struct {
	io.ReadCloser
	y *yearOld
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.y.mu.Lock()
	defer c.y.mu.Unlock()
	c.y.bytes += int64(n)
	return n, err
}

func (y *yearOld) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	var from, step, to uint64
	key := manifest.LogKey
	switch prefix {
	case "snapshot/":
		from, step, to, key = yearStep, yearStep, y.snapshot-1, manifest.SnapshotKey
	case "log/":
		y.wholeListing = true
	default:
		var shard uint64
		if _, err := fmt.Sscanf(prefix, "log/%d/", &shard); err == nil {
			from, step, to = shard*10_000, 1, min(y.snapshot, shard*10_000+9_999)
		}
	}
	keys := 0
	list := func(i store.Info) error { keys++; return fn(i) }
	for seq := from; step > 0 && seq <= to; seq += step {
		if err := list(store.Info{Key: key(seq), Size: 1}); err != nil {
			return err
		}
	}
	err := y.Store.List(ctx, prefix, list)
	y.pages += max(1, (keys+999)/1000)
	return err
}

// newYearOld makes one.
func newYearOld(t testing.TB) *yearOld {
	t.Helper()
	y := &yearOld{Store: mem.New(), snapshot: (yearEntries - yearTail) / yearStep * yearStep}
	s := manifest.NewState()
	s.Sequence, s.Head, s.Time = y.snapshot, manifest.Digest{1}, 1_700_000_000_000
	aYear(s)
	l := create(t, y.Store).LogFrom(s)
	ref, err := l.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := dice(1)
	for range yearTail {
		if _, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			e := c.tenSeconds(s)
			e.Snapshot, ref = ref, nil
			return e, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return y
}

// aYear fills in what a year leaves: 20 topics of 100 partitions, 100 groups that
// have committed in one of them each, a point each minute, a restart each day.
func aYear(s *manifest.State) {
	c := dice(2)
	e := &manifest.Entry{Sequence: s.Sequence, Time: s.Time}
	for n := range 20 {
		t := topicNamed(n, byte(n+1), fmt.Sprint("topic-", n), false)
		t.Partitions = yearPartitions / 20
		e.Topics = append(e.Topics, t)
		for p := range t.Partitions {
			e.Streams = append(e.Streams, manifest.NewStream{Topic: n, Partition: p, Parent: -1})
		}
	}
	for g := range 100 {
		change := manifest.GroupChange{ID: fmt.Sprintf("group-%03d", g), Type: "consumer", ProtocolType: "consumer"}
		for p := range int32(100) {
			change.Offsets = append(change.Offsets, manifest.OffsetChange{Topic: fmt.Sprint("topic-", g%20), Partition: p, Committed: true, Offset: c.Int64N(1 << 30)})
		}
		e.Groups = append(e.Groups, change)
	}
	s.Apply(e, s.Head)
	for i := range s.Streams {
		s.Streams[i].Next, s.Streams[i].Records, s.Streams[i].Newest = c.Int64N(1<<30), 1<<20, s.Time
	}
	for seq := uint64(6); seq <= s.Sequence; seq += 6 {
		s.Points = append(s.Points, manifest.PointRef{Sequence: seq, Time: s.Time - int64(s.Sequence-seq)*10_000 - c.Int64N(2000)})
	}
	for day := range 365 {
		for segment := range uint64(3) { // of 8,640: they are one run
			s.Segments.Add(manifest.ID{byte(day), byte(day >> 8), 7}, segment)
		}
	}
	list := make([]manifest.Stretch, s.Sequence/yearStep)
	for i := range list { // of 1,000 segments each: they are one run
		first := uint64(i)*yearStep + 1
		list[i] = manifest.Stretch{First: first, Last: first + yearStep - 1, Stream: i % 5, Start: int64(i) * 1000, Next: int64(i+1) * 1000, Segments: make(manifest.SegmentSet)}
		list[i].Segments.Add(manifest.ID{byte(i), byte(i >> 8), 8}, 1)
	}
	s.SetStretches(list)
}

// tenSeconds is an entry of a busy cluster.
func (c chance) tenSeconds(s *manifest.State) *manifest.Entry {
	e := &manifest.Entry{Time: s.Time + 10_000, Segments: make([]manifest.Segment, 1)}
	e.Segments[0].Counter, e.Segments[0].Size = s.Sequence, 30<<20
	for n := range s.Streams {
		span := manifest.Span{Offsets: 1 + c.Int64N(1000), MaxTimestamp: e.Time - c.Int64N(1000)}
		span.Records, span.MinTimestamp = span.Offsets, span.MaxTimestamp-c.Int64N(10_000)
		e.Ranges = append(e.Ranges, manifest.Range{Stream: n, Spans: []manifest.Span{span}})
	}
	if s.Sequence%6 == 0 {
		e.Point = &manifest.Point{Time: e.Time - 100}
	}
	return e
}

// TestYearOldRepository: it is opened with few requests, and without much memory.
func TestYearOldRepository(t *testing.T) {
	y := newYearOld(t)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, err := open(t, y).State(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d gets, %d pages of listings, %d KB read, %d KB are kept, %d points", y.gets, y.pages, y.bytes>>10, kept>>10, len(s.Points))
	if s.Sequence != y.snapshot+yearTail || len(s.Streams) != yearPartitions {
		t.Errorf("it ends with entry %d and %d streams", s.Sequence, len(s.Streams))
	}
	if y.wholeListing || y.pages > 4+10+1 || y.gets > yearTail+3 || y.bytes > 32<<20 {
		t.Errorf("%d gets, %d pages, %d bytes; all is listed: %v", y.gets, y.pages, y.bytes, y.wholeListing)
	}
	if kept > 48<<20 {
		t.Errorf("the state keeps %d bytes", kept)
	}
	runtime.KeepAlive(s)
}

// BenchmarkYearOldRepository says how long it takes, and how much memory at most.
func BenchmarkYearOldRepository(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as in the programs, see TestMain
	y := newYearOld(b)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapInuse, uint64(0)
	for b.Loop() {
		if _, err := open(b, y).ReadSince(b.Context(), 0, nil, func(s *manifest.State, _ *manifest.Entry) error {
			if s.Sequence%100 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse-base)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
}

// BenchmarkYearOldPrune plans a prune of it, by rules that keep half of the year and the
// last point of each month. Older snapshots are not there, so that all segments stay.
func BenchmarkYearOldPrune(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	y := newYearOld(b)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapInuse, uint64(0)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse-min(m.HeapInuse, base))
			}
		}
	}()
	y.gets, y.pages = 0, 0
	n := 0
	for b.Loop() {
		p := &retention.Pruner{Repository: open(b, y), MaxShare: 1, Now: func() time.Time { return time.UnixMilli(1_700_010_000_000) }}
		p.Policy.Window, p.Policy.Monthly = 180*24*time.Hour, 12
		r, err := p.Plan(b.Context())
		if err != nil || r.Removed.Segments > 0 || len(r.Decisions) < yearEntries/7 {
			b.Fatal(r.Removed, err)
		}
		n++
	}
	close(done)
	<-stopped
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
	b.ReportMetric(float64(y.gets)/float64(n), "gets")
	b.ReportMetric(float64(y.pages)/float64(n), "pages")
}
