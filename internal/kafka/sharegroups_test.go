package kafka_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

func TestShareGroupOffsetsRoundTrip(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "a", "b"))
	c := connectFake(t, f)
	want := []kafka.GroupOffset{{Topic: "a", Partition: 0, Offset: 5}, {Topic: "a", Partition: 2}, {Topic: "b", Partition: 1, Offset: 1 << 40}}
	for _, group := range []string{"s1", "s2"} {
		in := slices.Clone(want)
		slices.Reverse(in)
		in[0].LeaderEpoch, in[0].Metadata = 7, "not for the brokers"
		if err := c.SetShareGroupOffsets(t.Context(), group, in); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CommitOffsets(t.Context(), "classic", want[:1]); err != nil {
		t.Fatal(err)
	}
	list, err := c.ShareGroups(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "s1" || list[1].Name != "s2" || list[0].Type != kafka.ShareGroup || list[0].State != "Empty" {
		t.Errorf("share groups %+v, %v", list, err)
	}
	if others, err := c.Groups(t.Context()); err != nil || len(others) != 1 || others[0].Name != "classic" {
		t.Errorf("groups %+v, %v", others, err)
	}
	all, err := c.ShareGroupOffsets(t.Context(), []string{"s1", "s2", "missing"})
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string][]kafka.GroupOffset{"s1": want, "s2": want, "missing": {}} {
		if got, ok := all[group]; !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", group, got, want)
		}
	}
}

func TestShareGroupsThatCannotBeSet(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	member, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.ShareGroup("busy"), kgo.ConsumeTopics("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	start := []kafka.GroupOffset{{Topic: "t", Offset: 1}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list, err := c.ShareGroups(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("share groups %+v, %v", list, err)
		}
		if len(list) == 1 && list[0].State != "Empty" {
			break
		}
	}
	if err := c.SetShareGroupOffsets(t.Context(), "busy", start); !errors.Is(err, kafka.ErrGroupActive) {
		t.Errorf("with a member: %v, want ErrGroupActive", err)
	}
	var failed *kafka.CommitError
	err = c.SetShareGroupOffsets(t.Context(), "idle", append(start, kafka.GroupOffset{Topic: "nowhere"}))
	if !errors.As(err, &failed) || failed.Topic != "nowhere" || !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("a topic that is not there: %v", err)
	}
	if all, err := c.ShareGroupOffsets(t.Context(), []string{"idle"}); err != nil || !slices.Equal(all["idle"], start) {
		t.Errorf("offsets %+v, %v, want %+v", all, err, start)
	}
}

func TestShareGroupsOfOldBrokers(t *testing.T) {
	c := connectFake(t, fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.MaxVersions(kversion.V3_7_0())))
	if err := c.CommitOffsets(t.Context(), "classic", []kafka.GroupOffset{{Topic: "t"}}); err != nil {
		t.Fatal(err)
	}
	if list, err := c.ShareGroups(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("share groups %+v, %v, want none", list, err)
	}
	if all, err := c.ShareGroupOffsets(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("offsets of no groups: %v, %v", all, err)
	}
	if _, err := c.ShareGroupOffsets(t.Context(), []string{"s"}); !errors.Is(err, kafka.ErrUnsupported) {
		t.Errorf("read: %v, want ErrUnsupported", err)
	}
	if err := c.SetShareGroupOffsets(t.Context(), "s", []kafka.GroupOffset{{Topic: "t"}}); !errors.Is(err, kafka.ErrUnsupported) {
		t.Errorf("set: %v, want ErrUnsupported", err)
	}
}

// What the broker says of one group, and of one of its partitions.
func TestShareGroupAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		group, partition *kerr.Error
		times            int // how often it says so
		want             error
		whole            bool // it is the error of the request
		offsets          int
	}{
		"no right to it":       {kerr.GroupAuthorizationFailed, nil, 1, kafka.ErrAuthorization, false, 0},
		"share groups are off": {kerr.UnsupportedVersion, nil, 1, kafka.ErrUnsupported, true, 0},
		"it was deleted":       {kerr.GroupIDNotFound, nil, 1, nil, false, 0},
		"its topic was":        {nil, kerr.UnknownTopicOrPartition, 100, nil, false, 0},
		"its topic is new":     {nil, kerr.UnknownTopicOrPartition, 2, nil, false, 1},
		"its coordinator":      {kerr.CoordinatorLoadInProgress, nil, 2, nil, false, 1},
		"that of its state":    {nil, kerr.CoordinatorNotAvailable, 2, nil, false, 1},
		"something else":       {nil, kerr.UnknownServerError, 1, kerr.UnknownServerError, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := connectFake(t, f)
			for _, group := range []string{"one", "other"} {
				if err := c.SetShareGroupOffsets(t.Context(), group, []kafka.GroupOffset{{Topic: "t", Offset: 3}}); err != nil {
					t.Fatal(err)
				}
			}
			for range test.times {
				f.ControlKey(int16(kmsg.DescribeShareGroupOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
					return shareAnswer(kreq, test.group, test.partition), nil, true
				})
			}
			all, err := c.ShareGroupOffsets(t.Context(), []string{"one", "other"})
			var group *kafka.GroupError
			switch {
			case test.want == nil && err != nil, test.want != nil && err == nil:
				t.Fatalf("error %v, want %v", err, test.want)
			case test.want != nil && errors.As(err, &group) == test.whole, group != nil && group.Group != "one":
				t.Errorf("error %v is that of another than it should be", err)
			case errors.Is(test.want, kafka.ErrAuthorization) && !errors.Is(err, test.want), errors.Is(test.want, kafka.ErrUnsupported) && !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			}
			if len(all["one"]) != test.offsets || !test.whole && len(all["other"]) != 1 {
				t.Errorf("offsets %+v", all)
			}
		})
	}
}

// shareAnswer answers for the group "one" with errors, and for the other ones without.
func shareAnswer(kreq kmsg.Request, group, partition *kerr.Error) kmsg.Response {
	resp := kreq.ResponseKind().(*kmsg.DescribeShareGroupOffsetsResponse)
	for _, asked := range kreq.(*kmsg.DescribeShareGroupOffsetsRequest).Groups {
		p := kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition{StartOffset: 3}
		g := kmsg.DescribeShareGroupOffsetsResponseGroup{GroupID: asked.GroupID}
		switch {
		case asked.GroupID == "one" && group != nil:
			g.ErrorCode = group.Code
		case asked.GroupID == "one" && partition != nil:
			p.ErrorCode, p.StartOffset = partition.Code, -1
			fallthrough
		default:
			g.Topics = []kmsg.DescribeShareGroupOffsetsResponseGroupTopic{{Topic: "t", Partitions: []kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition{p}}}
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}
