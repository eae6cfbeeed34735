package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// commitPlace is where a group has committed an offset.
type commitPlace struct {
	group string
	place int
}

// readCommits reads what groups have committed in the partitions, and where share
// groups start. Those of restores are left out.
func (l *live) readCommits(ctx context.Context) error {
	places := make(map[kafka.TopicPartition]int, len(l.parts))
	for i := range l.parts {
		places[l.parts[i].TopicPartition] = i
	}
	groups, err := l.cluster.Groups(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, g := range groups {
		if !strings.HasPrefix(g.Name, manifest.RestoreGroups) {
			names = append(names, g.Name)
		}
	}
	offsets, err := l.cluster.GroupOffsets(ctx, names)
	if err != nil {
		return err
	}
	shares, err := l.shareStarts(ctx)
	if err != nil {
		return err
	}
	maps.Copy(offsets, shares)
	l.commits = make(map[commitPlace]kafka.GroupOffset)
	for name, list := range offsets {
		for _, o := range list {
			i, ok := places[kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}]
			if !ok {
				continue
			}
			l.commits[commitPlace{name, i}] = o
			if o.Unstable {
				l.notes = append(l.notes, fmt.Sprintf("group %s: a transaction is open that commits an offset of %s", name, &l.parts[i]))
			}
		}
	}
	return nil
}

// shareStarts reads the start offsets of share groups. A cluster that knows none
// has none.
func (l *live) shareStarts(ctx context.Context) (map[string][]kafka.GroupOffset, error) {
	groups, err := l.cluster.ShareGroups(ctx)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
	}
	starts, err := l.cluster.ShareGroupOffsets(ctx, names)
	if errors.Is(err, kafka.ErrUnsupported) {
		return nil, nil
	}
	return starts, err
}

// wanted returns the committed offsets of each partition, ascending and distinct.
func (l *live) wanted() map[int][]int64 {
	lists := make(map[int][]int64)
	for at, o := range l.commits {
		lists[at.place] = append(lists[at.place], o.Offset)
	}
	for i, list := range lists {
		slices.Sort(list)
		lists[i] = slices.Compact(list)
	}
	return lists
}

// positions implements side.
func (l *live) positions(digests []*digest) map[commitPlace]position {
	all := make(map[commitPlace]position, len(l.commits))
	for at, o := range l.commits {
		p := &l.parts[at.place]
		records := digests[at.place].recordsBefore(o.Offset)
		// Outside of what there is to read, offsets are all there is to count.
		records += min(0, o.Offset-p.base) + max(0, o.Offset-p.to)
		all[at] = position{o.Offset, records, o.Metadata}
	}
	return all
}
