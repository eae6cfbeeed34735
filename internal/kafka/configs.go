package kafka

import (
	"context"
	"errors"
)

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
	return nil, errors.ErrUnsupported
}

// EffectiveTopicConfig reads every setting that is in force for a topic,
// inherited ones included. Secret values are left out.
func (c *Cluster) EffectiveTopicConfig(ctx context.Context, name string) (map[string]string, error) {
	return nil, errors.ErrUnsupported
}

// ConfigChange sets a topic's setting to *Value, or with nil removes it so that
// the inherited value is in force again.
type ConfigChange struct {
	Name  string
	Value *string
}

// AlterTopicConfigs applies the changes to one topic, all or none of them, and
// leaves the other settings as they are. It is safe to repeat.
func (c *Cluster) AlterTopicConfigs(ctx context.Context, name string, changes []ConfigChange) error {
	return errors.ErrUnsupported
}
