package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// GroupLogTopic is the topic in which the brokers keep what groups have
// committed: a log of every commit, which compaction shortens to the last one of
// each group and partition. All of a group is in one of its partitions.
const GroupLogTopic = "__consumer_offsets"

// GroupRecord is what one record of GroupLogTopic says: what a group has
// committed for a partition, or, if Commit names no topic, what the group is.
type GroupRecord struct {
	Group string
	Gone  bool // the commit, or the group, is not there any more

	Commit  GroupOffset
	TopicID TopicID // of the commit's topic; zero from brokers that do not keep it

	Type         string // of the group, as in Group
	ProtocolType string
}

// Key versions of GroupLogTopic: what a record is about. There are more, about
// members and assignments, which mean nothing without the members.
const (
	keyCommitOld      = 0
	keyCommit         = 1
	keyClassicGroup   = 2
	keyConsumerGroup  = 3
	keyStreamsGroup   = 17
	newestCommitValue = 4

	flexibleGroupValue = 4 // from this version on, strings are compact
)

// errGroupRecord: a record of GroupLogTopic is not what Kafka writes.
var errGroupRecord = errors.New("malformed record of " + GroupLogTopic)

// ParseGroupRecord reads a record of GroupLogTopic. It is not ok if the record
// is about something that a backup does not need. The bytes are not kept.
func ParseGroupRecord(key, value []byte) (r GroupRecord, ok bool, err error) {
	if len(key) < 2 {
		return r, false, fmt.Errorf("%w: a key of %d bytes", errGroupRecord, len(key))
	}
	switch binary.BigEndian.Uint16(key) {
	case keyCommitOld, keyCommit:
		return parseCommit(key, value)
	case keyClassicGroup:
		return parseClassicGroup(key, value)
	case keyConsumerGroup:
		return parseGroup(key, value, GroupRecord{Type: "consumer", ProtocolType: "consumer"})
	case keyStreamsGroup:
		return parseGroup(key, value, GroupRecord{Type: "streams", ProtocolType: "streams"})
	}
	return r, false, nil
}

func parseCommit(key, value []byte) (r GroupRecord, ok bool, err error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return r, false, fmt.Errorf("%w: key of a commit: %w", errGroupRecord, err)
	}
	r.Group, r.Commit = k.Group, GroupOffset{Topic: k.Topic, Partition: k.Partition, LeaderEpoch: -1}
	if k.Topic == "" {
		return r, false, fmt.Errorf("%w: commit of group %q without a topic", errGroupRecord, k.Group)
	}
	if value == nil {
		r.Gone = true
		return r, true, nil
	}
	var v kmsg.OffsetCommitValue
	if len(value) >= 2 && binary.BigEndian.Uint16(value) > newestCommitValue {
		return r, false, fmt.Errorf("%w: commit of group %q has version %d, which this program does not know", errGroupRecord, k.Group, binary.BigEndian.Uint16(value))
	}
	if err := v.ReadFrom(value); err != nil {
		return r, false, fmt.Errorf("%w: commit of group %q: %w", errGroupRecord, k.Group, err)
	}
	if v.Version >= 3 {
		r.Commit.LeaderEpoch = v.LeaderEpoch
	}
	r.TopicID, r.Gone = v.TopicID, v.Offset < 0
	r.Commit.Offset, r.Commit.Metadata = v.Offset, v.Metadata
	return r, true, nil
}

// parseClassicGroup reads no further than it has to: kmsg would take a count of
// tagged fields for true that no bytes follow, and be busy for minutes.
func parseClassicGroup(key, value []byte) (r GroupRecord, ok bool, err error) {
	r.Type = "classic"
	if value != nil {
		b := kbin.Reader{Src: value}
		if version := b.Int16(); version < flexibleGroupValue {
			r.ProtocolType = b.String()
		} else {
			r.ProtocolType = b.CompactString()
		}
		if !b.Ok() {
			return r, false, fmt.Errorf("%w: metadata of a group: %w", errGroupRecord, kbin.ErrNotEnoughData)
		}
	}
	return parseGroup(key, value, r)
}

// parseGroup takes the group's name out of the key, which is all that there is
// in it.
func parseGroup(key, value []byte, r GroupRecord) (GroupRecord, bool, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return r, false, fmt.Errorf("%w: key of a group: %w", errGroupRecord, err)
	}
	r.Group, r.Gone = k.Group, value == nil
	return r, true, nil
}
