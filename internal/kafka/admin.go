package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// createTimeout is how long the brokers may take to create topics.
const createTimeout = 30 * time.Second

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
// Results are in the order of topics. It does not retry: after an error of the
// whole request, which matches ErrRetriable when the connection was lost, the
// topics may exist.
func (c *Cluster) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	out, err := c.createTopics(ctx, topics, validateOnly)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	return out, nil
}

func (c *Cluster) createTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = millis(createTimeout)
	req.ValidateOnly = validateOnly
	at := make(map[string]int, len(topics))
	for i, topic := range topics {
		if _, twice := at[topic.Name]; twice {
			return nil, fmt.Errorf("topic %s is there twice", topic.Name)
		}
		at[topic.Name] = i
		req.Topics = append(req.Topics, encodeTopic(topic))
	}
	// Not the library's way of sending it, which would retry.
	meta, err := c.metadata(ctx, []string{}, false)
	if err != nil {
		return nil, err
	}
	raw, err := c.cl.Broker(int(meta.ControllerID)).Request(ctx, req)
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	out := make([]CreatedTopic, len(topics))
	for i := range topics {
		out[i] = CreatedTopic{Name: topics[i].Name, Err: errNoAnswer}
	}
	for _, t := range raw.(*kmsg.CreateTopicsResponse).Topics {
		n, asked := at[t.Topic]
		if !asked {
			return nil, fmt.Errorf("answer for topic %q, which was not asked for", t.Topic)
		}
		out[n].ID, out[n].Err = t.TopicID, nil
		if t.ErrorCode != 0 {
			out[n].Err = brokerError(t.ErrorCode, t.ErrorMessage, denied{"Create", t.Topic})
		}
	}
	return out, nil
}

func encodeTopic(topic NewTopic) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = topic.Name
	t.NumPartitions, t.ReplicationFactor = topic.Partitions, topic.ReplicationFactor
	for _, c := range topic.Configs {
		e := kmsg.NewCreateTopicsRequestTopicConfig()
		e.Name, e.Value = c.Name, c.Value
		t.Configs = append(t.Configs, e)
	}
	return t
}

// DeleteTopics deletes topics. One that does not exist is no error. It does not
// retry.
func (c *Cluster) DeleteTopics(ctx context.Context, names []string) error {
	if err := c.deleteTopics(ctx, names); err != nil {
		return fmt.Errorf("delete topics: %w", err)
	}
	return nil
}

func (c *Cluster) deleteTopics(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis, req.TopicNames = millis(createTimeout), names
	for i := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &names[i]
		req.Topics = append(req.Topics, t)
	}
	meta, err := c.metadata(ctx, []string{}, false)
	if err != nil {
		return err
	}
	raw, err := c.cl.Broker(int(meta.ControllerID)).Request(ctx, req)
	if err != nil {
		return requestError(ctx, c.cl, err)
	}
	var errs []error
	for _, t := range raw.(*kmsg.DeleteTopicsResponse).Topics {
		if t.ErrorCode == 0 {
			continue
		}
		name := ""
		if t.Topic != nil {
			name = *t.Topic
		}
		if err := brokerError(t.ErrorCode, t.ErrorMessage, denied{"Delete", name}); !errors.Is(err, ErrUnknownTopic) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
