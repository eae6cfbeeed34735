//go:build e2e

package kafka_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// The oldest and the newest broker must look the same from here.
func TestBroker(t *testing.T) {
	for _, version := range []string{cluster.Kafka43, cluster.Kafka39} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := cluster.Start(t, cluster.Options{Version: version})
			c := connect(t, at(b.Bootstrap()...))
			t.Run("raw batches", func(t *testing.T) { testRawBatches(t, b, c) })
			t.Run("idempotence", func(t *testing.T) { testIdempotence(t, c) })
			t.Run("refusals", func(t *testing.T) { testRefusals(t, c) })
			t.Run("recreation", func(t *testing.T) { testRecreation(t, b, c) })
			t.Run("divergence", func(t *testing.T) { testDivergence(t, c) })
			t.Run("local start", func(t *testing.T) { testLocalStart(t, c) })
			t.Run("topics", func(t *testing.T) { testTopics(t, c) })
			t.Run("group offsets", func(t *testing.T) { testGroupOffsets(t, b, c) })
			t.Run("open transaction", func(t *testing.T) { testOpenTransaction(t, b, c) })
			if version == cluster.Kafka43 {
				t.Run("share groups", func(t *testing.T) { testShareGroups(t, b, c) })
				switchOffShareGroups(t, b)
			}
			t.Run("no share groups", func(t *testing.T) { testNoShareGroups(t, c) })
		})
	}
}

// create makes a topic with one partition and waits until it has a leader.
func create(t *testing.T, c *kafka.Cluster, name string, replicas int16, configs ...kafka.ConfigEntry) kafka.Topic {
	t.Helper()
	created, err := c.CreateTopics(t.Context(), []kafka.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: replicas, Configs: configs}}, false)
	if err != nil || created[0].Err != nil {
		t.Fatalf("CreateTopics(%s) = %+v, %v", name, created, err)
	}
	for range 100 {
		topics, err := c.Topics(t.Context(), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		if topics[0].Err == nil && topics[0].Partitions[0].Err == nil {
			if topics[0].ID != created[0].ID {
				t.Fatalf("id %v in the metadata, want %v as created", topics[0].ID, created[0].ID)
			}
			return topics[0]
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("topic %s has no leader", name)
	return kafka.Topic{}
}

// eventually repeats fn while what it fetches or produces is not there yet: a
// leader exists a moment before its broker knows.
func eventually(t *testing.T, fn func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = fn(); err == nil || !(errors.Is(err, kafka.ErrRetriable) || errors.Is(err, kafka.ErrNotLeader) || errors.Is(err, kafka.ErrUnknownLeaderEpoch) || errors.Is(err, kafka.ErrUnknownTopic) || errors.Is(err, kafka.ErrTopicRecreated)) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the broker serves is what lies in its log, and what we produce of it is
// stored as it is.
func testRawBatches(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	source, target := create(t, c, "source", 1), create(t, c, "target", 1)
	client := b.Client(t, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	for i := range 20 {
		records := make([]*kgo.Record, 50)
		for j := range records {
			records[j] = &kgo.Record{Topic: "source", Key: []byte("key"), Value: bytes.Repeat([]byte{byte(i), byte(j)}, 100)}
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	fetcher := newFetcher(t, c)
	fetched := fetchOne(t, fetcher, 0, fetchFrom(source, 0))
	if fetched.Err != nil || fetched.HighWatermark != 1000 || fetched.LastStableOffset != 1000 || fetched.LogStartOffset != 0 {
		t.Fatalf("fetched %v, offsets %d %d %d, want 1000 1000 0", fetched.Err, fetched.HighWatermark, fetched.LastStableOffset, fetched.LogStartOffset)
	}
	segment := segmentOf(t, b, "source")
	if !bytes.Equal(fetched.Records, segment) {
		t.Fatalf("fetched %d bytes, and they are not the %d of the segment file", len(fetched.Records), len(segment))
	}

	p := newProducer(t, c)
	id, epoch, err := p.InitProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var next int64
	var sequence int32
	for rest := bytes.Clone(fetched.Records); len(rest) > 0; {
		header, raw, after, err := batch.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if header.Codec() != batch.LZ4 {
			t.Fatalf("batch at %d is %v, want lz4", header.BaseOffset, header.Codec())
		}
		rest = after
		batch.Rewrite(raw, batch.ProducerIdentity{ID: id, Epoch: epoch, Sequence: sequence})
		eventually(t, func() error {
			got := produceTo(t, p, target, raw)
			if got.Err == nil && got.BaseOffset != next {
				t.Fatalf("base offset %d, want %d", got.BaseOffset, next)
			}
			return got.Err
		})
		next += int64(header.Count)
		sequence += header.Count
	}
	restored := fetchOne(t, fetcher, 0, fetchFrom(target, 0))
	if got, want := payloads(t, restored.Records), payloads(t, segment); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d restored payloads differ from the %d of the source", len(got), len(want))
	}
	if got := endOf(t, c, "target"); got != 1000 {
		t.Errorf("end offset %d, want 1000", got)
	}
}

// segmentOf returns the content of the only segment file.
func segmentOf(t *testing.T, b *cluster.Cluster, topic string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.PartitionDir(0, topic, 0), strings.Repeat("0", 20)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// payloads is everything in the batches that a restore must not change.
func payloads(t *testing.T, records []byte) [][]byte {
	t.Helper()
	var all [][]byte
	for len(records) > 0 {
		_, raw, rest, err := batch.Next(records)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw[batch.HeaderSize:], raw[23:43]) // records; last offset delta and timestamps
		records = rest
	}
	return all
}

func testIdempotence(t *testing.T, c *kafka.Cluster) {
	topic := create(t, c, "idempotence", 1)
	p := newProducer(t, c)
	id, epoch, err := p.InitProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(sequence int32) []byte {
		return build(t, batch.Zstd, batch.ProducerIdentity{ID: id, Epoch: epoch, Sequence: sequence}, "x", "y")
	}
	first, second := at(0), at(2)
	eventually(t, func() error { return produceTo(t, p, topic, first).Err })
	again := newProducer(t, c) // as after a crash
	for _, s := range []struct {
		name string
		raw  []byte
		base int64
		err  error
	}{
		{"second", second, 2, nil},
		{"first again", first, 0, nil},
		{"second again", second, 2, nil},
		{"skips ahead", at(8), -1, kafka.ErrOutOfOrderSequence},
		{"third", at(4), 4, nil},
	} {
		if got := produceTo(t, again, topic, s.raw); got.BaseOffset != s.base || !errors.Is(got.Err, s.err) {
			t.Errorf("%s: %+v, want base offset %d and error %v", s.name, got, s.base, s.err)
		}
	}
	if got := endOf(t, c, "idempotence"); got != 6 {
		t.Errorf("end offset %d, want 6", got)
	}
}

func testRefusals(t *testing.T, c *kafka.Cluster) {
	setting := func(name, value string) kafka.ConfigEntry { return kafka.ConfigEntry{Name: name, Value: &value} }
	strict := create(t, c, "strict", 1, setting("max.message.bytes", "1000"), setting("message.timestamp.after.max.ms", "1000"), setting("cleanup.policy", "compact"))
	good := build(t, batch.None, anonymous, "v")
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-1] ^= 1
	p := newProducer(t, c)
	eventually(t, func() error { return produceTo(t, p, strict, good).Err })
	for _, test := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"too large", build(t, batch.None, anonymous, strings.Repeat("v", 1000)), kafka.ErrMessageTooLarge},
		{"wrong crc", corrupt, kafka.ErrCorruptBatch},
		{"in the future", buildAt(t, time.Now().Add(time.Hour), []byte("k")), kafka.ErrInvalidTimestamp},
		{"null key on a compacted topic", buildAt(t, time.Now(), nil), kafka.ErrInvalidRecord},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := produceTo(t, p, strict, test.raw)
			t.Logf("error: %v", got.Err)
			if !errors.Is(got.Err, test.want) || errors.Is(got.Err, kafka.ErrRetriable) {
				t.Errorf("%v, want %v", got.Err, test.want)
			}
		})
	}
	if got := endOf(t, c, "strict"); got != 1 {
		t.Errorf("end offset %d, want 1", got)
	}
}

func buildAt(t *testing.T, at time.Time, key []byte) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.None)
	if err != nil {
		t.Fatal(err)
	}
	b.Append(at.UnixMilli(), batch.NewRecord(key, []byte("v")))
	raw, _, err := b.Finish(anonymous)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func testRecreation(t *testing.T, b *cluster.Cluster, c *kafka.Cluster) {
	before := create(t, c, "recreated", 1)
	p, fetcher := newProducer(t, c), newFetcher(t, c)
	raw := build(t, batch.None, anonymous, "v")
	eventually(t, func() error { return produceTo(t, p, before, raw).Err })
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr("recreated")
	req.TopicNames, req.Topics = []string{"recreated"}, append(req.Topics, topic)
	if _, err := req.RequestWith(t.Context(), b.Client(t)); err != nil {
		t.Fatal(err)
	}
	var after kafka.Topic
	for range 100 { // until the name is free
		created, err := c.CreateTopics(t.Context(), []kafka.NewTopic{{Name: "recreated", Partitions: 1, ReplicationFactor: 1}}, false)
		if err != nil {
			t.Fatal(err)
		}
		if created[0].Err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	eventually(t, func() error {
		topics, err := c.Topics(t.Context(), []string{"recreated"})
		if err != nil {
			return err
		}
		after = topics[0]
		if after.Err == nil && after.ID != before.ID {
			return after.Partitions[0].Err
		}
		return kafka.ErrRetriable
	})
	eventually(t, func() error { return fetchOne(t, fetcher, 0, fetchFrom(after, 0)).Err })
	if got := fetchOne(t, fetcher, 0, fetchFrom(before, 0)); !errors.Is(got.Err, kafka.ErrTopicRecreated) {
		t.Errorf("fetch by the old id: %v, want ErrTopicRecreated", got.Err)
	}
}

// The broker compares the epoch of what we have with its log.
func testDivergence(t *testing.T, c *kafka.Cluster) {
	topic := create(t, c, "diverging", 1)
	p, fetcher := newProducer(t, c), newFetcher(t, c)
	eventually(t, func() error { return produceTo(t, p, topic, build(t, batch.None, anonymous, "a", "b", "c")).Err })
	epoch := topic.Partitions[0].LeaderEpoch
	req := fetchFrom(topic, 3)
	req.Partitions[0].LastFetchedEpoch = epoch
	if got := fetchOne(t, fetcher, 0, req); got.Err != nil || got.Diverging != nil {
		t.Errorf("in line: %+v, want nothing diverging", got)
	}
	if got := fetchOne(t, fetcher, 0, fetchFrom(topic, 5)); !errors.Is(got.Err, kafka.ErrOffsetOutOfRange) || got.LogStartOffset != -1 {
		t.Errorf("past the end, without the epoch: %v with log start %d, want ErrOffsetOutOfRange and none", got.Err, got.LogStartOffset)
	}
	req.Partitions[0].Offset = 5
	if got := fetchOne(t, fetcher, 0, req); got.Diverging == nil || *got.Diverging != (kafka.Divergence{Epoch: epoch, EndOffset: 3}) {
		t.Errorf("past the end: error %v, diverging %v, want epoch %d to end at 3", got.Err, got.Diverging, epoch)
	}
}

// A log without tiered storage is on the leader's disk from its start.
func testLocalStart(t *testing.T, c *kafka.Cluster) {
	create(t, c, "local", 1)
	got, err := c.ListLocalStartOffsets(t.Context(), []kafka.TopicPartition{{Topic: "local"}})
	if err != nil || got[0].Err != nil || got[0].Offset != 0 {
		t.Errorf("local start %+v, %v, want offset 0", got, err)
	}
}

func testTopics(t *testing.T, c *kafka.Cluster) {
	retention := "123456"
	create(t, c, "configured", 1, kafka.ConfigEntry{Name: "retention.ms", Value: &retention})
	got, err := c.TopicConfigs(t.Context(), []string{"configured", "source"})
	if err != nil {
		t.Fatal(err)
	}
	if entries, want := entriesOf(got["configured"]), []string{"retention.ms=123456"}; !slices.Equal(entries, want) || len(got["source"]) != 0 {
		t.Errorf("configs %v and %v, want %v and none", entries, got["source"], want)
	}
	effective, err := c.EffectiveTopicConfig(t.Context(), "configured")
	if err != nil || effective["retention.ms"] != "123456" || effective["max.message.bytes"] == "" {
		t.Errorf("effective config %v, %v", effective, err)
	}
	if err := c.AlterTopicConfigs(t.Context(), "configured", []kafka.ConfigChange{{Name: "retention.ms"}}); err != nil {
		t.Fatal(err)
	}
	bad := "no number"
	if err := c.AlterTopicConfigs(t.Context(), "configured", []kafka.ConfigChange{{Name: "retention.ms", Value: &bad}}); err == nil {
		t.Error("an invalid value was accepted")
	} else {
		t.Logf("error: %v", err)
	}
	exists, err := c.CreateTopics(t.Context(), []kafka.NewTopic{
		{Name: "configured", Partitions: 1, ReplicationFactor: 1}, {Name: "replicas", Partitions: 1, ReplicationFactor: 5},
	}, true)
	if err != nil || !errors.Is(exists[0].Err, kafka.ErrTopicExists) || exists[1].Err == nil {
		t.Errorf("CreateTopics = %+v, %v, want ErrTopicExists and too few brokers", exists, err)
	}
	rights, err := c.TopicRights(t.Context(), []string{"configured", "missing"})
	if err != nil || !rights["configured"].Rights.Has(kafka.OpRead) || !errors.Is(rights["missing"].Err, kafka.ErrUnknownTopic) {
		t.Errorf("TopicRights = %+v, %v, want Read and ErrUnknownTopic", rights, err)
	}
	if all, err := c.ClusterRights(t.Context()); err != nil || !all.Has(kafka.OpAlter) {
		t.Errorf("ClusterRights = %v, %v, want Alter among them", all, err)
	}
}
