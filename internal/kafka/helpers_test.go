package kafka_test

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

var quiet = slog.New(slog.DiscardHandler)

// fake starts a cluster in this process.
func fake(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	f, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatalf("start fake cluster: %v", err)
	}
	t.Cleanup(f.Close)
	return f
}

func connect(t *testing.T, cfg kafka.Config) *kafka.Cluster {
	t.Helper()
	c, err := kafka.Connect(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func connectFake(t *testing.T, f *kfake.Cluster) *kafka.Cluster {
	t.Helper()
	return connect(t, kafka.Config{BootstrapServers: f.ListenAddrs()})
}

func newFetcher(t *testing.T, c *kafka.Cluster) *kafka.Fetcher {
	t.Helper()
	f, err := c.NewFetcher()
	if err != nil {
		t.Fatalf("NewFetcher: %v", err)
	}
	t.Cleanup(f.Close)
	return f
}

func newProducer(t *testing.T, c *kafka.Cluster) *kafka.Producer {
	t.Helper()
	p, err := c.NewProducer()
	if err != nil {
		t.Fatalf("NewProducer: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// topicOf reads the metadata of one topic, which has to be there.
func topicOf(t *testing.T, c *kafka.Cluster, name string) kafka.Topic {
	t.Helper()
	topics, err := c.Topics(t.Context(), []string{name})
	if err != nil {
		t.Fatalf("Topics: %v", err)
	}
	if len(topics) != 1 || topics[0].Err != nil {
		t.Fatalf("Topics(%s) = %+v, want this topic", name, topics)
	}
	return topics[0]
}

// anonymous is the identity of a batch without idempotence.
var anonymous = batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1}

// build makes one batch with the given values.
func build(t *testing.T, codec batch.Codec, id batch.ProducerIdentity, values ...string) []byte {
	t.Helper()
	b, err := batch.NewBuilder(codec)
	if err != nil {
		t.Fatalf("NewBuilder: %v", err)
	}
	now := time.Now().UnixMilli()
	for i, v := range values {
		b.Append(now+int64(i), batch.NewRecord([]byte("k"), []byte(v)))
	}
	raw, _, err := b.Finish(id)
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return append([]byte(nil), raw...)
}

// produceTo sends one batch to partition 0 and returns what became of it.
func produceTo(t *testing.T, p *kafka.Producer, topic kafka.Topic, raw []byte) kafka.Produced {
	t.Helper()
	part := kafka.ProducePartition{Topic: topic.Name, TopicID: topic.ID, Partition: 0, Batch: raw}
	out, err := p.Produce(t.Context(), topic.Partitions[0].Leader, []kafka.ProducePartition{part}, 5*time.Second)
	if err != nil {
		t.Fatalf("Produce: %v", err)
	}
	return out[0]
}

// fetchFrom asks for partition 0 from an offset on.
func fetchFrom(topic kafka.Topic, offset int64) kafka.FetchRequest {
	return kafka.FetchRequest{
		MaxWait: 100 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20,
		Partitions: []kafka.FetchPartition{{
			Topic: topic.Name, TopicID: topic.ID, Partition: 0, Offset: offset,
			LeaderEpoch: topic.Partitions[0].LeaderEpoch, LastFetchedEpoch: -1, MaxBytes: 1 << 20,
		}},
	}
}

// fetchOne returns the answer for the only partition of the request.
func fetchOne(t *testing.T, f *kafka.Fetcher, broker int32, req kafka.FetchRequest) kafka.FetchedPartition {
	t.Helper()
	resp, err := f.Fetch(t.Context(), broker, req)
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if len(resp.Partitions) != 1 {
		t.Fatalf("Fetch answered for %d partitions, want 1", len(resp.Partitions))
	}
	return resp.Partitions[0]
}

// record is a list that a fake fills and a test reads.
type record[T any] struct {
	mu   sync.Mutex
	list []T
}

func (r *record[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, v)
}

func (r *record[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}
