//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

const (
	ordersTopic    = "bank-orders"
	bankGroup      = "tellers"
	bankTopics     = 3
	bankParts      = 4
	leastPoints    = 30
	tellers        = 12 // more do not do more on two cores: a transaction costs three brokers some 30 ms of CPU time
	transfers      = 24 // in a transaction, at the most: so there are several hundred a second
	ordersPerPoint = 80 // for each teller: more than it can serve between two points
)

func accounts(n int) string { return fmt.Sprintf("bank-accounts-%d", n) }

// bank turns orders into transfers: two to four postings on accounts in several partitions, whose sum is nothing, a few
// transfers in one transaction with the offset of their orders. Nearly a third of the transactions is aborted, and tried again.
type bank struct {
	t         testing.TB
	cluster   *cluster.Cluster
	opened    time.Time
	ctx       context.Context
	close     context.CancelFunc
	tellers   sync.WaitGroup
	committed atomic.Int64 // transactions
	served    atomic.Int64 // transfers in them
	aborted   atomic.Int64
}

func openBank(t testing.TB, c *cluster.Cluster, rng *rand.Rand, points int) *bank {
	t.Helper()
	createTopic(t, c, ordersTopic, tellers, nil)
	for n := range bankTopics {
		createTopic(t, c, accounts(n), bankParts, nil)
	}
	p := producer(t, c)
	for k := range ordersPerPoint * max(points, leastPoints) * tellers {
		p.Produce(t.Context(), &kgo.Record{Topic: ordersTopic, Partition: int32(k % tellers), Value: fmt.Appendf(nil, "order %d", k)}, nil)
	}
	must(t, p.Flush(t.Context()))
	b := &bank{t: t, cluster: c, opened: time.Now()}
	b.ctx, b.close = context.WithCancel(context.Background())
	t.Cleanup(b.stop)
	for n := range int32(tellers) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 3))
		b.tellers.Go(func() { b.employ(n, rng) })
	}
	b.hang()
	return b
}

func (b *bank) stop() {
	b.close()
	b.tellers.Wait()
}

// hang begins a transaction and never ends it.
func (b *bank) hang() {
	p := producer(b.t, b.cluster, kgo.TransactionalID("hanging"), kgo.TransactionTimeout(15*time.Minute))
	must(b.t, p.BeginTransaction())
	for n := range bankTopics {
		r := &kgo.Record{Topic: accounts(n), Partition: 1, Value: []byte("9999999 0 0 2 1")}
		must(b.t, p.ProduceSync(b.t.Context(), r).FirstErr())
	}
}

// employ lets one teller serve the orders of a partition, and after an error another one of the same name.
func (b *bank) employ(partition int32, rng *rand.Rand) {
	for b.ctx.Err() == nil {
		t := &teller{bank: b, name: fmt.Sprintf("teller-%d", partition), partition: partition, rng: rng}
		if err := t.serve(); err != nil && b.ctx.Err() == nil {
			b.t.Logf("%s begins anew: %v", t.name, err)
		}
	}
}

// account is a partition of an accounts topic.
type account struct {
	topic     string
	partition int32
}

func someAccounts(rng *rand.Rand) []account {
	list := make([]account, 2+rng.IntN(3))
	for i := range list {
		list[i] = account{accounts(rng.IntN(bankTopics)), int32(rng.IntN(bankParts))}
	}
	return list
}

// postings say which order they are of, how many there are, and what they add to an account.
func postings(o *kgo.Record, on []account, rng *rand.Rand) []*kgo.Record {
	list := make([]*kgo.Record, 2+rng.IntN(3))
	rest := 0
	for i := range list {
		delta := rng.IntN(2001) - 1000
		if i == len(list)-1 {
			delta = -rest
		}
		rest += delta
		a := on[rng.IntN(len(on))]
		list[i] = &kgo.Record{
			Topic: a.topic, Partition: a.partition,
			Value: fmt.Appendf(nil, "%d %d %d %d %d", o.Partition, o.Offset, i, len(list), delta),
		}
	}
	return list
}

// books are the accounts as somebody finds them: what they say of each order.
type books map[order]*transfer

type order struct {
	partition int32
	offset    int64
}

func (o order) String() string { return fmt.Sprintf("%d/%d", o.partition, o.offset) }

type transfer struct {
	seen, of, sum int
	dup           bool
}

func (b books) post(value []byte) error {
	var n [5]int // Sscan would take longer than all the rest of an audit
	for i, field := range strings.Fields(string(value)) {
		var err error
		if n[i], err = strconv.Atoi(field); err != nil {
			return fmt.Errorf("posting %q: %w", value, err)
		}
	}
	id, i := order{int32(n[0]), int64(n[1])}, n[2]
	t := b[id]
	if t == nil {
		t = &transfer{of: n[3]}
		b[id] = t
	}
	t.dup = t.dup || t.seen&(1<<i) != 0
	t.seen |= 1 << i
	t.sum += n[4]
	return nil
}

// audit says what is wrong with the books, and with group offsets that have come further than they. late is how many
// orders the group would serve although their transfers are there.
func (b books) audit(offsets map[int32]int64) (late int, wrong []string) {
	for id, t := range b {
		if t.dup || t.seen != 1<<t.of-1 || t.sum != 0 {
			wrong = append(wrong, fmt.Sprintf("transfer %s: postings %b of %d, sum %d, twice: %v", id, t.seen, t.of, t.sum, t.dup))
		}
	}
	served := 0
	for p, end := range offsets {
		for k := range end {
			if id := (order{p, k}); b[id] == nil {
				wrong = append(wrong, fmt.Sprintf("the group has served order %s, but its transfer is not there", id))
				continue
			}
			served++
		}
	}
	return len(b) - served, wrong
}

// The sum of all accounts is nothing at each recovery point, no transfer is there in part, and no order counts as served
// whose transfer is missing; while leaders die, producers of both kinds are at work, and one transaction hangs.
func TestBank(t *testing.T) {
	rng := random(t)
	from := cluster.Start(t, threeBrokers())
	points := count(t, "OFFSITE_TEST_BANK_POINTS", leastPoints)
	b := openBank(t, from, rng, points)
	r := newRepository(t)
	daemon := r.start("backupd", from, append([]string{"run", "--log-level", "debug"}, smallSeals...)...)
	k := &leaderKiller{t: t, cluster: from, rng: rng}
	eventually(t, "the first recovery point", func() bool { return r.objects("log") > 2 })
	for kills := 0; len(r.listPoints().Points) < points; {
		if daemon.ended() {
			t.Fatalf("backupd ended by itself with %d", daemon.outcome(t).code)
		}
		if n := len(r.listPoints().Points); kills < 2 && n > points*(kills+1)/3 {
			k.killOne(accounts(0), func() bool { return false })
			kills++
		}
		time.Sleep(time.Second)
	}
	k.startAll()
	b.stop()
	open := time.Since(b.opened).Round(time.Second)
	out := daemon.stop(t)
	t.Logf("%d transfers in %d transactions, %d aborted, in %s, brokers killed: %v", b.served.Load(), b.committed.Load(), b.aborted.Load(), open, k.killed)
	for _, line := range strings.Split(out.stderr, "\n") {
		if strings.Contains(line, "transactions closed") {
			t.Log(line)
		}
	}
	ids := r.points()
	split, late := 0, 0
	for _, id := range ids {
		n, wrong := b.auditRepository(r, id, true)
		for i, text := range wrong[:min(3, len(wrong))] {
			t.Errorf("point %d (%d of %d): %s", id, i+1, len(wrong), text)
		}
		late += n
		if _, wrong := b.auditRepository(r, id, false); len(wrong) > 0 {
			split++
		}
	}
	t.Logf("%d points: %d would have split transactions without what they say about them", len(ids), split)
	if late > 0 {
		t.Errorf("after restores to these points %d orders in all would be served again", late)
	}
	if split == 0 {
		t.Error("no point had anything to say about transactions: it tested too little")
	}
	b.restoreSome(r, rng, ids)
}

// closingBound is how long a point waits for the ends of transactions, at the most. A coordinator that moves may take
// longer.
const closingBound = 5 * time.Second

// requireProven fails the test if the transactions of a point could have been told apart, and were not for certain.
func (b *bank) requireProven(id uint64, c *manifest.Closing) {
	if c == nil || c.Unproven == 0 {
		return
	}
	text := fmt.Sprintf("point %d may split transactions of %d producers, after %d marks in %d ms", id, c.Unproven, c.Marks, c.Millis)
	if c.Millis < closingBound.Milliseconds() {
		b.t.Error(text)
	} else {
		b.t.Log(text)
	}
}

// auditRepository looks at what a restore to a point would bring back. heed says whether it heeds what the point says
// about transactions.
func (b *bank) auditRepository(r *repository, id uint64, heed bool) (late int, wrong []string) {
	b.t.Helper()
	ctx := context.Background()
	st, err := storeurl.Open(ctx, r.url, storeurl.Options{})
	must(b.t, err)
	repo, err := manifest.Open(ctx, st)
	must(b.t, err)
	snapshot, err := source.LoadPoint(ctx, repo, id)
	must(b.t, err)
	if heed {
		b.requireProven(id, snapshot.State.Closing)
	} else {
		snapshot.State.Transactions = nil
	}
	plan, err := snapshot.Plan(ctx, nil, source.Request{}, time.Now())
	must(b.t, err)
	found := make(books)
	must(b.t, plan.EachRecord(ctx, func(t *source.TopicPlan, _ int32, record *batch.Record) error {
		if t.Target == ordersTopic {
			return nil
		}
		return found.post(record.Value())
	}))
	offsets := make(map[int32]int64)
	if g := snapshot.State.Groups[bankGroup]; g != nil {
		for at, o := range g.Offsets {
			offsets[at.Partition] = o.Offset
		}
	}
	return found.audit(offsets)
}

// restoreSome restores to points and moments, one after the other, into a real cluster and looks there.
func (b *bank) restoreSome(r *repository, rng *rand.Rand, ids []uint64) {
	target := cluster.Start(b.t, cluster.Options{})
	list := r.listPoints().Points
	first, last := list[len(list)-1].Time, list[0].Time
	for i := range count(b.t, "OFFSITE_TEST_BANK_RESTORES", 60) {
		at := fmt.Sprint(ids[rng.IntN(len(ids))])
		if i%2 == 1 {
			at = first.Add(time.Duration(rng.Int64N(int64(last.Sub(first)) + 1))).Format(time.RFC3339Nano)
		}
		copied := func(topic string) string { return fmt.Sprintf("%s-%d", topic, i) }
		args := []string{"--at", at, "--replication-factor", "1"}
		for _, topic := range bankTopicNames() {
			args = append(args, "--rename", topic+"="+copied(topic))
		}
		r.restore(target, args...)
		if wrong := b.inspect(target, copied); len(wrong) > 0 {
			b.t.Errorf("restored --at %s: %d things wrong, such as %s", at, len(wrong), wrong[0])
		}
		a := admin(b.t, target)
		for _, topic := range bankTopicNames() {
			_, err := a.DeleteTopic(b.t.Context(), copied(topic))
			must(b.t, err)
		}
		a.Close()
	}
}

func bankTopicNames() []string {
	names := []string{ordersTopic}
	for n := range bankTopics {
		names = append(names, accounts(n))
	}
	return names
}

// inspect reads a restored bank: its books balance, and a consumer that goes on from the group's offsets gets exactly the
// orders whose transfers are missing.
func (b *bank) inspect(target *cluster.Cluster, copied func(string) string) []string {
	found, orders := make(books), make(map[order]bool)
	for n := range bankTopics {
		b.read(target, copied(accounts(n)), nil, func(r *kgo.Record) { must(b.t, found.post(r.Value)) })
	}
	b.read(target, copied(ordersTopic), nil, func(r *kgo.Record) { orders[order{r.Partition, r.Offset}] = true })
	group := committed(b.t, target, bankGroup)[copied(ordersTopic)]
	offsets, from := make(map[int32]int64), make(map[int32]kgo.Offset)
	for p := range int32(tellers) {
		from[p] = kgo.NewOffset().At(0)
		if o, ok := group[p]; ok {
			offsets[p], from[p] = o.At, kgo.NewOffset().At(o.At)
		}
	}
	late, wrong := found.audit(offsets)
	if late > 0 {
		wrong = append(wrong, fmt.Sprintf("%d orders would be served again", late))
	}
	served := make(map[order]bool)
	b.read(target, copied(ordersTopic), from, func(r *kgo.Record) { served[order{r.Partition, r.Offset}] = true })
	for id := range orders {
		if (found[id] == nil) != served[id] {
			wrong = append(wrong, fmt.Sprintf("order %s: transfer there: %v, served again: %v", id, found[id] != nil, served[id]))
		}
	}
	return wrong
}

// read hands on what a topic of the target holds, from offsets on or from its beginning.
func (b *bank) read(target *cluster.Cluster, topic string, from map[int32]kgo.Offset, take func(*kgo.Record)) {
	b.t.Helper()
	opts := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	left := endOffsets(b.t, target, topic)
	if from != nil {
		opts = []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})}
		for _, o := range from {
			left -= o.EpochOffset().Offset
		}
	}
	c := target.Client(b.t, opts...)
	defer c.Close()
	for left > 0 {
		fetches := c.PollFetches(b.t.Context())
		must(b.t, fetches.Err())
		for _, record := range fetches.Records() {
			take(record)
			left--
		}
	}
}
