package source

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// restorable are the topic configs that may be taken from a backup: a backup is
// untrusted input, and configs can make a broker run code or stop replicating.
// Left out on purpose: the throttles of a reassignment that was under way.
var restorable = []string{
	"cleanup.policy", "compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
	"delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms", "index.interval.bytes",
	"local.retention.bytes", "local.retention.ms", "max.compaction.lag.ms", "max.message.bytes",
	"message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "message.timestamp.type",
	"min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate",
	"remote.log.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable",
	"retention.bytes", "retention.ms", "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms",
	"unclean.leader.election.enable",
}

const forever = "9223372036854775807" // math.MaxInt64

// safeConfigs hold while records come in: nothing is deleted or compacted,
// recompressed or refused for its age or size.
func safeConfigs() []kafka.ConfigEntry {
	list := []kafka.ConfigEntry{}
	for _, kv := range [][2]string{
		{"cleanup.policy", "delete"},
		{"compression.type", "producer"},
		// Below socket.request.max.bytes (100 MiB): what the source took, the target takes.
		{"max.message.bytes", "104000000"},
		{"message.timestamp.after.max.ms", forever},
		{"message.timestamp.before.max.ms", forever},
		{"message.timestamp.type", "CreateTime"},
		{"retention.bytes", "-1"},
		{"retention.ms", "-1"},
		// Segments roll by the records' timestamps, which jump here.
		{"segment.jitter.ms", "0"},
		{"segment.ms", forever},
	} {
		list = append(list, kafka.ConfigEntry{Name: kv[0], Value: &kv[1]})
	}
	return list
}

// takeConfigs decides which configs the target gets at last.
func (p *Plan) takeConfigs(t *TopicPlan) {
	if p.Request.has(PartConfigs) {
		p.takeFromBackup(t)
	}
	t.takeOwn()
}

func (p *Plan) takeFromBackup(t *TopicPlan) {
	for _, c := range t.Source.Configs {
		switch {
		case t.isOwn(c.Name):
		case !slices.Contains(restorable, c.Name):
			p.note("%s: config %s is not restored (it is not on the list of topic configs that may be taken from a backup)", t.Target, c.Name)
		case c.Value == nil:
			p.note("%s: config %s was not readable at the source and is not restored", t.Target, c.Name)
		default:
			t.Configs = append(t.Configs, kafka.ConfigEntry{Name: c.Name, Value: c.Value})
		}
	}
}

// takeOwn puts in what an override says, which the operator has written: it may
// be any config.
func (t *TopicPlan) takeOwn() {
	for _, name := range slices.Sorted(maps.Keys(t.override.configs())) {
		if value := t.override.Configs[name]; value != nil {
			t.Configs = append(t.Configs, kafka.ConfigEntry{Name: name, Value: value})
		} else {
			t.Unset = append(t.Unset, name)
		}
	}
	slices.SortStableFunc(t.Configs, func(a, b kafka.ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
}

// isOwn says whether an override decides about a config.
func (t *TopicPlan) isOwn(name string) bool {
	_, ok := t.override.configs()[name]
	return ok
}

// takesConfigs says whether the restore sets the target's configs: not those of
// a topic that held records before, or that is complete.
func (t *TopicPlan) takesConfigs() bool { return !t.append && t.Action != ActionNone }

// config returns a config that the target has at last, as far as it is known.
func (t *TopicPlan) config(name string) (string, bool) {
	if v, ok := t.inForce[name]; ok {
		return v, true
	}
	for _, c := range t.Configs {
		if c.Name == name {
			return *c.Value, true
		}
	}
	return "", false
}

// hold makes the final retention so long that nothing restored expires for the
// given time. Where nobody knows what would expire, that is everything.
func (t *TopicPlan) hold(d time.Duration, now time.Time, unknown bool) {
	if t.Expiring == 0 && !t.oversized && !unknown || t.Oldest == math.MaxInt64 {
		return
	}
	age := math.MaxInt64 - d.Milliseconds() // at most: timestamps may be as absurd as -2^63
	if t.Oldest > now.UnixMilli()-age {
		age = max(0, now.UnixMilli()-t.Oldest)
	}
	ms := fmt.Sprint(age + d.Milliseconds())
	all := "-1"
	t.Held = []kafka.ConfigEntry{{Name: "retention.bytes", Value: &all}, {Name: "retention.ms", Value: &ms}}
	t.HoldUntil = now.Add(d)
}

// finalChanges turns the safe configs into the real ones.
func (t *TopicPlan) finalChanges() []kafka.ConfigChange {
	final := make(map[string]*string)
	for _, c := range safeConfigs() {
		final[c.Name] = nil // back to the broker's default
	}
	for _, name := range t.Unset {
		final[name] = nil
	}
	for _, list := range [][]kafka.ConfigEntry{t.Configs, t.Held} {
		for _, c := range list {
			final[c.Name] = c.Value
		}
	}
	var changes []kafka.ConfigChange
	for name, value := range final {
		changes = append(changes, kafka.ConfigChange{Name: name, Value: value})
	}
	slices.SortFunc(changes, func(a, b kafka.ConfigChange) int { return strings.Compare(a.Name, b.Name) })
	return changes
}

// LiftCommand is what sets the real retention again after --hold-retention.
func (t *TopicPlan) LiftCommand() string {
	if t.Held == nil {
		return ""
	}
	var set, remove []string
	for _, h := range t.Held {
		if v, ok := t.config(h.Name); ok {
			set = append(set, h.Name+"="+v)
		} else {
			remove = append(remove, h.Name)
		}
	}
	cmd := "kafka-configs.sh --bootstrap-server … --alter --topic " + t.Target
	if len(set) > 0 {
		cmd += " --add-config " + strings.Join(set, ",")
	}
	if len(remove) > 0 {
		cmd += " --delete-config " + strings.Join(remove, ",")
	}
	return cmd
}

// applyConfigs gives a topic its real configs and reads them back.
func (r *Runner) applyConfigs(ctx context.Context, t *TopicPlan) error {
	if !t.takesConfigs() {
		return nil
	}
	changes := t.finalChanges()
	if err := r.Cluster.AlterTopicConfigs(ctx, t.Target, changes); err != nil {
		return fmt.Errorf("set the configs of %s: %w", t.Target, err)
	}
	deadline := time.Now().Add(visibleWithin)
	for {
		wrong, err := r.differing(ctx, t, changes)
		if err != nil || wrong == "" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("config %s of %s does not read back as it was set", wrong, t.Target)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// differing returns a config that is not as it was set.
func (r *Runner) differing(ctx context.Context, t *TopicPlan, changes []kafka.ConfigChange) (string, error) {
	now, err := r.Cluster.TopicConfigs(ctx, []string{t.Target})
	if err != nil {
		return "", fmt.Errorf("read back the configs of %s: %w", t.Target, err)
	}
	values := make(map[string]*string)
	for _, c := range now[t.Target] {
		values[c.Name] = c.Value
	}
	for _, c := range changes {
		v, there := values[c.Name]
		if c.Value == nil && there || c.Value != nil && (!there || v == nil || *v != *c.Value) {
			return c.Name, nil
		}
	}
	return "", nil
}
