package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group is one consumer group.
type Group struct {
	Name         string
	State        string // Kafka's word, such as "Stable", "Empty", "Dead"
	Type         string // "classic", "consumer", "streams" or "share"; "" from brokers older than 3.8
	ProtocolType string // "consumer", "connect", "streams", "share", or "" for groups that only commit
}

// GroupError is an error of one group in a request for several.
type GroupError struct {
	Group string
	Err   error
}

func (e *GroupError) Error() string { return "group " + e.Group + ": " + e.Err.Error() }
func (e *GroupError) Unwrap() error { return e.Err }

// Groups lists the groups of all brokers that the principal may describe,
// sorted by name. Share groups are left out: they have no committed offsets, see
// ShareGroups. A broker that does not answer is an error, never a shorter list.
func (c *Cluster) Groups(ctx context.Context) ([]Group, error) {
	groups, err := c.listGroups(ctx, kmsg.NewPtrListGroupsRequest())
	return slices.DeleteFunc(groups, func(g Group) bool { return g.Type == ShareGroup }), err
}

func (c *Cluster) listGroups(ctx context.Context, req *kmsg.ListGroupsRequest) ([]Group, error) {
	var groups []Group
	seen := make(map[string]bool) // one can be listed twice while its coordinator moves
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		err := requestError(ctx, c.cl, shard.Err)
		if err == nil {
			if code := shard.Resp.(*kmsg.ListGroupsResponse).ErrorCode; code != 0 {
				err = brokerError(code, nil, denied{operation: "Describe"})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list groups of broker %d: %w", shard.Meta.NodeID, err)
		}
		for _, g := range shard.Resp.(*kmsg.ListGroupsResponse).Groups {
			if seen[g.Group] {
				continue
			}
			seen[g.Group] = true
			groups = append(groups, Group{
				Name: g.Group, State: g.GroupState, Type: strings.ToLower(g.GroupType), ProtocolType: g.ProtocolType,
			})
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return groups, nil
}

// GroupOffsets reads all offsets that the groups have committed, sorted by
// topic and partition. Partitions without a commit are left out; a group
// without any, or that does not exist, is in the map with an empty list.
// Offsets under an open transaction are waited for a few seconds, then
// returned as Unstable. When some groups cannot be read, the map holds the
// others and the error joins one *GroupError for each.
func (c *Cluster) GroupOffsets(ctx context.Context, groups []string) (map[string][]GroupOffset, error) {
	all := make(map[string][]GroupOffset, len(groups))
	open := make(map[string]map[TopicPartition]bool) // what keeps a group back
	var errs []error
	for try := 0; len(groups) > 0; try++ {
		if try > 0 {
			if err := sleep(ctx, stableWait); err != nil {
				return nil, err
			}
		}
		var again []string
		for batch := range slices.Chunk(groups, groupBatch) {
			stable := try < stableTries
			answers, err := c.fetchOffsetsPatiently(ctx, batch, stable)
			if err != nil {
				return nil, fmt.Errorf("read group offsets: %w", err)
			}
			for _, name := range batch {
				offsets, unstable, err := groupOffsets(answers[name])
				switch {
				case err != nil:
					errs = append(errs, &GroupError{name, err})
				case len(unstable) > 0:
					open[name] = unstable
					again = append(again, name)
				default:
					if !stable {
						mark(offsets, open[name])
					}
					all[name] = offsets
				}
			}
		}
		groups = again
	}
	return all, errors.Join(errs...)
}
