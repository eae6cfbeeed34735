package source

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// shared says whether it is a share group: its offsets are start offsets.
func (g *GroupPlan) shared() bool { return g.Type == kafka.ShareGroup }

// groupNames returns the names of the share groups in the list, and of the others.
func groupNames(list []GroupPlan) (shares, others []string) {
	for i := range list {
		if g := &list[i]; g.shared() {
			shares = append(shares, g.Group)
		} else {
			others = append(others, g.Group)
		}
	}
	return shares, others
}

// offsetsOf reads the offsets that groups have on a cluster: of share groups
// their start offsets. Where a cluster cannot have share groups, they have none.
func offsetsOf(ctx context.Context, cluster *kafka.Cluster, list []GroupPlan) (map[string][]kafka.GroupOffset, error) {
	shares, others := groupNames(list)
	offsets, err := cluster.GroupOffsets(ctx, others)
	if err != nil {
		return nil, err
	}
	starts, err := cluster.ShareGroupOffsets(ctx, shares)
	if err != nil && !errors.Is(err, kafka.ErrUnsupported) {
		return nil, err
	}
	maps.Copy(offsets, starts)
	return offsets, nil
}

// set sets the group's offsets in the way of its type.
func (g *GroupPlan) set(ctx context.Context, cluster *kafka.Cluster, offsets []kafka.GroupOffset) error {
	if g.shared() {
		return cluster.SetShareGroupOffsets(ctx, g.Group, offsets)
	}
	return cluster.CommitOffsets(ctx, g.Group, offsets)
}

// lacksShareGroups says whether the plan has share groups and the target cannot
// have any. Other errors come again when their offsets are read.
func (p *Plan) lacksShareGroups(ctx context.Context, cluster *kafka.Cluster) bool {
	shares, _ := groupNames(p.Groups)
	_, err := cluster.ShareGroupOffsets(ctx, shares)
	return errors.Is(err, kafka.ErrUnsupported)
}

// noteShareGroups says what does not come back of share groups.
func (p *Plan) noteShareGroups() {
	if shares, _ := groupNames(p.Groups); len(shares) > 0 {
		p.note("share groups come back by their start offsets only: records behind them that were acknowledged already may be delivered again: %s", strings.Join(shares, ", "))
	}
}
