package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// What a restore rests on: the same bytes again are acknowledged with their
// first offset, and nothing else can take their place.
func TestProduceIdempotence(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	p := newProducer(t, c)
	id, epoch, err := p.InitProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id < 0 || epoch != 0 {
		t.Fatalf("producer id %d epoch %d, want an id with epoch 0", id, epoch)
	}
	at := func(sequence int32) []byte {
		return build(t, batch.LZ4, batch.ProducerIdentity{ID: id, Epoch: epoch, Sequence: sequence}, "x", "y")
	}
	first, second := at(0), at(2)
	steps := []struct {
		name string
		raw  []byte
		base int64
		err  error
	}{
		{"first", first, 0, nil},
		{"second", second, 2, nil},
		{"first again", first, 0, nil},
		{"second again", second, 2, nil},
		{"skips ahead", at(8), -1, kafka.ErrOutOfOrderSequence},
		{"third", at(4), 4, nil},
	}
	for _, s := range steps {
		got := produceTo(t, p, topic, s.raw)
		if got.BaseOffset != s.base || !errors.Is(got.Err, s.err) {
			t.Errorf("%s: %+v, want base offset %d and error %v", s.name, got, s.base, s.err)
		}
	}
	if got := endOf(t, c, "t"); got != 6 {
		t.Errorf("end offset %d, want 6", got)
	}
	other, _, err := p.InitProducerID(t.Context())
	if err != nil || other == id {
		t.Errorf("second producer id %d, %v, want another than %d", other, err, id)
	}
}

func endOf(t *testing.T, c *kafka.Cluster, topic string) int64 {
	t.Helper()
	ends, err := c.ListEndOffsets(t.Context(), []kafka.TopicPartition{{Topic: topic}})
	if err != nil {
		t.Fatal(err)
	}
	if ends[0].Err != nil {
		t.Fatal(ends[0].Err)
	}
	return ends[0].Offset
}

func TestProduceRefusals(t *testing.T) {
	f := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	leader := topic.Partitions[0].Leader
	p := newProducer(t, c)
	if err := f.CreateTopic("small", 1, map[string]string{"max.message.bytes": "100"}); err != nil {
		t.Fatal(err)
	}
	small := topicOf(t, c, "small")
	good := build(t, batch.None, anonymous, "value")
	corrupt := append([]byte(nil), good...)
	corrupt[len(corrupt)-1] ^= 1
	gone := kafka.TopicID{1}
	tests := []struct {
		name   string
		broker int32
		part   kafka.ProducePartition
		want   error
	}{
		{"not the leader", 1 - leader, kafka.ProducePartition{Topic: "t", TopicID: topic.ID, Batch: good}, kafka.ErrNotLeader},
		{"no such partition", leader, kafka.ProducePartition{Topic: "t", TopicID: topic.ID, Partition: 3, Batch: good}, kafka.ErrUnknownTopic},
		{"another incarnation", leader, kafka.ProducePartition{Topic: "t", TopicID: gone, Batch: good}, kafka.ErrTopicRecreated},
		{"wrong crc", leader, kafka.ProducePartition{Topic: "t", TopicID: topic.ID, Batch: corrupt}, kafka.ErrCorruptBatch},
		{"too large", small.Partitions[0].Leader, kafka.ProducePartition{Topic: "small", TopicID: small.ID, Batch: build(t, batch.None, anonymous, strings.Repeat("v", 200))}, kafka.ErrMessageTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := p.Produce(t.Context(), test.broker, []kafka.ProducePartition{test.part}, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got := out[0]; !errors.Is(got.Err, test.want) || got.BaseOffset != -1 || got.Topic != test.part.Topic || got.Partition != test.part.Partition {
				t.Errorf("%+v, want %v for the same partition", got, test.want)
			}
			if errors.Is(out[0].Err, kafka.ErrRetriable) {
				t.Error("is ErrRetriable as well")
			}
		})
	}
	t.Run("unknown broker", func(t *testing.T) {
		if _, err := p.Produce(t.Context(), 9, []kafka.ProducePartition{{Topic: "t", TopicID: topic.ID, Batch: good}}, time.Second); !errors.Is(err, kafka.ErrRetriable) {
			t.Errorf("error %v, want ErrRetriable", err)
		}
	})
}

// These never reach the broker, which would lose data over the first.
func TestProduceChecksItsParts(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	p := newProducer(t, c)
	good := build(t, batch.None, anonymous, "value")
	twoBatches := append(append([]byte(nil), good...), good...)
	moved := stored(good, 5, 0)
	old := append([]byte(nil), good...)
	old[16] = 1
	part := func(index int32, b []byte) kafka.ProducePartition {
		return kafka.ProducePartition{Topic: "t", TopicID: topic.ID, Partition: index, Batch: b}
	}
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		t.Error("a request was sent")
		return nil, nil, false
	})
	for name, parts := range map[string][]kafka.ProducePartition{
		"partition twice": {part(0, good), part(1, good), part(0, good)},
		"same id twice":   {part(0, good), {Topic: "u", TopicID: topic.ID, Batch: good}},
		"two batches":     {part(0, twoBatches)},
		"cut batch":       {part(0, good[:len(good)-1])},
		"base offset":     {part(0, moved)},
		"old magic":       {part(0, old)},
		"nothing":         {part(0, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := p.Produce(t.Context(), 0, parts, time.Second); err == nil || errors.Is(err, kafka.ErrRetriable) {
				t.Errorf("Produce = %v, %v, want an error that is not retriable", out, err)
			}
		})
	}
}

func TestProduceAnswersInOrder(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b"))
	c := connectFake(t, f)
	a, b := topicOf(t, c, "a"), topicOf(t, c, "b")
	raw := build(t, batch.None, anonymous, "v")
	var parts []kafka.ProducePartition
	for i := range int32(3) {
		parts = append(parts,
			kafka.ProducePartition{Topic: "b", TopicID: b.ID, Partition: 2 - i, Batch: raw},
			kafka.ProducePartition{Topic: "a", TopicID: a.ID, Partition: i, Batch: raw})
	}
	out, err := newProducer(t, c).Produce(t.Context(), 0, parts, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range out {
		if got.Err != nil || got.BaseOffset != 0 || got.Topic != parts[i].Topic || got.TopicID != parts[i].TopicID || got.Partition != parts[i].Partition {
			t.Errorf("result %d = %+v, want that of %s/%d", i, got, parts[i].Topic, parts[i].Partition)
		}
	}
}

// The connection is lost, once before and once after the broker has appended:
// there must be no second attempt behind the caller's back, and sending the
// same again must come out right both times.
func TestProduceAmbiguity(t *testing.T) {
	for name, appended := range map[string]bool{"lost request": false, "lost answer": true} {
		t.Run(name, func(t *testing.T) {
			f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			c := connectFake(t, f)
			topic := topicOf(t, c, "t")
			p := newProducer(t, c)
			id, epoch, err := p.InitProducerID(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			raw := build(t, batch.None, batch.ProducerIdentity{ID: id, Epoch: epoch}, "v")
			part := []kafka.ProducePartition{{Topic: "t", TopicID: topic.ID, Batch: raw}}
			if appended {
				if got := produceTo(t, newProducer(t, c), topic, raw); got.Err != nil {
					t.Fatal(got.Err)
				}
			}
			var seen record[int32]
			f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				seen.add(f.CurrentNode())
				return nil, errors.New("close the connection"), true
			})
			if _, err := p.Produce(t.Context(), 0, part, time.Second); !errors.Is(err, kafka.ErrRetriable) {
				t.Errorf("Produce = %v, want ErrRetriable", err)
			}
			if n := len(seen.all()); n != 1 {
				t.Errorf("broker saw %d requests, want 1", n)
			}
			if got := produceTo(t, p, topic, raw); got.Err != nil || got.BaseOffset != 0 {
				t.Errorf("again: %+v, want base offset 0", got)
			}
			if got := endOf(t, c, "t"); got != 1 {
				t.Errorf("end offset %d, want 1", got)
			}
		})
	}
}

func TestProduceErrorCodes(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	p := newProducer(t, c)
	raw := build(t, batch.None, anonymous, "v")
	for _, test := range []struct {
		name string
		code int16
		want error
	}{
		{"request timed out", 7, kafka.ErrRetriable},
		{"not enough replicas", 19, kafka.ErrRetriable},
		{"not enough replicas after append", 20, kafka.ErrRetriable},
		{"storage error", 56, kafka.ErrRetriable},
		{"duplicate sequence", 46, kafka.ErrDuplicateSequence},
		{"invalid producer epoch", 47, kafka.ErrProducerFenced},
		{"invalid timestamp", 32, kafka.ErrInvalidTimestamp},
		{"invalid record", 87, kafka.ErrInvalidRecord},
		{"topic", 29, kafka.ErrAuthorization},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				resp := kreq.ResponseKind().(*kmsg.ProduceResponse)
				rt := kmsg.NewProduceResponseTopic()
				rt.TopicID = topic.ID
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.ErrorCode = test.code
				rp.ErrorMessage = kmsg.StringPtr("the broker's reason")
				rt.Partitions = append(rt.Partitions, rp)
				resp.Topics = append(resp.Topics, rt)
				return resp, nil, true
			})
			got := produceTo(t, p, topic, raw)
			if !errors.Is(got.Err, test.want) || got.BaseOffset != -1 {
				t.Errorf("%+v, want %v", got, test.want)
			}
			if test.want != kafka.ErrAuthorization && !strings.Contains(got.Err.Error(), "the broker's reason") {
				t.Errorf("error %q leaves out the broker's reason", got.Err)
			}
		})
	}
	t.Run("left out", func(t *testing.T) {
		f.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			return kreq.ResponseKind(), nil, true
		})
		if got := produceTo(t, p, topic, raw); !errors.Is(got.Err, kafka.ErrRetriable) {
			t.Errorf("%+v, want ErrRetriable", got)
		}
	})
}

// While the first request has no answer yet, the second is on the wire.
func TestProducePipelines(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	p := newProducer(t, c)
	const requests = 4
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			raw := build(t, batch.None, anonymous, fmt.Sprint(i))
			part := kafka.ProducePartition{Topic: "t", TopicID: topic.ID, Partition: int32(i % 2), Batch: raw}
			out, err := p.Produce(t.Context(), 0, []kafka.ProducePartition{part}, time.Second)
			if err != nil || out[0].Err != nil {
				t.Errorf("request %d: %v, %v", i, out, err)
			}
		})
	}
	wg.Wait()
	if got := endOf(t, c, "t"); got != requests/2 {
		t.Errorf("end offset %d, want %d", got, requests/2)
	}
}
