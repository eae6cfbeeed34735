package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"golang.org/x/sync/errgroup"
)

const (
	partitions      = 6
	recordsPerBatch = 140
	// pool is how many different batches there are; a topic repeats them at a
	// distance that no compressor sees.
	pool = 2000
)

var names = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter", "yolanda"}
var cities = []string{"Amsterdam", "Barcelona", "Copenhagen", "Dublin", "Edinburgh", "Florence", "Geneva", "Helsinki", "Istanbul", "Jakarta", "Kyoto", "Lisbon"}

// event is a JSON-like record of about 500 bytes.
func event(r *rand.Rand, n int) []byte {
	b := fmt.Appendf(make([]byte, 0, 600), `{"id":"%016x%016x","sequence":%d,"ts":%d,"customer":{"name":"%s","city":"%s","segment":%d},"items":[`,
		r.Uint64(), r.Uint64(), n, 1_700_000_000_000+int64(n)*37, names[r.IntN(len(names))], cities[r.IntN(len(cities))], r.IntN(9))
	for i := 0; len(b) < 300; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"sku":"%06d","quantity":%d,"price":%d.%02d}`, r.IntN(900_000), 1+r.IntN(9), r.IntN(500), r.IntN(100))
	}
	b = fmt.Appendf(b, `],"total":%d.%02d,"status":"%s","signature":"`, r.IntN(5000), r.IntN(100), []string{"paid", "open", "shipped", "returned"}[r.IntN(4)])
	for len(b) < 496 {
		b = append(b, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[r.IntN(64)])
	}
	return append(b, '"', '}')
}

// batches builds the pool for a codec, records per batch, and returns it with
// its logical size.
func batches(c batch.Codec, count, each int) (list [][]byte, logical int64, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	b, err := batch.NewBuilder(c)
	if err != nil {
		return nil, 0, err
	}
	for i := range count {
		for j := range each {
			value := event(r, i*each+j)
			logical += int64(len(value)) + 8
			b.Append(time.Now().UnixMilli(), batch.NewRecord(fmt.Appendf(nil, "%08d", r.IntN(1e8)), value))
		}
		raw, _, err := b.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
		if err != nil {
			return nil, 0, err
		}
		list = append(list, append([]byte(nil), raw...))
	}
	return list, logical, nil
}

// connect reaches the broker quietly.
func connect(ctx context.Context, bootstrap string) (*kafka.Cluster, error) {
	return kafka.Connect(ctx, kafka.Config{BootstrapServers: []string{bootstrap}, ClientID: "bench"}, slog.New(slog.DiscardHandler))
}

// create makes a topic and returns its id and the leaders of its partitions.
func create(ctx context.Context, c *kafka.Cluster, name string, count int32) (*kafka.Topic, error) {
	forever := "-1"
	res, err := c.CreateTopics(ctx, []kafka.NewTopic{{Name: name, Partitions: count, ReplicationFactor: 1,
		Configs: []kafka.ConfigEntry{{Name: "retention.ms", Value: &forever}}}}, false)
	if err != nil {
		return nil, err
	}
	if res[0].Err != nil {
		return nil, res[0].Err
	}
	return find(ctx, c, name)
}

func find(ctx context.Context, c *kafka.Cluster, name string) (*kafka.Topic, error) {
	for range 600 { // a broker takes a while for thousands of partitions
		topics, err := c.Topics(ctx, []string{name})
		if err == nil && topics[0].Err == nil {
			ready := true
			for _, p := range topics[0].Partitions {
				ready = ready && p.Leader >= 0
			}
			if ready {
				return &topics[0], nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("topic %s has no leaders", name)
}

// produce sends count batches out of the pool to each partition in turn, one
// batch per request, one request in flight per partition: the bare loop.
func produce(ctx context.Context, c *kafka.Cluster, t *kafka.Topic, list [][]byte, count int) error {
	g, ctx := errgroup.WithContext(ctx)
	parts := len(t.Partitions)
	p, err := c.NewProducer()
	if err != nil {
		return err
	}
	defer p.Close()
	id, epoch, err := p.InitProducerID(ctx)
	if err != nil {
		return err
	}
	for k := range t.Partitions {
		g.Go(func() error {
			var seq int32
			var buf []byte
			for i := k; i < count; i += parts {
				buf = append(buf[:0], list[i%len(list)]...)
				h, err := batch.ParseHeader(buf)
				if err != nil {
					return err
				}
				batch.Rewrite(buf, batch.ProducerIdentity{ID: id, Epoch: epoch, Sequence: seq})
				seq += h.Count
				if err := produceOne(ctx, p, t, k, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// produceOne sends one batch until it is acknowledged: a partition that was just
// made may have a leader that does not know it yet.
func produceOne(ctx context.Context, p *kafka.Producer, t *kafka.Topic, k int, raw []byte) error {
	for {
		res, err := p.Produce(ctx, t.Partitions[k].Leader, []kafka.ProducePartition{{Topic: t.Name, TopicID: t.ID, Partition: int32(k), Batch: raw}}, 30*time.Second)
		if err == nil {
			err = res[0].Err
		}
		if !errors.Is(err, kafka.ErrNotLeader) && !errors.Is(err, kafka.ErrRetriable) && !errors.Is(err, kafka.ErrUnknownTopic) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
