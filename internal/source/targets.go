package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

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
