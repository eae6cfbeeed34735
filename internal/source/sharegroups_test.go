package source

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// withQueue is a backup of a topic whose first two of four records are gone, with
// a share group and another one.
func withQueue(t *testing.T) *author {
	t.Helper()
	a := newAuthor(t)
	offset := []manifest.OffsetChange{{Topic: "orders", Committed: true, Offset: 3, Epoch: 4}}
	a.commit(manifest.Entry{
		Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1, First: 2}}, Point: point(),
		Groups: []manifest.GroupChange{{ID: "queue", Type: kafka.ShareGroup, ProtocolType: "share", Offsets: offset}, {ID: "readers", Type: "classic", Offsets: offset}},
	}, written{0, 2, []spec{{base: 2, last: 1}}})
	return a
}

// startsOf reads the start offsets of the share group.
func startsOf(t *testing.T, f *kfake.Cluster) []kafka.GroupOffset {
	t.Helper()
	all, err := connect(t, f).ShareGroupOffsets(t.Context(), []string{"queue"})
	if err != nil {
		t.Fatal(err)
	}
	return all["queue"]
}

func TestShareGroupComesBack(t *testing.T) {
	a, f := withQueue(t), fake(t)
	p, err := Prepare(t.Context(), a.repo, connect(t, f), Request{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasSuffix(n, "may be delivered again: queue") }) {
		t.Errorf("the plan does not say what does not come back: %q", p.Notes)
	}
	for range 2 { // the second run has nothing to do
		res := a.run(f, Request{})
		if !res.Complete() {
			t.Errorf("not complete: %+v", res.Groups)
		}
		if got := startsOf(t, f); !slices.Equal(got, []kafka.GroupOffset{{Topic: "orders", Offset: 1}}) {
			t.Errorf("start offsets %+v, want the offset 1 that 3 has become", got)
		}
	}
}

// What stands in the way of a share group is in the plan and in the result, and
// keeps nothing else from coming back.
func TestShareGroupThatCannotComeBack(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, f *kfake.Cluster)
		problem string
	}{
		"it has members": {func(t *testing.T, f *kfake.Cluster) {
			createTopic(t, f, "other", 1, nil)
			member := client(t, f, kgo.ShareGroup("queue"), kgo.ConsumeTopics("other"))
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			go member.PollFetches(ctx)
			c := connect(t, f)
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				list, err := c.ShareGroups(t.Context())
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("share groups %+v, %v", list, err)
				}
				if len(list) == 1 && list[0].State != "Empty" {
					return
				}
			}
		}, "active members"},
		"another group has its name": {func(t *testing.T, f *kfake.Cluster) {
			createTopic(t, f, "other", 1, nil)
			if err := connect(t, f).CommitOffsets(t.Context(), "queue", []kafka.GroupOffset{{Topic: "other"}}); err != nil {
				t.Fatal(err)
			}
		}, "another type by this name (classic)"},
		"share groups are off": {func(_ *testing.T, f *kfake.Cluster) {
			f.ControlKey(int16(kmsg.DescribeShareGroupOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				resp := kreq.ResponseKind().(*kmsg.DescribeShareGroupOffsetsResponse)
				resp.Groups = []kmsg.DescribeShareGroupOffsetsResponseGroup{{GroupID: "queue", ErrorCode: kerr.UnsupportedVersion.Code}}
				return resp, nil, true
			})
		}, "cannot have share groups"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, f := withQueue(t), fake(t)
			test.prepare(t, f)
			p, err := Prepare(t.Context(), a.repo, connect(t, f), Request{}, now)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Groups) != 2 || !strings.Contains(p.Groups[0].Problem, test.problem) || p.Groups[1].Problem != "" {
				t.Errorf("the plan says %+v", p.Groups)
			}
			for range 2 {
				res := a.run(f, Request{})
				if res.Complete() || len(res.Groups[0].Problems) != 1 || !strings.Contains(res.Groups[0].Problems[0], test.problem) {
					t.Errorf("the result says %+v", res.Groups)
				}
			}
			all, err := connect(t, f).GroupOffsets(t.Context(), []string{"readers"})
			if err != nil || len(all["readers"]) != 1 || all["readers"][0].Offset != 1 {
				t.Errorf("readers are at %+v, %v, want 1", all, err)
			}
		})
	}
}
