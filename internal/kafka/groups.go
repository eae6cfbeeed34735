package kafka

import (
	"context"
	"errors"
	"fmt"
)

// Group is one consumer group.
type Group struct {
	Name         string
	State        string // Kafka's word, such as "Stable", "Empty", "Dead"
	Type         string // "classic", "consumer" or "streams"; "" from brokers older than 3.8
	ProtocolType string // "consumer", "connect", or "" for groups that only commit
}

// GroupOffset is what a group committed for one partition: Offset is the next
// one to read.
type GroupOffset struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32  // -1 when the committer gave none; ignored by CommitOffsets
	Metadata    string // the committer's; "" and null are the same to Kafka
	// Unstable: a transaction that commits this partition's offset was open,
	// for as long as GroupOffsets was ready to wait. Offset is the value
	// before that transaction. Ignored by CommitOffsets.
	Unstable bool
}

// GroupError is an error of one group in a request for several.
type GroupError struct {
	Group string
	Err   error
}

func (e *GroupError) Error() string { return "group " + e.Group + ": " + e.Err.Error() }
func (e *GroupError) Unwrap() error { return e.Err }

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

// Groups lists the groups of all brokers, sorted by name. Share groups are left
// out: they have no committed offsets. A broker that does not answer is an
// error, never a shorter list.
func (c *Cluster) Groups(ctx context.Context) ([]Group, error) { return nil, errors.ErrUnsupported }

// DescribeGroups reads the current state of the named groups. A group that
// does not exist has State "Dead". When some cannot be read, the result holds
// the others and the error joins one *GroupError for each.
func (c *Cluster) DescribeGroups(ctx context.Context, names []string) ([]Group, error) {
	return nil, errors.ErrUnsupported
}

// GroupOffsets reads all offsets that the groups have committed, sorted by
// topic and partition. Partitions without a commit are left out; a group
// without any is in the map with an empty list. Offsets under an open
// transaction are waited for a few seconds, then returned as Unstable. When
// some groups cannot be read, the map holds the others and the error joins one
// *GroupError for each.
func (c *Cluster) GroupOffsets(ctx context.Context, groups []string) (map[string][]GroupOffset, error) {
	return nil, errors.ErrUnsupported
}

// CommitOffsets commits offsets on behalf of a group that has no members,
// creating the group if need be. No leader epoch is committed: an epoch of
// another cluster would make consumers distrust this one's metadata. The error
// joins one *CommitError for each partition that was not committed; it is
// ErrGroupActive when the group has members. It is safe to repeat.
func (c *Cluster) CommitOffsets(ctx context.Context, group string, offsets []GroupOffset) error {
	return errors.ErrUnsupported
}
