package sink

import (
	"errors"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// share sets the start offset of a share group.
func (p *plant) share(group string, at int64) {
	p.t.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "t", Partition: 0, At: at})
	if answers, err := kadm.NewClient(p.user).AlterShareGroupOffsets(p.t.Context(), group, o); err != nil || answers.Error() != nil {
		p.t.Fatal(err, answers.Error())
	}
}

// Share groups are in the points with their start offsets, as they are at each,
// and stay there while no broker lists them, until they are deleted.
func TestShareGroups(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 2)
	p.produce("t", 0, 5)
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "t", Partition: 0, At: 1, LeaderEpoch: -1})
	if err := kadm.NewClient(p.user).CommitAllOffsets(t.Context(), "billing", o); err != nil {
		t.Fatal(err)
	}
	want := func(groups map[string]int64) {
		t.Helper()
		if _, err := p.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, state := p.held()
		got := make(map[string]int64)
		for name, g := range state.Groups {
			if (g.Type == kafka.ShareGroup) != (name == "queue") {
				t.Errorf("group %s is of type %q", name, g.Type)
			}
			if len(g.Offsets) == 1 {
				got[name] = g.Offsets[manifest.OffsetKey{Topic: "t", Partition: 0}].Offset
			}
		}
		if !maps.Equal(got, groups) {
			t.Errorf("groups at %v, want %v", got, groups)
		}
	}
	p.share("queue", 2)
	want(map[string]int64{"billing": 1, "queue": 2})
	p.share("queue", 4)
	want(map[string]int64{"billing": 1, "queue": 4})

	unlisted := 0
	p.fake.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if len(req.(*kmsg.ListGroupsRequest).TypesFilter) == 0 || unlisted > 0 {
			p.fake.KeepControl()
			return nil, nil, false
		}
		unlisted++
		return req.ResponseKind(), nil, true
	})
	want(map[string]int64{"billing": 1, "queue": 4})
	if unlisted == 0 {
		t.Error("the share groups were not listed")
	}
	if _, err := kadm.NewClient(p.user).DeleteGroups(t.Context(), "queue"); err != nil {
		t.Fatal(err)
	}
	want(map[string]int64{"billing": 1})
}

// One that may be listed but not read ends the capture, and is named; where the
// brokers cannot tell start offsets there are no share groups.
func TestUnreadableShareGroup(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	p.share("queue", 2)
	code := kerr.GroupAuthorizationFailed.Code
	p.fake.ControlKey(int16(kmsg.DescribeShareGroupOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.DescribeShareGroupOffsetsResponse)
		resp.Groups = []kmsg.DescribeShareGroupOffsetsResponseGroup{{GroupID: "queue", ErrorCode: code}}
		return resp, nil, true
	})
	var group *kafka.GroupError
	if _, err := p.Once(t.Context()); !errors.Is(err, kafka.ErrAuthorization) || !errors.As(err, &group) || group.Group != "queue" {
		t.Errorf("got %v, want that queue may not be read", err)
	}
	code = kerr.UnsupportedVersion.Code
	if _, err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, state := p.held(); len(state.Groups) != 0 {
		t.Errorf("groups %v, want none", state.Groups)
	}
}
