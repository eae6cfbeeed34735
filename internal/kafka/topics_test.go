package kafka_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

func TestTopicIDText(t *testing.T) {
	id := kafka.TopicID{0x00, 0x10, 0x83, 0x10, 0x51, 0x87, 0x20, 0x92, 0x8b, 0x30, 0xd3, 0x8f, 0x41, 0x14, 0x93, 0xff}
	const text = "ABCDEFGHIJKLMNOPQRST_w"
	if got := id.String(); got != text {
		t.Errorf("String() = %q, want %q", got, text)
	}
	if got, err := kafka.ParseTopicID(text); err != nil || got != id {
		t.Errorf("ParseTopicID(%q) = %v, %v, want %v", text, got, err, id)
	}
	for name, bad := range map[string]string{
		"empty": "", "short": text[1:], "long": text + "A", "padded": text + "==", "standard alphabet": "ABCDEFGHIJKLMNOPQRST/w", "bits left over": "ABCDEFGHIJKLMNOPQRST_x",
	} {
		t.Run(name, func(t *testing.T) {
			if id, err := kafka.ParseTopicID(bad); err == nil {
				t.Errorf("ParseTopicID(%q) = %v, want an error", bad, id)
			}
		})
	}
}

func TestTopicsSortsAndCreatesNothing(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.AllowAutoTopicCreation(), kfake.SeedTopics(3, "b", "a"))
	c := connectFake(t, f)

	topics, err := c.Topics(t.Context(), []string{"b", "missing", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := namesOf(topics), []string{"a", "b", "missing"}; !slices.Equal(got, want) {
		t.Fatalf("names = %v, want %v", got, want)
	}
	if !errors.Is(topics[2].Err, kafka.ErrUnknownTopic) {
		t.Errorf("missing: %v, want ErrUnknownTopic", topics[2].Err)
	}
	for i, p := range topics[0].Partitions {
		if p.Index != int32(i) || p.Leader != f.LeaderFor("a", p.Index) || p.LeaderEpoch < 0 || p.Err != nil {
			t.Errorf("partition %d = %+v", i, p)
		}
	}
	if topics[0].ID == (kafka.TopicID{}) || topics[0].ID == topics[1].ID {
		t.Errorf("ids %v and %v, want two different ones", topics[0].ID, topics[1].ID)
	}

	all, err := c.Topics(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := namesOf(all), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("all names = %v, want %v", got, want)
	}
	none, err := c.Topics(t.Context(), []string{})
	if err != nil || len(none) != 0 {
		t.Errorf("Topics of no names = %v, %v", none, err)
	}
}

func namesOf(topics []kafka.Topic) []string {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return names
}

func TestTopicsWithoutLeader(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	c := connectFake(t, f)
	f.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("t")
		part := kmsg.NewMetadataResponseTopicPartition()
		part.ErrorCode, part.Leader = 5, -1
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	topics, err := c.Topics(t.Context(), []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	if p := topics[0].Partitions[0]; p.Leader != -1 || !errors.Is(p.Err, kafka.ErrRetriable) {
		t.Errorf("partition = %+v, want no leader and ErrRetriable", p)
	}
}

func TestRequestsAfterClose(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	c, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := c.Topics(t.Context(), nil); err == nil || errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("Topics after Close = %v, want an error that is not retriable", err)
	}
}

func TestRequestsCancelled(t *testing.T) {
	c := connectFake(t, fake(t, kfake.NumBrokers(1)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Topics(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Topics = %v, want context.Canceled", err)
	}
	if _, err := c.Groups(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Groups = %v, want context.Canceled", err)
	}
}

func TestTopicConfigs(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "plain"))
	c := connectFake(t, f)
	if err := f.CreateTopic("set", 1, map[string]string{"retention.ms": "1000", "cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	got, err := c.TopicConfigs(t.Context(), []string{"set", "missing", "plain"})
	var failed *kafka.TopicError
	if !errors.As(err, &failed) || failed.Topic != "missing" || !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("error = %v, want ErrUnknownTopic of missing", err)
	}
	if len(got) != 2 || len(got["plain"]) != 0 {
		t.Errorf("configs = %v, want those of set and of plain, which has none", got)
	}
	want := []string{"cleanup.policy=compact", "retention.ms=1000"}
	if entries := entriesOf(got["set"]); !slices.Equal(entries, want) {
		t.Errorf("set has %v, want %v", entries, want)
	}

	value := "2000"
	changes := []kafka.ConfigChange{{Name: "retention.ms", Value: &value}, {Name: "cleanup.policy"}}
	if err := c.AlterTopicConfigs(t.Context(), "set", changes); err != nil {
		t.Fatal(err)
	}
	got, err = c.TopicConfigs(t.Context(), []string{"set"})
	if err != nil {
		t.Fatal(err)
	}
	if entries, want := entriesOf(got["set"]), []string{"retention.ms=2000"}; !slices.Equal(entries, want) {
		t.Errorf("after altering, set has %v, want %v", entries, want)
	}
	effective, err := c.EffectiveTopicConfig(t.Context(), "set")
	if err != nil {
		t.Fatal(err)
	}
	if effective["retention.ms"] != "2000" || effective["cleanup.policy"] != "delete" {
		t.Errorf("effective: retention.ms=%q cleanup.policy=%q, want 2000 and delete", effective["retention.ms"], effective["cleanup.policy"])
	}
	if _, err := c.EffectiveTopicConfig(t.Context(), "missing"); !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("effective config of missing: %v, want ErrUnknownTopic", err)
	}
}

func entriesOf(configs []kafka.ConfigEntry) []string {
	var all []string
	for _, c := range configs {
		v := "<nil>"
		if c.Value != nil {
			v = *c.Value
		}
		all = append(all, c.Name+"="+v)
	}
	return all
}
