package source

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// GroupPlan is the plan for one consumer group.
type GroupPlan struct {
	Group   string
	Type    string // Kafka's word, such as "classic" or kafka.ShareGroup; "" if the source did not tell
	Offsets []OffsetPlan
	// Problem says why its offsets, or which of them, cannot be committed, or is empty.
	Problem string
	active  bool // the problem is that of the whole group
}

// OffsetPlan is one committed offset, or start offset of a share group, to translate.
type OffsetPlan struct {
	Topic     int // index into Plan.Topics
	Partition int32
	manifest.CommittedOffset
}

// addGroups lists the committed offsets that belong to the selected topics, each
// as of its topic's point, or of the time up to which its records come back.
func (p *Plan) addGroups(ctx context.Context) error {
	type moment struct {
		from  *Snapshot
		until int64
	}
	topics := make(map[moment]map[string]int) // by name: the index
	var order []moment
	for i, t := range p.Topics {
		m := moment{t.From, math.MaxInt64}
		if t.Until != nil {
			m.until = *t.Until
		}
		if topics[m] == nil {
			topics[m], order = make(map[string]int), append(order, m)
		}
		if !t.Source.Gone {
			topics[m][t.Source.Name] = i
		}
	}
	plans := make(map[string]*GroupPlan)
	for _, m := range order {
		then, err := p.groupsThen(ctx, m.from, m.until)
		if err != nil {
			return err
		}
		maps.DeleteFunc(topics[m], func(_ string, i int) bool { return !then.isOf(p.Topics[i].Source) })
		addOffsets(plans, then.Groups, topics[m])
	}
	for _, id := range slices.Sorted(maps.Keys(plans)) {
		p.Groups = append(p.Groups, *plans[id])
	}
	return nil
}

// addOffsets adds those of some topics. A group's offsets name topics, so they
// belong to the incarnation that the cluster had at the point. The state of
// restores into that cluster is left out: it would replace the state of this one.
func addOffsets(plans map[string]*GroupPlan, groups map[string]*manifest.Group, topics map[string]int) {
	for id, g := range groups {
		if strings.HasPrefix(id, manifest.RestoreGroups) {
			continue
		}
		for _, k := range g.SortedOffsets() {
			i, ok := topics[k.Topic]
			if !ok {
				continue
			}
			if plans[id] == nil {
				plans[id] = &GroupPlan{Group: id, Type: g.Type}
			}
			plans[id].Offsets = append(plans[id].Offsets, OffsetPlan{i, k.Partition, g.Offsets[k]})
		}
	}
}

// groupsThen returns the groups of a point, or of an earlier time up to which
// records come back.
func (p *Plan) groupsThen(ctx context.Context, s *Snapshot, until int64) (*GroupsAt, error) {
	now := &GroupsAt{Time: s.Point.Time, Point: s.Point, Groups: s.State.Groups}
	if until >= s.Point.Time {
		return now, nil
	}
	then, err := groupsAt(ctx, s.Repository, s.State.Points, until)
	switch {
	case err != nil:
		return nil, err
	case then == nil:
		p.note("what groups had committed at %s is not known, since no recovery point is as old as that: their offsets are those of point %d", Clock(until), s.Point.Sequence)
		return now, nil
	case then.Exact:
		p.note("group offsets are those of %s", Clock(then.Time))
	default:
		p.note("group offsets are those of point %d of %s, the last one before %s", then.Point.Sequence, Clock(then.Time), Clock(until))
	}
	return then, nil
}

// place is a partition of a planned topic.
type place struct {
	topic     int // index into Plan.Topics
	partition int32
}

// wanted returns the offsets to translate of each partition, ascending and
// distinct.
func (p *Plan) wanted() map[place][]int64 {
	lists := make(map[place][]int64)
	for _, g := range p.Groups {
		for _, o := range g.Offsets {
			at := place{o.Topic, o.Partition}
			lists[at] = append(lists[at], o.Offset)
		}
	}
	for at, list := range lists {
		slices.Sort(list)
		lists[at] = slices.Compact(list)
	}
	return lists
}

// checkGroups finds groups whose offsets cannot be committed now.
func (p *Plan) checkGroups(ctx context.Context, cluster *kafka.Cluster) error {
	if len(p.Groups) == 0 {
		return nil
	}
	problems, err := p.problemsOfGroups(ctx, cluster)
	if err != nil {
		return err
	}
	committed, err := committedThere(ctx, cluster, p.Groups)
	if err = p.refuseDenied(err); err != nil {
		return err
	}
	for i := range p.Groups {
		g := &p.Groups[i]
		stays := p.offsetsThatStay(g, committed[g.Group])
		switch problem, ok := problems[g.Group]; {
		case ok:
			g.active, g.Problem = true, problem
			p.note("group %s: its offsets will not be restored: %s", g.Group, problem)
		case len(stays) > 0:
			g.Problem = strings.Join(stays, "; ")
			p.note("group %s: %s", g.Group, g.Problem)
		}
	}
	return nil
}

// problemsOfGroups says why whole groups cannot be set on the target now.
func (p *Plan) problemsOfGroups(ctx context.Context, cluster *kafka.Cluster) (map[string]string, error) {
	list, err := cluster.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	shares, err := cluster.ShareGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list share groups: %w", err)
	}
	there := make(map[string]kafka.Group)
	for _, g := range slices.Concat(list, shares) {
		there[g.Name] = g
	}
	problems := make(map[string]string)
	lacking := p.lacksShareGroups(ctx, cluster)
	for i := range p.Groups {
		g := &p.Groups[i]
		own, ok := there[g.Group]
		switch {
		case g.shared() && lacking:
			problems[g.Group] = "the target cannot have share groups: that takes Kafka 4.2 or later, with the feature share.version"
		case ok && g.shared() != (own.Type == kafka.ShareGroup):
			problems[g.Group] = "the target has a group of another type by this name (" + own.Type + "): delete that one and run again"
		case ok && own.State != "Empty" && own.State != "Dead":
			problems[g.Group] = "it has active members (" + own.State + "): stop its consumers and run again"
		}
	}
	return problems, nil
}

// offsetsThatStay says which offsets of a group keepProgress would leave as they
// are, as far as that is known before the records have been read.
func (p *Plan) offsetsThatStay(g *GroupPlan, there map[kafka.TopicPartition]kafka.GroupOffset) (list []string) {
	lows := make(map[place]int64)
	for _, t := range p.tracks {
		lows[place{t.topic, t.partition}] = t.lo
	}
	for _, o := range g.Offsets {
		t := p.Topics[o.Topic]
		own, ok := there[kafka.TopicPartition{Topic: t.Target, Partition: o.Partition}]
		if !ok || o.Partition >= t.Partitions || !t.append && t.Action != ActionNone {
			continue
		}
		// Ours is behind the start of what is restored, unless the group had read nothing of it.
		low, restored := lows[place{o.Topic, o.Partition}]
		start := t.starts[o.Partition]
		if own.Offset < start || own.Offset == start && restored && o.Offset > low {
			list = append(list, fmt.Sprintf("%s-%d: it has committed offset %d on the target, which stays", t.Target, o.Partition, own.Offset))
		}
	}
	return list
}
