package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Both ways of naming a topic: by id, and by name as before Kafka 3.1.
func TestProducedBytesComeBack(t *testing.T) {
	for name, versions := range map[string]*kversion.Versions{"by id": kversion.Stable(), "by name": kversion.V3_0_0()} {
		t.Run(name, func(t *testing.T) {
			f := fake(t, kfake.NumBrokers(2), kfake.MaxVersions(versions), kfake.SeedTopics(1, "t"))
			c := connectFake(t, f)
			topic := topicOf(t, c, "t")
			p, fetcher := newProducer(t, c), newFetcher(t, c)

			var want []byte
			for i, codec := range []batch.Codec{batch.LZ4, batch.None, batch.Zstd} {
				raw := build(t, codec, anonymous, "one", "two", "three")
				if got := produceTo(t, p, topic, raw); got.Err != nil || got.BaseOffset != int64(3*i) {
					t.Fatalf("produced %+v, want base offset %d", got, 3*i)
				}
				want = append(want, stored(raw, int64(3*i), topic.Partitions[0].LeaderEpoch)...)
			}
			got := fetchOne(t, fetcher, topic.Partitions[0].Leader, fetchFrom(topic, 0))
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if got.Topic != topic.Name || got.TopicID != topic.ID || got.Partition != 0 {
				t.Errorf("answer for %s %v %d, want %s %v 0", got.Topic, got.TopicID, got.Partition, topic.Name, topic.ID)
			}
			if !bytes.Equal(got.Records, want) {
				t.Errorf("fetched %d bytes that differ from the %d produced", len(got.Records), len(want))
			}
			if got.HighWatermark != 9 || got.LastStableOffset != 9 || got.LogStartOffset != 0 || got.PreferredReplica != -1 || got.Diverging != nil {
				t.Errorf("answer = %+v, want offsets 9, 9, 0", got)
			}
			if mid := fetchOne(t, fetcher, topic.Partitions[0].Leader, fetchFrom(topic, 4)); !bytes.HasPrefix(mid.Records, want[len(stored(build(t, batch.LZ4, anonymous, "one", "two", "three"), 0, 0)):][:8]) {
				t.Error("a fetch from offset 4 does not begin with the batch at 3")
			}
		})
	}
}

// stored is raw with what a broker fills in.
func stored(raw []byte, offset int64, epoch int32) []byte {
	b := bytes.Clone(raw)
	for i := range 8 {
		b[i] = byte(offset >> (56 - 8*i))
	}
	for i := range 4 {
		b[12+i] = byte(epoch >> (24 - 8*i))
	}
	return b
}

func TestFetchKeepsTheOrder(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b"))
	c := connectFake(t, f)
	a, b := topicOf(t, c, "a"), topicOf(t, c, "b")
	var req kafka.FetchRequest
	req.MaxBytes = 1 << 20
	var want []string
	for _, p := range []struct {
		topic kafka.Topic
		index int32
	}{{b, 2}, {b, 0}, {a, 1}, {b, 1}, {a, 0}} {
		req.Partitions = append(req.Partitions, kafka.FetchPartition{
			Topic: p.topic.Name, TopicID: p.topic.ID, Partition: p.index, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1000,
		})
		want = append(want, fmt.Sprintf("%s/%d", p.topic.Name, p.index))
	}
	var sent record[int]
	var order record[string]
	f.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		names := map[kafka.TopicID]string{a.ID: "a", b.ID: "b"}
		for _, t := range req.(*kmsg.FetchRequest).Topics {
			sent.add(len(t.Partitions))
			for _, p := range t.Partitions {
				order.add(fmt.Sprintf("%s/%d", names[t.TopicID], p.Partition))
			}
		}
		return nil, nil, false
	})
	resp, err := newFetcher(t, c).Fetch(t.Context(), 0, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := order.all(); !slices.Equal(got, want) {
		t.Errorf("order on the wire %v, want %v", got, want)
	}
	if got, want := sent.all(), []int{2, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("topics on the wire have %v partitions, want %v", got, want)
	}
	if len(resp.Partitions) != len(want) {
		t.Errorf("%d answers, want %d", len(resp.Partitions), len(want))
	}
	for _, p := range resp.Partitions {
		if p.Err != nil {
			t.Errorf("%s/%d: %v", p.Topic, p.Partition, p.Err)
		}
	}
}

func TestFetchErrors(t *testing.T) {
	f := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	leader := topic.Partitions[0].Leader
	fetcher := newFetcher(t, c)
	change := func(fn func(*kafka.FetchPartition)) kafka.FetchRequest {
		req := fetchFrom(topic, 0)
		fn(&req.Partitions[0])
		return req
	}
	tests := []struct {
		name   string
		broker int32
		req    kafka.FetchRequest
		want   error
	}{
		{"not the leader", 1 - leader, change(func(p *kafka.FetchPartition) { p.LeaderEpoch = -1 }), kafka.ErrNotLeader},
		{"newer epoch", leader, change(func(p *kafka.FetchPartition) { p.LeaderEpoch = 99 }), kafka.ErrUnknownLeaderEpoch},
		{"offset past the end", leader, change(func(p *kafka.FetchPartition) { p.Offset = 7 }), kafka.ErrOffsetOutOfRange},
		{"another incarnation", leader, change(func(p *kafka.FetchPartition) { p.TopicID[0] ^= 1 }), kafka.ErrTopicRecreated},
		{"no such partition", leader, change(func(p *kafka.FetchPartition) { p.Partition = 5 }), kafka.ErrUnknownTopic},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fetchOne(t, fetcher, test.broker, test.req); !errors.Is(got.Err, test.want) {
				t.Errorf("error %v, want %v", got.Err, test.want)
			}
		})
	}
	t.Run("unknown broker", func(t *testing.T) {
		if _, err := fetcher.Fetch(t.Context(), 77, fetchFrom(topic, 0)); !errors.Is(err, kafka.ErrRetriable) {
			t.Errorf("error %v, want ErrRetriable", err)
		}
	})
	t.Run("one id for two names", func(t *testing.T) {
		req := fetchFrom(topic, 0)
		req.Partitions = append(req.Partitions, req.Partitions[0])
		req.Partitions[1].Topic = "u"
		if _, err := fetcher.Fetch(t.Context(), leader, req); err == nil || errors.Is(err, kafka.ErrRetriable) {
			t.Errorf("error %v, want one that is not retriable", err)
		}
	})
}

func TestFetchAfterLeaderMoved(t *testing.T) {
	f := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	before := topicOf(t, c, "t")
	old := before.Partitions[0].Leader
	if err := f.MoveTopicPartition("t", 0, 1-old); err != nil {
		t.Fatal(err)
	}
	fetcher := newFetcher(t, c)
	got := fetchOne(t, fetcher, old, fetchFrom(before, 0))
	if !errors.Is(got.Err, kafka.ErrNotLeader) && !errors.Is(got.Err, kafka.ErrFencedLeaderEpoch) {
		t.Errorf("old leader: %v, want ErrNotLeader or ErrFencedLeaderEpoch", got.Err)
	}
	if got := fetchOne(t, fetcher, 1-old, fetchFrom(before, 0)); !errors.Is(got.Err, kafka.ErrFencedLeaderEpoch) {
		t.Errorf("new leader, old epoch: %v, want ErrFencedLeaderEpoch", got.Err)
	}
	after := topicOf(t, c, "t")
	if after.Partitions[0].Leader != 1-old {
		t.Fatalf("leader %d, want %d", after.Partitions[0].Leader, 1-old)
	}
	if got := fetchOne(t, fetcher, 1-old, fetchFrom(after, 0)); got.Err != nil {
		t.Errorf("new leader, new epoch: %v", got.Err)
	}
}

func TestFetchAfterTopicRecreated(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	fetcher := newFetcher(t, c)
	before := topicOf(t, c, "t")
	if err := f.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if got := fetchOne(t, fetcher, 0, fetchFrom(before, 0)); !errors.Is(got.Err, kafka.ErrTopicRecreated) {
		t.Errorf("deleted: %v, want ErrTopicRecreated", got.Err)
	}
	if err := f.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	if got := fetchOne(t, fetcher, 0, fetchFrom(before, 0)); !errors.Is(got.Err, kafka.ErrTopicRecreated) {
		t.Errorf("recreated: %v, want ErrTopicRecreated", got.Err)
	}
	after := topicOf(t, c, "t")
	if after.ID == before.ID {
		t.Fatalf("id %v did not change", after.ID)
	}
	if got := fetchOne(t, fetcher, 0, fetchFrom(after, 0)); got.Err != nil {
		t.Errorf("new incarnation: %v", got.Err)
	}
}

// What the fake cannot do is answered by hand.
func TestFetchAnswerFields(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	fetcher := newFetcher(t, c)
	f.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		resp := kreq.ResponseKind().(*kmsg.FetchResponse)
		resp.ThrottleMillis = 20
		rt := kmsg.NewFetchResponseTopic()
		rt.TopicID = topic.ID
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.ErrorCode = 6
		rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = 4, 9
		rp.DivergingEpoch.Epoch, rp.DivergingEpoch.EndOffset = 3, 17
		rp.PreferredReadReplica = 2
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	resp, err := fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := resp.Throttle, 20*time.Millisecond; got != want {
		t.Errorf("throttle %v, want %v", got, want)
	}
	got := resp.Partitions[0]
	if !errors.Is(got.Err, kafka.ErrNotLeader) || errors.Is(got.Err, kafka.ErrRetriable) {
		t.Errorf("error %v, want ErrNotLeader alone", got.Err)
	}
	if got.Leader == nil || *got.Leader != (kafka.LeaderHint{Broker: 4, Epoch: 9}) {
		t.Errorf("leader %v, want broker 4 in epoch 9", got.Leader)
	}
	if got.Diverging == nil || *got.Diverging != (kafka.Divergence{Epoch: 3, EndOffset: 17}) {
		t.Errorf("diverging %v, want 17 in epoch 3", got.Diverging)
	}
	if got.PreferredReplica != 2 {
		t.Errorf("preferred replica %d, want 2", got.PreferredReplica)
	}
}

func TestFetchAfterConnectionLost(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	fetcher := newFetcher(t, c)
	f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("close the connection"), true
	})
	if _, err := fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0)); !errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("Fetch = %v, want ErrRetriable", err)
	}
	if got := fetchOne(t, fetcher, 0, fetchFrom(topic, 0)); got.Err != nil {
		t.Errorf("next fetch: %v", got.Err)
	}
	f.Close()
	if _, err := fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0)); !errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("Fetch from a broker that is down = %v, want ErrRetriable", err)
	}
}

// One request is out to a broker at a time, and waiting for one's turn ends
// with the context.
func TestFetchesQueuePerBroker(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	fetcher := newFetcher(t, c)
	long := fetchFrom(topic, 0)
	long.MaxWait = 500 * time.Millisecond
	out := make(chan struct{}, 1)
	f.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		out <- struct{}{}
		return nil, nil, false
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := fetcher.Fetch(t.Context(), 0, long); err != nil {
			t.Errorf("first: %v", err)
		}
	})
	<-out
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := fetcher.Fetch(ctx, 0, fetchFrom(topic, 0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second: %v, want context.DeadlineExceeded", err)
	}
	wg.Wait()
}

// A fetch that is cancelled while it waits for records returns at once, and
// later ones are none the worse for it.
func TestFetchCancelled(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	fetcher := newFetcher(t, c)
	long := fetchFrom(topic, 0)
	long.MaxWait = 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := fetcher.Fetch(ctx, 0, long); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fetch = %v, want context.DeadlineExceeded", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	// It may still meet the connection that the cancelled one left to die.
	_, err := fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0))
	for try := 0; errors.Is(err, kafka.ErrRetriable) && try < 100; try++ {
		time.Sleep(10 * time.Millisecond)
		_, err = fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0))
	}
	if err != nil {
		t.Errorf("next fetch: %v", err)
	}
}

func TestFetchAfterBrokerMoved(t *testing.T) {
	f := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	if err := f.MoveTopicPartition("t", 0, 1); err != nil {
		t.Fatal(err)
	}
	fetcher := newFetcher(t, c)
	if got := fetchOne(t, fetcher, 1, fetchFrom(topicOf(t, c, "t"), 0)); got.Err != nil {
		t.Fatal(got.Err)
	}
	if err := f.RemoveNode(1); err != nil {
		t.Fatal(err)
	}
	if _, err := fetcher.Fetch(t.Context(), 1, fetchFrom(topicOf(t, c, "t"), 0)); !errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("broker gone: %v, want ErrRetriable", err)
	}
	if _, _, err := f.AddNode(1, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.MoveTopicPartition("t", 0, 1); err != nil {
		t.Fatal(err)
	}
	if got := fetchOne(t, fetcher, 1, fetchFrom(topicOf(t, c, "t"), 0)); got.Err != nil {
		t.Errorf("broker back at another address: %v", got.Err)
	}
}

func TestFetcherAfterClose(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	fetcher := newFetcher(t, c)
	fetchOne(t, fetcher, 0, fetchFrom(topic, 0))
	fetcher.Close()
	if _, err := fetcher.Fetch(t.Context(), 0, fetchFrom(topic, 0)); !errors.Is(err, net.ErrClosed) || errors.Is(err, kafka.ErrRetriable) {
		t.Errorf("Fetch after Close = %v, want net.ErrClosed", err)
	}
	c.Close()
	if _, err := c.NewFetcher(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("NewFetcher after Close = %v, want net.ErrClosed", err)
	}
}
