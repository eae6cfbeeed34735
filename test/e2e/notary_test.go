//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// notary produces, and keeps its own account of what the source has acknowledged: at which offset, when, and in which
// transaction.
type notary struct {
	t       testing.TB
	source  *cluster.Cluster
	rng     *rand.Rand
	plain   *kgo.Client
	account *kgo.Client
	writers []*writer

	mu      sync.Mutex
	acts    map[partitionOf][]*act // in the order of their offsets
	from    map[partitionOf]int64  // what was before that, the source has deleted
	aborted int
}

type partitionOf struct {
	topic     string
	partition int32
}

// act is a record that was acknowledged.
type act struct {
	offset int64
	id     oracle.Identity
	deal   *deal // nil if it is in none
	at     time.Time
}

// deal is a transaction.
type deal struct {
	committed bool
	at        time.Time // when that was acknowledged
}

// vowedTopics are those that a notary writes to, and vowed the group that it commits for.
var vowedTopics = []string{plainTopic, accountTopic}

const vowed = "clerks"

func newNotary(t testing.TB, source *cluster.Cluster, rng *rand.Rand) *notary {
	n := &notary{t: t, source: source, rng: rng, acts: make(map[partitionOf][]*act), from: make(map[partitionOf]int64)}
	for _, topic := range vowedTopics {
		createTopic(t, source, topic, trafficTopics[topic], nil)
	}
	n.plain = producer(t, source, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	n.account = producer(t, source, kgo.TransactionalID("notary"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range 2 {
		n.writers = append(n.writers, &writer{name: fmt.Sprint("n", i), rng: rand.New(rand.NewPCG(rng.Uint64(), 4))})
	}
	return n
}

// work produces until ctx ends. Everything is on account when it returns.
func (n *notary) work(ctx context.Context) {
	var g sync.WaitGroup
	g.Go(func() {
		for ctx.Err() == nil {
			n.write(n.plain, n.writers[0].records(plainTopic, 10), nil)
			n.commitGroup()
			pause(ctx, upTo(n.writers[0].rng, 60*time.Millisecond))
		}
	})
	g.Go(func() {
		for ctx.Err() == nil {
			n.transact(ctx, n.writers[1])
			pause(ctx, upTo(n.writers[1].rng, 60*time.Millisecond))
		}
	})
	g.Wait()
}

// write produces, and takes it down. Nothing disturbs the source: whatever fails, fails the test.
func (n *notary) write(client *kgo.Client, records []*kgo.Record, d *deal) {
	results := client.ProduceSync(context.Background(), records...)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range results {
		if r.Err != nil {
			n.t.Errorf("produce: %v", r.Err)
			continue
		}
		at := partitionOf{r.Record.Topic, r.Record.Partition}
		n.acts[at] = append(n.acts[at], &act{r.Record.Offset, identify(r.Record), d, time.Now()})
	}
}

func (n *notary) transact(ctx context.Context, w *writer) {
	if err := n.account.BeginTransaction(); err != nil {
		n.t.Errorf("begin: %v", err)
		return
	}
	d := &deal{}
	for range 1 + w.rng.IntN(3) {
		n.write(n.account, w.records(accountTopic, 5), d)
		pause(ctx, upTo(w.rng, 100*time.Millisecond))
	}
	commit := w.rng.IntN(10) >= 3
	err := n.account.EndTransaction(context.Background(), kgo.TransactionEndTry(commit))
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.t.Errorf("end a transaction: %v", err)
	}
	if d.committed, d.at = commit, time.Now(); !commit {
		n.aborted++
	}
}

// commitGroup commits, in each partition, where the last record is.
func (n *notary) commitGroup() {
	offsets := make(kadm.Offsets)
	n.mu.Lock()
	for at, list := range n.acts {
		if at.topic == plainTopic {
			offsets.Add(kadm.Offset{Topic: at.topic, Partition: at.partition, At: list[len(list)-1].offset, LeaderEpoch: -1})
		}
	}
	n.mu.Unlock()
	if err := kadm.NewClient(n.plain).CommitAllOffsets(context.Background(), vowed, offsets); err != nil {
		n.t.Errorf("commit offsets: %v", err)
	}
}

// forget lets the source delete the beginning of a partition, as its retention does.
func (n *notary) forget() {
	n.t.Helper()
	for at, list := range n.acts {
		if n.rng.IntN(2) == 0 {
			continue
		}
		before := list[len(list)/2+n.rng.IntN(len(list)-len(list)/2)].offset
		deleteRecords(n.t, n.source, at.topic, at.partition, before)
		n.from[at] = max(n.from[at], before)
	}
}

// kept is what a recovery point has of a partition: the offsets [from, to), and their records.
type kept struct {
	from, to int64
	records  []oracle.Identity
}

// check says what is wrong with a point of a certain time: it must have every record that was acknowledged before and
// that it does not say the source had deleted, and every transaction wholly or not at all.
func (n *notary) check(at time.Time, held map[partitionOf]kept) (wrong []string) {
	present, absent := make(map[*deal]string), make(map[*deal]string)
	bad := func(p partitionOf, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s-%d: ", p.topic, p.partition)+fmt.Sprintf(format, args...))
	}
	for p, list := range n.acts {
		k := held[p]
		if k.from > n.from[p] {
			bad(p, "begins at %d, the source at %d", k.from, n.from[p])
		}
		rest := k.records
		for _, a := range list {
			if a.offset < k.from {
				continue
			}
			there := len(rest) > 0 && rest[0] == a.id
			if there {
				rest = rest[1:]
			}
			switch {
			case there && a.offset >= k.to:
				bad(p, "has offset %d behind its end %d", a.offset, k.to)
			case there && a.deal == nil, there && a.deal.committed:
				present[a.deal] = fmt.Sprintf("%s-%d %d", p.topic, p.partition, a.offset)
			case there:
				bad(p, "has offset %d of an aborted transaction", a.offset)
			case a.deal == nil && a.offset < k.to, a.deal == nil && a.at.Before(at):
				bad(p, "lacks offset %d of [%d,%d), which was acknowledged at %s", a.offset, k.from, k.to, a.at)
			case a.deal != nil && a.deal.committed:
				absent[a.deal] = fmt.Sprintf("%s-%d %d", p.topic, p.partition, a.offset)
				if a.deal.at.Before(at) {
					bad(p, "lacks offset %d of a transaction that was committed at %s", a.offset, a.deal.at)
				}
			}
		}
		if len(rest) > 0 {
			bad(p, "has %d records that are not the source's, or not in their order", len(rest))
		}
	}
	for d, where := range present {
		if d != nil && absent[d] != "" {
			wrong = append(wrong, fmt.Sprintf("a transaction is there at %s, and not at %s", where, absent[d]))
		}
	}
	return wrong
}
