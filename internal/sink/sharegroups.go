package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// shareGroups reads the share groups with their start offsets. A cluster that
// knows none has none. Those that were there before and are not listed any more
// are asked for by name, as checkMissing does with the other groups.
func (o *observer) shareGroups(ctx context.Context) (map[string]*manifest.Group, error) {
	list, err := o.ses.Cluster.ShareGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list share groups: %w", err)
	}
	groups := make(map[string]*manifest.Group, len(list))
	names := maps.Clone(o.shares)
	for _, g := range list {
		groups[g.Name] = &manifest.Group{ID: g.Name, Type: g.Type, ProtocolType: g.ProtocolType, Offsets: make(map[manifest.OffsetKey]manifest.CommittedOffset)}
		names[g.Name] = true
	}
	offsets, err := o.ses.Cluster.ShareGroupOffsets(ctx, slices.Sorted(maps.Keys(names)))
	if errors.Is(err, kafka.ErrUnsupported) {
		return nil, nil // a preview of them, before there were such requests
	}
	if err != nil {
		return nil, fmt.Errorf("read start offsets of share groups: %w", err)
	}
	for name, starts := range offsets {
		if groups[name] == nil && len(starts) > 0 {
			return nil, fmt.Errorf("%w: share group %s has start offsets, but no broker lists it", kafka.ErrRetriable, name)
		}
		for _, s := range starts {
			groups[name].Offsets[manifest.OffsetKey{Topic: s.Topic, Partition: s.Partition}] = manifest.CommittedOffset{Offset: s.Offset, Epoch: s.LeaderEpoch}
		}
	}
	o.shares = make(map[string]bool, len(groups))
	for name := range groups {
		o.shares[name] = true
	}
	return groups, nil
}
