package kafka

import (
	"context"
	"errors"
)

// NewTopic is a topic to create.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16 // -1 means the broker's default
	Configs           []ConfigEntry
}

// CreatedTopic is what became of one NewTopic.
type CreatedTopic struct {
	Name string
	ID   TopicID // zero when only validated
	// Err matches ErrTopicExists, ErrAuthorization or ErrRetriable, or carries
	// the broker's reason (a policy, an invalid config, too few brokers).
	Err error
}

// CreateTopics creates topics, or with validateOnly only asks whether it could.
// It does not retry: after an error of the whole request, which matches
// ErrRetriable when the connection was lost, a topic may exist.
func (c *Cluster) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	return nil, errors.ErrUnsupported
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// PartitionOffset is an offset that a leader reported, or Err.
type PartitionOffset struct {
	TopicPartition
	Offset      int64
	LeaderEpoch int32
	Err         error
}

// ListEndOffsets asks the leaders for the log end offsets: the next offset to
// be written, whether or not the records before it are replicated yet. Results
// are in the order of parts.
func (c *Cluster) ListEndOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return nil, errors.ErrUnsupported
}

// ListStartOffsets asks the leaders for the log start offsets. Results are in
// the order of parts.
func (c *Cluster) ListStartOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return nil, errors.ErrUnsupported
}
