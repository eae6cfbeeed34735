package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/metadata"
)

// ErrDifferent is what a command ends with if a cluster does not have what it is compared with has, or has more.
var ErrDifferent = errors.New("the cluster differs")

// Difference is one thing that a recovery point and a cluster do not have alike.
type Difference struct {
	Kind    string  `json:"kind"` // topics, topic-configs, or a kind of package metadata
	Object  string  `json:"object"`
	Setting string  `json:"setting,omitempty"`
	Backup  *string `json:"backup"`  // nil: it is not there
	Cluster *string `json:"cluster"` // nil: it is not there
	// Restorable says that run --metadata sets it.
	Restorable bool   `json:"restorable"`
	Todo       string `json:"todo"`
}

// Uncompared is what could not be compared, and why.
type Uncompared struct {
	Kind     string `json:"kind"`
	Captured bool   `json:"captured"` // the recovery point has it, so that the cluster is not known to be equal
	Reason   string `json:"reason"`
}

// Diff compares a recovery point with a cluster, without records and groups.
type Diff struct {
	Differences []Difference
	Uncompared  []Uncompared
}

// Equal says that the cluster has all that the recovery point has, and no more.
func (d *Diff) Equal() bool {
	return len(d.Differences) == 0 && !slices.ContainsFunc(d.Uncompared, func(u Uncompared) bool { return u.Captured })
}

// Kinds of differences that are no kinds of package metadata.
const (
	kindTopics       = "topics"
	kindTopicConfigs = "topic-configs"
)

const settingReplication = "replication factor"

// compared are the kinds of metadata that a cluster can be compared in:
// transactional ids come and go.
func compared() []metadata.Kind {
	return slices.DeleteFunc(metadata.Kinds(), func(k metadata.Kind) bool { return k == metadata.TransactionalIDs })
}

// Diff compares the selected topics, and all of the metadata, with a cluster. Of
// the request, Topics and Rename count.
func (s *Snapshot) Diff(ctx context.Context, cluster *kafka.Cluster, req Request) (*Diff, error) {
	d := &Diff{}
	if err := d.addTopics(ctx, s, cluster, req); err != nil {
		return nil, err
	}
	for _, kind := range compared() {
		if err := d.addKind(ctx, s, cluster, kind); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Diff) add(kind, object, setting string, backup, cluster *string, todo string) {
	d.Differences = append(d.Differences, Difference{Kind: kind, Object: object, Setting: setting, Backup: backup, Cluster: cluster, Todo: todo})
}

// Why nothing is done about a difference.
const (
	todoNothing = "nothing: a restore removes nothing"
	todoSecret  = "set it by hand: it is sensitive, and the backup does not have it"
)

// addTopics compares the selected topics and their configs.
func (d *Diff) addTopics(ctx context.Context, s *Snapshot, cluster *kafka.Cluster, req Request) error {
	req.Overrides = nil
	chosen, err := (&moments{rest: s}).choose(&req)
	if err != nil {
		return err
	}
	plan := &Plan{Snapshot: s, Request: req} // for the names of the targets
	if err := plan.addTopics(chosen); err != nil {
		return err
	}
	return d.compareTopics(ctx, plan.Topics, cluster, len(req.Topics) == 0)
}

// compareTopics compares topics and their configs; extra says that there should
// be no others.
func (d *Diff) compareTopics(ctx context.Context, topics []*TopicPlan, cluster *kafka.Cluster, extra bool) error {
	all, err := cluster.Topics(ctx, nil)
	if err != nil {
		return fmt.Errorf("look up topics: %w", err)
	}
	there := make(map[string]kafka.Topic)
	for _, t := range all {
		there[t.Name] = t
	}
	var both []*TopicPlan
	for _, t := range topics {
		if found, ok := there[t.Target]; !ok {
			d.add(kindTopics, t.Target, "", text("there"), nil, "restore it")
		} else if found.Err != nil {
			d.Uncompared = append(d.Uncompared, Uncompared{kindTopics, true, fmt.Sprintf("topic %s: %v", t.Target, found.Err)})
		} else {
			d.addTopic(t, found)
			both = append(both, t)
		}
		delete(there, t.Target)
	}
	if err := d.addTopicConfigs(ctx, cluster, both); err != nil {
		return err
	}
	for _, t := range all {
		if _, more := there[t.Name]; more && extra && isOrdinary(t) {
			d.add(kindTopics, t.Name, "", nil, text("there"), todoNothing)
		}
	}
	return nil
}

// isOrdinary says whether a topic is one that backupd captures by default.
func isOrdinary(t kafka.Topic) bool { return !t.Internal && !strings.HasPrefix(t.Name, "__") }

func text(format string, args ...any) *string {
	s := fmt.Sprintf(format, args...)
	return &s
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// addTopic compares what cannot be configured.
func (d *Diff) addTopic(t *TopicPlan, found kafka.Topic) {
	if n := len(found.Partitions); n != int(t.Source.Partitions) {
		d.add(kindTopics, t.Target, "partitions", text("%d", t.Source.Partitions), text("%d", n), "restore it under another name: keys would go to other partitions")
	}
	if n := len(found.Partitions[0].Replicas); n != int(t.Source.ReplicationFactor) {
		d.add(kindTopics, t.Target, settingReplication, text("%d", t.Source.ReplicationFactor), text("%d", n), "kafka-reassign-partitions.sh")
	}
}

// addTopicConfigs compares the configs of topics that are on both sides.
func (d *Diff) addTopicConfigs(ctx context.Context, cluster *kafka.Cluster, topics []*TopicPlan) error {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Target
	}
	configs, err := cluster.TopicConfigs(ctx, names)
	if errors.Is(err, kafka.ErrAuthorization) {
		d.Uncompared = append(d.Uncompared, Uncompared{kindTopicConfigs, true, oneLine(err)})
	} else if err != nil {
		return fmt.Errorf("read topic configs: %w", err)
	}
	for _, t := range topics {
		now, ok := configs[t.Target]
		if !ok {
			continue
		}
		backup := make(metadata.Configs)
		backup[t.Target] = make(map[string]*string)
		for _, c := range t.Source.Configs {
			backup[t.Target][c.Name] = c.Value
		}
		live := make(map[string]*string)
		for _, c := range now {
			live[c.Name] = c.Value
		}
		d.addSettings(kindTopicConfigs, backup.Settings(), metadata.Configs{t.Target: live}.Settings(), func(metadata.Setting) (bool, string) {
			return false, "set it with kafka-configs.sh, or restore the topic"
		})
	}
	return nil
}

// addKind compares one kind of metadata.
func (d *Diff) addKind(ctx context.Context, s *Snapshot, cluster *kafka.Cluster, kind metadata.Kind) error {
	was := s.State.Metadata[string(kind)]
	if was.Content == nil {
		d.Uncompared = append(d.Uncompared, Uncompared{string(kind), false, "not captured at this point: backupd had no right to, or the source knows no such thing"})
		return nil
	}
	backup, err := metadata.Decode(kind, *was.Content)
	if err != nil {
		return fmt.Errorf("%w: metadata of recovery point %d: %w", ErrRefused, s.Point.Sequence, err)
	}
	live, err := metadata.Read(ctx, cluster, kind)
	if errors.Is(err, kafka.ErrAuthorization) || errors.Is(err, kafka.ErrUnsupported) {
		if backup.Len() > 0 {
			d.Uncompared = append(d.Uncompared, Uncompared{string(kind), true, err.Error()})
		}
		return nil
	}
	if err != nil {
		return err
	}
	brokers := cluster.Brokers()
	d.addSettings(string(kind), backup.Settings(), live.Settings(), func(s metadata.Setting) (bool, string) { return remedy(kind, s, brokers) })
	return nil
}

// addSettings compares settings. do says what is done about one that the cluster
// does not have like that.
func (d *Diff) addSettings(kind string, backup, live []metadata.Setting, do func(metadata.Setting) (bool, string)) {
	there := make(map[settingKey]metadata.Setting)
	for _, l := range live {
		there[settingKey{l.Object, l.Name}] = l
	}
	secrets := 0
	for _, b := range backup {
		k := settingKey{b.Object, b.Name}
		l, ok := there[k]
		delete(there, k)
		switch {
		case ok && b.Secret && l.Secret:
			secrets++
		case ok && b == l:
		default:
			x := Difference{Kind: kind, Object: metadata.Kind(kind).Owner(b), Setting: b.Name, Backup: shown(b)}
			if ok {
				x.Cluster = shown(l)
			}
			if x.Restorable, x.Todo = do(b); b.Secret {
				x.Restorable, x.Todo = false, todoSecret
			}
			d.Differences = append(d.Differences, x)
		}
	}
	for _, l := range live {
		if _, extra := there[settingKey{l.Object, l.Name}]; extra {
			d.add(kind, metadata.Kind(kind).Owner(l), l.Name, nil, shown(l), todoNothing)
		}
	}
	if secrets > 0 {
		d.Uncompared = append(d.Uncompared, Uncompared{kind, false, fmt.Sprintf("%d sensitive settings, which cannot be read", secrets)})
	}
}

// shown is the value for people.
func shown(s metadata.Setting) *string {
	switch {
	case s.Secret:
		return text("(sensitive)")
	case s.Name == "" && s.Value == "":
		return text("there")
	}
	return &s.Value
}
