package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ShareGroup is the Type of share groups (KIP-932). They commit no offsets: the
// brokers keep a start offset for each partition, below which the group is done
// with all records, and what becomes of single records behind it.
const ShareGroup = "share"

// A topic that a coordinator does not know is asked for, or set, again this often:
// it hears of a new topic a moment after the brokers tell of it.
const (
	newTopicTries = 10
	newTopicWait  = 200 * time.Millisecond
)

// ShareGroups lists the share groups that the principal may describe, as Groups
// does the others. Brokers that know no share groups have none.
func (c *Cluster) ShareGroups(ctx context.Context) ([]Group, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.TypesFilter = []string{ShareGroup} // which brokers older than 3.8 do not heed
	groups, err := c.listGroups(ctx, req)
	return slices.DeleteFunc(groups, func(g Group) bool { return g.Type != ShareGroup }), err
}

// ShareGroupOffsets reads the start offsets of share groups, sorted by topic and
// partition. Partitions that the group has not begun with are left out; a group
// without any, or that does not exist, is in the map with an empty list. The
// error matches ErrUnsupported if the cluster has no share groups. When some
// groups cannot be read, the map holds the others and the error joins one
// *GroupError for each.
func (c *Cluster) ShareGroupOffsets(ctx context.Context, groups []string) (map[string][]GroupOffset, error) {
	all := make(map[string][]GroupOffset, len(groups))
	if len(groups) == 0 {
		return all, nil
	}
	if err := c.require(ctx, kmsg.NewPtrDescribeShareGroupOffsetsRequest(), 0); err != nil {
		return nil, fmt.Errorf("read share group offsets: %w", err)
	}
	var errs []error
	for batch := range slices.Chunk(groups, groupBatch) {
		try := 0
		err := whileCoordinatorsMove(ctx, func() error {
			try++
			failed, err := c.describeShares(ctx, batch, all, try < newTopicTries)
			if err == nil {
				errs = append(errs, failed...)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read share group offsets: %w", err)
		}
	}
	return all, errors.Join(errs...)
}

// describeShares puts the start offsets of the groups into all; failed are the
// groups that cannot be read. An error that passes is the error of the request,
// also that a topic is not known, as long as it may be a new one.
func (c *Cluster) describeShares(ctx context.Context, groups []string, all map[string][]GroupOffset, maybeNew bool) (failed []error, err error) {
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	for _, name := range groups {
		req.Groups = append(req.Groups, kmsg.DescribeShareGroupOffsetsRequestGroup{GroupID: name, Topics: nil}) // all topics
	}
	answered := make(map[string]bool, len(groups))
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		answers, err := c.shareAnswers(ctx, shard.Req.(*kmsg.DescribeShareGroupOffsetsRequest), shard.Resp, shard.Err)
		if err != nil {
			return nil, err
		}
		for i := range answers {
			name := answers[i].GroupID
			offsets, err := startOffsets(&answers[i], maybeNew)
			switch {
			case errors.Is(err, ErrRetriable), errors.Is(err, ErrUnsupported):
				return nil, fmt.Errorf("group %q: %w", name, err)
			case err != nil:
				failed = append(failed, &GroupError{name, err})
			default:
				all[name] = offsets
			}
			answered[name] = true
		}
	}
	for _, name := range groups {
		if !answered[name] {
			return nil, fmt.Errorf("group %q: %w", name, errNoAnswer)
		}
	}
	return failed, nil
}

// shareAnswers are the answers of one broker. Looking for the coordinator already
// takes the right to see the group, and that is the fault of the group, not of
// the request.
func (c *Cluster) shareAnswers(ctx context.Context, req *kmsg.DescribeShareGroupOffsetsRequest, resp kmsg.Response, err error) ([]kmsg.DescribeShareGroupOffsetsResponseGroup, error) {
	if err == nil {
		return resp.(*kmsg.DescribeShareGroupOffsetsResponse).Groups, nil
	}
	if !errors.Is(err, kerr.GroupAuthorizationFailed) {
		return nil, requestError(ctx, c.cl, err)
	}
	var list []kmsg.DescribeShareGroupOffsetsResponseGroup
	for _, g := range req.Groups {
		list = append(list, kmsg.DescribeShareGroupOffsetsResponseGroup{GroupID: g.GroupID, ErrorCode: kerr.GroupAuthorizationFailed.Code})
	}
	return list, nil
}

// startOffsets sorts out one group's answer.
func startOffsets(g *kmsg.DescribeShareGroupOffsetsResponseGroup, maybeNew bool) ([]GroupOffset, error) {
	offsets := []GroupOffset{}
	if g.ErrorCode == kerr.GroupIDNotFound.Code { // deleted since it was listed
		return offsets, nil
	}
	if g.ErrorCode != 0 {
		return nil, brokerError(g.ErrorCode, g.ErrorMessage, denied{"Describe", g.GroupID})
	}
	for _, t := range g.Topics {
		for _, p := range t.Partitions {
			switch {
			case p.ErrorCode == kerr.UnknownTopicOrPartition.Code && maybeNew:
				return nil, fmt.Errorf("%w: start offset of %s/%d: the topic is not known yet", ErrRetriable, t.Topic, p.Partition)
			case p.ErrorCode == kerr.UnknownTopicOrPartition.Code: // deleted, and the group's state of it is yet to be
			case p.ErrorCode != 0:
				return nil, fmt.Errorf("start offset of %s/%d: %w", t.Topic, p.Partition, brokerError(p.ErrorCode, p.ErrorMessage, denied{"Describe", t.Topic}))
			case p.StartOffset >= 0:
				offsets = append(offsets, GroupOffset{Topic: t.Topic, Partition: p.Partition, Offset: p.StartOffset, LeaderEpoch: p.LeaderEpoch})
			}
		}
	}
	slices.SortFunc(offsets, func(a, b GroupOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return offsets, nil
}

// SetShareGroupOffsets sets start offsets of a share group that has no members,
// creating the group if need be. The state of single records behind them is
// gone: all are delivered. Epochs and metadata are ignored. The error joins one *CommitError for
// each partition that was not set; it is ErrGroupActive when the group has
// members, and matches ErrUnsupported if the cluster has no share groups. It is
// safe to repeat as long as nobody joins the group.
func (c *Cluster) SetShareGroupOffsets(ctx context.Context, group string, offsets []GroupOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	for try := 1; ; try++ {
		err := c.setStarts(ctx, group, offsets)
		if !errors.Is(err, ErrUnknownTopic) || try == newTopicTries {
			return err
		}
		if err := sleep(ctx, newTopicWait); err != nil {
			return err
		}
	}
}

// setStarts is one attempt.
func (c *Cluster) setStarts(ctx context.Context, group string, offsets []GroupOffset) error {
	req, left := encodeStartOffsets(group, offsets)
	failed, err := c.alterShares(ctx, req, left)
	if err != nil {
		return fmt.Errorf("set start offsets of share group %s: %w", group, err)
	}
	for tp := range left {
		failed = append(failed, &CommitError{tp.Topic, tp.Partition, errNoAnswer})
	}
	return errors.Join(failed...)
}

// alterShares sends the request and takes what was answered out of left.
func (c *Cluster) alterShares(ctx context.Context, req *kmsg.AlterShareGroupOffsetsRequest, left map[TopicPartition]bool) (failed []error, err error) {
	if err := c.require(ctx, req, 0); err != nil {
		return nil, err
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if errors.Is(err, kerr.GroupAuthorizationFailed) { // from looking for the coordinator
		return nil, &AuthorizationError{Operation: "Read", ResourceType: "Group", Resource: req.GroupID}
	}
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	if resp.ErrorCode != 0 {
		return nil, brokerError(resp.ErrorCode, resp.ErrorMessage, denied{"Read", req.GroupID})
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			delete(left, TopicPartition{t.Topic, p.Partition})
			if p.ErrorCode != 0 {
				failed = append(failed, &CommitError{t.Topic, p.Partition, brokerError(p.ErrorCode, p.ErrorMessage, denied{"Read", t.Topic})})
			}
		}
	}
	return failed, nil
}

func encodeStartOffsets(group string, offsets []GroupOffset) (*kmsg.AlterShareGroupOffsetsRequest, map[TopicPartition]bool) {
	req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	req.GroupID = group
	parts := make(map[TopicPartition]bool, len(offsets))
	topics := make(map[string]int)
	for _, o := range offsets {
		n, ok := topics[o.Topic]
		if !ok {
			n = len(req.Topics)
			topics[o.Topic] = n
			req.Topics = append(req.Topics, kmsg.AlterShareGroupOffsetsRequestTopic{Topic: o.Topic})
		}
		p := kmsg.AlterShareGroupOffsetsRequestTopicPartition{Partition: o.Partition, StartOffset: o.Offset}
		req.Topics[n].Partitions = append(req.Topics[n].Partitions, p)
		parts[TopicPartition{o.Topic, o.Partition}] = true
	}
	return req, parts
}
