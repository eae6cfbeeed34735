package kafka

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Producer appends raw record batches. Its methods may be called concurrently.
type Producer struct {
	cluster *Cluster
	links   *links
}

// ProducePartition is one batch for one partition. Topic and TopicID are both
// needed: which of them is sent depends on the broker's version.
type ProducePartition struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	// Batch is exactly one record batch v2 with base offset 0. It is not
	// changed, and not used after Produce has returned.
	Batch []byte
}

// Produced is what became of one batch.
type Produced struct {
	Topic      string
	TopicID    TopicID
	Partition  int32
	BaseOffset int64 // of the first record; -1 when Err is set
	// Err matches ErrNotLeader, ErrUnknownTopic, ErrTopicRecreated,
	// ErrOutOfOrderSequence, ErrDuplicateSequence, ErrProducerFenced,
	// ErrInvalidRecord, ErrInvalidTimestamp, ErrCorruptBatch,
	// ErrMessageTooLarge, ErrAuthorization, or ErrRetriable. With the last
	// the batch may have been appended.
	Err error
}

// NewProducer returns a Producer with connections of its own, opened when they
// are needed. It learns the brokers' addresses from the Cluster, which has to
// stay open as long, and fails only if that is closed.
func (c *Cluster) NewProducer() (*Producer, error) {
	l, err := c.newLinks()
	if err != nil {
		return nil, err
	}
	return &Producer{cluster: c, links: l}, nil
}

// Close ends the Producer's connections. Requests in progress fail.
func (p *Producer) Close() { p.links.close() }

// InitProducerID obtains a fresh idempotent producer id. Unless the principal
// may write to some topic or has IdempotentWrite on the cluster, the error is
// an *AuthorizationError.
func (p *Producer) InitProducerID(ctx context.Context) (id int64, epoch int16, err error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(ctx, p.cluster.cl)
	if err != nil {
		err = requestError(ctx, p.cluster.cl, err)
	} else if resp.ErrorCode != 0 {
		err = brokerError(resp.ErrorCode, nil, denied{operation: "IdempotentWrite"})
	}
	if err != nil {
		return -1, -1, fmt.Errorf("obtain a producer id: %w", err)
	}
	return resp.ProducerID, resp.ProducerEpoch, nil
}

// Produce sends one request to the broker that leads all the partitions and
// returns one result for each part, in the order of parts, once all in-sync
// replicas have the batches. timeout is how long the broker may wait for them.
//
// Nothing is retried. An error of the whole request that matches ErrRetriable
// leaves open whether batches were appended; sending the same bytes again with
// the same producer id and sequence is safe and yields the original offsets, but
// only while the broker remembers the producer: see producer.id.expiration.ms,
// which counts from the timestamps of the records.
// Parts that name a partition twice, or do not hold exactly one batch, are
// refused before anything is sent.
//
// Concurrent requests to one broker are pipelined: the broker appends one while
// the next travels. Their order is not defined, so a partition belongs into one
// of them at a time. Cancelling ctx closes the connection, and so leaves open what became of all
// requests that are in flight to this broker.
func (p *Producer) Produce(ctx context.Context, broker int32, parts []ProducePartition, timeout time.Duration) ([]Produced, error) {
	out, err := p.produce(ctx, broker, parts, timeout)
	if err != nil {
		return nil, fmt.Errorf("produce to broker %d: %w", broker, err)
	}
	return out, nil
}

func (p *Producer) produce(ctx context.Context, broker int32, parts []ProducePartition, timeout time.Duration) ([]Produced, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1 // for the record; the library sets it, from a default that is the same
	req.TimeoutMillis = millis(timeout)
	at, err := encodeProduce(req, parts)
	if err != nil {
		return nil, err
	}
	raw, err := p.links.request(ctx, broker, req)
	if err != nil {
		return nil, err
	}
	out := make([]Produced, len(parts))
	for i, part := range parts {
		out[i] = Produced{Topic: part.Topic, TopicID: part.TopicID, Partition: part.Partition, BaseOffset: -1, Err: errNoAnswer}
	}
	resp := raw.(*kmsg.ProduceResponse)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			n, asked := at[slot{t.Topic, t.TopicID, q.Partition}]
			if !asked {
				return nil, fmt.Errorf("answer for %q id %v partition %d, which was not asked for", t.Topic, TopicID(t.TopicID), q.Partition)
			}
			out[n].BaseOffset, out[n].Err = produced(q, parts[n].Topic)
		}
	}
	return out, nil
}

// errNoAnswer is what a partition gets that the broker said nothing about.
var errNoAnswer = fmt.Errorf("%w: the answer leaves the partition out", ErrRetriable)

// slot finds a part by how an answer names it: by topic or by topic id.
type slot struct {
	topic     string
	id        TopicID
	partition int32
}

func encodeProduce(req *kmsg.ProduceRequest, parts []ProducePartition) (map[slot]int, error) {
	at := make(map[slot]int, 2*len(parts))
	topics := make(map[string]int)
	for i, p := range parts {
		byName := slot{topic: p.Topic, partition: p.Partition}
		byID := slot{id: p.TopicID, partition: p.Partition}
		// The broker would acknowledge the second and lose the first.
		for _, s := range []slot{byName, byID} {
			if _, twice := at[s]; twice {
				return nil, fmt.Errorf("%s/%d is there twice", p.Topic, p.Partition)
			}
			at[s] = i
		}
		if err := checkBatch(p.Batch); err != nil {
			return nil, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, err)
		}
		n, ok := topics[p.Topic]
		if !ok {
			n = len(req.Topics)
			topics[p.Topic] = n
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.TopicID
			req.Topics = append(req.Topics, t)
		}
		q := kmsg.NewProduceRequestTopicPartition()
		q.Partition, q.Records = p.Partition, p.Batch
		req.Topics[n].Partitions = append(req.Topics[n].Partitions, q)
	}
	return at, nil
}

// checkBatch looks at what frames a batch: base offset, length and magic.
func checkBatch(b []byte) error {
	const lengthAt, magicAt, header = 8, 16, 61
	switch {
	case len(b) < header:
		return fmt.Errorf("batch of %d bytes is shorter than a header", len(b))
	case b[magicAt] != 2:
		return fmt.Errorf("batch has magic %d, want 2", b[magicAt])
	case binary.BigEndian.Uint64(b) != 0:
		return fmt.Errorf("batch has base offset %d, want 0", int64(binary.BigEndian.Uint64(b)))
	}
	if n := int64(binary.BigEndian.Uint32(b[lengthAt:])) + lengthAt + 4; n != int64(len(b)) {
		return fmt.Errorf("batch says that it has %d bytes and has %d: want exactly one", n, len(b))
	}
	return nil
}

func produced(q *kmsg.ProduceResponseTopicPartition, topic string) (int64, error) {
	if q.ErrorCode == 0 {
		return q.BaseOffset, nil
	}
	op := denied{"Write", topic}
	if q.ErrorCode == kerr.ClusterAuthorizationFailed.Code {
		op.operation = "IdempotentWrite"
	}
	message := q.ErrorMessage
	for _, r := range q.ErrorRecords { // more to the point than the summary
		if r.ErrorMessage != nil && *r.ErrorMessage != "" {
			message = r.ErrorMessage
			break
		}
	}
	return -1, brokerError(q.ErrorCode, message, op)
}
