//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// random returns a source of randomness whose seed is logged. OFFSITE_TEST_SEED repeats a run, as far as processes
// that run at the same time can be repeated.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("OFFSITE_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("OFFSITE_TEST_SEED: %v", err)
		}
	}
	t.Logf("OFFSITE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// count is how often a test does something: what the environment variable says, or as often as it has to be.
func count(t testing.TB, variable string, normal int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return normal
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number from 1 on", variable, text)
	}
	return n
}

// upTo returns a random duration in [0, limit).
func upTo(rng *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(limit)))
}

// The topics that traffic writes to, with their partitions.
const (
	plainTopic   = "traffic-plain"   // idempotent producers, one for each codec
	quietTopic   = "traffic-quiet"   // now and then a single record
	accountTopic = "traffic-account" // transactions, a third of them aborted
)

var trafficTopics = map[string]int32{plainTopic: 3, quietTopic: 2, accountTopic: 2}

// traffic are producers that go on until they are stopped.
type traffic struct {
	t         testing.TB
	source    *cluster.Cluster
	cancel    context.CancelFunc
	producers sync.WaitGroup
	records   atomic.Int64 // acknowledged
	aborted   atomic.Int64 // transactions
}

// startTraffic creates the topics and starts to produce.
func startTraffic(t testing.TB, source *cluster.Cluster, rng *rand.Rand) *traffic {
	t.Helper()
	for name, partitions := range trafficTopics {
		createTopic(t, source, name, partitions, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{t: t, source: source, cancel: cancel}
	t.Cleanup(f.stop)
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		client := producer(t, source, kgo.ProducerBatchCompression(codec))
		w := &writer{name: fmt.Sprintf("w%d", i), rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
		f.producers.Go(func() { f.send(ctx, client, w) })
	}
	w := &writer{name: "txn", rng: rand.New(rand.NewPCG(rng.Uint64(), 2))}
	f.producers.Go(func() { f.transact(ctx, w) })
	return f
}

// stop ends the producers. What they had sent is acknowledged, and no transaction is open, when it returns.
func (f *traffic) stop() {
	f.cancel()
	f.producers.Wait()
}

// writer makes records that differ from all others.
type writer struct {
	name string
	rng  *rand.Rand
	made int
}

func (w *writer) record(topic string) *kgo.Record {
	w.made++
	size := w.rng.IntN(400)
	if w.rng.IntN(50) == 0 {
		size = w.rng.IntN(60 << 10)
	}
	value := make([]byte, size)
	for i := range value {
		value[i] = 'a' + byte(w.rng.IntN(26))
	}
	return &kgo.Record{
		Topic: topic, Partition: w.rng.Int32N(trafficTopics[topic]), Key: fmt.Appendf(nil, "%s-%d", w.name, w.made), Value: value,
		Headers: []kgo.RecordHeader{{Key: "writer", Value: []byte(w.name)}},
	}
}

func (w *writer) records(topic string, most int) []*kgo.Record {
	list := make([]*kgo.Record, 1+w.rng.IntN(most))
	for i := range list {
		list[i] = w.record(topic)
	}
	return list
}

// send produces small bursts. Records whose acknowledgement was lost may be in the topic: only the topic tells.
func (f *traffic) send(ctx context.Context, client *kgo.Client, w *writer) {
	for ctx.Err() == nil {
		list := w.records(plainTopic, 10)
		if w.rng.IntN(20) == 0 {
			list = append(list, w.record(quietTopic))
		}
		for _, result := range client.ProduceSync(context.Background(), list...) {
			if result.Err != nil {
				f.t.Logf("produce to %s: %v", result.Record.Topic, result.Err)
				continue
			}
			f.records.Add(1)
		}
		pause(ctx, upTo(w.rng, 40*time.Millisecond))
	}
}

// transact commits and aborts transactions. After an error it begins anew as the same producer, which ends what was
// open.
func (f *traffic) transact(ctx context.Context, w *writer) {
	for ctx.Err() == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(f.source.Bootstrap()...), kgo.TransactionalID("traffic"),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(10*time.Second))
		if err != nil {
			f.t.Errorf("create client: %v", err)
			return
		}
		for err == nil && ctx.Err() == nil {
			err = f.transaction(client, w)
			pause(ctx, upTo(w.rng, 60*time.Millisecond))
		}
		if err != nil {
			f.t.Logf("transaction: %v", err)
		}
		client.Close()
	}
}

func (f *traffic) transaction(client *kgo.Client, w *writer) error {
	ctx := context.Background()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	list := w.records(accountTopic, 20)
	if err := client.ProduceSync(ctx, list...).FirstErr(); err != nil {
		return err
	}
	commit := kgo.TransactionEndTry(w.rng.IntN(10) >= 3)
	if err := client.EndTransaction(ctx, commit); err != nil {
		return err
	}
	if !commit {
		f.aborted.Add(1)
		return nil
	}
	f.records.Add(int64(len(list)))
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// requireTraffic fails the test unless the target has exactly the records of the source.
func requireTraffic(t testing.TB, source, target *cluster.Cluster) {
	t.Helper()
	for topic := range trafficTopics {
		want := readTopic(t, source, topic)
		if want.Len() == 0 {
			t.Errorf("%s is empty: the test tested nothing", topic)
		}
		t.Logf("%s: %d records", topic, want.Len())
		requireSame(t, want, readTopic(t, target, topic))
	}
}

// ended says whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// watcher returns a client of the cluster's administration that looks anew each time. The usual one remembers topics for
// some seconds.
func watcher(t testing.TB, c *cluster.Cluster) *kadm.Client {
	return kadm.NewClient(c.Client(t, kgo.MetadataMinAge(10*time.Millisecond)))
}
