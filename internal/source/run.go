package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"golang.org/x/sync/errgroup"
)

// Result is what a restore did.
type Result struct {
	Topics   []TopicResult // of those of the plan, in its order
	Groups   []GroupResult
	Metadata []MetadataResult
}

// TopicResult is what became of one topic.
type TopicResult struct {
	Source, Target string
	Action         Action
	Kept           int64 // records that the topic has now
	Later          int64 // records beyond TopicPlan.Until, left out
	Aborted        int64 // records of aborted or open transactions, left out
	Rebuilt        int64 // of the kept: not in their original batches
	// LiftRetention is the command that sets the real retention again, after LiftAfter.
	LiftRetention string
	LiftAfter     time.Time
}

// GroupResult is what became of one group's offsets.
type GroupResult struct {
	Group     string
	Type      string
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
		if err := ln.topic.checkSize(raw, records); err != nil {
			return err
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
