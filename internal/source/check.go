package source

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Prepare loads the point that the request names and plans its restore into
// the cluster. When --at is latest and an earlier restore of the same topics was
// interrupted, or is complete, it is that restore's point that counts: the source
// may have gone on since.
func Prepare(ctx context.Context, repo *manifest.Repository, cluster *kafka.Cluster, req Request, now time.Time) (*Plan, error) {
	m, err := prepare(ctx, repo, cluster, &req, now)
	if err != nil {
		return nil, err
	}
	return m.plan(ctx, cluster, req, now)
}

// PrepareCompared plans what a cluster is compared with: as Prepare does, but
// without a target.
func PrepareCompared(ctx context.Context, repo *manifest.Repository, cluster *kafka.Cluster, req Request, now time.Time) (*Plan, error) {
	m, err := prepare(ctx, repo, cluster, &req, now)
	if err != nil {
		return nil, err
	}
	return m.plan(ctx, nil, req, now)
}

func prepare(ctx context.Context, repo *manifest.Repository, cluster *kafka.Cluster, req *Request, now time.Time) (*moments, error) {
	log := readHistory(ctx, repo)
	snap, err := log.load(ctx, req.At, now)
	if err != nil {
		return nil, err
	}
	m, err := log.moments(ctx, snap, req, now)
	if err != nil {
		return nil, err
	}
	if cluster != nil && req.has(PartTopics) {
		if err := m.resume(ctx, cluster, req); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// called is how --rename has to call the source of the topic.
func (t *TopicPlan) called() string {
	if t.Source.Nth > 1 || t.Source.Gone {
		return t.Source.Label()
	}
	return t.Source.Name
}

// checkTarget looks at the cluster, decides what to do with each topic and
// collects everything that would make run refuse.
func (p *Plan) checkTarget(ctx context.Context, cluster *kafka.Cluster) (err error) {
	p.state, err = readState(ctx, cluster, p.Snapshot.Repository.ID)
	if err = p.refuseDenied(err); err != nil {
		return err
	}
	names := make([]string, len(p.Topics))
	for i, t := range p.Topics {
		names[i] = t.Target
	}
	there, err := cluster.Topics(ctx, names)
	if err != nil {
		return fmt.Errorf("look up target topics: %w", err)
	}
	byName := make(map[string]*kafka.Topic)
	for i := range there {
		byName[there[i].Name] = &there[i]
	}
	for _, t := range p.Topics {
		if err := p.checkTopic(ctx, cluster, t, byName[t.Target]); err != nil {
			return err
		}
		if err := p.checkConfigs(ctx, cluster, t); err != nil {
			return err
		}
	}
	if err := p.readDefaults(ctx, cluster); err != nil {
		return err
	}
	if err := p.checkBrokers(ctx, cluster); err != nil {
		return err
	}
	if err := p.checkRights(ctx, cluster); err != nil {
		return err
	}
	return p.checkGroups(ctx, cluster)
}

// checkTopic decides the action for one target.
func (p *Plan) checkTopic(ctx context.Context, cluster *kafka.Cluster, t *TopicPlan, there *kafka.Topic) error {
	switch {
	case !legalName(t.Target):
		t.Action = ActionCreate
		p.refuse("%q cannot be the name of a topic (letters, digits, dots, dashes and underscores, 249 at most): use --rename %s=NEW", t.Target, t.called())
		return nil
	case isInternal(t.Target):
		t.Action = ActionCreate
		p.refuse("topic %s is internal to Kafka and is never written to: use --rename %s=NEW, or exclude it", t.Target, t.called())
		return nil
	case there == nil || errors.Is(there.Err, kafka.ErrUnknownTopic):
		t.Action = ActionCreate
		return nil
	case errors.Is(there.Err, kafka.ErrAuthorization):
		t.Action = ActionCreate
		p.refuse("topic %s: %v", t.Target, there.Err)
		return nil
	case there.Err != nil:
		return fmt.Errorf("target topic %s: %w", t.Target, there.Err)
	}
	t.id = there.ID
	if len(there.Partitions) != int(t.Partitions) {
		p.refuse("topic %s exists with %s, the backup has %d: use --rename %s=NEW, or delete it", t.Target, english.Plural(len(there.Partitions), "partition", ""), t.Partitions, t.called())
		return nil
	}
	t.ReplicationFactor = int16(len(there.Partitions[0].Replicas))
	if s := p.state.topics[t.Target]; s != nil && s.target == t.id {
		return p.checkEarlier(t, s)
	}
	return p.checkEmpty(ctx, cluster, t)
}

var topicName = regexp.MustCompile(`\A[a-zA-Z0-9._-]{1,249}\z`)

// legalName says whether Kafka allows the name for a topic.
func legalName(name string) bool { return topicName.MatchString(name) && name != "." && name != ".." }

// isInternal says whether Kafka keeps its own state under the name, also where
// the topic is yet to be made.
func isInternal(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata":
		return true
	}
	return false
}

// checkEarlier deals with a target that an earlier run has worked on.
func (p *Plan) checkEarlier(t *TopicPlan, s *topicState) error {
	switch {
	case s.source != kafka.TopicID(t.Source.ID):
		p.refuse("topic %s holds the restore (%s) of another topic, %s, not of %s: choose another target with --rename %s=NEW, or delete the topic",
			t.Target, s.phase, p.sourceOf(s), t.Source.Label(), t.Source.Label())
		return nil
	case s.point != t.From.Point.Sequence:
		p.refuse("topic %s holds the restore (%s) of another recovery point, %d: choose it with %s, or another target with --rename %s=NEW, or delete the topic",
			t.Target, s.phase, s.point, t.chooses(s.point), t.called())
		return nil
	case s.bounds != p.bounds(t):
		p.refuse("topic %s holds the restore (%s) of point %d %s: do it again %s to go on, or choose another target with --rename %s=NEW, or delete the topic",
			t.Target, s.phase, s.point, inWords(s.bounds), inWords(s.bounds), t.called())
		return nil
	case len(s.starts) != int(t.Partitions):
		p.refuse("topic %s: the state of its earlier restore is incomplete: delete the topic to begin anew", t.Target)
		return nil
	}
	t.Action = ActionResume
	if s.phase == phaseDone {
		t.Action = ActionNone
	}
	if s.accepted != "" {
		t.accepted = strings.Split(s.accepted, ",")
		p.note("topic %s: what lies in gaps was left out, as an earlier run has accepted: %s (partition:from-to)", t.Target, s.accepted)
	}
	t.producer, t.buildTo, t.fit, t.append, t.filled = s.producer, s.buildTo, s.fit, s.append, s.phase != phaseRunning
	for i := range t.starts {
		t.starts[i] = s.starts[int32(i)]
	}
	return nil
}

// sourceOf names the topic that an earlier restore has restored.
func (p *Plan) sourceOf(s *topicState) string {
	all := p.last().Incarnations()
	if i := slices.IndexFunc(all, func(i Incarnation) bool { return kafka.TopicID(i.ID) == s.source }); i >= 0 {
		return fmt.Sprintf("%s of point %d", all[i].Label(), s.point)
	}
	return fmt.Sprintf("that with the id %s at point %d", s.source, s.point)
}

// checkEmpty looks for records in a target that no earlier run knows.
func (p *Plan) checkEmpty(ctx context.Context, cluster *kafka.Cluster, t *TopicPlan) error {
	parts := partitionsOf(t)
	first, err := cluster.ListStartOffsets(ctx, parts)
	if err != nil {
		return fmt.Errorf("list log start offsets of %s: %w", t.Target, err)
	}
	ends, err := cluster.ListEndOffsets(ctx, parts)
	if err != nil {
		return fmt.Errorf("list end offsets of %s: %w", t.Target, err)
	}
	var records int64
	for i := range parts {
		if err := errors.Join(first[i].Err, ends[i].Err); err != nil {
			return fmt.Errorf("offsets of %s-%d: %w", t.Target, i, err)
		}
		records += ends[i].Offset - first[i].Offset
		t.starts[i] = ends[i].Offset
	}
	t.Action = ActionFill
	if records > 0 {
		t.Action, t.append = ActionAppend, true
	}
	switch {
	case records == 0 || p.Request.Append:
	case t.isUnfinished(ctx, cluster):
		p.refuse("topic %s was created by a restore that has not come to its first record, and holds %s of somebody else: stop them, delete it and run again, or use --rename %s=NEW", t.Target, english.Plural(int(records), "record", ""), t.called())
	default:
		p.refuse("topic %s exists and holds %s: use --rename %s=NEW, delete it, or add to it with --if-exists append", t.Target, english.Plural(int(records), "record", ""), t.called())
	}
	return nil
}

// isUnfinished says whether an existing topic has the configs that none has but
// those into which a restore is on its way.
func (t *TopicPlan) isUnfinished(ctx context.Context, cluster *kafka.Cluster) bool {
	now, err := cluster.TopicConfigs(ctx, []string{t.Target})
	if err != nil {
		return false // it is refused anyway
	}
	return !slices.ContainsFunc(safeConfigs(), func(safe kafka.ConfigEntry) bool {
		return !slices.ContainsFunc(now[t.Target], func(c kafka.ConfigEntry) bool {
			return c.Name == safe.Name && c.Value != nil && *c.Value == *safe.Value
		})
	})
}

// checkConfigs looks at the configs that a target has already and keeps.
func (p *Plan) checkConfigs(ctx context.Context, cluster *kafka.Cluster, t *TopicPlan) (err error) {
	var now map[string]string
	switch {
	case t.Action == ActionFill, t.Action == ActionResume && !t.append:
		now, err = t.readKept(ctx, cluster)
	case t.Action == ActionAppend, t.Action == ActionResume:
		t.Configs, t.Unset = nil, nil
		now, err = cluster.EffectiveTopicConfig(ctx, t.Target)
		t.inForce = now
	}
	if errors.Is(err, kafka.ErrAuthorization) {
		p.refuse("topic %s: %v", t.Target, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the configs of %s: %w", t.Target, err)
	}
	t.setFit(now)
	if t.inForce["message.timestamp.type"] == "LogAppendTime" {
		p.refuse("topic %s has message.timestamp.type=LogAppendTime, which would replace the timestamps of the records: use --rename %s=NEW", t.Target, t.called())
	}
	return nil
}

// readKept finds the configs on a target that the restore does not set, and returns all that are set on it.
func (t *TopicPlan) readKept(ctx context.Context, cluster *kafka.Cluster) (map[string]string, error) {
	now, err := cluster.TopicConfigs(ctx, []string{t.Target})
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	for _, c := range now[t.Target] {
		if c.Value != nil {
			all[c.Name] = *c.Value
		}
	}
	changes := t.finalChanges()
	t.Kept = slices.DeleteFunc(now[t.Target], func(c kafka.ConfigEntry) bool {
		return slices.ContainsFunc(changes, func(change kafka.ConfigChange) bool { return change.Name == c.Name })
	})
	return all, nil
}

func partitionsOf(t *TopicPlan) []kafka.TopicPartition {
	parts := make([]kafka.TopicPartition, t.Partitions)
	for i := range parts {
		parts[i] = kafka.TopicPartition{Topic: t.Target, Partition: int32(i)}
	}
	return parts
}

// checkBrokers asks the cluster whether it would create the topics, first with
// the configs that they get at last.
func (p *Plan) checkBrokers(ctx context.Context, cluster *kafka.Cluster) error {
	brokers := len(cluster.Brokers())
	var news []kafka.NewTopic
	asked := make(map[string]bool)
	for _, t := range p.Topics {
		if t.Action != ActionCreate {
			continue
		}
		if int(t.ReplicationFactor) > brokers {
			p.refuse("topic %s: replication factor %d needs as many brokers, the cluster has %d: use --replication-factor N", t.Target, t.ReplicationFactor, brokers)
			continue
		}
		if asked[t.Target] || !legalName(t.Target) || isInternal(t.Target) {
			continue // refused already
		}
		asked[t.Target] = true
		news = append(news, kafka.NewTopic{Name: t.Target, Partitions: t.Partitions, ReplicationFactor: t.ReplicationFactor, Configs: t.Configs})
	}
	if len(news) == 0 {
		return nil
	}
	answers, err := cluster.CreateTopics(ctx, news, true)
	if err != nil {
		return fmt.Errorf("ask whether topics could be created: %w", err)
	}
	for _, a := range answers {
		if errors.Is(a.Err, kafka.ErrRetriable) {
			return fmt.Errorf("ask whether topic %s could be created: %w", a.Name, a.Err)
		}
		if a.Err != nil {
			p.refuse("topic %s cannot be created: %v", a.Name, a.Err)
		}
	}
	return nil
}

// checkRights names the rights on existing topics that the restore lacks.
func (p *Plan) checkRights(ctx context.Context, cluster *kafka.Cluster) error {
	var names []string
	for _, t := range p.Topics {
		if t.id != (kafka.TopicID{}) && t.Action != ActionNone {
			names = append(names, t.Target)
		}
	}
	if len(names) == 0 {
		return nil
	}
	rights, err := cluster.TopicRights(ctx, names)
	if err != nil {
		return fmt.Errorf("look up rights on target topics: %w", err)
	}
	for _, name := range names {
		r := rights[name]
		if errors.Is(r.Err, kafka.ErrUnknownTopic) {
			return fmt.Errorf("%w: topic %s: %w", kafka.ErrRetriable, name, r.Err) // it is there, but this broker has not heard of it yet
		}
		if r.Err != nil {
			p.refuse("topic %s: %v", name, r.Err)
			continue
		}
		for _, op := range []kafka.Operation{kafka.OpWrite, kafka.OpAlterConfigs} {
			if !r.Rights.Has(op) {
				p.refuse("topic %s: not authorized: %s", name, op)
			}
		}
	}
	return nil
}

// refuseDenied makes refusals of what an error says of missing rights, so that
// the plan names them all, and returns any other error.
func (p *Plan) refuseDenied(err error) error {
	if !errors.Is(err, kafka.ErrAuthorization) {
		return err
	}
	for line := range strings.Lines(err.Error()) {
		p.refuse("%s (see Rights in docs/operations.md)", strings.TrimSpace(line))
	}
	return nil
}
