//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// smallSegments make transactions span several of them.
var smallSegments = []string{"-X", "segment.maxBytes=1MiB", "-X", "segment.maxAge=1s", "-X", "points.every=1s"}

// Transactions of several producers, interleaved, 30 % of them aborted, two open for all the time and one over several segments. At each
// recovery point a restore brings back what a consumer that reads committed records saw of it, no more and no less.
func TestTransactions(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	const topic, partitions = "payments", 3
	createTopic(t, source, topic, partitions, nil)
	r := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSegments...)...)

	long, doomed := beginTransaction(t, source, "long"), beginTransaction(t, source, "doomed")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { writeTransactions(t, source, topic, partitions, w, stop) })
	}
	for i := range 40 { // some 4 MB that do not compress, in more than 4 s
		long.write(t, topic, int32(i%partitions), 100_000)
		doomed.write(t, topic, int32(i%partitions), 1000)
		time.Sleep(100 * time.Millisecond)
	}
	atOpen := r.pointAfter(t, time.Now())
	long.end(t, kgo.TryCommit)
	doomed.end(t, kgo.TryAbort)
	stillOpen := beginTransaction(t, source, "open")
	stillOpen.write(t, topic, 0, 1000)
	close(stop)
	writers.Wait()
	daemon.stop(t)
	r.backup(source)
	last := r.content().Point
	stillOpen.end(t, kgo.TryCommit)

	want := readTopic(t, source, topic)
	checkMixture(t, want)
	points := r.points()
	points = points[1 : len(points)-1] // the first holds nothing yet
	rand.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	for _, point := range append([]uint64{last, atOpen}, points[:2]...) {
		t.Run(fmt.Sprint("point ", point), func(t *testing.T) {
			r, copied := r.in(t), fmt.Sprint("point-", point)
			result := r.restore(target, "--at", fmt.Sprint(point), "--rename", topic+"="+copied)
			ends := r.content(fmt.Sprint(point)).ends(topic)
			cut := r.closed(point, topic, want, ends).Before(ends)
			requireSame(t, cut, readTopic(t, target, copied))
			if got := result.Topics[0].Records; got != int64(cut.Len()) {
				t.Errorf("%d records are said to be restored, %d are", got, cut.Len())
			}
		})
	}
	for p := range int32(partitions) {
		if served := brokerBatches(t, source, topic, p); !bytes.HasPrefix(served, storedBatches(t, r, topic, p)) {
			t.Errorf("partition %d: what is stored is not what the broker has", p)
		}
	}
}

// closed returns the history with what a recovery point says about the topic's transactions: those that are decided have
// their marker below its ends, those that are undone above.
func (r *repository) closed(point uint64, topic string, h oracle.History, ends map[int32]int64) oracle.History {
	r.t.Helper()
	st, err := storeurl.Open(r.t.Context(), r.url, storeurl.Options{})
	must(r.t, err)
	repo, err := manifest.Open(r.t.Context(), st)
	must(r.t, err)
	snapshot, err := source.LoadPoint(r.t.Context(), repo, point)
	must(r.t, err)
	out := make(oracle.History)
	for p, l := range h {
		l.Records = slices.Clone(l.Records)
		out[p] = l
	}
	for _, x := range snapshot.State.Transactions {
		st := snapshot.State.Streams[x.Stream]
		if snapshot.State.Topics[st.Topic].Name != topic {
			continue
		}
		records := out[st.Partition].Records
		for i := range records {
			switch o := &records[i]; {
			case o.Marker == 0 || o.Producer != x.ProducerID:
			case x.Kind == manifest.TxnUndone && o.Marker >= x.Offset:
				o.Marker = ends[st.Partition]
			case x.Kind == manifest.TxnDecided && o.Marker >= ends[st.Partition]:
				o.Marker = o.Offset // below, if the record is
			}
		}
	}
	return out
}

// checkMixture makes sure that the test is about something.
func checkMixture(t *testing.T, h oracle.History) {
	t.Helper()
	committed, aborted := 0, 0
	for _, l := range h {
		committed, aborted = committed+len(l.Records), aborted+len(l.Aborted)
	}
	if share := float64(aborted) / float64(committed+aborted); share < 0.1 || share > 0.6 {
		t.Errorf("%d records are committed, %d aborted", committed, aborted)
	}
}

// writeTransactions writes one transaction after another until it is told to stop, and aborts 3 of 10.
func writeTransactions(t *testing.T, source *cluster.Cluster, topic string, partitions, writer int, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(uint64(writer), 1))
	codec := []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.GzipCompression()}[writer]
	client := transactional(t, source, fmt.Sprint("writer-", writer), kgo.ProducerBatchCompression(codec))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		x := &transaction{client: client, name: fmt.Sprintf("writer %d transaction %d", writer, n)}
		if err := client.BeginTransaction(); err != nil {
			t.Error(err)
			return
		}
		for range 1 + random.IntN(5) {
			x.write(t, topic, int32(random.IntN(partitions)), 1+random.IntN(3000))
		}
		x.end(t, kgo.TransactionEndTry(n%10 >= 3))
	}
}

// transaction is one that is under way.
type transaction struct {
	client *kgo.Client
	name   string
	count  int
}

func transactional(t testing.TB, c *cluster.Cluster, id string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	return producer(t, c, append([]kgo.Opt{kgo.TransactionalID(id), kgo.TransactionTimeout(5 * time.Minute)}, options...)...)
}

func beginTransaction(t testing.TB, c *cluster.Cluster, id string) *transaction {
	t.Helper()
	x := &transaction{client: transactional(t, c, id), name: id}
	if err := x.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	return x
}

// write appends a batch of a few records to the transaction, with a number of bytes in all that do not compress.
func (x *transaction) write(t testing.TB, topic string, partition int32, size int) {
	const records = 4
	batch := make([]*kgo.Record, records)
	for i := range batch {
		value := make([]byte, size/records)
		rand.NewChaCha8([32]byte{byte(x.count), byte(x.count >> 8)}).Read(value)
		batch[i] = &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "%s record %d", x.name, x.count), Value: value}
		x.count++
	}
	if err := x.client.ProduceSync(context.Background(), batch...).FirstErr(); err != nil {
		t.Errorf("%s: %v", x.name, err)
	}
}

func (x *transaction) end(t testing.TB, how kgo.TransactionEndTry) {
	if err := x.client.EndTransaction(context.Background(), how); err != nil {
		t.Errorf("end %s: %v", x.name, err)
	}
}

// A transaction that was open when a session ended, and whose end is in the next one, counts once it is committed.
func TestTransactionOverTwoSessions(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "two", 1, nil)
	r := newRepository(t)
	committed, aborted := beginTransaction(t, source, "committed"), beginTransaction(t, source, "aborted")
	for range 3 {
		committed.write(t, "two", 0, 400)
		aborted.write(t, "two", 0, 400)
	}
	plain := newRawProducer(t, source, "two")
	plain.send(0, batch.LZ4, stamped{1, batch.NewRecord(nil, []byte("behind the open transactions"))})
	r.backup(source)
	open := r.content().Point
	committed.end(t, kgo.TryCommit)
	aborted.end(t, kgo.TryAbort)
	r.backup(source)

	want := readTopic(t, source, "two")
	r.restore(target)
	requireSame(t, want, readTopic(t, target, "two"))

	plan := r.plan(target, "--at", fmt.Sprint(open), "--rename", "two=one")
	if !slices.Contains(plan.Notes, "one: 2 transactions were open at the point; their records are left out") {
		t.Errorf("the plan does not name the open transactions: %q", plan.Notes)
	}
	r.restore(target, "--at", fmt.Sprint(open), "--rename", "two=one")
	cut := want.Before(r.content(fmt.Sprint(open)).ends("two"))
	if cut.Len() != 1 {
		t.Errorf("%d records are committed at the first point, want 1", cut.Len())
	}
	requireSame(t, cut, readTopic(t, target, "one"))
}
