package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/test/golden"
)

// groups has groups of each kind that commit, with metadata and leader epochs, which change between two points.
func groups(s *source) {
	s.create("orders", 3, nil)
	s.create("invoices", 1, nil)
	for p := range int32(3) {
		s.produce(s.client, "orders", p, textRecords("order", 6+int(p))...)
	}
	s.produce(s.client, "invoices", 0, textRecords("invoice", 4)...)

	s.commit("only-commits", at("orders", 0, 3, -1, `{"checkpoint": "a \ b"}`), at("orders", 2, 8, 0, ""), at("invoices", 0, 0, -1, "at the start"))
	s.commit("Grüße ☃", at("invoices", 0, 4, 0, "at the end; "+strings.Repeat("long ", 60)))
	s.commit("short-lived", at("invoices", 0, 1, -1, ""))
	s.member("classic", "classic", "orders", kgo.Balancers(kgo.CooperativeStickyBalancer()))
	s.member("next-generation", "consumer", "orders", kgo.ServerSideBalancer())
	s.quietPoint()

	s.commit("only-commits", at("orders", 1, 7, 0, "new"), at("orders", 0, 5, -1, "moved"))
	s.uncommit("only-commits", "invoices", 0)
	s.removeGroup("short-lived")
	s.produce(s.client, "invoices", 0, textRecords("later", 1)...)
	s.quietPoint()
}

func at(topic string, partition int32, offset int64, epoch int32, metadata string) golden.Offset {
	return golden.Offset{Topic: topic, Partition: partition, Offset: offset, Epoch: epoch, Metadata: metadata}
}

// note remembers what a group has committed.
func (s *source) note(group, kind, protocol string, offsets ...golden.Offset) {
	list := s.groups[group]
	for _, o := range offsets {
		o.Group, o.Type, o.Protocol = group, kind, protocol
		list = slices.DeleteFunc(slices.Clone(list), func(x golden.Offset) bool { return x.Topic == o.Topic && x.Partition == o.Partition })
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b golden.Offset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	s.groups[group] = list
}

// commit commits offsets as an application does that uses a group for nothing else.
func (s *source) commit(group string, offsets ...golden.Offset) {
	if s.err != nil {
		return
	}
	all := make(kadm.Offsets)
	for _, o := range offsets {
		all.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: o.Epoch, Metadata: o.Metadata})
	}
	s.fail("commit offsets of "+group, s.admin.CommitAllOffsets(s.ctx, group, all))
	s.note(group, "classic", "", offsets...)
}

// uncommit removes a committed offset.
func (s *source) uncommit(group, topic string, partition int32) {
	if s.err != nil {
		return
	}
	set := make(kadm.TopicsSet)
	set.Add(topic, partition)
	answers, err := s.admin.DeleteOffsets(s.ctx, group, set)
	if err == nil {
		err = answers.Error()
	}
	s.fail("delete an offset of "+group, err)
	s.groups[group] = slices.DeleteFunc(slices.Clone(s.groups[group]), func(o golden.Offset) bool {
		return o.Topic == topic && o.Partition == partition
	})
}

func (s *source) removeGroup(group string) {
	if s.err != nil {
		return
	}
	answers, err := s.admin.DeleteGroups(s.ctx, group)
	if err == nil {
		err = answers.Error()
	}
	s.fail("delete group "+group, err)
	delete(s.groups, group)
}

// member joins a group, reads a topic to its end, commits half of each partition and leaves.
func (s *source) member(group, kind, topic string, options ...kgo.Opt) {
	if s.err != nil {
		return
	}
	options = append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	client, err := s.newClient(options...)
	if err != nil {
		s.fail("connect", err)
		return
	}
	defer client.Close()
	ends := s.ends()
	s.pollAll(client, topic, ends)
	half := make(map[int32]kgo.EpochOffset)
	const metadata = "half way"
	ends.Each(func(end kadm.ListedOffset) {
		if end.Topic == topic {
			half[end.Partition] = kgo.EpochOffset{Epoch: 0, Offset: end.Offset / 2}
			s.note(group, kind, "consumer", at(topic, end.Partition, end.Offset/2, 0, metadata))
		}
	})
	ctx := kgo.PreCommitFnContext(s.ctx, func(r *kmsg.OffsetCommitRequest) error {
		text := metadata
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].Metadata = &text
			}
		}
		return nil
	})
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: half},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			s.fail("commit", err)
		})
}

// pollAll reads a topic to its ends.
func (s *source) pollAll(client *kgo.Client, topic string, ends kadm.ListedOffsets) {
	missing := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		if end.Topic == topic {
			missing += end.Offset
		}
	})
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	for missing > 0 && s.err == nil {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			s.fail("consume "+topic, errors.New("the group does not get to the end"))
		}
		missing -= int64(fetches.NumRecords())
	}
}
