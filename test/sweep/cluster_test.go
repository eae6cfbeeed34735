// Package sweep lets each of the calls that a fixed workload makes to its store
// fail in each way, and the process die before and after each.
package sweep

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

var quiet = slog.New(slog.DiscardHandler)

// topics are those of the source, with their partitions: 8 in all.
var topics = map[string]int32{"orders": 3, "packed": 2, "ledger": 3}

// truth is what a read_committed consumer sees, by "topic-partition".
type truth map[string][]string

func (t truth) clone() truth {
	c := make(truth)
	for place, list := range t {
		c[place] = slices.Clone(list)
	}
	return c
}

// compare says where got is not what it should be.
func (t truth) compare(got truth) error {
	for place, want := range t {
		if !slices.Equal(got[place], want) {
			return fmt.Errorf("%s: there are %d records, want %d: %.200q, want %.200q", place, len(got[place]), len(want), got[place], want)
		}
	}
	for place := range got {
		if t[place] == nil {
			return fmt.Errorf("%s: %d records, want none", place, len(got[place]))
		}
	}
	return nil
}

// origin is the cluster that is backed up.
type origin struct {
	fake    *kfake.Cluster
	cluster *kafka.Cluster
	plain   *kgo.Client
	packed  *kgo.Client
	truth   truth
	made    int
}

func connect(ctx context.Context, f *kfake.Cluster) (*kafka.Cluster, error) {
	return kafka.Connect(ctx, kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
}

func newClient(f *kfake.Cluster, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(),
	}, opts...)...)
}

func newOrigin(ctx context.Context) (o *origin, err error) {
	o = &origin{truth: make(truth)}
	if o.fake, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("source")); err != nil {
		return nil, err
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if err := o.fake.CreateTopic(topic, topics[topic], map[string]string{"retention.ms": "-1"}); err != nil {
			return nil, err
		}
	}
	if o.cluster, err = connect(ctx, o.fake); err != nil {
		return nil, err
	}
	if o.plain, err = newClient(o.fake, kgo.ProducerBatchCompression(kgo.NoCompression())); err != nil {
		return nil, err
	}
	o.packed, err = newClient(o.fake, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	return o, err
}

func (o *origin) close() {
	o.plain.Close()
	o.packed.Close()
	o.cluster.Close()
	o.fake.Close()
}

// records makes n of them; those that are kept are part of the truth.
func (o *origin) records(topic string, partition int32, n int, keep bool) (list []*kgo.Record) {
	for range n {
		o.made++
		r := &kgo.Record{
			Topic: topic, Partition: partition, Timestamp: time.UnixMilli(1_700_000_000_000 + int64(o.made)),
			Value: fmt.Appendf(nil, "record %d of %s-%d", o.made, topic, partition),
		}
		list = append(list, r)
		if place := fmt.Sprintf("%s-%d", topic, partition); keep {
			o.truth[place] = append(o.truth[place], string(r.Value))
		}
	}
	return list
}

// day is what happens between two steps: records in all partitions, a transaction
// that is committed and one that is aborted.
func (o *origin) day(ctx context.Context) error {
	for p := range topics["orders"] {
		if err := o.plain.ProduceSync(ctx, o.records("orders", p, 3, true)...).FirstErr(); err != nil {
			return err
		}
	}
	for p := range topics["packed"] {
		if err := o.packed.ProduceSync(ctx, o.records("packed", p, 4, true)...).FirstErr(); err != nil {
			return err
		}
	}
	cl, err := newClient(o.fake, kgo.TransactionalID(fmt.Sprint("ledger-", o.made)), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, commit := range []bool{true, false} {
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		for p := range topics["ledger"] {
			if err := cl.ProduceSync(ctx, o.records("ledger", p, 2, commit)...).FirstErr(); err != nil {
				return err
			}
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			return err
		}
	}
	return nil
}

// consumed reads all topics of a target, as a consumer does.
func consumed(ctx context.Context, f *kfake.Cluster, suffix string) (truth, error) {
	from := make(map[string]map[int32]kgo.Offset)
	missing := 0
	for topic, partitions := range topics {
		from[topic+suffix] = make(map[int32]kgo.Offset)
		for p := range partitions {
			info := f.PartitionInfo(topic+suffix, p)
			if info == nil {
				return truth{}, nil
			}
			from[topic+suffix][p] = kgo.NewOffset().At(0)
			missing += int(info.HighWatermark)
		}
	}
	cl, err := newClient(f, kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	got := make(truth)
	for missing > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			place := fmt.Sprintf("%s-%d", r.Topic[:len(r.Topic)-len(suffix)], r.Partition)
			got[place] = append(got[place], string(r.Value))
			missing--
		})
	}
	return got, nil
}
