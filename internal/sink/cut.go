package sink

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"golang.org/x/sync/errgroup"
)

// cut is a recovery point on its way. It is complete, and handed to the gatherer,
// when everything that was acknowledged before its time has been; the group
// offsets were read before that.
type cut struct {
	time   time.Time
	groups groups
	starts map[manifest.StreamKey]int64 // log start offsets
	names  map[string]kafka.TopicID     // what the groups' topics were
	topics []manifest.Topic             // as they are when it is complete
	kinds  map[metadata.Kind]*string    // the cluster's metadata; nil: not captured

	request *request // who asked for it, or nil

	marks    []marks        // see ledger; never empty
	followed bool           // group offsets come from their log, rather than being polled
	logBound marks          // see groupLog; nil unless followed
	stable   map[int64]int  // by producer id: the index of the mark that splits none of its transactions
	listed   bool           // all transactional ids were listed, before the first mark and after the last
	known    map[int64]bool // the producers that were listed
	marking  *marking
	closing  time.Duration // how long it took to read the marks

	closed *manifest.Closing // what came of it, nil if there was nothing to close
}

// beginCut starts a recovery point: group offsets first, then topics, then the
// high watermarks that capture has to reach. A point under way is left to end.
func (o *observer) beginCut(ctx context.Context, loops *errgroup.Group) error {
	if o.next != nil {
		o.lookAgain(ctx)
		return o.completeCut(ctx)
	}
	c, err := o.newCut(ctx, loops)
	if err != nil {
		return err
	}
	targets, err := o.takeMarks(ctx, c)
	if err != nil {
		return err
	}
	if c.starts, err = o.logStarts(ctx); err != nil {
		return err
	}
	if err := o.checkTopics(ctx, c, targets); err != nil {
		return err
	}
	for k := range targets {
		if o.ses.table.get(k) == nil { // its leader did not say where it begins
			return fmt.Errorf("%w: partition %d of topic id %s is not being captured yet", kafka.ErrRetriable, k.Partition, kafka.TopicID(k.TopicID))
		}
	}
	c.kinds, c.request = o.kinds.read(ctx), o.request()
	o.next, o.targets = c, targets
	o.ses.table.looked(c.time, targets)
	o.ses.meter().Behind(o.ses.table.lag())
	o.total = o.ses.table.behind(targets)
	if o.ses.once {
		o.ses.table.stopAt(targets)
	}
	return o.completeCut(ctx)
}

// newCut returns a cut with the groups' offsets, and the topics that had the names in
// them, both before and after they were asked for.
func (o *observer) newCut(ctx context.Context, loops *errgroup.Group) (*cut, error) {
	if !o.followsLog() || len(o.shares) > 0 {
		// Offsets will be asked for by the names of their topics, unless the log of
		// groups is only found now.
		if err := o.update(ctx, loops); err != nil {
			return nil, err
		}
	}
	c := &cut{followed: o.followsLog(), time: time.Now(), stable: make(map[int64]int), known: make(map[int64]bool)}
	before := o.ids()
	var err error
	if c.groups, err = o.groups(ctx, c.followed); err != nil {
		return nil, err
	}
	for _, t := range o.topics {
		t.configs = nil // read again
	}
	if err := o.update(ctx, loops); err != nil {
		return nil, err
	}
	c.names = o.ids()
	for name, id := range c.names {
		if was, ok := before[name]; ok && was != id {
			// Its groups' offsets may be those of the topic before it.
			return nil, fmt.Errorf("%w: topic %s was recreated while a recovery point was begun", kafka.ErrRetriable, name)
		}
	}
	return c, nil
}

// takeMarks asks for the marks, and then for the ends of all partitions, which it
// returns. Capture is told each as soon as it is known.
func (o *observer) takeMarks(ctx context.Context, c *cut) (targets marks, err error) {
	o.setMarking(c, &marking{})
	if c.followed {
		// Before the marks: a commit may follow from a transaction that they leave out.
		if c.logBound, err = o.logMarks(ctx); err != nil {
			return nil, err
		}
		o.setMarking(c, &marking{logBound: c.logBound})
	}
	if err := o.mark(ctx, c); err != nil {
		return nil, err
	}
	o.setMarking(c, &marking{first: c.marks[0], logBound: c.logBound})
	if targets, err = o.highWatermarks(ctx); err != nil {
		return nil, err
	}
	o.setMarking(c, &marking{first: c.marks[0], targets: targets, logBound: c.logBound})
	return targets, nil
}

func (o *observer) setMarking(c *cut, m *marking) {
	c.marking = m
	o.ses.marking.Store(m)
}

// checkTopics makes sure that no partition was added, and perhaps taken part in a
// transaction, since the topics were looked up, and that offsets which were asked
// for by name are those of the topics that were meant.
func (o *observer) checkTopics(ctx context.Context, c *cut, targets map[manifest.StreamKey]int64) error {
	found, err := o.lookUp(ctx)
	if err != nil {
		return err
	}
	for _, t := range found {
		if was, ok := c.names[t.Name]; ok && was != t.ID && t.Err == nil {
			return fmt.Errorf("%w: topic %s was recreated while a recovery point was begun", kafka.ErrRetriable, t.Name)
		}
		for _, p := range t.Partitions {
			if _, ok := targets[manifest.StreamKey{TopicID: t.ID, Partition: p.Index}]; !ok && t.Err == nil {
				return fmt.Errorf("%w: %s-%d was added while a recovery point was begun", kafka.ErrRetriable, t.Name, p.Index)
			}
		}
	}
	return nil
}

// ids returns which topic each name stands for now.
func (o *observer) ids() map[string]kafka.TopicID {
	ids := make(map[string]kafka.TopicID, len(o.topics))
	for id, t := range o.topics {
		ids[t.topic.Name] = id
	}
	return ids
}

// completeCut hands the recovery point on once everything before it has been
// handed on.
func (o *observer) completeCut(ctx context.Context) error {
	if o.next == nil {
		return nil
	}
	missing := o.ses.table.behind(o.targets)
	if o.ses.Progress != nil {
		o.ses.Progress(o.total-missing, o.total)
	}
	if missing > 0 || !o.ses.table.confirmed(o.targets) {
		return nil
	}
	for name, id := range o.ids() {
		if was, ok := o.next.names[name]; ok && was != id {
			o.ses.Log.Warn("no recovery point, the next one will do", "reason", "topic was recreated meanwhile", "topic", name)
			o.dropCut()
			return nil
		}
	}
	c := o.next
	o.next, o.targets = nil, nil
	c.topics = o.current()
	select {
	case o.ses.cuts <- c:
		o.pointed = true
		o.relax()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// dropCut gives up the point that is being completed, or begun.
func (o *observer) dropCut() {
	if o.next != nil {
		o.next.request.release()
	}
	o.next, o.targets = nil, nil
	o.ses.marking.Store(nil)
}

// highWatermarks reads the high watermarks of all streams.
func (o *observer) highWatermarks(ctx context.Context) (marks, error) {
	offsets, err := o.offsets(ctx, o.ses.Cluster.ListHighWatermarks)
	if err != nil {
		return nil, fmt.Errorf("list high watermarks: %w", err)
	}
	return offsets, nil
}

// logStarts reads the log start offsets of all streams. Those of streams that
// nothing new is fetched of would not be seen otherwise.
func (o *observer) logStarts(ctx context.Context) (map[manifest.StreamKey]int64, error) {
	offsets, err := o.offsets(ctx, o.ses.Cluster.ListStartOffsets)
	if err != nil {
		return nil, fmt.Errorf("list log start offsets: %w", err)
	}
	return offsets, nil
}

// offsets asks for one offset of each stream.
func (o *observer) offsets(ctx context.Context, ask askOffsets) (map[manifest.StreamKey]int64, error) {
	return offsetsOf(ctx, slices.Collect(maps.Values(o.topics)), ask)
}

// askOffsets asks the leaders for one offset of each partition.
type askOffsets func(context.Context, []kafka.TopicPartition) ([]kafka.PartitionOffset, error)

// offsetsOf asks for one offset of each partition of the topics.
func offsetsOf(ctx context.Context, topics []*observed, ask askOffsets) (map[manifest.StreamKey]int64, error) {
	var parts []kafka.TopicPartition
	var keys []manifest.StreamKey
	for _, t := range topics {
		for _, p := range t.topic.Partitions {
			parts = append(parts, kafka.TopicPartition{Topic: t.topic.Name, Partition: p.Index})
			keys = append(keys, manifest.StreamKey{TopicID: t.topic.ID, Partition: p.Index})
		}
	}
	answers, err := ask(ctx, parts)
	if err != nil {
		return nil, err
	}
	offsets := make(map[manifest.StreamKey]int64, len(keys))
	var failed []string
	for i, p := range answers {
		if p.Err != nil {
			failed, err = append(failed, fmt.Sprintf("%s-%d", p.Topic, p.Partition)), p.Err
		}
		offsets[keys[i]] = p.Offset
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", few(failed), err)
	}
	return offsets, nil
}
