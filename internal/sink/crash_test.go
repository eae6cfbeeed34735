package sink_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// origin is a fake cluster whose content does not change any more.
type origin struct {
	cluster *kafka.Cluster
	raw     map[manifest.StreamKey][]byte // what its partitions hold
	ends    map[manifest.StreamKey]int64
}

const originTopics, originPartitions = 2, 3

func newOrigin(t *testing.T) *origin {
	t.Helper()
	names := make([]string, originTopics)
	for i := range names {
		names[i] = fmt.Sprintf("topic-%d", i)
	}
	f, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(originPartitions, names...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	produceAll(t, f, names)
	c, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	o := &origin{cluster: c, raw: make(map[manifest.StreamKey][]byte), ends: make(map[manifest.StreamKey]int64)}
	o.read(t, names)
	return o
}

var quiet = slog.New(slog.DiscardHandler)

// produceAll gives every partition batches of all sizes, compressed and not.
func produceAll(t *testing.T, f *kfake.Cluster, names []string) {
	t.Helper()
	for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression()} {
		cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(64<<10))
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		for range 6 {
			var records []*kgo.Record
			for _, name := range names {
				for p := range int32(originPartitions) {
					value := make([]byte, rng.IntN(48<<10))
					for j := range value {
						value[j] = byte(rng.IntN(256))
					}
					records = append(records, &kgo.Record{Topic: name, Partition: p, Value: value})
				}
			}
			if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		cl.Close()
	}
}

// read fetches everything that the cluster holds.
func (o *origin) read(t *testing.T, names []string) {
	t.Helper()
	fetcher, err := o.cluster.NewFetcher()
	if err != nil {
		t.Fatal(err)
	}
	defer fetcher.Close()
	topics, err := o.cluster.Topics(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			resp, err := fetcher.Fetch(t.Context(), p.Leader, kafka.FetchRequest{MaxBytes: 64 << 20, Partitions: []kafka.FetchPartition{{
				Topic: topic.Name, TopicID: topic.ID, Partition: p.Index, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 64 << 20,
			}}})
			if err != nil || resp.Partitions[0].Err != nil {
				t.Fatalf("fetch: %v, %+v", err, resp)
			}
			key := manifest.StreamKey{TopicID: topic.ID, Partition: p.Index}
			o.raw[key], o.ends[key] = resp.Partitions[0].Records, resp.Partitions[0].HighWatermark
		}
	}
}

// capture runs backupd's pipeline once on a store, with segments so small that it commits several times.
func (o *origin) capture(ctx context.Context, st store.Store) error {
	repo, err := manifest.OpenOrCreate(ctx, st, o.cluster.ID(), time.Now())
	if err != nil {
		return err
	}
	topics, err := pattern.Parse(nil)
	if err != nil {
		return err
	}
	cfg := sink.Defaults()
	cfg.Topics, cfg.SegmentBytes, cfg.BlockBytes, cfg.FetchWait = topics, 512<<10, 64<<10, 5*time.Millisecond
	s := &sink.Sink{Cluster: o.cluster, Repository: repo, Config: cfg, Agent: manifest.Agent{Program: "test"}, Log: quiet}
	_, err = s.Once(ctx)
	return err
}

// requireIn fails the test unless the repository holds each byte of the cluster once and in order, and each of its
// points everything.
func (o *origin) requireIn(t *testing.T, st store.Store) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[manifest.StreamKey][]byte)
	_, err = repo.Read(t.Context(), 0, func(state *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			readSegment(t, st, e, i, got)
		}
		for n := range state.Streams {
			if end := o.ends[state.Key(n)]; e.Point != nil && state.Streams[n].Next != end {
				t.Errorf("point %d ends at %d of stream %d, want %d", e.Sequence, state.Streams[n].Next, n, end)
			}
		}
		if e.Point != nil && len(state.Streams) != len(o.ends) {
			t.Errorf("point %d has %d streams, want %d", e.Sequence, len(state.Streams), len(o.ends))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range o.raw {
		if !bytes.Equal(got[key], want) {
			t.Errorf("partition %d: the repository has %s, want %s", key.Partition, offsets(got[key]), offsets(want))
		}
	}
}

// readSegment appends the blocks of a segment to what their streams have.
func readSegment(t *testing.T, st store.Store, e *manifest.Entry, i int, streams map[manifest.StreamKey][]byte) {
	t.Helper()
	key := manifest.SegmentKey(e.Writer, e.Segments[i].Counter)
	body, err := st.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	object, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	footer, err := e.Segments[i].Open(object[int64(len(object))-e.Segments[i].TailLength():])
	if err != nil {
		t.Fatal(err)
	}
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range footer.InFileOrder() {
		raw, err := dec.Decode(l.Block, bytes.Clone(object[l.Block.Position:l.Block.Position+l.Block.StoredLength]), nil)
		if err != nil {
			t.Fatal(err)
		}
		k := manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition}
		streams[k] = append(streams[k], raw...)
	}
}

// offsets says what batches there are.
func offsets(raw []byte) string {
	text := ""
	for len(raw) > 0 {
		h, _, rest, err := batch.Next(raw)
		if err != nil {
			return text + err.Error()
		}
		text += fmt.Sprintf("[%d,%d)", h.BaseOffset, h.NextOffset())
		raw = rest
	}
	return text
}

// ending is what happens at a call of the store.
type ending string

// The endings: the process dies before or after the call took effect, with what it was uploading, or it is told to
// stop and does so in order.
const (
	dieBefore ending = "die before"
	dieAfter  ending = "die after"
	stop      ending = "stop"
)

// errDead is final, so that what is left of a dead process does not go on trying.
var errDead = fmt.Errorf("the process is dead: %w", store.ErrAuth)

// mortal is a store of a process that ends at its n-th call.
type mortal struct {
	store.Store
	how   ending
	at    int
	abort context.CancelFunc // tells the process to stop

	mu    sync.Mutex
	calls int
	dead  bool
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// call makes one call, unless the process is dead.
func (m *mortal) call(do func() error) error {
	m.mu.Lock()
	m.calls++
	last := m.calls == m.at
	m.dead = m.dead || last && m.how == dieBefore
	dead := m.dead
	m.mu.Unlock()
	switch {
	case dead:
		return errDead
	case last && m.how == stop:
		m.abort()
	}
	err := do()
	if last && m.how == dieAfter {
		m.mu.Lock()
		m.dead = true
		m.mu.Unlock()
		return errDead
	}
	return err
}

func (m *mortal) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (info store.Info, err error) {
	err = m.call(func() error {
		info, err = m.Store.Put(ctx, key, mortalReader{m, r}, opts)
		return err
	})
	return info, err
}

func (m *mortal) Get(ctx context.Context, key string, off, n int64) (body io.ReadCloser, err error) {
	err = m.call(func() error {
		body, err = m.Store.Get(ctx, key, off, n)
		return err
	})
	return body, err
}

func (m *mortal) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return m.call(func() error { return m.Store.List(ctx, prefix, fn) })
}

// mortalReader ends the uploads that are under way when the process dies.
type mortalReader struct {
	m *mortal
	r io.Reader
}

func (r mortalReader) Read(p []byte) (int, error) {
	if r.m.isDead() {
		return 0, errDead
	}
	return r.r.Read(p)
}

// A process ends at each call of the store in each way, the next one at a random call; the third has to find
// everything as if nothing had been.
func TestEndAtEveryStoreCall(t *testing.T) {
	o := newOrigin(t)
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	for _, how := range []ending{dieBefore, dieAfter, stop} {
		t.Run(string(how), func(t *testing.T) {
			for at, whole := 1, false; !whole; at++ {
				st := mem.New()
				whole = o.end(t, st, how, at)
				again := 1 + rng.IntN(20)
				o.end(t, st, how, again)
				if err := o.capture(t.Context(), st); err != nil {
					t.Fatalf("after the end at call %d and call %d: %v", at, again, err)
				}
				o.requireIn(t, st)
				if t.Failed() {
					t.Fatalf("after the end at call %d and call %d", at, again)
				}
				if whole && at < 10 {
					t.Errorf("a whole run made %d calls: it tested too little", at-1)
				}
			}
		})
	}
}

// end captures until the n-th call, and says whether there were fewer.
func (o *origin) end(t *testing.T, st store.Store, how ending, at int) (whole bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := &mortal{Store: st, how: how, at: at, abort: cancel}
	err := o.capture(ctx, m)
	if m.calls < at && err != nil {
		t.Fatalf("after %d calls: %v", m.calls, err)
	}
	return m.calls < at
}

// With nothing to capture, a point is made all the same, and one only.
func TestOnceWithNothingNew(t *testing.T) {
	o, st := newOrigin(t), mem.New()
	for want := 1; want <= 3; want++ {
		if err := o.capture(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		state, err := repo.Read(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Points) != want {
			t.Fatalf("%d points after %d runs", len(state.Points), want)
		}
	}
	o.requireIn(t, st)
}
