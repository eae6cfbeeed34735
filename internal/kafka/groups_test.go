package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

func TestGroupOffsetsRoundTrip(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "a", "b"))
	c := connectFake(t, f)
	want := []kafka.GroupOffset{
		{Topic: "a", Partition: 0, Offset: 5, LeaderEpoch: -1, Metadata: ""},
		{Topic: "a", Partition: 2, Offset: 0, LeaderEpoch: -1, Metadata: "null"},
		{Topic: "b", Partition: 1, Offset: 1 << 40, LeaderEpoch: -1, Metadata: strings.Repeat("é\x00", 100)},
	}
	for _, group := range []string{"g1", "g2", "group with spaces"} {
		in := slices.Clone(want)
		slices.Reverse(in)
		for i := range in {
			in[i].LeaderEpoch = 7 // of another cluster, not to be committed
		}
		if err := c.CommitOffsets(t.Context(), group, in); err != nil {
			t.Fatalf("CommitOffsets(%s): %v", group, err)
		}
	}
	groups, err := c.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
		if g.State != "Empty" || g.Type != "classic" || g.ProtocolType != "" {
			t.Errorf("group %+v, want an empty classic one without protocol", g)
		}
	}
	if want := []string{"g1", "g2", "group with spaces"}; !slices.Equal(names, want) {
		t.Errorf("groups %q, want %q", names, want)
	}
	all, err := c.GroupOffsets(t.Context(), append(names, "missing"))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range names {
		if got := all[group]; !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", group, got, want)
		}
	}
	if got, ok := all["missing"]; !ok || len(got) != 0 {
		t.Errorf("missing: %v, %v, want an empty list", got, ok)
	}
}

// More offsets than one commit takes, and more groups than one request asks for.
func TestGroupOffsetsInBatches(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(500, "t"))
	c := connectFake(t, f)
	var want []kafka.GroupOffset
	for i := range int32(500) {
		want = append(want, kafka.GroupOffset{Topic: "t", Partition: i, Offset: int64(i), LeaderEpoch: -1, Metadata: strings.Repeat("m", 2000)})
	}
	var commits record[int]
	f.ControlKey(int16(kmsg.OffsetCommit), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		commits.add(len(kreq.(*kmsg.OffsetCommitRequest).Topics[0].Partitions))
		return nil, nil, false
	})
	if err := c.CommitOffsets(t.Context(), "big", want); err != nil {
		t.Fatal(err)
	}
	if got, want := commits.all(), []int{123, 123, 123, 123, 8}; !slices.Equal(got, want) { // 256 KiB, a little more than 2 KB each
		t.Errorf("commit requests of %v partitions, want %v", got, want)
	}
	names := []string{"big"}
	for i := range 120 {
		name := fmt.Sprintf("g%03d", i)
		names = append(names, name)
		if err := c.CommitOffsets(t.Context(), name, want[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.GroupOffsets(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(all["big"], want) {
		t.Errorf("big has %d offsets, want %d", len(all["big"]), len(want))
	}
	for i := range 120 {
		if got := all[fmt.Sprintf("g%03d", i)]; !slices.Equal(got, want[i:i+1]) {
			t.Errorf("group %d: %v", i, got)
		}
	}
}

func TestCommitForActiveGroup(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	member, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.ConsumerGroup("busy"), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go member.PollFetches(ctx)
	if _, err := f.WaitGroupStable(t.Context(), "busy", 1); err != nil {
		t.Fatal(err)
	}
	err = c.CommitOffsets(t.Context(), "busy", []kafka.GroupOffset{{Topic: "t", Offset: 1}})
	var failed *kafka.CommitError
	if !errors.Is(err, kafka.ErrGroupActive) || !errors.As(err, &failed) || failed.Topic != "t" {
		t.Errorf("CommitOffsets = %v, want ErrGroupActive for t/0", err)
	}
	groups, err := c.Groups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].State != "Stable" || groups[0].ProtocolType != "consumer" {
		t.Errorf("Groups = %+v, %v, want busy, stable", groups, err)
	}
}

// A commit in an open transaction holds an offset back. It is waited for, and
// in the end read as it was before the transaction, and marked.
func TestGroupOffsetsUnderTransactions(t *testing.T) {
	for _, test := range []struct {
		name     string
		refusals int // how often the fake says that the offset is about to change
		asked    []bool
		unstable bool
	}{
		{"that ends", 1, []bool{true, true}, false},
		{"that hangs", 100, []bool{true, true, true, true, true, false}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := connectFake(t, f)
			if err := c.CommitOffsets(t.Context(), "g", []kafka.GroupOffset{{Topic: "t", Offset: 3}}); err != nil {
				t.Fatal(err)
			}
			var asked record[bool] // with RequireStable
			f.ControlKey(int16(kmsg.OffsetFetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				stable := kreq.(*kmsg.OffsetFetchRequest).RequireStable
				asked.add(stable)
				if !stable || len(asked.all()) > test.refusals {
					return nil, nil, false
				}
				return unstableOffset(kreq, "g", "t"), nil, true
			})
			all, err := c.GroupOffsets(t.Context(), []string{"g"})
			if err != nil {
				t.Fatal(err)
			}
			want := kafka.GroupOffset{Topic: "t", Offset: 3, LeaderEpoch: -1, Unstable: test.unstable}
			if got := all["g"]; !slices.Equal(got, []kafka.GroupOffset{want}) {
				t.Errorf("offsets %+v, want %+v", got, want)
			}
			if got := asked.all(); !slices.Equal(got, test.asked) {
				t.Errorf("asked with RequireStable %v, want %v", got, test.asked)
			}
		})
	}
}

func unstableOffset(kreq kmsg.Request, group, topic string) kmsg.Response {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.ErrorCode, p.Offset = 88, -1
	t := kmsg.NewOffsetFetchResponseGroupTopic()
	t.Topic = topic
	t.Partitions = append(t.Partitions, p)
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group = group
	g.Topics = append(g.Topics, t)
	resp := kreq.ResponseKind().(*kmsg.OffsetFetchResponse)
	resp.Groups = append(resp.Groups, g)
	return resp
}
