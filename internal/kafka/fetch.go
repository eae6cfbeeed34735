package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetcher reads raw record batches. It owns one connection per broker for
// fetches, on which the broker serves one request after the other: use one
// Fetcher per stream of requests that must not wait for each other. Its
// methods may be called concurrently; fetches from the same broker queue.
type Fetcher struct {
	links *links
	rack  string

	mu   sync.Mutex
	busy map[int32]chan struct{} // per broker, holds one token while a fetch is out
}

// FetchRequest asks one broker for records of partitions that it leads.
type FetchRequest struct {
	// MaxWait is how long the broker may wait for MinBytes to be there.
	MaxWait  time.Duration
	MinBytes int32
	// MaxBytes bounds the response. One batch is always returned, even when
	// it is larger than all limits.
	MaxBytes int32
	// Committed asks for no more than the last stable offset, and for which
	// transactions among the records were aborted.
	Committed bool
	// Partitions are served in this order until MaxBytes is used up: rotate
	// the order, or the later ones starve. The same partition must not be
	// there twice.
	Partitions []FetchPartition
}

// FetchPartition is where to read one partition from. Topic and TopicID are
// both needed: which of them is sent depends on the broker's version.
type FetchPartition struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	Offset    int64 // the first offset wanted
	// LeaderEpoch is the epoch in the metadata that named the broker as the
	// leader; the broker refuses to answer under another. -1 turns this off.
	LeaderEpoch int32
	// LastFetchedEpoch is the epoch of the batch that ends at Offset. The
	// broker compares it with its log and answers with Diverging if the two
	// part. -1 turns this off.
	LastFetchedEpoch int32
	MaxBytes         int32
}

// FetchResponse is the answer to a FetchRequest.
type FetchResponse struct {
	// Throttle is how long the broker's quota asks us to wait. A throttled
	// response may be empty: that does not mean that there is no data. The
	// Fetcher itself delays the next request to this broker.
	Throttle time.Duration
	// Partitions are those that the broker answered for, in its order. It
	// may leave some out; ask for them again.
	Partitions []FetchedPartition
}

// FetchedPartition is the answer for one partition.
type FetchedPartition struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	// Err matches ErrNotLeader, ErrFencedLeaderEpoch, ErrUnknownLeaderEpoch,
	// ErrUnknownTopic, ErrTopicRecreated, ErrOffsetOutOfRange, ErrRetriable or
	// ErrAuthorization. Offsets that the broker did not give are -1: with
	// ErrOffsetOutOfRange it gives none, so ask ListStartOffsets.
	Err              error
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	// Diverging, if set, says that the log does not continue what the caller
	// has: see FetchPartition.LastFetchedEpoch. Records is empty.
	Diverging *Divergence
	// Leader, if set, is the broker's own view of who leads.
	Leader *LeaderHint
	// PreferredReplica is the broker to fetch from instead, as it is in the
	// same rack; -1 if there is none. Records is empty when it is set.
	PreferredReplica int32
	// Aborted are the aborted transactions that have records in Records, of
	// which the broker leaves none out; only with FetchRequest.Committed.
	Aborted []AbortedTransaction
	// Records are whole batches except for the ends: the first may begin
	// before the requested offset, the last may be cut short. They alias the
	// buffer of the whole response, which lives as long as any of them does.
	// The caller owns it.
	Records []byte
}

// AbortedTransaction is one of a producer that begins at FirstOffset and ends
// with the producer's next marker.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// Divergence is the end of the largest epoch in the broker's log that is not
// larger than the one the caller gave: what the caller has from EndOffset on is
// not, or no longer, in the broker's log.
type Divergence struct {
	Epoch     int32
	EndOffset int64
}

// LeaderHint is a partition's leader as a broker sees it.
type LeaderHint struct {
	Broker int32
	Epoch  int32
}

// NewFetcher returns a Fetcher with connections of its own, opened when they
// are needed. It learns the brokers' addresses from the Cluster, which has to
// stay open as long, and fails only if that is closed.
func (c *Cluster) NewFetcher() (*Fetcher, error) {
	l, err := c.newLinks()
	if err != nil {
		return nil, err
	}
	return &Fetcher{links: l, rack: c.cfg.Rack, busy: make(map[int32]chan struct{})}, nil
}

// Close ends the Fetcher's connections. Fetches in progress fail.
func (f *Fetcher) Close() { f.links.close() }

// Fetch sends one request and returns its answer, reading uncommitted records
// up to the high watermark unless the request says otherwise. It does not retry. Errors of single partitions are
// in the response; an error of the whole request matches ErrRetriable when the
// connection was lost or the broker is not there. If it matches ErrUnreachable
// as well, read Topics again: the broker may have another address by now.
//
// Cancelling ctx while the request is out closes the connection, which the next
// fetch opens anew.
func (f *Fetcher) Fetch(ctx context.Context, broker int32, req FetchRequest) (FetchResponse, error) {
	resp, err := f.fetch(ctx, broker, req)
	if err != nil {
		return FetchResponse{}, fmt.Errorf("fetch from broker %d: %w", broker, err)
	}
	return resp, nil
}

func (f *Fetcher) fetch(ctx context.Context, broker int32, req FetchRequest) (FetchResponse, error) {
	names, ids, err := index(req.Partitions)
	if err != nil {
		return FetchResponse{}, err
	}
	release, err := f.acquire(ctx, broker)
	if err != nil {
		return FetchResponse{}, err
	}
	defer release()
	raw, err := f.links.request(ctx, broker, f.encode(req))
	if err != nil {
		return FetchResponse{}, err
	}
	resp := raw.(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 {
		return FetchResponse{}, brokerError(resp.ErrorCode, nil, denied{})
	}
	out := FetchResponse{Throttle: time.Duration(resp.ThrottleMillis) * time.Millisecond}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == "" {
			t.Topic = names[t.TopicID]
		} else {
			t.TopicID = ids[t.Topic]
		}
		if _, asked := ids[t.Topic]; !asked {
			return FetchResponse{}, fmt.Errorf("answer for topic %q id %v, which was not asked for", t.Topic, TopicID(t.TopicID))
		}
		for j := range t.Partitions {
			out.Partitions = append(out.Partitions, decode(t, &t.Partitions[j]))
		}
	}
	return out, nil
}

// index maps topic names and ids onto each other and checks that they do so
// one to one, as otherwise answers could not be told apart.
func index(parts []FetchPartition) (names map[TopicID]string, ids map[string]TopicID, err error) {
	names, ids = make(map[TopicID]string), make(map[string]TopicID)
	for i := range parts {
		p := &parts[i]
		name, seen := names[p.TopicID]
		id, seenName := ids[p.Topic]
		if seen && name != p.Topic || seenName && id != p.TopicID {
			return nil, nil, fmt.Errorf("topic %q with id %v is asked for beside %q with id %v", p.Topic, p.TopicID, name, id)
		}
		names[p.TopicID], ids[p.Topic] = p.Topic, p.TopicID
	}
	return names, ids, nil
}

// acquire waits until no other fetch of ours is out to the broker. The broker
// would queue it behind the other, and so would the library, but there its
// response timeout would already be running.
func (f *Fetcher) acquire(ctx context.Context, broker int32) (release func(), err error) {
	f.mu.Lock()
	slot, ok := f.busy[broker]
	if !ok {
		slot = make(chan struct{}, 1)
		f.busy[broker] = slot
	}
	f.mu.Unlock()
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (f *Fetcher) encode(req FetchRequest) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest() // replica id and session epoch -1: a consumer, without a session
	r.MaxWaitMillis = millis(req.MaxWait)
	r.MinBytes, r.MaxBytes = req.MinBytes, req.MaxBytes
	if req.Committed {
		r.IsolationLevel = isolationCommitted
	}
	r.Rack = f.rack
	for i := range req.Partitions {
		p := &req.Partitions[i]
		if n := len(r.Topics); n == 0 || r.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.TopicID
			r.Topics = append(r.Topics, t)
		}
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition = p.Partition
		q.FetchOffset = p.Offset
		q.CurrentLeaderEpoch = p.LeaderEpoch
		q.LastFetchedEpoch = p.LastFetchedEpoch
		q.PartitionMaxBytes = p.MaxBytes
		t := &r.Topics[len(r.Topics)-1]
		t.Partitions = append(t.Partitions, q)
	}
	return r
}

func decode(t *kmsg.FetchResponseTopic, p *kmsg.FetchResponseTopicPartition) FetchedPartition {
	out := FetchedPartition{
		Topic:            t.Topic,
		TopicID:          t.TopicID,
		Partition:        p.Partition,
		HighWatermark:    p.HighWatermark,
		LastStableOffset: p.LastStableOffset,
		LogStartOffset:   p.LogStartOffset,
		PreferredReplica: p.PreferredReadReplica,
		Records:          p.RecordBatches,
	}
	if p.ErrorCode != 0 {
		out.Err = brokerError(p.ErrorCode, nil, denied{"Read", t.Topic})
	}
	for _, a := range p.AbortedTransactions {
		out.Aborted = append(out.Aborted, AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
	}
	if d := p.DivergingEpoch; d.EndOffset >= 0 {
		out.Diverging = &Divergence{Epoch: d.Epoch, EndOffset: d.EndOffset}
	}
	if l := p.CurrentLeader; l.LeaderID >= 0 {
		out.Leader = &LeaderHint{Broker: l.LeaderID, Epoch: l.LeaderEpoch}
	}
	return out
}

// millis rounds up, so that a short time does not become none.
func millis(d time.Duration) int32 {
	return int32(min((d+time.Millisecond-1)/time.Millisecond, 1<<31-1))
}
