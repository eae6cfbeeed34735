package source

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Translation is a source offset and what it has become.
type Translation struct {
	Group     string
	Type      string // of the group
	Topic     string // at the source
	Target    string // topic at the target
	Partition int32
	Source    int64
	Point     uint64 // that topic and offset are of, where it is not the plan's; else 0
	// Offset in the target of the first record that comes back whose source offset is at
	// least Source; the target's end if there is none.
	Offset int64
	// Note says what is not exact about it, or is empty.
	Note string
	// Clamped: the restore ends before it because it was told to. That is no problem.
	Clamped  bool
	at       place
	metadata string
	low      int64 // the first source offset that comes back
}

// translations returns the plan's group offsets in target offsets. The
// converters have seen all of their tracks.
func (p *Plan) translations(converters map[*track]*converter) []Translation {
	byPlace := make(map[place]*converter)
	for t, c := range converters {
		byPlace[place{t.topic, t.partition}] = c
	}
	var list []Translation
	for _, g := range p.Groups {
		for _, o := range g.Offsets {
			topic := p.Topics[o.Topic]
			tr := Translation{
				Group: g.Group, Type: g.Type, Topic: topic.Source.Name, Target: topic.Target, Partition: o.Partition, Source: o.Offset,
				at: place{o.Topic, o.Partition}, metadata: o.Metadata,
			}
			if point, own := p.OwnPoint(topic); own {
				tr.Point = point.Sequence
			}
			switch c := byPlace[place{o.Topic, o.Partition}]; {
			case o.Partition >= topic.Partitions:
				tr.Note, tr.Offset = "the topic has no such partition", -1
			case c == nil: // nothing was ever there
				tr.Offset = topic.starts[o.Partition]
				if tr.Source > 0 {
					tr.Note = "the backup holds nothing of the partition"
				}
			default:
				tr.Offset, tr.low = topic.starts[o.Partition]+c.translate(tr.Source), c.track.lo
				if tr.Source > c.track.hi {
					tr.Note = fmt.Sprintf("beyond the end of the backup at offset %d; set to the end", c.track.hi)
				}
				if tr.Source > c.track.hi && c.track.moved {
					tr.Note, tr.Clamped = fmt.Sprintf("beyond offset %d of --at-offsets; set to it", c.track.hi), true
				}
			}
			list = append(list, tr)
		}
	}
	return list
}

// translate looks up one of the wanted offsets.
func (c *converter) translate(offset int64) int64 {
	i, ok := slices.BinarySearch(c.wanted, offset)
	if !ok {
		panic(fmt.Sprintf("source: internal error: offset %d was not asked for", offset))
	}
	return c.mapped[i]
}

// commitGroups commits the translated offsets and reads them back.
func (r *Runner) commitGroups(ctx context.Context, p *Plan, converters map[*track]*converter) ([]GroupResult, error) {
	byGroup := make(map[string][]Translation)
	for _, tr := range p.translations(converters) {
		byGroup[tr.Group] = append(byGroup[tr.Group], tr)
	}
	var there map[string]map[kafka.TopicPartition]kafka.GroupOffset
	err := r.patiently(ctx, "read group offsets", func() (err error) {
		there, err = committedThere(ctx, r.Cluster, p.Groups)
		return err
	})
	if err != nil {
		return nil, err
	}
	var results []GroupResult
	for _, g := range p.Groups {
		list := slices.DeleteFunc(byGroup[g.Group], func(tr Translation) bool {
			own, ok := there[g.Group][kafka.TopicPartition{Topic: tr.Target, Partition: tr.Partition}]
			return ok && p.finished(tr.Target) && own.Offset >= tr.Offset
		})
		if len(list) == 0 {
			continue
		}
		applied := len(list)
		list = slices.DeleteFunc(list, func(tr Translation) bool { return tr.appliedIn(there[g.Group]) })
		applied -= len(list)
		list, kept := p.keepProgress(list, there[g.Group])
		res := GroupResult{Group: g.Group, Type: g.Type}
		if len(list) > 0 {
			if res, err = r.commitGroup(ctx, g, list); err != nil {
				return nil, err
			}
		}
		res.Committed += applied
		res.Problems = append(res.Problems, kept...)
		results = append(results, res)
	}
	return results, nil
}

// committedThere returns which offsets the groups have on the target already.
// Where a topic was complete before this run, those that were set have long gone
// on; one that is behind what the plan wants was not.
func committedThere(ctx context.Context, cluster *kafka.Cluster, list []GroupPlan) (map[string]map[kafka.TopicPartition]kafka.GroupOffset, error) {
	groups, err := offsetsOf(ctx, cluster, list)
	if err != nil {
		return nil, fmt.Errorf("read the offsets of groups: %w", err)
	}
	there := make(map[string]map[kafka.TopicPartition]kafka.GroupOffset)
	for name, offsets := range groups {
		there[name] = make(map[kafka.TopicPartition]kafka.GroupOffset)
		for _, o := range offsets {
			there[name][kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = o
		}
	}
	return there, nil
}

// appliedIn says whether the group has it already, exactly: then there is nothing
// to do, whoever its members are.
func (tr *Translation) appliedIn(there map[kafka.TopicPartition]kafka.GroupOffset) bool {
	own, ok := there[kafka.TopicPartition{Topic: tr.Target, Partition: tr.Partition}]
	return ok && own.Offset == tr.Offset && own.Metadata == tr.metadata && (tr.Note == "" || tr.Clamped)
}

// keepProgress leaves out offsets in the place of which the group has made its
// own way on the target: in a topic that held records before, where ours would
// pass over what it has not read, behind ours once a restore is run again, and
// before ours where the restore is done.
func (p *Plan) keepProgress(list []Translation, there map[kafka.TopicPartition]kafka.GroupOffset) (rest []Translation, kept []string) {
	for _, tr := range list {
		own, ok := there[kafka.TopicPartition{Topic: tr.Target, Partition: tr.Partition}]
		if ok && own.Offset != tr.Offset && p.madeWay(tr, own.Offset) {
			kept = append(kept, fmt.Sprintf("%s-%d: it has committed offset %d on the target, which stays; the backup's %d would be %d", tr.Target, tr.Partition, own.Offset, tr.Source, tr.Offset))
			continue
		}
		rest = append(rest, tr)
	}
	return rest, kept
}

func (p *Plan) madeWay(tr Translation, own int64) bool {
	for _, t := range p.Topics {
		if t.Target == tr.Target && tr.Partition < t.Partitions {
			return t.append || t.Action == ActionNone || t.Action == ActionResume && own > tr.Offset
		}
	}
	return false
}

// finished says whether a target was complete before this run.
func (p *Plan) finished(target string) bool {
	return slices.ContainsFunc(p.Topics, func(t *TopicPlan) bool { return t.Target == target && t.Action == ActionNone })
}

func (r *Runner) commitGroup(ctx context.Context, g GroupPlan, list []Translation) (GroupResult, error) {
	res := GroupResult{Group: g.Group, Type: g.Type}
	if g.active {
		res.Problems = []string{g.Problem}
		return res, nil
	}
	var offsets []kafka.GroupOffset
	for _, tr := range list {
		if tr.Clamped {
			res.Clamped++
		} else if tr.Note != "" {
			res.Problems = append(res.Problems, fmt.Sprintf("%s-%d offset %d: %s", tr.Topic, tr.Partition, tr.Source, tr.Note))
		}
		if tr.Offset >= 0 {
			offsets = append(offsets, kafka.GroupOffset{Topic: tr.Target, Partition: tr.Partition, Offset: tr.Offset, LeaderEpoch: -1, Metadata: tr.metadata})
		}
	}
	err := r.patiently(ctx, "commit group offsets", func() error { return g.set(ctx, r.Cluster, offsets) })
	if errors.Is(err, context.Canceled) {
		return res, err
	}
	if err != nil {
		res.Problems = append(res.Problems, err.Error())
	}
	passing := !errors.Is(err, kafka.ErrGroupActive) && !errors.Is(err, kafka.ErrAuthorization)
	var back map[string][]kafka.GroupOffset
	err = r.patiently(ctx, "read group offsets", func() (err error) {
		back, err = offsetsOf(ctx, r.Cluster, []GroupPlan{g})
		return err
	})
	if err != nil {
		return res, fmt.Errorf("read back the offsets of group %s: %w", g.Group, err)
	}
	for _, o := range offsets {
		if slices.ContainsFunc(back[g.Group], func(b kafka.GroupOffset) bool {
			return b.Topic == o.Topic && b.Partition == o.Partition && b.Offset == o.Offset && b.Metadata == o.Metadata
		}) {
			res.Committed++
		} else {
			res.Problems = append(res.Problems, fmt.Sprintf("%s-%d: offset %d did not read back", o.Topic, o.Partition, o.Offset))
			res.again = passing
		}
	}
	return res, nil
}
