package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"golang.org/x/sync/semaphore"
)

// Bounds of the produce engine.
const (
	flightBytes  = 32 << 20 // waiting in lanes or in flight, over all partitions
	laneBytes    = 4 << 20  // of it, of one partition
	requestBytes = 1 << 20  // a request is closed at this size
	// A broker answers the requests of a connection one after the other. Two are
	// enough to keep it busy, and the fewer, the more batches each takes.
	perBroker    = 2
	maxSenders   = 32
	produceLimit = 30 * time.Second // for one request at the broker
	// stallLimit is how long a partition may be without a success before the
	// restore gives up; it can be run again.
	stallLimit = 3 * time.Minute
	// goneLimit is the same for one of whose topic the leader knows nothing.
	goneLimit = 20 * time.Second
)

var (
	// errDeleted is what a partition without its topic gets.
	errDeleted = errors.New("the topic was deleted during the restore")
	// errForeign is what one gets that is not as the plan says.
	errForeign = errors.New("somebody else writes to the topic, or it was changed; delete it and run again")
)

// lane is the way of one partition's batches into the cluster: in order, one
// request in flight, each acknowledged offset compared with the plan.
type lane struct {
	topic     *TopicPlan
	partition int32
	start     int64 // target offset of the first record
	skip      int64 // records (relative offset) that the target has already

	queue    []outgoing
	bytes    int
	inFlight bool
	leader   int32
	unsure   bool      // the first batch may have been appended
	gone     bool      // the cluster does not have the topic
	after    time.Time // not to be sent before
	failing  time.Time // since when, zero if it is not
	acked    int64     // records
	rel      int64     // relative offset of the next batch to enqueue
}

// outgoing is a batch on its way.
type outgoing struct {
	raw     []byte
	records int32
	rel     int64
	from    *buffer // in which raw lies, or nil
}

// lanes sends batches to the leaders. Its lock guards all lanes.
type lanes struct {
	cluster  *kafka.Cluster
	producer *kafka.Producer
	flight   *semaphore.Weighted
	progress func(records int64)

	mu      sync.Mutex
	changed *sync.Cond
	list    []*lane
	turn    int
	closed  bool  // nothing more is enqueued
	err     error // why it all stops
	stale   bool  // leaders have to be looked up
	pending int   // batches in lanes and in flight
}

func newLanes(cluster *kafka.Cluster, producer *kafka.Producer, list []*lane, progress func(int64)) *lanes {
	l := &lanes{cluster: cluster, producer: producer, flight: semaphore.NewWeighted(flightBytes), progress: progress, list: list, stale: true}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// enqueue adds the next batch of a lane and waits while there is too much.
func (l *lanes) enqueue(ctx context.Context, ln *lane, raw []byte, records int32, from *buffer) error {
	weight := min(int64(len(raw)), flightBytes)
	if err := l.flight.Acquire(ctx, weight); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ln.bytes >= laneBytes && l.err == nil {
		l.changed.Wait()
	}
	if l.err != nil {
		l.flight.Release(weight)
		return l.err
	}
	if from != nil {
		from.use()
	}
	ln.queue = append(ln.queue, outgoing{raw, records, ln.rel, from})
	ln.rel += int64(records)
	ln.bytes += len(raw)
	l.pending++
	l.changed.Broadcast()
	return nil
}

// stop ends the sending: with nil once everything that is enqueued has been
// acknowledged, else at once.
func (l *lanes) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.err == nil {
		l.err = err
	}
	l.changed.Broadcast()
}

// send is one sender; several run at once.
func (l *lanes) send(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { l.stop(ctx.Err()) })()
	for {
		broker, chosen, err := l.take(ctx)
		if err != nil {
			l.stop(err) // enqueue waits for nobody else
		}
		if err != nil || chosen == nil {
			return err
		}
		results, err := l.deliver(ctx, broker, chosen)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := l.settle(chosen, results, err); err != nil {
			l.stop(err)
			return err
		}
	}
}

// deliver sends the first batch of each lane, or asks what became of those that
// have been sent.
func (l *lanes) deliver(ctx context.Context, broker int32, chosen []*lane) ([]kafka.Produced, error) {
	if chosen[0].unsure {
		return l.ascertain(ctx, broker, chosen)
	}
	parts := make([]kafka.ProducePartition, len(chosen))
	for i, out := range l.heads(chosen) {
		ln := chosen[i]
		parts[i] = kafka.ProducePartition{Topic: ln.topic.Target, TopicID: ln.topic.id, Partition: ln.partition, Batch: out.raw}
	}
	return l.producer.Produce(ctx, broker, parts, produceLimit)
}

// heads returns the first batch of each lane.
func (l *lanes) heads(chosen []*lane) []outgoing {
	l.mu.Lock()
	defer l.mu.Unlock()
	heads := make([]outgoing, len(chosen))
	for i, ln := range chosen {
		heads[i] = ln.queue[0]
	}
	return heads
}

// take waits for lanes with something to send and takes those of one broker.
// No lanes and no error means that all is done.
func (l *lanes) take(ctx context.Context) (int32, []*lane, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.err != nil {
			return 0, nil, l.err
		}
		if l.stale {
			l.stale = false
			if err := l.lookUp(ctx); err != nil {
				return 0, nil, err
			}
			l.changed.Broadcast() // to senders that found no leader meanwhile
		}
		broker, chosen, next := l.ready(time.Now())
		if chosen != nil {
			return broker, chosen, nil
		}
		if l.closed && l.pending == 0 {
			return 0, nil, nil
		}
		if !next.IsZero() {
			timer := time.AfterFunc(time.Until(next), func() {
				l.mu.Lock()
				l.changed.Broadcast()
				l.mu.Unlock()
			})
			l.changed.Wait()
			timer.Stop()
			continue
		}
		l.changed.Wait()
	}
}

// ready chooses lanes for one request, beginning with another one each time: to
// send their batches, or to ask what became of them.
// next is when a lane that has to wait may be sent, or its leader looked up;
// zero if that is being done.
func (l *lanes) ready(now time.Time) (broker int32, chosen []*lane, next time.Time) {
	size := 0
	n := len(l.list)
	for i := range n {
		ln := l.list[(l.turn+i)%n]
		if len(ln.queue) == 0 || ln.inFlight {
			continue
		}
		if now.Before(ln.after) || ln.leader < 0 {
			if now.Before(ln.after) && (next.IsZero() || ln.after.Before(next)) {
				next = ln.after
			}
			continue
		}
		bytes := len(ln.queue[0].raw)
		if ln.unsure { // it is only asked about
			bytes = 0
		}
		if chosen != nil && (ln.leader != broker || ln.unsure != chosen[0].unsure || size+bytes > requestBytes) {
			continue
		}
		broker = ln.leader
		chosen = append(chosen, ln)
		size += bytes
		ln.inFlight = true
		if size >= requestBytes {
			break
		}
	}
	if n > 0 {
		l.turn = (l.turn + 1) % n
	}
	return broker, chosen, next
}

// lookUp reads who leads the partitions. It gives up the lock while it asks.
func (l *lanes) lookUp(ctx context.Context) error {
	var names []string
	for _, ln := range l.list {
		if !slices.Contains(names, ln.topic.Target) {
			names = append(names, ln.topic.Target)
		}
	}
	l.mu.Unlock()
	topics, err := l.cluster.Topics(ctx, names)
	l.mu.Lock()
	leaders := make(map[kafka.TopicPartition]int32)
	gone := make(map[string]bool)
	for _, t := range topics {
		gone[t.Name] = errors.Is(t.Err, kafka.ErrUnknownTopic) || t.Err == nil && t.ID != l.idOf(t.Name)
		for _, p := range t.Partitions {
			if !gone[t.Name] {
				leaders[kafka.TopicPartition{Topic: t.Name, Partition: p.Index}] = p.Leader
			}
		}
	}
	for _, ln := range l.list {
		ln.gone = gone[ln.topic.Target]
		leader, ok := leaders[kafka.TopicPartition{Topic: ln.topic.Target, Partition: ln.partition}]
		if !ok || leader < 0 {
			leader = -1
			ln.after = time.Now().Add(retryPause)
			l.stale = true
		}
		ln.leader = leader
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		l.stale = true // every lane waits, then a sender asks again
	}
	return l.stalled(err)
}

// stalled gives up when a partition with something to send has had no leader
// for too long.
func (l *lanes) stalled(err error) error {
	for _, ln := range l.list {
		if ln.leader >= 0 || len(ln.queue) == 0 {
			continue
		}
		if ln.failing.IsZero() {
			ln.failing = time.Now()
		}
		switch waited := time.Since(ln.failing); {
		case ln.gone && waited > goneLimit:
			return fmt.Errorf("%s: %w", ln.topic.Target, errDeleted)
		case waited > stallLimit:
			return errors.Join(fmt.Errorf("%s-%d: no leader for %s; run again to go on", ln.topic.Target, ln.partition, stallLimit), err)
		}
	}
	return nil
}

func (l *lanes) idOf(topic string) kafka.TopicID {
	for _, ln := range l.list {
		if ln.topic.Target == topic {
			return ln.topic.id
		}
	}
	return kafka.TopicID{}
}
