package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store"
)

var quiet = slog.New(slog.DiscardHandler)

// fake starts a cluster in this process.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	f, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func connect(t testing.TB, f *kfake.Cluster) *kafka.Cluster {
	t.Helper()
	c, err := kafka.Connect(context.Background(), kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// client is for what a user of the cluster does.
func client(t testing.TB, f *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// firstTime is the timestamp of the first record; each later one is a second younger.
var firstTime = time.UnixMilli(1_700_000_000_000)

// identity is all that makes a record what it is for a consumer.
func identity(timestamp int64, key, value []byte, headers string) string {
	return fmt.Sprintf("%d %q %q %s", timestamp, key, value, headers)
}

// source is a cluster with what its topics hold, in the order of offsets,
// without what was aborted.
type sourceCluster struct {
	fake  *kfake.Cluster
	plain *kgo.Client
	truth map[string][]string // by "topic-partition"
	made  int
}

// produce sends n records as one batch and, unless they are to be aborted,
// adds them to the truth.
func (s *sourceCluster) produce(t testing.TB, cl *kgo.Client, topic string, partition int32, n int, keep bool) {
	t.Helper()
	var list []*kgo.Record
	for range n {
		s.made++
		r := &kgo.Record{
			Topic: topic, Partition: partition, Timestamp: firstTime.Add(time.Duration(s.made) * time.Second),
			Key: fmt.Appendf(nil, "key-%d", s.made), Value: fmt.Appendf(nil, "value %d value %d", s.made, s.made),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{byte(s.made)}}},
		}
		list = append(list, r)
		if keep {
			id := identity(r.Timestamp.UnixMilli(), r.Key, r.Value, fmt.Sprintf("h=%x,", r.Headers[0].Value))
			s.truth[placeOf(topic, partition)] = append(s.truth[placeOf(topic, partition)], id)
		}
	}
	if err := cl.ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func placeOf(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }

// transaction runs one that is committed or aborted.
func (s *sourceCluster) transaction(t testing.TB, cl *kgo.Client, commit bool, parts map[int32]int) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		s.produce(t, cl, "ledger", p, parts[p], commit)
	}
	if err := cl.EndTransaction(context.Background(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

func (s *sourceCluster) commit(t testing.TB, group string, offsets map[string]int64) {
	t.Helper()
	var list kadm.Offsets
	for topic, at := range offsets {
		list.Add(kadm.Offset{Topic: topic, Partition: 0, At: at, LeaderEpoch: -1, Metadata: "m"})
	}
	if err := kadm.NewClient(s.plain).CommitAllOffsets(context.Background(), group, list); err != nil {
		t.Fatal(err)
	}
}

// newSource makes a cluster with three topics: one as producers send it, one
// compressed, one with transactions.
func newSource(t testing.TB) *sourceCluster {
	t.Helper()
	s := &sourceCluster{truth: make(map[string][]string)}
	s.fake = fake(t, kfake.ClusterID("source"))
	for topic, partitions := range map[string]int32{"orders": 2, "packed": 1, "ledger": 2, "empty": 1} {
		if err := s.fake.CreateTopic(topic, partitions, map[string]string{"retention.ms": "-1"}); err != nil {
			t.Fatal(err)
		}
	}
	s.plain = client(t, s.fake, kgo.ProducerBatchCompression(kgo.NoCompression()))
	return s
}

// firstDay, secondDay and thirdDay are what happens before each backup.
func (s *sourceCluster) firstDay(t testing.TB) {
	s.produce(t, s.plain, "orders", 0, 2, true)
	s.produce(t, s.plain, "orders", 0, 3, true)
	s.produce(t, s.plain, "orders", 1, 1, true)
	packed := client(t, s.fake, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	s.produce(t, packed, "packed", 0, 4, true)
	ledger := client(t, s.fake, kgo.TransactionalID("ledger"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	s.transaction(t, ledger, true, map[int32]int{0: 2, 1: 1})
	s.transaction(t, ledger, false, map[int32]int{0: 2})
	s.commit(t, "readers", map[string]int64{"orders": 3, "ledger": 4})
}

func (s *sourceCluster) secondDay(t testing.TB) {
	s.produce(t, s.plain, "orders", 0, 3, true)
	ledger := client(t, s.fake, kgo.TransactionalID("ledger2"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	s.transaction(t, ledger, false, map[int32]int{1: 1})
	s.transaction(t, ledger, true, map[int32]int{0: 1, 1: 2})
	s.commit(t, "readers", map[string]int64{"orders": 6})
}

func (s *sourceCluster) thirdDay(t testing.TB) {
	s.produce(t, s.plain, "orders", 1, 2, true)
	s.produce(t, s.plain, "orders", 0, 1, true)
}

// sinkConfig is for small clusters that answer at once.
func sinkConfig() sink.Config {
	c := sink.Defaults()
	c.Topics, _ = pattern.Parse(nil)
	c.FetchWait = 5 * time.Millisecond
	c.SegmentAge = 200 * time.Millisecond
	return c
}

// backUp captures what the cluster holds, as backupd once does.
func backUp(ctx context.Context, cluster *kafka.Cluster, st store.Store, config sink.Config) error {
	repo, err := manifest.OpenOrCreate(ctx, st, cluster.ID(), firstTime)
	if err != nil {
		return err
	}
	s := &sink.Sink{Cluster: cluster, Repository: repo, Config: config, Agent: manifest.Agent{Program: "test"}, Log: quiet}
	_, err = s.Once(ctx)
	return err
}

// replayed replays the newest point without a cluster. It returns the records
// by partition, also those before an error.
func replayed(ctx context.Context, st store.Store) (map[string][]string, error) {
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	return replayedFrom(ctx, repo)
}

func replayedFrom(ctx context.Context, repo *manifest.Repository) (map[string][]string, error) {
	snap, err := Load(ctx, repo, "latest", firstTime)
	if err != nil {
		return nil, err
	}
	plan, err := snap.Plan(ctx, nil, Request{}, firstTime)
	if err != nil {
		return nil, err
	}
	lists := make(map[*track]*[]string)
	converters := plan.newConverters(func(t *track) emit {
		list := new([]string)
		lists[t] = list
		return func(raw []byte, records int32, _ *buffer) error {
			got, err := identities(raw)
			*list = append(*list, got...)
			if err == nil && len(got) != int(records) {
				err = fmt.Errorf("%d records in a batch of %d", len(got), records)
			}
			return err
		}
	})
	err = plan.replay(ctx, converters)
	records := make(map[string][]string)
	for t, list := range lists {
		records[placeOf(plan.Topics[t.topic].Target, t.partition)] = *list
	}
	return records, err
}

// identities decodes one batch.
func identities(raw []byte) (list []string, err error) {
	err = batch.NewDecoder().Decode(raw, func(r *batch.Record) error {
		list = append(list, identityOf(r))
		return nil
	})
	return list, err
}

func identityOf(r *batch.Record) string {
	var headers strings.Builder
	for k, v := range r.Headers() {
		fmt.Fprintf(&headers, "%s=%x,", k, v)
	}
	return identity(r.Timestamp, r.Key(), r.Value(), headers.String())
}

// compareRecords says where got is not the truth, or, with prefix, not the
// beginning of it in each partition.
func compareRecords(got, truth map[string][]string, prefix bool) error {
	var errs []error
	for place, list := range got {
		want := truth[place]
		if len(list) > len(want) || prefix && !slices.Equal(list, want[:len(list)]) || !prefix && !slices.Equal(list, want) {
			errs = append(errs, fmt.Errorf("%s has\n%s\nwant\n%s", place, strings.Join(list, "\n"), strings.Join(want, "\n")))
		}
	}
	for place, want := range truth {
		if _, ok := got[place]; !ok && !prefix && len(want) > 0 {
			errs = append(errs, fmt.Errorf("%s is missing", place))
		}
	}
	return errors.Join(errs...)
}

// frozen is a store whose objects are given. It is read only and cheap to vary.
type frozen map[string][]byte

// freeze copies all objects of a store.
func freeze(t testing.TB, st store.Store) frozen {
	t.Helper()
	f := make(frozen)
	err := st.List(context.Background(), "", func(i store.Info) error {
		body, err := st.Get(context.Background(), i.Key, 0, -1)
		if err != nil {
			return err
		}
		defer body.Close()
		f[i.Key], err = io.ReadAll(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// with returns the store with one object replaced; nil removes it.
func (f frozen) with(key string, b []byte) frozen {
	g := maps.Clone(f)
	if g[key] = b; b == nil {
		delete(g, key)
	}
	return g
}

func (f frozen) keys(prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f)), func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

func (f frozen) Get(_ context.Context, key string, off, n int64) (io.ReadCloser, error) {
	b, ok := f[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, store.ErrNotExist)
	}
	if off > int64(len(b)) {
		return nil, fmt.Errorf("get %s: %w", key, store.ErrRange)
	}
	if b = b[off:]; n >= 0 && n < int64(len(b)) {
		b = b[:n]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (f frozen) Stat(_ context.Context, key string) (store.Info, error) {
	b, ok := f[key]
	if !ok {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, store.ErrNotExist)
	}
	return store.Info{Key: key, Size: int64(len(b))}, nil
}

func (f frozen) List(_ context.Context, prefix string, fn func(store.Info) error) error {
	for _, key := range f.keys(prefix) {
		if err := fn(store.Info{Key: key, Size: int64(len(f[key]))}); err != nil {
			return err
		}
	}
	return nil
}

var errFrozen = errors.New("read only")

func (f frozen) Put(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
	return store.Info{}, errFrozen
}

func (f frozen) Delete(context.Context, ...string) error { return errFrozen }
