//go:build e2e

package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func testGroupOffsets(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	create(t, c, "grouped", 1)
	want := []kafka.GroupOffset{{Topic: "grouped", Offset: 42, LeaderEpoch: -1, Metadata: "m"}}
	if err := c.CommitOffsets(t.Context(), "simple", []kafka.GroupOffset{{Topic: "grouped", Offset: 42, LeaderEpoch: 9, Metadata: "m"}}); err != nil {
		t.Fatal(err)
	}
	all, err := c.GroupOffsets(t.Context(), []string{"simple", "missing"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(all["simple"], want) || len(all["missing"]) != 0 {
		t.Errorf("offsets %+v, want %+v and none of missing", all, want)
	}
	err = c.CommitOffsets(t.Context(), "simple", []kafka.GroupOffset{{Topic: "nowhere", Offset: 1}})
	if !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("commit for a missing topic: %v, want ErrUnknownTopic", err)
	}

	member := b.Client(t, kgo.ConsumerGroup("busy"), kgo.ConsumeTopics("grouped"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go member.PollFetches(ctx)
	var groups []kafka.Group
	for range 100 {
		if groups, err = c.Groups(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(groups, func(g kafka.Group) bool { return g.Name == "busy" }); i >= 0 && groups[i].State == "Stable" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, want := range []kafka.Group{
		{Name: "busy", State: "Stable", Type: "classic", ProtocolType: "consumer"},
		{Name: "simple", State: "Empty", Type: "classic", ProtocolType: ""},
	} {
		if !slices.Contains(groups, want) {
			t.Errorf("groups %+v lack %+v", groups, want)
		}
	}
	err = c.CommitOffsets(t.Context(), "busy", []kafka.GroupOffset{{Topic: "grouped", Offset: 1}})
	t.Logf("error: %v", err)
	if !errors.Is(err, kafka.ErrGroupActive) {
		t.Errorf("commit for a group with members: %v, want ErrGroupActive", err)
	}
}

// A transaction has committed an offset and is still open.
func testOpenTransaction(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	create(t, c, "transacted", 1)
	if err := c.CommitOffsets(t.Context(), "txn-group", []kafka.GroupOffset{{Topic: "transacted", Offset: 3}}); err != nil {
		t.Fatal(err)
	}
	client := b.Client(t)
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMillis = kmsg.StringPtr("txn"), 60000
	producer, err := begin.RequestWith(t.Context(), client)
	if err != nil || producer.ErrorCode != 0 {
		t.Fatalf("begin transaction: %v, %v", kerr.ErrorForCode(producer.ErrorCode), err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.Group = "txn", "txn-group"
	add.ProducerID, add.ProducerEpoch = producer.ProducerID, producer.ProducerEpoch
	if resp, err := add.RequestWith(t.Context(), client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("add offsets: %+v, %v", resp, err)
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.Group, commit.Generation = "txn", "txn-group", -1
	commit.ProducerID, commit.ProducerEpoch = producer.ProducerID, producer.ProducerEpoch
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "transacted"
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Offset = 8
	topic.Partitions = append(topic.Partitions, part)
	commit.Topics = append(commit.Topics, topic)
	if resp, err := commit.RequestWith(t.Context(), client); err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("commit in the transaction: %+v, %v", resp, err)
	}
	expect := func(want kafka.GroupOffset) {
		t.Helper()
		all, err := c.GroupOffsets(t.Context(), []string{"txn-group"})
		if err != nil {
			t.Fatal(err)
		}
		if got := all["txn-group"]; !slices.Equal(got, []kafka.GroupOffset{want}) {
			t.Errorf("offsets %+v, want %+v", got, want)
		}
	}
	expect(kafka.GroupOffset{Topic: "transacted", Offset: 3, LeaderEpoch: -1, Unstable: true})
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.Commit = "txn", true
	end.ProducerID, end.ProducerEpoch = producer.ProducerID, producer.ProducerEpoch
	if resp, err := end.RequestWith(t.Context(), client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("end transaction: %+v, %v", resp, err)
	}
	expect(kafka.GroupOffset{Topic: "transacted", Offset: 8, LeaderEpoch: -1})
}

// freeze pauses a broker and returns when all its threads stand still, which on
// a busy machine is a while after the signal.
func freeze(t *testing.T, b *cluster.Cluster, id int) {
	t.Helper()
	if err := b.Pause(id); err != nil {
		t.Fatal(err)
	}
	threads := fmt.Sprintf("/proc/%d/task/*/stat", b.PID(id))
	for range 1000 {
		moving := false
		stats, err := filepath.Glob(threads)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range stats {
			stat, _ := os.ReadFile(file)
			moving = moving || !strings.Contains(string(stat), ") T ")
		}
		if !moving {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("broker %d does not stand still", id)
}

// A frozen follower holds the high watermark back. The log end is what counts
// for a restore, and a batch whose answer timed out is not to be lost or
// doubled.
func TestBrokerWithFrozenFollower(t *testing.T) {
	b := cluster.Start(t, cluster.Options{Brokers: 3, Properties: map[string]string{
		"broker.session.timeout.ms": "60000", "replica.lag.time.max.ms": "60000",
	}})
	c := connect(t, at(b.Bootstrap()...))
	topic := create(t, c, "t", 3)
	leader := topic.Partitions[0].Leader
	follower := int(leader+1) % 3
	p, fetcher := newProducer(t, c), newFetcher(t, c)
	id, epoch, err := p.InitProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(sequence int32) []byte {
		return build(t, batch.LZ4, batch.ProducerIdentity{ID: id, Epoch: epoch, Sequence: sequence}, "x", "y")
	}
	eventually(t, func() error { return produceTo(t, p, topic, at(0)).Err })

	freeze(t, b, follower)
	part := []kafka.ProducePartition{{Topic: "t", TopicID: topic.ID, Batch: at(2)}}
	out, err := p.Produce(t.Context(), leader, part, time.Second)
	if err != nil || !errors.Is(out[0].Err, kafka.ErrRetriable) {
		t.Errorf("Produce = %+v, %v, want ErrRetriable", out, err)
	}
	if got := endOf(t, c, "t"); got != 4 {
		t.Errorf("end offset %d, want 4", got)
	}
	if got := fetchOne(t, fetcher, leader, fetchFrom(topic, 0)); got.HighWatermark != 2 {
		t.Errorf("high watermark %d, want 2", got.HighWatermark)
	}
	if err := b.Resume(follower); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out, err := p.Produce(t.Context(), leader, part, 5*time.Second)
		if err != nil {
			return err
		}
		if out[0].Err == nil && out[0].BaseOffset != 2 {
			t.Errorf("again: base offset %d, want 2", out[0].BaseOffset)
		}
		return out[0].Err
	})
	if got := endOf(t, c, "t"); got != 4 {
		t.Errorf("end offset %d, want 4", got)
	}
}
