//go:build e2e

package kafka_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func testShareGroups(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	create(t, c, "shared", 1)
	want := []kafka.GroupOffset{{Topic: "shared", Offset: 42}}
	for range 2 {
		if err := c.SetShareGroupOffsets(t.Context(), "sharers", want); err != nil {
			t.Fatal(err)
		}
	}
	all, err := c.ShareGroupOffsets(t.Context(), []string{"sharers", "missing"})
	if err != nil || !slices.Equal(all["sharers"], want) || len(all["missing"]) != 0 {
		t.Errorf("offsets %+v, %v, want %+v and none of missing", all, err, want)
	}
	groups, err := c.ShareGroups(t.Context())
	if err != nil || !slices.Equal(groups, []kafka.Group{{Name: "sharers", State: "Empty", Type: kafka.ShareGroup, ProtocolType: "share"}}) {
		t.Errorf("share groups %+v, %v", groups, err)
	}
	if others, err := c.Groups(t.Context()); err != nil || slices.ContainsFunc(others, func(g kafka.Group) bool { return g.Name == "sharers" }) {
		t.Errorf("groups %+v, %v, want no share group among them", others, err)
	}
	if got, err := c.GroupOffsets(t.Context(), []string{"sharers"}); err != nil || len(got["sharers"]) != 0 {
		t.Errorf("committed offsets of a share group: %+v, %v", got, err)
	}
	if err := c.SetShareGroupOffsets(t.Context(), "sharers", []kafka.GroupOffset{{Topic: "nowhere"}}); !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("set for a missing topic: %v, want ErrUnknownTopic", err)
	}
	testActiveShareGroup(t, b, c)
}

// A group that somebody has joined has no start offsets before it has
// acknowledged something.
func testActiveShareGroup(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	member := b.Client(t, kgo.ShareGroup("busy sharers"), kgo.ConsumeTopics("shared"))
	defer member.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go member.PollFetches(ctx)
	for range 100 {
		groups, err := c.ShareGroups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(groups, func(g kafka.Group) bool { return g.Name == "busy sharers" && g.State == "Stable" }) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if all, err := c.ShareGroupOffsets(t.Context(), []string{"busy sharers"}); err != nil || len(all["busy sharers"]) != 0 {
		t.Errorf("offsets %+v, %v, want none", all, err)
	}
	err := c.SetShareGroupOffsets(t.Context(), "busy sharers", []kafka.GroupOffset{{Topic: "shared"}})
	t.Logf("error: %v", err)
	if !errors.Is(err, kafka.ErrGroupActive) {
		t.Errorf("set for a group with members: %v, want ErrGroupActive", err)
	}
}

// switchOffShareGroups takes the feature away from a cluster.
func switchOffShareGroups(t *testing.T, b *cluster.Cluster) {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "share.version", MaxVersionLevel: 0, UpgradeType: 2}}
	resp, err := req.RequestWith(t.Context(), b.Client(t))
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%v, %v", err, kerr.ErrorForCode(resp.ErrorCode))
	}
	time.Sleep(time.Second) // the brokers take note
}

func testNoShareGroups(t *testing.T, c *kafka.Cluster) {
	_, err := c.ShareGroupOffsets(t.Context(), []string{"sharers"})
	t.Logf("error: %v", err)
	if !errors.Is(err, kafka.ErrUnsupported) {
		t.Errorf("read: %v, want ErrUnsupported", err)
	}
	if err := c.SetShareGroupOffsets(t.Context(), "sharers", []kafka.GroupOffset{{Topic: "grouped"}}); !errors.Is(err, kafka.ErrUnsupported) {
		t.Errorf("set: %v, want ErrUnsupported", err)
	}
	if groups, err := c.ShareGroups(t.Context()); err != nil || len(groups) > 2 { // those that there were are listed still
		t.Errorf("share groups %+v, %v", groups, err)
	}
}
