package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
)

// TopicID identifies one incarnation of a topic. The zero value means that the
// broker gave none.
type TopicID [16]byte

// String is Kafka's form: URL-safe base64 without padding, 22 characters.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseTopicID is the inverse of TopicID.String.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if len(s) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return id, fmt.Errorf("parse topic id %q: want 22 characters", s)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return id, fmt.Errorf("parse topic id %q: %w", s, err)
	}
	copy(id[:], b)
	return id, nil
}

// Topic is one topic as the metadata shows it.
type Topic struct {
	Name     string
	ID       TopicID
	Internal bool
	// Partitions are sorted by Index; empty when Err is set.
	Partitions []Partition
	// Err is ErrUnknownTopic, an *AuthorizationError or ErrRetriable.
	Err error
}

// Partition is one partition as the metadata shows it.
type Partition struct {
	Index       int32
	Leader      int32 // broker id; -1 when there is none
	LeaderEpoch int32
	Replicas    []int32
	// Err is ErrRetriable when there is no leader just now.
	Err error
}

// Broker is one broker as the metadata shows it.
type Broker struct {
	ID   int32
	Host string
	Port int32
	Rack string // "" when the broker has none
}

// Topics reads the metadata of the named topics, or with nil of all topics
// that the principal may describe. The result is sorted by name. A named topic
// that cannot be read is in the result with Topic.Err; topics are never
// created by asking for them. An empty, non-nil list reads the brokers only.
func (c *Cluster) Topics(ctx context.Context, names []string) ([]Topic, error) {
	return nil, errors.ErrUnsupported
}

// Brokers lists the live brokers, sorted by id, as of the latest metadata that
// Connect or Topics read.
func (c *Cluster) Brokers() []Broker { return nil }
