package kafka

import (
	"context"
	"errors"
	"time"
)

// Producer appends raw record batches. Its methods may be called concurrently.
type Producer struct{}

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
// are needed.
func (c *Cluster) NewProducer() (*Producer, error) { return nil, errors.ErrUnsupported }

// InitProducerID obtains a fresh idempotent producer id.
func (p *Producer) InitProducerID(ctx context.Context) (id int64, epoch int16, err error) {
	return 0, 0, errors.ErrUnsupported
}

// Produce sends one request to the broker that leads all the partitions and
// returns one result for each part, in the order of parts, once all in-sync
// replicas have the batches. timeout is how long the broker may wait for them.
//
// Nothing is retried. An error of the whole request that matches ErrRetriable
// leaves open whether batches were appended; sending the same bytes again with
// the same producer id and sequence is safe and yields the original offsets.
// Parts that name a partition twice, or do not hold exactly one batch, are
// refused before anything is sent.
//
// Concurrent requests to one broker are pipelined in the order of the calls.
// Cancelling ctx closes the connection, and so leaves open what became of all
// requests that are in flight to this broker.
func (p *Producer) Produce(ctx context.Context, broker int32, parts []ProducePartition, timeout time.Duration) ([]Produced, error) {
	return nil, errors.ErrUnsupported
}

// Close ends the Producer's connections. Requests in progress fail.
func (p *Producer) Close() {}
