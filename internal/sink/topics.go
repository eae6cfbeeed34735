package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// update looks up topics and leaders and adjusts what is being captured.
func (o *observer) update(ctx context.Context, loops *errgroup.Group) error {
	found, err := o.lookUp(ctx)
	if err != nil {
		return err
	}
	if err := o.admit(ctx, found); err != nil {
		return err
	}
	if err := o.reconcile(ctx, found); err != nil {
		return err
	}
	if err := o.readConfigs(ctx); err != nil {
		return err
	}
	o.publish()
	if err := o.addStreams(ctx); err != nil {
		return err
	}
	o.ses.startFetchers(ctx, loops)
	o.ses.table.wake()
	if len(o.logs) == 0 {
		return nil
	}
	if err := o.resumeLog(ctx); err != nil {
		return err
	}
	o.ses.startFetchers(ctx, loops)
	o.ses.table.wake()
	return nil
}

// reconcile takes over what was found and drops topics that are gone.
func (o *observer) reconcile(ctx context.Context, found []kafka.Topic) error {
	names := make(map[string]kafka.TopicID)
	for _, t := range found {
		if t.Err != nil {
			continue // in transition: asked for by name below
		}
		names[t.Name] = t.ID
		if known := o.topics[t.ID]; known != nil {
			before := known.least
			if err := known.see(t); err != nil {
				return err
			}
			if known.least > before {
				o.ses.Log.Info("partitions added", "topic", t.Name, "partitions", known.least, "before", before)
			}
			continue
		}
		if o.ses.once && o.next != nil {
			if _, replaced := o.next.names[t.Name]; !replaced {
				continue // not there when once began
			}
		}
		if o.dropped[t.ID] {
			return fmt.Errorf("topic %s: %w", t.Name, errReappeared)
		}
		o.ses.Log.Info("topic found", "topic", t.Name, "id", t.ID.String(), "partitions", len(t.Partitions))
		o.topics[t.ID] = &observed{topic: t, least: len(t.Partitions)}
	}
	unsure := make(map[string]*observed)
	for id, t := range o.topics {
		if other, ok := names[t.topic.Name]; ok && other == id {
			continue
		} else if ok {
			t.missing = goneAfter // recreated
		} else {
			t.missing++
			unsure[t.topic.Name] = t
		}
	}
	if err := o.askByName(ctx, unsure); err != nil {
		return err
	}
	o.dropGone()
	return nil
}

// see takes over what a broker says of a topic. Kafka never takes a partition
// away: a broker that knows fewer than there are is behind, perhaps cut off from
// the controllers, and nothing that it says counts.
func (t *observed) see(now kafka.Topic) error {
	if n := len(now.Partitions); n < t.least {
		return fmt.Errorf("%w: a broker knows %d of the %d partitions of topic %s: its metadata is out of date", kafka.ErrRetriable, n, t.least, now.Name)
	}
	t.topic, t.missing, t.least = now, 0, len(now.Partitions)
	return nil
}

// askByName tells topics that were deleted from those that the user may no
// longer see, and from those that one broker did not list because it was behind
// or their leaders are being elected: only the first may end up as "gone".
func (o *observer) askByName(ctx context.Context, unsure map[string]*observed) error {
	if len(unsure) == 0 {
		return nil
	}
	answers, err := o.ses.Cluster.Topics(ctx, slices.Sorted(maps.Keys(unsure)))
	if err != nil {
		return fmt.Errorf("look up topics: %w", err)
	}
	var errs []error
	for _, t := range answers {
		known := unsure[t.Name]
		switch {
		case errors.Is(t.Err, kafka.ErrAuthorization):
			errs = append(errs, unreadable(t.Name, t.Err))
		case errors.Is(t.Err, kafka.ErrUnknownTopic):
		case t.Err != nil:
			known.missing-- // not a sign of anything
		case t.ID == known.topic.ID:
			errs = append(errs, known.see(t))
		}
	}
	return errors.Join(errs...)
}

// errReappeared ends a session: the positions of a topic that went away and
// came back are best read from the log again.
var errReappeared = errors.New("it was gone and is there again")

func (o *observer) dropGone() {
	for id, t := range o.topics {
		if t.missing < goneAfter {
			continue
		}
		delete(o.topics, id)
		o.dropped[id] = true
		for _, m := range o.current() {
			if m.ID == id {
				m.Gone = true
				o.graves = append(o.graves, m)
			}
		}
		o.ses.table.remove(func(s *stream) bool { return kafka.TopicID(s.key.TopicID) != id })
		o.ses.Log.Info("topic gone", "topic", t.topic.Name, "id", id.String())
	}
}

// readConfigs reads the configs of the topics that have none yet.
func (o *observer) readConfigs(ctx context.Context) error {
	var names []string
	for _, t := range o.topics {
		if t.topic.Name == kafka.GroupLogTopic {
			t.configs = []kafka.ConfigEntry{} // nobody sets them again
		}
		if t.configs == nil && t.missing == 0 {
			names = append(names, t.topic.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	configs, err := o.ses.Cluster.TopicConfigs(ctx, names)
	if errors.Is(err, kafka.ErrAuthorization) {
		return fmt.Errorf("%w: %w: allow it, or exclude the topic", ErrUnreadable, err)
	}
	if err != nil && !errors.Is(err, kafka.ErrUnknownTopic) {
		return fmt.Errorf("read topic configs: %w", err)
	}
	for _, t := range o.topics {
		if list, ok := configs[t.topic.Name]; ok && t.configs == nil {
			t.configs = append([]kafka.ConfigEntry{}, list...)
		}
	}
	return nil
}

// publish makes the list for the committer. A topic whose configs could not be
// read, because it vanished meanwhile, stays as the log has it.
func (o *observer) publish() {
	old := make(map[[16]byte]manifest.Topic)
	for _, t := range o.current() {
		old[t.ID] = t
	}
	list := slices.Clone(o.graves)
	for id, t := range o.topics {
		m := manifest.Topic{ID: id, Name: t.topic.Name, Partitions: int32(len(t.topic.Partitions))}
		if t.configs == nil || len(t.topic.Partitions) == 0 {
			if was, ok := old[id]; ok {
				list = append(list, was)
			}
			continue
		}
		m.ReplicationFactor = int32(len(t.topic.Partitions[0].Replicas))
		for _, c := range t.configs {
			m.Configs = append(m.Configs, manifest.Config{Name: c.Name, Value: c.Value})
		}
		slices.SortFunc(m.Configs, func(a, b manifest.Config) int { return strings.Compare(a.Name, b.Name) })
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b manifest.Topic) int { return strings.Compare(a.Name, b.Name) })
	o.mu.Lock()
	o.list = list
	o.mu.Unlock()
}

// addStreams begins the capture of partitions that are not being captured, and
// tells the table who leads the others.
func (o *observer) addStreams(ctx context.Context) error {
	type fresh struct {
		topic *kafka.Topic
		part  *kafka.Partition
	}
	var list []fresh
	var parts []kafka.TopicPartition
	o.logs = nil
	for _, t := range o.topics {
		if t.missing > 0 || t.configs == nil {
			continue
		}
		for i := range t.topic.Partitions {
			p := &t.topic.Partitions[i]
			key := manifest.StreamKey{TopicID: t.topic.ID, Partition: p.Index}
			if o.ses.table.get(key) != nil {
				o.ses.table.lead(key, p.Leader, p.LeaderEpoch)
				continue
			}
			if st, ok := o.resume[key]; ok && t.topic.Name == kafka.GroupLogTopic {
				o.logs = append(o.logs, &logReader{topic: &t.topic, part: p, end: st.Next})
				continue
			} else if ok {
				o.ses.resumeStream(&t.topic, p, &st)
				continue
			}
			if o.ses.once && o.next != nil {
				continue // not there when once began
			}
			list = append(list, fresh{&t.topic, p})
			parts = append(parts, kafka.TopicPartition{Topic: t.topic.Name, Partition: p.Index})
		}
	}
	if len(list) == 0 {
		return nil
	}
	starts, err := o.ses.Cluster.ListStartOffsets(ctx, parts)
	if err != nil {
		return fmt.Errorf("list log start offsets: %w", err)
	}
	for i, f := range list {
		if starts[i].Err != nil {
			continue // without a leader as yet; the next update sees it again
		}
		if err := o.ses.addStream(ctx, f.topic, f.part, starts[i].Offset); err != nil {
			return err
		}
	}
	return nil
}
