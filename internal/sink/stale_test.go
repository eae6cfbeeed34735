package sink

import (
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A broker that is cut off from the controllers goes on to answer, from metadata
// that is out of date. Nothing that it says may make a topic smaller.
func TestTopicNeverShrinks(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 2)
	p.produce("t", 0, 3)
	p.produce("t", 1, 3)
	if _, err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(p.fake.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(port)
	p.fake.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.KeepControl()
		resp := req.(*kmsg.MetadataRequest).ResponseKind().(*kmsg.MetadataResponse)
		id, name := p.Cluster.ID(), "t"
		resp.ClusterID = &id
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(number)}}
		resp.Topics = []kmsg.MetadataResponseTopic{{Topic: &name, TopicID: p.fake.TopicInfo("t").TopicID, Partitions: []kmsg.MetadataResponseTopicPartition{
			{Partition: 0, Replicas: []int32{0}, ISR: []int32{0}},
		}}}
		return resp, nil, true
	})
	p.Config.Patience = 2 * time.Second
	if _, err := p.Once(t.Context()); !errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("got %v, want an error that passes", err)
	}
	if _, _, state := p.held(); len(state.Points) != 1 || state.Topics[0].Partitions != 2 || state.Topics[0].Gone {
		t.Errorf("points %v, topic %+v", state.Points, state.Topics[0])
	}
}

// Between its start and the end of reading its groups, a broker lists none of
// them, and does not say so. They are not gone.
func TestGroupsThatNoBrokerLists(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	client := kadm.NewClient(p.user)
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "t", Partition: 0, At: 2, LeaderEpoch: -1})
	for _, group := range []string{"billing", manifest.RestoreGroups + "0123456789abcdef"} {
		if err := client.CommitAllOffsets(t.Context(), group, o); err != nil {
			t.Fatal(err)
		}
	}
	groups := func() (n int) {
		if _, err := p.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _, state := p.held()
		return len(state.Groups)
	}
	if n := groups(); n != 1 {
		t.Fatalf("%d groups in the first point, want billing alone", n)
	}
	p.fake.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return req.ResponseKind(), nil, true // once
	})
	if n := groups(); n != 1 {
		t.Errorf("%d groups after a list that left one out", n)
	}
	if _, err := client.DeleteGroups(t.Context(), "billing"); err != nil {
		t.Fatal(err)
	}
	if n := groups(); n != 0 {
		t.Errorf("%d groups after the last one was deleted", n)
	}
}
