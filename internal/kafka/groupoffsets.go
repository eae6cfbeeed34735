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

const (
	// groupBatch is how many groups one request asks for; the answer holds
	// all their partitions.
	groupBatch = 50

	// Offsets under an open transaction are asked for this often before they
	// are read as they are. Most transactions end within a second.
	stableTries = 5
	stableWait  = 200 * time.Millisecond

	// commitBatchBytes bounds the offsets in one commit: the coordinator
	// appends them as one batch, which has to stay below the default
	// max.message.bytes of 1 MiB. A record has less than commitRecordBytes
	// apart from its strings.
	commitBatchBytes  = 256 << 10
	commitRecordBytes = 128
)

// GroupOffset is what a group committed for one partition: Offset is the next
// one to read.
type GroupOffset struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32  // -1 when the committer gave none; ignored by CommitOffsets
	Metadata    string // the committer's; "" and null are the same to Kafka
	// Unstable: a transaction that commits this partition's offset was open
	// for longer than GroupOffsets was ready to wait. Offset may be the value
	// before that transaction. Ignored by CommitOffsets.
	Unstable bool
}

// CommitError is one partition whose offset was not committed.
type CommitError struct {
	Topic     string
	Partition int32
	Err       error
}

func (e *CommitError) Error() string {
	return fmt.Sprintf("commit offset of %s/%d: %v", e.Topic, e.Partition, e.Err)
}
func (e *CommitError) Unwrap() error { return e.Err }

// coordinatorTries bounds how often groups without a coordinator are asked
// for: a cluster makes the topic behind it at the first question, and moves its
// partitions when a broker goes.
const (
	coordinatorTries = 30
	coordinatorWait  = 500 * time.Millisecond
)

// whileCoordinatorsMove asks again as long as the error is that a coordinator is
// on its way.
func whileCoordinatorsMove(ctx context.Context, ask func() error) error {
	for try := 1; ; try++ {
		err := ask()
		if err == nil || !errors.Is(err, ErrRetriable) || try == coordinatorTries {
			return err
		}
		if err := sleep(ctx, coordinatorWait); err != nil {
			return err
		}
	}
}

// fetchOffsetsPatiently waits while coordinators move.
func (c *Cluster) fetchOffsetsPatiently(ctx context.Context, groups []string, requireStable bool) (answers map[string]*kmsg.OffsetFetchResponseGroup, err error) {
	err = whileCoordinatorsMove(ctx, func() error {
		if answers, err = c.fetchOffsets(ctx, groups, requireStable); err != nil {
			return err
		}
		return coordinatorsMove(answers)
	})
	return answers, err
}

// coordinatorsMove returns the error of a group whose coordinator is on its way.
func coordinatorsMove(answers map[string]*kmsg.OffsetFetchResponseGroup) error {
	for name, g := range answers {
		if g.ErrorCode != 0 {
			if err := brokerError(g.ErrorCode, nil, denied{"Describe", name}); errors.Is(err, ErrRetriable) {
				return fmt.Errorf("group %q: %w", name, err)
			}
		}
	}
	return nil
}

// fetchOffsets returns the answer for each of the groups.
func (c *Cluster) fetchOffsets(ctx context.Context, groups []string, requireStable bool) (map[string]*kmsg.OffsetFetchResponseGroup, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = requireStable
	for _, name := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = name
		g.Topics = nil // all
		req.Groups = append(req.Groups, g)
	}
	answers := make(map[string]*kmsg.OffsetFetchResponseGroup, len(groups))
	for _, shard := range c.cl.RequestSharded(ctx, req) {
		if shard.Err == nil {
			resp := shard.Resp.(*kmsg.OffsetFetchResponse)
			for i := range resp.Groups {
				answers[resp.Groups[i].Group] = &resp.Groups[i]
			}
			continue
		}
		// Looking for the coordinator already takes the right to see the
		// group, and that is the fault of the group, not of the request.
		if !errors.Is(shard.Err, kerr.GroupAuthorizationFailed) {
			return nil, requestError(ctx, c.cl, shard.Err)
		}
		for _, g := range shard.Req.(*kmsg.OffsetFetchRequest).Groups {
			answers[g.Group] = &kmsg.OffsetFetchResponseGroup{Group: g.Group, ErrorCode: kerr.GroupAuthorizationFailed.Code}
		}
	}
	for _, name := range groups {
		if answers[name] == nil {
			return nil, fmt.Errorf("group %q: %w", name, errNoAnswer)
		}
	}
	return answers, nil
}

// groupOffsets sorts out one group's answer: its offsets, or the partitions
// whose offsets are about to change.
func groupOffsets(g *kmsg.OffsetFetchResponseGroup) (offsets []GroupOffset, unstable map[TopicPartition]bool, err error) {
	if g.ErrorCode == kerr.GroupIDNotFound.Code { // deleted since it was listed
		return []GroupOffset{}, nil, nil
	}
	if g.ErrorCode != 0 {
		return nil, nil, brokerError(g.ErrorCode, nil, denied{"Describe", g.Group})
	}
	offsets = []GroupOffset{}
	unstable = make(map[TopicPartition]bool)
	for _, t := range g.Topics {
		for _, p := range t.Partitions {
			switch {
			case p.ErrorCode == kerr.UnstableOffsetCommit.Code:
				unstable[TopicPartition{t.Topic, p.Partition}] = true
				continue
			case p.ErrorCode != 0:
				return nil, nil, fmt.Errorf("offset of %s/%d: %w", t.Topic, p.Partition, brokerError(p.ErrorCode, nil, denied{"Describe", t.Topic}))
			case p.Offset < 0:
				continue
			}
			o := GroupOffset{Topic: t.Topic, Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch}
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			offsets = append(offsets, o)
		}
	}
	slices.SortFunc(offsets, func(a, b GroupOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return offsets, unstable, nil
}

// mark sets Unstable on the offsets that were last seen to be.
func mark(offsets []GroupOffset, unstable map[TopicPartition]bool) {
	for i := range offsets {
		offsets[i].Unstable = unstable[TopicPartition{offsets[i].Topic, offsets[i].Partition}]
	}
}

// CommitOffsets commits offsets on behalf of a group that has no members,
// creating the group if need be. No leader epoch is committed: an epoch of
// another cluster would make consumers distrust this one's metadata. The error
// joins one *CommitError for each partition that was not committed; it is
// ErrGroupActive when the group has members. It is safe to repeat.
func (c *Cluster) CommitOffsets(ctx context.Context, group string, offsets []GroupOffset) error {
	var errs []error
	for len(offsets) > 0 {
		n, size := 0, 0
		for n < len(offsets) && size < commitBatchBytes {
			o := &offsets[n]
			size += len(group) + len(o.Topic) + len(o.Metadata) + commitRecordBytes
			n++
		}
		failed, err := c.commit(ctx, group, offsets[:n])
		if err != nil {
			return fmt.Errorf("commit offsets of group %s: %w", group, err)
		}
		errs = append(errs, failed...)
		offsets = offsets[n:]
	}
	return errors.Join(errs...)
}

// commit sends one request; failed are the partitions it did not commit.
func (c *Cluster) commit(ctx context.Context, group string, offsets []GroupOffset) (failed []error, err error) {
	req, left := encodeCommit(group, offsets)
	resp, err := req.RequestWith(ctx, c.cl)
	if errors.Is(err, kerr.GroupAuthorizationFailed) { // from looking for the coordinator
		return nil, &AuthorizationError{Operation: "Read", ResourceType: "Group", Resource: group}
	}
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			delete(left, TopicPartition{t.Topic, p.Partition})
			if p.ErrorCode == 0 {
				continue
			}
			d := denied{"Read", t.Topic}
			if p.ErrorCode == kerr.GroupAuthorizationFailed.Code {
				d.resource = group
			}
			failed = append(failed, &CommitError{t.Topic, p.Partition, brokerError(p.ErrorCode, nil, d)})
		}
	}
	for tp := range left {
		failed = append(failed, &CommitError{tp.Topic, tp.Partition, errNoAnswer})
	}
	return failed, nil
}

func encodeCommit(group string, offsets []GroupOffset) (*kmsg.OffsetCommitRequest, map[TopicPartition]bool) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	req.Generation = -1 // on behalf of the group, not as a member of it
	parts := make(map[TopicPartition]bool, len(offsets))
	topics := make(map[string]int)
	for _, o := range offsets {
		n, ok := topics[o.Topic]
		if !ok {
			n = len(req.Topics)
			topics[o.Topic] = n
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic = o.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = o.Partition, o.Offset, -1
		p.Metadata = kmsg.StringPtr(o.Metadata)
		req.Topics[n].Partitions = append(req.Topics[n].Partitions, p)
		parts[TopicPartition{o.Topic, o.Partition}] = true
	}
	return req, parts
}
