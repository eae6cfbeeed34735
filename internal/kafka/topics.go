package kafka

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
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

func (b Broker) address() string { return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) }

// Topics reads the metadata of the named topics, or with nil of all topics
// that the principal may describe. The result is sorted by name. A named topic
// that cannot be read is in the result with Topic.Err; topics are never
// created by asking for them. An empty, non-nil list reads the brokers only.
func (c *Cluster) Topics(ctx context.Context, names []string) ([]Topic, error) {
	resp, err := c.metadata(ctx, names, false)
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	topics := make([]Topic, 0, len(resp.Topics))
	for i := range resp.Topics {
		topics = append(topics, newTopic(&resp.Topics[i]))
	}
	slices.SortFunc(topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

func (c *Cluster) metadata(ctx context.Context, names []string, rights bool) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	req.IncludeTopicAuthorizedOperations = rights
	if names != nil {
		req.Topics = make([]kmsg.MetadataRequestTopic, 0, len(names))
	}
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	if resp.ErrorCode != 0 {
		return nil, brokerError(resp.ErrorCode, nil, denied{})
	}
	c.remember(resp)
	return resp, nil
}

func newTopic(r *kmsg.MetadataResponseTopic) Topic {
	t := Topic{ID: r.TopicID, Internal: r.IsInternal}
	if r.Topic != nil {
		t.Name = *r.Topic
	}
	if r.ErrorCode != 0 {
		t.Err = brokerError(r.ErrorCode, nil, denied{"Describe", t.Name})
		return t
	}
	t.Partitions = make([]Partition, 0, len(r.Partitions))
	for _, p := range r.Partitions {
		part := Partition{Index: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas}
		// A missing follower is not our problem; a missing leader is.
		if p.Leader < 0 {
			part.Leader, part.Err = -1, brokerError(kerr.LeaderNotAvailable.Code, nil, denied{})
		}
		t.Partitions = append(t.Partitions, part)
	}
	slices.SortFunc(t.Partitions, func(a, b Partition) int { return int(a.Index) - int(b.Index) })
	return t
}
