package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"golang.org/x/sync/errgroup"
)

// Result is what a restore did.
type Result struct {
	Topics   []TopicResult
	Groups   []GroupResult
	Metadata []MetadataResult
}

// TopicResult is what became of one topic.
type TopicResult struct {
	Source, Target string
	Action         Action
	Kept           int64 // records that the topic has now
	Later          int64 // records beyond Request.Until, left out
	Aborted        int64 // records of aborted or open transactions, left out
	Rebuilt        int64 // of the kept: not in their original batches
	// LiftRetention is the command that sets the real retention again, after LiftAfter.
	LiftRetention string
	LiftAfter     time.Time
}

// GroupResult is what became of one group's offsets.
type GroupResult struct {
	Group     string
	Committed int // offsets, read back and compared
	Clamped   int // of them set to where Request.Vector ends the restore
	// Problems are the offsets, or the whole group, that could not be applied exactly.
	Problems []string
	again    bool // what kept them from it may pass: the next run tries again
}

// Complete says whether everything could be applied.
func (r *Result) Complete() bool {
	return !slices.ContainsFunc(r.Groups, func(g GroupResult) bool { return len(g.Problems) > 0 }) &&
		!slices.ContainsFunc(r.Metadata, func(m MetadataResult) bool { return len(m.Problems) > 0 })
}

// Runner carries a plan out by the client protocol.
type Runner struct {
	Cluster  *kafka.Cluster
	Log      *slog.Logger
	Progress func(records int64) // called with records that have been acknowledged; may be nil
	Patience time.Duration       // how long a request that fails is repeated if that may cure it; sending has its own
}

// Run does what the plan says. It may be killed at any time and called again
// with a plan of the same request: it goes on where the targets end. The
// error wraps ErrRefused if the plan has refusals; then nothing is done.
func (r *Runner) Run(ctx context.Context, p *Plan) (*Result, error) {
	if len(p.Refusals) > 0 {
		errs := []error{}
		for _, text := range p.Refusals {
			errs = append(errs, fmt.Errorf("%w: %s", ErrRefused, text))
		}
		return nil, errors.Join(errs...)
	}
	res := &Result{}
	if p.Request.has(PartTopics) {
		var err error
		if res, err = r.restoreTopics(ctx, p); err != nil {
			return nil, err
		}
	}
	// At last, so that nobody is let in before everything is there.
	var err error
	res.Metadata, err = r.applyMetadata(ctx, p)
	return res, err
}

// restoreTopics brings back topics, their records, and the offsets of groups.
func (r *Runner) restoreTopics(ctx context.Context, p *Plan) (*Result, error) {
	if err := r.prepare(ctx, p); err != nil {
		return nil, err
	}
	converters, err := r.replay(ctx, p)
	if err != nil {
		return nil, p.onDamage(err)
	}
	if err := r.save(ctx, p, p.undone(), phaseFilled); err != nil {
		return nil, err
	}
	for _, t := range p.Topics {
		if err := r.patiently(ctx, "set configs", func() error { return r.applyConfigs(ctx, t) }); err != nil {
			return nil, err
		}
	}
	res := &Result{Topics: topicResults(p, converters)}
	if res.Groups, err = r.commitGroups(ctx, p, converters); err != nil {
		return nil, err
	}
	return res, r.save(ctx, p, p.settled(res.Groups), phaseDone)
}

func (r *Runner) save(ctx context.Context, p *Plan, topics []*TopicPlan, ph phase) error {
	return r.patiently(ctx, "save the state", func() error { return p.state.save(ctx, p, topics, ph) })
}

// undone returns the topics that were not complete before this run.
func (p *Plan) undone() []*TopicPlan {
	return slices.DeleteFunc(slices.Clone(p.Topics), func(t *TopicPlan) bool { return t.Action == ActionNone })
}

// settled returns the topics with which the restore is done: those in which no
// group is to be tried again.
func (p *Plan) settled(results []GroupResult) []*TopicPlan {
	open := make(map[*TopicPlan]bool)
	for _, g := range p.Groups {
		again := slices.ContainsFunc(results, func(r GroupResult) bool { return r.Group == g.Group && r.again })
		for _, o := range g.Offsets {
			open[p.Topics[o.Topic]] = open[p.Topics[o.Topic]] || again
		}
	}
	return slices.DeleteFunc(slices.Clone(p.Topics), func(t *TopicPlan) bool { return open[t] })
}

// prepare makes the targets ready to receive and saves the restore's state.
func (r *Runner) prepare(ctx context.Context, p *Plan) error {
	if err := r.createTopics(ctx, p); err != nil {
		return err
	}
	if err := r.patiently(ctx, "look up rights", func() error { return p.checkRights(ctx, r.Cluster) }); err != nil {
		return err
	}
	if len(p.Refusals) > 0 {
		// Kafka does not tell rights on a topic before it exists.
		return fmt.Errorf("%w: %s: allow it and run again; topics that were created are empty", ErrRefused, strings.Join(p.Refusals, "; "))
	}
	var fresh []*TopicPlan
	for _, t := range p.Topics {
		if t.Action == ActionFill || t.Action == ActionResume && !t.append && !t.filled {
			if err := r.patiently(ctx, "set safe configs", func() error { return r.makeSafe(ctx, t) }); err != nil {
				return err
			}
		}
		if t.producer.id < 0 {
			fresh = append(fresh, t)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := r.patiently(ctx, "list end offsets", func() error { return r.checkUntouched(ctx, fresh) }); err != nil {
		return err
	}
	producer, err := r.Cluster.NewProducer()
	if err != nil {
		return err
	}
	defer producer.Close()
	var own producerID
	err = r.patiently(ctx, "get a producer id", func() (err error) {
		own.id, own.epoch, err = producer.InitProducerID(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("get a producer id: %w", err)
	}
	for _, t := range fresh {
		t.producer = own
	}
	return r.save(ctx, p, fresh, phaseRunning)
}

// createTopics creates the missing topics under safe configs and waits until
// the cluster knows them.
func (r *Runner) createTopics(ctx context.Context, p *Plan) error {
	var news []kafka.NewTopic
	for _, t := range p.Topics {
		if t.Action == ActionCreate {
			news = append(news, kafka.NewTopic{Name: t.Target, Partitions: t.Partitions, ReplicationFactor: t.ReplicationFactor, Configs: safeConfigs()})
		}
	}
	if len(news) == 0 {
		return nil
	}
	asked := false
	err := r.patiently(ctx, "create topics", func() error {
		answers, err := r.Cluster.CreateTopics(ctx, news, false)
		if err != nil {
			asked = true
			return fmt.Errorf("create topics: %w", err)
		}
		later := error(nil)
		for _, a := range answers {
			switch err := fmt.Errorf("create topic %s: %w", a.Name, a.Err); {
			case a.Err == nil:
				r.Log.Info("topic created", "topic", a.Name)
			case passes(a.Err):
				later = err
			case !asked || !errors.Is(a.Err, kafka.ErrTopicExists): // else by us, who did not hear of it
				return err
			}
		}
		asked = true
		return later
	})
	if err != nil {
		return err
	}
	return r.awaitTopics(ctx, p)
}

// visibleWithin bounds how long new topics may take to get leaders.
const visibleWithin = 30 * time.Second

func (r *Runner) awaitTopics(ctx context.Context, p *Plan) error {
	deadline := time.Now().Add(visibleWithin)
	for {
		missing, err := r.identify(ctx, p)
		if missing == "" && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("topic %s has no leaders %s after it was created", missing, visibleWithin), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// identify takes the ids of the created topics and returns one that is not
// ready.
func (r *Runner) identify(ctx context.Context, p *Plan) (missing string, err error) {
	byName := make(map[string]*TopicPlan)
	var names []string
	for _, t := range p.Topics {
		if t.Action == ActionCreate {
			byName[t.Target] = t
			names = append(names, t.Target)
		}
	}
	topics, err := r.Cluster.Topics(ctx, names)
	if err != nil {
		return names[0], err
	}
	for _, found := range topics {
		t := byName[found.Name]
		ready := found.Err == nil && len(found.Partitions) == int(t.Partitions) &&
			!slices.ContainsFunc(found.Partitions, func(q kafka.Partition) bool { return q.Err != nil || q.Leader < 0 })
		if !ready {
			missing = found.Name
			continue
		}
		t.id = found.ID
	}
	return missing, nil
}

// makeSafe puts an existing topic under safe configs.
func (r *Runner) makeSafe(ctx context.Context, t *TopicPlan) error {
	var changes []kafka.ConfigChange
	for _, c := range safeConfigs() {
		changes = append(changes, kafka.ConfigChange(c))
	}
	if err := r.Cluster.AlterTopicConfigs(ctx, t.Target, changes); err != nil {
		return fmt.Errorf("set safe configs on %s: %w", t.Target, err)
	}
	return nil
}

// replay produces the records and proves that the targets end where they must.
func (r *Runner) replay(ctx context.Context, p *Plan) (map[*track]*converter, error) {
	var all map[*track]*lane
	err := r.patiently(ctx, "look where the targets end", func() (err error) {
		all, err = r.lanesOf(ctx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	producer, err := r.Cluster.NewProducer()
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	list := make([]*lane, 0, len(all))
	for _, t := range p.tracks {
		list = append(list, all[t])
	}
	out := newLanes(r.Cluster, producer, list, r.Progress)
	g, gctx := errgroup.WithContext(ctx)
	for range min(perBroker*len(r.Cluster.Brokers()), maxSenders) {
		g.Go(func() error { return out.send(gctx) })
	}
	converters := p.newConverters(func(t *track) emit { return r.emitter(gctx, out, all[t]) })
	g.Go(func() error {
		err := p.replay(gctx, converters)
		out.stop(err)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return converters, r.patiently(ctx, "look where the targets end", func() error { return r.checkEnds(ctx, p, all, converters) })
}

// lanesOf returns a lane per track. A target that has records of an earlier run
// begins behind them.
func (r *Runner) lanesOf(ctx context.Context, p *Plan) (map[*track]*lane, error) {
	lanes := make(map[*track]*lane)
	var parts []kafka.TopicPartition
	for _, t := range p.tracks {
		topic := p.Topics[t.topic]
		lanes[t] = &lane{topic: topic, partition: t.partition, start: topic.starts[t.partition]}
		parts = append(parts, kafka.TopicPartition{Topic: topic.Target, Partition: t.partition})
	}
	ends, err := r.settledEnds(ctx, parts)
	if err != nil {
		return nil, err
	}
	for i, t := range p.tracks {
		ln := lanes[t]
		ln.skip = ends[i] - ln.start
		if ln.skip > 0 && ln.topic.Action != ActionResume && ln.topic.Action != ActionNone {
			return nil, fmt.Errorf("%s-%d ends at %d instead of %d: somebody else writes to the topic; stop them, delete it and run again", ln.topic.Target, ln.partition, ends[i], ln.start)
		}
		if ln.skip < 0 {
			return nil, fmt.Errorf("%s-%d ends at %d, before offset %d where this restore began: the topic was changed meanwhile", ln.topic.Target, ln.partition, ends[i], ln.start)
		}
	}
	return lanes, r.checkTails(ctx, lanes)
}

// settledEnds returns the log end offsets once they are the high watermarks,
// too: what an earlier run sent is then on all in-sync replicas or gone.
func (r *Runner) settledEnds(ctx context.Context, parts []kafka.TopicPartition) ([]int64, error) {
	deadline := time.Now().Add(visibleWithin)
	for {
		ends, err := r.Cluster.ListEndOffsets(ctx, parts)
		if err != nil {
			return nil, fmt.Errorf("list end offsets: %w", err)
		}
		high, err := r.Cluster.ListHighWatermarks(ctx, parts)
		if err != nil {
			return nil, fmt.Errorf("list high watermarks: %w", err)
		}
		offsets := make([]int64, len(parts))
		unsettled := error(nil)
		for i := range parts {
			offsets[i] = ends[i].Offset
			if err := errors.Join(ends[i].Err, high[i].Err); err != nil {
				unsettled = fmt.Errorf("offsets of %s-%d: %w", parts[i].Topic, parts[i].Partition, err)
			} else if ends[i].Offset != high[i].Offset {
				unsettled = fmt.Errorf("%s-%d: records up to %d are not replicated", parts[i].Topic, parts[i].Partition, ends[i].Offset)
			}
		}
		if unsettled == nil {
			return offsets, nil
		}
		if time.Now().After(deadline) {
			return nil, unsettled
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// emitter puts the producer's identity into a batch and sends it, unless the
// target has it already.
func (r *Runner) emitter(ctx context.Context, out *lanes, ln *lane) emit {
	return func(raw []byte, records int32, from *buffer) error {
		next := ln.rel + int64(records)
		if next <= ln.skip {
			ln.rel = next
			if r.Progress != nil {
				r.Progress(int64(records))
			}
			return nil
		}
		if ln.rel < ln.skip {
			return fmt.Errorf("%s-%d ends at %d, inside a batch of this restore: the topic was changed meanwhile; delete it and run again", ln.topic.Target, ln.partition, ln.start+ln.skip)
		}
		if ln.topic.filled {
			return fmt.Errorf("%s-%d ends at %d, before the end of a restore that was complete: the topic was changed; delete it and run again", ln.topic.Target, ln.partition, ln.start+ln.skip)
		}
		batch.Rewrite(raw, batch.ProducerIdentity{ID: ln.topic.producer.id, Epoch: ln.topic.producer.epoch, Sequence: sequence(ln.rel)})
		return out.enqueue(ctx, ln, raw, records, from)
	}
}

// checkEnds reads back where the targets end.
func (r *Runner) checkEnds(ctx context.Context, p *Plan, lanes map[*track]*lane, converters map[*track]*converter) error {
	var parts []kafka.TopicPartition
	for _, t := range p.tracks {
		parts = append(parts, kafka.TopicPartition{Topic: p.Topics[t.topic].Target, Partition: t.partition})
	}
	ends, err := r.settledEnds(ctx, parts)
	if err != nil {
		return err
	}
	for i, t := range p.tracks {
		want := lanes[t].start + converters[t].kept
		if ends[i] != want && !(p.Topics[t.topic].filled && ends[i] > want) {
			return fmt.Errorf("%s-%d ends at %d instead of %d: somebody else writes to the topic", parts[i].Topic, parts[i].Partition, ends[i], want)
		}
	}
	return nil
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

func topicResults(p *Plan, converters map[*track]*converter) []TopicResult {
	results := make([]TopicResult, len(p.Topics))
	for i, t := range p.Topics {
		results[i] = TopicResult{Source: t.Source.Name, Target: t.Target, Action: t.Action, LiftRetention: t.LiftCommand(), LiftAfter: t.HoldUntil}
	}
	for t, c := range converters {
		results[t.topic].Kept += c.counts.Kept
		results[t.topic].Later += c.counts.Later
		results[t.topic].Aborted += c.counts.Aborted
		results[t.topic].Rebuilt += c.counts.Rebuilt
	}
	return results
}
