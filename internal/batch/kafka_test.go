package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// These tests hold the package against franz-go's codec and an in-process broker.

var kgoCodecs = map[batch.Codec]kgo.CompressionCodec{
	batch.None:   kgo.NoCompression(),
	batch.Gzip:   kgo.GzipCompression(),
	batch.Snappy: kgo.SnappyCompression(),
	batch.LZ4:    kgo.Lz4Compression(),
	batch.Zstd:   kgo.ZstdCompression(),
}

// kgoDecode decodes one batch the way franz-go's consumer does.
func kgoDecode(t testing.TB, raw []byte) []record {
	t.Helper()
	p, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{KeepControlRecords: true},
		&kmsg.FetchResponseTopicPartition{RecordBatches: raw}, kgo.DefaultDecompressor(), nil)
	if p.Err != nil {
		t.Fatalf("franz-go: %v", p.Err)
	}
	return fromKgo(p.Records)
}

func fromKgo(records []*kgo.Record) []record {
	var all []record
	for _, r := range records {
		got := record{offset: r.Offset, timestamp: r.Timestamp.UnixMilli(), key: r.Key, value: r.Value}
		for _, h := range r.Headers {
			got.headers = append(got.headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		all = append(all, got)
	}
	return all
}

// TestFranzDecodesWhatWeBuild also says that both decoders agree.
func TestFranzDecodesWhatWeBuild(t *testing.T) {
	b, want := shapes()
	raw := encode(b)
	for i := range want {
		want[i].offset, want[i].attributes = int64(i), 0
	}
	// franz-go keeps a timestamp in nanoseconds, in which the extreme ones overflow.
	wantFranz := slices.Clone(want)
	for i := range wantFranz {
		wantFranz[i].timestamp = time.Unix(0, want[i].timestamp*1e6).UnixMilli()
	}
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			builder := newBuilder(t, c)
			err := batch.NewDecoder().Decode(raw, func(r *batch.Record) error {
				r.Attributes = 0 // franz-go interprets them
				builder.Append(r.Timestamp, r)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			built, _, err := builder.Finish(identity)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, kgoDecode(t, built), wantFranz)
			compare(t, mustDecode(t, built), want)
		})
	}
}

// cluster is one fake broker and the topic ids that newer requests need.
type cluster struct {
	t      *testing.T
	client *kgo.Client
	ids    map[string][16]byte
}

func newCluster(t *testing.T, topics ...string) *cluster {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	c := &cluster{t: t, ids: make(map[string][16]byte)}
	c.client = c.connect(fake.ListenAddrs())
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(topic)})
	}
	resp, err := req.RequestWith(t.Context(), c.client)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range resp.Topics {
		c.ids[*topic.Topic] = topic.TopicID
	}
	return c
}

func (c *cluster) connect(addrs []string, opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addrs...), kgo.DisableClientMetrics())...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// with returns another client of the same cluster.
func (c *cluster) with(opts ...kgo.Opt) *kgo.Client {
	return c.connect(c.client.OptValue(kgo.SeedBrokers).([]string), opts...)
}

// fetch returns the bytes of partition 0 of topic from its beginning.
func (c *cluster) fetch(topic string) []byte {
	c.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis = 64<<20, 100
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, c.ids[topic]
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes = 64 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := c.client.Broker(0).Request(c.t.Context(), req)
	if err != nil {
		c.t.Fatal(err)
	}
	p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		c.t.Fatal(err)
	}
	return p.RecordBatches
}

// produce appends one batch to partition 0 of topic.
func (c *cluster) produce(topic string, raw []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, c.ids[topic]
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = bytes.Clone(raw)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := c.client.Broker(0).Request(c.t.Context(), req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// TestFranzToBrokerToUs has franz-go produce, reads the log as it lies on the broker, and sends it on into a second
// topic: rewritten, and rebuilt.
func TestFranzToBrokerToUs(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			cl := newCluster(t, "in", "rewritten", "rebuilt")
			want := fromKgo(produceRecords(t, cl.with(kgo.ProducerBatchCompression(kgoCodecs[c]), kgo.DefaultProduceTopic("in"))))

			builder, d := newBuilder(t, c), batch.NewDecoder()
			var got []record
			var seen batch.Codec
			for rest := cl.fetch("in"); len(rest) > 0; {
				var h batch.Header
				var raw []byte
				h, raw, rest = mustNext(t, rest)
				seen = max(seen, h.Codec())
				all, err := decode(d, raw)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, all...)
				if err := d.Decode(raw, func(r *batch.Record) error { builder.Append(r.Timestamp, r); return nil }); err != nil {
					t.Fatal(err)
				}
				// Without idempotence: a fake broker checks ids it has not given out.
				batch.Rewrite(raw, batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
				if err := cl.produce("rewritten", raw); err != nil {
					t.Fatalf("produce rewritten batch: %v", err)
				}
			}
			if seen != c {
				t.Fatalf("the producer did not use %v", c)
			}
			compare(t, got, want)
			raw, _, err := builder.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
			if err != nil {
				t.Fatal(err)
			}
			if err := cl.produce("rebuilt", raw); err != nil {
				t.Fatalf("produce rebuilt batch: %v", err)
			}
			for _, topic := range []string{"rewritten", "rebuilt"} {
				compare(t, kgoDecode(t, cl.fetch(topic)), want)
			}
		})
	}
}

// produceRecords sends records of many shapes, in several batches, and returns them with their offsets.
func produceRecords(t *testing.T, client *kgo.Client) []*kgo.Record {
	t.Helper()
	var all []*kgo.Record
	for i := range 300 {
		r := &kgo.Record{Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i%7)<<33)}
		if i%3 > 0 {
			r.Key = bytes.Repeat([]byte("k"), i%3-1)
		}
		if i%4 > 0 {
			r.Value = bytes.Repeat([]byte(fmt.Sprint("value", i)), i%4*i)
		}
		for j := range i % 5 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "h", Value: [][]byte{nil, {}, {0xff}}[j%3]})
		}
		all = append(all, r)
	}
	for part := all; len(part) > 0; part = part[100:] {
		if err := client.ProduceSync(t.Context(), part[:100]...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range all {
		if r.Key != nil && len(r.Key) == 0 {
			r.Key = []byte{}
		}
	}
	return all
}

func TestMarkersOfATransactionalProducer(t *testing.T) {
	cl := newCluster(t, "in")
	producer := cl.with(kgo.TransactionalID("txn"), kgo.DefaultProduceTopic("in"))
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := inTransaction(t.Context(), producer, commit); err != nil {
			t.Fatal(err)
		}
	}
	var got []batch.ControlType
	for rest := cl.fetch("in"); len(rest) > 0; {
		var h batch.Header
		var raw []byte
		h, raw, rest = mustNext(t, rest)
		if !h.IsTransactional() {
			t.Errorf("batch at %d is not transactional", h.BaseOffset)
		}
		if !h.IsControl() {
			continue
		}
		c, err := batch.Marker(raw)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.Type)
	}
	if want := []batch.ControlType{batch.Commit, batch.Abort}; !reflect.DeepEqual(got, want) {
		t.Errorf("markers: got %v, want %v", got, want)
	}
}

func inTransaction(ctx context.Context, client *kgo.Client, end kgo.TransactionEndTry) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	err := client.ProduceSync(ctx, &kgo.Record{Value: []byte("v")}).FirstErr()
	return errors.Join(err, client.EndTransaction(ctx, end))
}
