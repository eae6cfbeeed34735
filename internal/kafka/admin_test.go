package kafka_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

func TestCreateTopics(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "taken"))
	c := connectFake(t, f)
	policy := "compact"
	topics := []kafka.NewTopic{
		{Name: "new", Partitions: 7, ReplicationFactor: 2, Configs: []kafka.ConfigEntry{{Name: "cleanup.policy", Value: &policy}}},
		{Name: "taken", Partitions: 1, ReplicationFactor: 1},
	}
	for _, step := range []struct {
		validateOnly bool
		there        bool
	}{{true, false}, {false, true}} {
		got, err := c.CreateTopics(t.Context(), topics, step.validateOnly)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Name != "new" || got[0].Err != nil || got[1].Name != "taken" || !errors.Is(got[1].Err, kafka.ErrTopicExists) {
			t.Errorf("validate only %v: %+v, want new to be created and taken to exist", step.validateOnly, got)
		}
		now, err := c.Topics(t.Context(), []string{"new"})
		if err != nil {
			t.Fatal(err)
		}
		if there := now[0].Err == nil; there != step.there {
			t.Errorf("validate only %v: new is there: %v, want %v", step.validateOnly, there, step.there)
		}
		if step.there && (now[0].ID != got[0].ID || len(now[0].Partitions) != 7 || len(now[0].Partitions[0].Replicas) != 2) {
			t.Errorf("created %+v, want id %v, 7 partitions, 2 replicas", now[0], got[0].ID)
		}
	}
	if _, err := c.CreateTopics(t.Context(), []kafka.NewTopic{{Name: "x"}, {Name: "x"}}, false); err == nil {
		t.Error("a topic that is there twice was accepted")
	}
}

func TestCreateTopicsDoesNotRetry(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	c := connectFake(t, f)
	var seen record[int16]
	f.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		seen.add(int16(kmsg.CreateTopics))
		return nil, errors.New("close the connection"), true
	})
	if _, err := c.CreateTopics(t.Context(), []kafka.NewTopic{{Name: "x", Partitions: 1, ReplicationFactor: 1}}, false); !errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("CreateTopics = %v, want ErrRetriable", err)
	}
	if n := len(seen.all()); n != 1 {
		t.Errorf("broker saw %d requests, want 1", n)
	}
}

func TestListOffsets(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.SeedTopics(3, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	p := newProducer(t, c)
	for range 3 {
		if got := produceTo(t, p, topic, build(t, batch.None, anonymous, "a", "b")); got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	if err := f.DeleteRecords("t", 0, 2); err != nil {
		t.Fatal(err)
	}
	parts := []kafka.TopicPartition{{Topic: "t", Partition: 2}, {Topic: "missing"}, {Topic: "t"}, {Topic: "t", Partition: 9}, {Topic: "t"}}
	type result struct {
		offset int64
		err    error
	}
	for name, test := range map[string]struct {
		got  func() ([]kafka.PartitionOffset, error)
		want []result
	}{
		"end":   {func() ([]kafka.PartitionOffset, error) { return c.ListEndOffsets(t.Context(), parts) }, []result{{0, nil}, {-1, kafka.ErrUnknownTopic}, {6, nil}, {-1, kafka.ErrUnknownTopic}, {6, nil}}},
		"start": {func() ([]kafka.PartitionOffset, error) { return c.ListStartOffsets(t.Context(), parts) }, []result{{0, nil}, {-1, kafka.ErrUnknownTopic}, {2, nil}, {-1, kafka.ErrUnknownTopic}, {2, nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.got()
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				if got[i].TopicPartition != parts[i] || got[i].Offset != want.offset || !errors.Is(got[i].Err, want.err) {
					t.Errorf("%v: %+v, want %+v", parts[i], got[i], want)
				}
			}
		})
	}
}

// The first answer says that the leader has moved: it is asked for again.
func TestListOffsetsFollowsTheLeader(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	var replicas record[int32]
	f.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.ListOffsetsRequest)
		replicas.add(req.ReplicaID)
		resp := kreq.ResponseKind().(*kmsg.ListOffsetsResponse)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = "t"
		rp := kmsg.NewListOffsetsResponseTopicPartition()
		rp.ErrorCode = 74
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	if got := endOf(t, c, "t"); got != 0 {
		t.Errorf("end offset %d, want 0", got)
	}
	if got, want := replicas.all(), []int32{-2}; !slices.Equal(got, want) {
		t.Errorf("asked as replica %v, want %v, who is told the log end", got, want)
	}
}
