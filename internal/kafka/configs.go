package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// configBatch is how many topics one request asks for: an answer has some 40
// settings per topic.
const configBatch = 500

// ConfigEntry is one setting that was made on a topic itself.
type ConfigEntry struct {
	Name  string
	Value *string // nil when the broker keeps it secret
}

// TopicError is an error of one topic in a request for several.
type TopicError struct {
	Topic string
	Err   error
}

func (e *TopicError) Error() string { return "topic " + e.Topic + ": " + e.Err.Error() }
func (e *TopicError) Unwrap() error { return e.Err }

// TopicConfigs reads the settings that were made on the topics themselves, not
// those inherited from the brokers. A topic without any is in the map with an
// empty list; entries are sorted by name. When some topics cannot be read, the
// map holds the others and the error joins one *TopicError for each.
func (c *Cluster) TopicConfigs(ctx context.Context, names []string) (map[string][]ConfigEntry, error) {
	all := make(map[string][]ConfigEntry, len(names))
	var errs []error
	for batch := range slices.Chunk(names, configBatch) {
		err := c.describeConfigs(ctx, topicResource, batch, func(topic string, configs []kmsg.DescribeConfigsResponseResourceConfig, err error) {
			if err != nil {
				errs = append(errs, &TopicError{topic, err})
				return
			}
			entries := []ConfigEntry{}
			for _, e := range configs {
				if e.Source == kmsg.ConfigSourceDynamicTopicConfig {
					entries = append(entries, ConfigEntry{Name: e.Name, Value: e.Value})
				}
			}
			slices.SortFunc(entries, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
			all[topic] = entries
		})
		if err != nil {
			return nil, fmt.Errorf("read topic configs: %w", err)
		}
	}
	return all, errors.Join(errs...)
}

// describeConfigs calls each once for every resource of the type.
func (c *Cluster) describeConfigs(ctx context.Context, kind ResourceType, names []string, each func(name string, configs []kmsg.DescribeConfigsResponseResourceConfig, err error)) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	left := make(map[string]bool, len(names))
	for _, name := range names {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), name
		req.Resources = append(req.Resources, r)
		left[name] = true
	}
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return requestError(ctx, c.cl, shard.Err)
		}
		for _, r := range shard.Resp.(*kmsg.DescribeConfigsResponse).Resources {
			if !left[r.ResourceName] {
				return fmt.Errorf("answer for %s %q, which was not asked for", kind, r.ResourceName)
			}
			delete(left, r.ResourceName)
			var err error
			if r.ErrorCode != 0 {
				err = brokerError(r.ErrorCode, r.ErrorMessage, denied{"DescribeConfigs", r.ResourceName})
			}
			each(r.ResourceName, r.Configs, err)
		}
	}
	for name := range left {
		return fmt.Errorf("%s %q: %w", kind, name, errNoAnswer)
	}
	return nil
}

// EffectiveTopicConfig reads every setting that is in force for a topic,
// inherited ones included. Secret values are left out.
func (c *Cluster) EffectiveTopicConfig(ctx context.Context, name string) (map[string]string, error) {
	return c.effectiveConfig(ctx, topicResource, name)
}

// EffectiveBrokerConfig reads every setting that is in force for a broker.
// Secret values are left out.
func (c *Cluster) EffectiveBrokerConfig(ctx context.Context, id int32) (map[string]string, error) {
	return c.effectiveConfig(ctx, BrokerResource, strconv.Itoa(int(id)))
}

func (c *Cluster) effectiveConfig(ctx context.Context, kind ResourceType, name string) (map[string]string, error) {
	settings := make(map[string]string)
	var refused error
	err := c.describeConfigs(ctx, kind, []string{name}, func(_ string, configs []kmsg.DescribeConfigsResponseResourceConfig, err error) {
		refused = err
		for _, e := range configs {
			if e.Value != nil {
				settings[e.Name] = *e.Value
			}
		}
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, fmt.Errorf("read config of %s %s: %w", kind, name, err)
	}
	return settings, nil
}

// ConfigChange sets a setting to *Value, or with nil removes it so that
// the inherited value is in force again.
type ConfigChange struct {
	Name  string
	Value *string
}

// AlterTopicConfigs applies the changes to one topic, all or none of them, and
// leaves the other settings as they are. It is safe to repeat.
func (c *Cluster) AlterTopicConfigs(ctx context.Context, name string, changes []ConfigChange) error {
	return c.AlterConfigs(ctx, topicResource, name, changes)
}

// AlterConfigs applies the changes to one resource, all or none of them, and
// leaves the other settings as they are. It is safe to repeat.
func (c *Cluster) AlterConfigs(ctx context.Context, kind ResourceType, name string, changes []ConfigChange) error {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), name
	for _, change := range changes {
		e := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		e.Name, e.Value, e.Op = change.Name, change.Value, kmsg.IncrementalAlterConfigOpSet
		if change.Value == nil {
			e.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, e)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, r)
	if err := c.alterConfigs(ctx, req); err != nil {
		return fmt.Errorf("alter config of %s %s: %w", kind, name, err)
	}
	return nil
}

func (c *Cluster) alterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) error {
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return requestError(ctx, c.cl, shard.Err)
		}
		for _, r := range shard.Resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
			if r.ErrorCode != 0 {
				return brokerError(r.ErrorCode, r.ErrorMessage, denied{"AlterConfigs", r.ResourceName})
			}
		}
	}
	return nil
}
