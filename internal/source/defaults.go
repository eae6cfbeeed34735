package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// brokerDefaults are the configs that a topic without its own has from the broker.
type brokerDefaults struct {
	policy string
	ms     int64 // -1 for no limit
	bytes  int64 // of a partition, -1 for no limit
	// unknown: the broker's may not be read, and these do not limit anything.
	unknown bool
}

// kafkaDefaults are what brokers have that nobody has configured.
func kafkaDefaults() map[string]string {
	return map[string]string{"log.cleanup.policy": "delete", "log.retention.hours": "168", "log.retention.bytes": "-1"}
}

// defaultsOf reads the defaults out of a broker's settings.
func defaultsOf(settings map[string]string) brokerDefaults {
	d := brokerDefaults{policy: cmp.Or(settings["log.cleanup.policy"], "delete"), ms: -1, bytes: -1}
	if n, err := strconv.ParseInt(settings["log.retention.bytes"], 10, 64); err == nil {
		d.bytes = n
	}
	for _, unit := range []struct {
		name string
		ms   int64
	}{{"log.retention.ms", 1}, {"log.retention.minutes", 60_000}, {"log.retention.hours", 3_600_000}} {
		if n, err := strconv.ParseInt(settings[unit.name], 10, 64); err == nil { // the first one counts
			if n >= 0 {
				d.ms = n * unit.ms
			}
			break
		}
	}
	return d
}

// readDefaults reads which retention the target's brokers have for topics that
// do not state theirs.
func (p *Plan) readDefaults(ctx context.Context, cluster *kafka.Cluster) error {
	var wanting []string
	for _, t := range p.Topics {
		if t.takesConfigs() && t.leavesRetention() {
			wanting = append(wanting, t.Target)
		}
	}
	brokers := cluster.Brokers()
	if len(wanting) == 0 || len(brokers) == 0 {
		return nil
	}
	settings, err := cluster.EffectiveBrokerConfig(ctx, brokers[0].ID)
	switch {
	case errors.Is(err, kafka.ErrAuthorization):
		p.defaults = brokerDefaults{ms: -1, bytes: -1, unknown: true}
		p.note("%s: they leave retention to the target's brokers, which would not say what theirs is (%v): how many of the restored records it will delete is not known", strings.Join(wanting, ", "), err)
	case err != nil:
		return fmt.Errorf("read the target's defaults: %w", err)
	default:
		p.defaults = defaultsOf(settings)
	}
	return nil
}

// leavesRetention says whether a config that decides what is deleted is left to
// the broker.
func (t *TopicPlan) leavesRetention() bool {
	if policy, ok := t.config("cleanup.policy"); ok && !strings.Contains(policy, "delete") {
		return false
	}
	for _, name := range []string{"cleanup.policy", "retention.bytes", "retention.ms"} {
		if _, ok := t.config(name); !ok {
			return true
		}
	}
	return false
}

// retention returns what deletes records of the topic: an age in ms and a size
// of each partition, -1 for no limit. A size that the backup states has been kept
// to at the source.
func (t *TopicPlan) retention(d brokerDefaults) (ms, bytes int64) {
	policy, ok := t.config("cleanup.policy")
	if !ok {
		policy = d.policy
	}
	if !strings.Contains(policy, "delete") && !(d.unknown && !ok) {
		return -1, -1
	}
	if bytes = t.limit("retention.bytes", d.bytes); t.states("retention.bytes") {
		bytes = -1
	}
	return t.limit("retention.ms", d.ms), bytes
}

// states says whether a config comes from the backup.
func (t *TopicPlan) states(name string) bool {
	return !t.isOwn(name) && slices.ContainsFunc(t.Configs, func(c kafka.ConfigEntry) bool { return c.Name == name })
}

func (t *TopicPlan) limit(name string, otherwise int64) int64 {
	text, ok := t.config(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return max(-1, n)
}
