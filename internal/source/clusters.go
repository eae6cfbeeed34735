package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// Clusters holds the cluster against another one. Of the request, Topics and
// Rename count.
func (c *Comparer) Clusters(ctx context.Context, against *kafka.Cluster, req Request) (*Comparison, error) {
	res := &Comparison{}
	chosen, err := res.selectLive(ctx, against, req.Topics)
	if err != nil {
		return nil, err
	}
	names := &Plan{Request: req}
	if err := names.addTopics(chosen); err != nil {
		return nil, err
	}
	if len(names.Refusals) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrRefused, names.Refusals[0])
	}
	if err := res.compareTopics(ctx, names.Topics, c.Cluster, len(req.Topics) == 0); err != nil {
		return nil, err
	}
	if c.has(CompareMetadata) {
		for _, kind := range compared() {
			if err := res.addLiveKind(ctx, against, c.Cluster, kind); err != nil {
				return nil, err
			}
		}
	}
	for i := range res.Differences {
		res.Differences[i].Todo = "" // nobody has said which of the two is right
	}
	if against.ID() == c.Cluster.ID() {
		res.note("both are the cluster %s, or one is a copy of the other's volumes", against.ID())
	}
	cluster := &live{cluster: c.Cluster, patience: c.patience()}
	places, err := c.places(ctx, names.Topics, cluster)
	if err != nil {
		return nil, err
	}
	reference := &live{cluster: against, patience: c.patience()}
	if err := reference.locate(ctx, places, func(at place) string { return names.Topics[at.topic].Source.Name }); err != nil {
		return nil, err
	}
	for _, l := range []*live{reference, cluster} {
		if err := l.begin(ctx); err != nil {
			return nil, err
		}
	}
	return res, c.compare(ctx, res, reference, cluster, names.Topics, places)
}

// selectLive returns the topics of a cluster that patterns select; without any,
// those that backupd captures by default.
func (c *Comparison) selectLive(ctx context.Context, cluster *kafka.Cluster, patterns []string) ([]choice, error) {
	wanted, err := pattern.Parse(patterns)
	if err != nil {
		return nil, err
	}
	all, err := cluster.Topics(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("look up topics: %w", err)
	}
	var chosen []choice
	for _, t := range all {
		if !wanted.Match(t.Name) || len(patterns) == 0 && !isOrdinary(t) {
			continue
		}
		if t.Err != nil || len(t.Partitions) == 0 {
			return nil, fmt.Errorf("topic %s of cluster %s: %w", t.Name, cluster.ID(), cmp.Or(t.Err, kafka.ErrUnknownTopic))
		}
		chosen = append(chosen, choice{Incarnation: Incarnation{Nth: 1, Topic: manifest.Topic{
			ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions)), ReplicationFactor: int32(len(t.Partitions[0].Replicas)),
		}}})
	}
	for _, name := range wanted.Literals() {
		if !slices.ContainsFunc(chosen, func(i choice) bool { return i.Name == name }) {
			return nil, fmt.Errorf("%w: cluster %s has no topic %s", ErrNothing, cluster.ID(), name)
		}
	}
	return chosen, c.addConfigs(ctx, cluster, chosen)
}

// addConfigs reads the configs of the reference's topics.
func (c *Comparison) addConfigs(ctx context.Context, cluster *kafka.Cluster, chosen []choice) error {
	names := make([]string, len(chosen))
	for i, t := range chosen {
		names[i] = t.Name
	}
	configs, err := cluster.TopicConfigs(ctx, names)
	if errors.Is(err, kafka.ErrAuthorization) {
		c.Uncompared = append(c.Uncompared, Uncompared{kindTopicConfigs, true, oneLine(err)})
	} else if err != nil {
		return fmt.Errorf("read topic configs: %w", err)
	}
	for i := range chosen {
		for _, config := range configs[chosen[i].Name] {
			chosen[i].Configs = append(chosen[i].Configs, manifest.Config{Name: config.Name, Value: config.Value})
		}
	}
	return nil
}

// addLiveKind compares one kind of metadata of two clusters. What one of them
// does not give is a difference unless the other is known to have nothing.
func (d *Diff) addLiveKind(ctx context.Context, against, cluster *kafka.Cluster, kind metadata.Kind) error {
	var contents [2][]metadata.Setting
	var reasons []string
	denied := false
	for i, c := range []*kafka.Cluster{against, cluster} {
		content, err := metadata.Read(ctx, c, kind)
		switch {
		case errors.Is(err, kafka.ErrAuthorization) || errors.Is(err, kafka.ErrUnsupported):
			denied = denied || errors.Is(err, kafka.ErrAuthorization)
			reasons = append(reasons, fmt.Sprintf("cluster %s: %s", c.ID(), oneLine(err)))
		case err != nil:
			return err
		default:
			contents[i] = content.Settings()
		}
	}
	if len(reasons) > 0 {
		known := denied || len(contents[0])+len(contents[1]) > 0
		d.Uncompared = append(d.Uncompared, Uncompared{string(kind), known, strings.Join(reasons, "; ")})
		return nil
	}
	d.addSettings(string(kind), contents[0], contents[1], func(metadata.Setting) (bool, string) { return false, "" })
	return nil
}
