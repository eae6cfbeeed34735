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
)

// groups are what a recovery point states of groups.
type groups struct {
	list map[string]*manifest.Group // nil: gone
	some bool                       // of those that commit offsets, others are as they were
}

// groups reads all groups with their committed offsets, and share groups with
// their start offsets. Where the log of groups is being followed, only these:
// what is committed is known when the point is complete.
func (o *observer) groups(ctx context.Context, followed bool) (groups, error) {
	if err := o.checkGroups(ctx); err != nil {
		return groups{}, err
	}
	shares, err := o.shareGroups(ctx)
	if err != nil || followed {
		return groups{list: shares, some: followed}, err
	}
	o.ses.groups.retell()
	list, err := o.pollGroups(ctx)
	if err != nil {
		return groups{}, err
	}
	maps.Copy(list, shares)
	return groups{list: list}, nil
}

// pollGroups asks the brokers for the groups that commit.
func (o *observer) pollGroups(ctx context.Context) (map[string]*manifest.Group, error) {
	list, err := o.ses.Cluster.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	list = slices.DeleteFunc(list, func(g kafka.Group) bool { return strings.HasPrefix(g.Name, manifest.RestoreGroups) })
	if err := o.checkMissing(ctx, list); err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, g := range list {
		names[i] = g.Name
	}
	offsets, err := o.ses.Cluster.GroupOffsets(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("read group offsets: %w", err)
	}
	groups := make(map[string]*manifest.Group, len(list))
	for _, g := range list {
		m := &manifest.Group{ID: g.Name, Type: g.Type, ProtocolType: g.ProtocolType, Offsets: make(map[manifest.OffsetKey]manifest.CommittedOffset)}
		for _, c := range offsets[g.Name] {
			m.Offsets[manifest.OffsetKey{Topic: c.Topic, Partition: c.Partition}] = manifest.CommittedOffset{Offset: c.Offset, Epoch: c.LeaderEpoch, Metadata: c.Metadata}
		}
		groups[g.Name] = m
	}
	return groups, nil
}

// checkMissing asks for the groups by name that were there before and that the
// brokers do not list any more. A broker that has just become a coordinator
// lists none before it has read them, and says no word about it.
func (o *observer) checkMissing(ctx context.Context, list []kafka.Group) error {
	listed := make(map[string]bool, len(list))
	for _, g := range list {
		listed[g.Name] = true
	}
	var missing []string
	for name := range o.known {
		if !listed[name] {
			missing = append(missing, name)
		}
	}
	offsets, err := o.ses.Cluster.GroupOffsets(ctx, missing)
	if err != nil {
		return fmt.Errorf("read offsets of groups that are not listed any more: %w", err)
	}
	for _, name := range missing {
		if len(offsets[name]) > 0 {
			return fmt.Errorf("%w: group %s has committed offsets, but no broker lists it", kafka.ErrRetriable, name)
		}
	}
	o.known = listed
	return nil
}

// checkGroups makes sure that the list of groups that was just read had all of
// them. Brokers leave out, without a word, those that the user may not describe,
// and they would look as if they had been deleted.
func (o *observer) checkGroups(ctx context.Context) error {
	err := o.ses.Cluster.CheckGroupRights(ctx)
	if errors.Is(err, kafka.ErrAuthorization) {
		return fmt.Errorf("%w: consumer groups: %w: allow it, or Describe on the Cluster", ErrUnreadable, err)
	}
	return err
}
