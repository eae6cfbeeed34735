//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// codecs are all that Kafka has.
var codecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}

// shapes fill one partition each with records of every codec.
var shapes = []struct {
	name string
	fill func(p *rawProducer, partition int32, codec batch.Codec)
}{
	{"null and empty", fillShapes},
	{"one record per batch", fillSingles},
	{"100,000 records per batch", fillCrowd},
	{"sizes", fillSizes},
	{"timestamps", fillTimes},
	{"an ordinary client", fillOrdinary},
}

// Every shape of record comes back as it was, from a topic with the producers' timestamps and from one with the broker's; what is
// stored are the broker's bytes; and a bucket does what a directory does.
func TestShapes(t *testing.T) {
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	topics := []string{"create-time", "append-time"}
	for _, topic := range topics {
		fillTopic(t, source, topic)
	}
	for name, r := range map[string]*repository{"directory": newRepository(t), "bucket": newBucket(t)} {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			r.backup(source)
			args := []string{}
			for _, topic := range topics {
				args = append(args, "--rename", topic+"="+topic+"-"+name)
			}
			r.restore(target, args...)
			for _, topic := range topics {
				t.Run(topic, func(t *testing.T) { checkShapes(t, r, source, target, topic, topic+"-"+name) })
			}
			r.run("restored", nil, "verify")
		})
	}
}

func fillTopic(t *testing.T, source *cluster.Cluster, topic string) {
	cfg := configs{
		"retention.ms": "-1", "max.message.bytes": "20000000", "segment.bytes": "25000000",
		"message.timestamp.before.max.ms": strconv.Itoa(math.MaxInt64), "message.timestamp.after.max.ms": strconv.Itoa(math.MaxInt64),
	}
	if topic == "append-time" {
		cfg["message.timestamp.type"] = "LogAppendTime"
	}
	createTopic(t, source, topic, int32(len(shapes)), cfg)
	p := newRawProducer(t, source, topic)
	for i, s := range shapes {
		for _, c := range codecs {
			s.fill(p, int32(i), c)
		}
	}
}

func checkShapes(t *testing.T, r *repository, source, target *cluster.Cluster, topic, copied string) {
	want, got := readTopic(t, source, topic), readTopic(t, target, copied)
	for i, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			p := int32(i)
			if len(want[p].Records) < len(codecs) {
				t.Fatalf("the source has only %d records", len(want[p].Records))
			}
			requireSame(t, oracle.History{p: want[p]}, oracle.History{p: got[p]})
			requireVerbatim(t, r, source, topic, p)
		})
	}
	if want, got := topicConfigs(t, source, topic), topicConfigs(t, target, copied); fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("configs %v, want %v", got, want)
	}
}

// fillShapes makes every combination of keys, values and headers: each alone, then all in one batch.
func fillShapes(p *rawProducer, partition int32, codec batch.Codec) {
	fields := [][]byte{nil, {}, []byte("x"), []byte("not UTF-8: \xff\xfe\x00"), bytes.Repeat([]byte("long "), 200)}
	header := func(key string, value []byte) batch.RecordHeader {
		return batch.RecordHeader{Key: []byte(key), Value: value}
	}
	var many []batch.RecordHeader
	for i := range 1000 {
		many = append(many, header(fmt.Sprint("header ", i%700), []byte(fmt.Sprint(i))))
	}
	headers := [][]batch.RecordHeader{
		nil,
		{header("", nil)},
		{header("a", []byte("1")), header("a", []byte("2")), header("a", nil), header("a", []byte{})},
		{header("\xc3\x28\x00", []byte("\xff")), header("b", nil), header("a", nil)},
		many,
	}
	var all []stamped
	for _, key := range fields {
		for _, value := range fields {
			for _, h := range headers {
				all = append(all, stamped{1_700_000_000_000 + int64(len(all)), batch.NewRecord(key, value, h...)})
			}
		}
	}
	for _, r := range all {
		p.send(partition, codec, r)
	}
	p.send(partition, codec, all...)
}

func fillSingles(p *rawProducer, partition int32, codec batch.Codec) {
	for i := range 300 {
		p.send(partition, codec, stamped{1_700_000_000_000 + int64(i), batch.NewRecord([]byte(fmt.Sprint(i)), []byte("a small value"))})
	}
}

func fillCrowd(p *rawProducer, partition int32, codec batch.Codec) {
	records := make([]stamped, 100_000)
	for i := range records {
		records[i] = stamped{1_700_000_000_000 + int64(i%977), batch.NewRecord(nil, binary.AppendUvarint(nil, uint64(i)))}
	}
	p.send(partition, codec, records...)
}

// fillSizes makes records up to 5 MB, of bytes that compress well and of bytes that do not.
func fillSizes(p *rawProducer, partition int32, codec batch.Codec) {
	random := rand.NewChaCha8([32]byte{byte(codec)})
	for _, size := range []int{1, 100, 8 << 10, 1 << 20, 5_000_000} {
		noise := make([]byte, size)
		random.Read(noise)
		for _, value := range [][]byte{noise, bytes.Repeat([]byte{'z'}, size)} {
			p.send(partition, codec, stamped{1_700_000_000_000, batch.NewRecord([]byte("key"), value)})
		}
	}
}

// fillTimes makes batches whose timestamps span 30 days, descend, are absent, or lie as far from now as they can: Kafka takes
// them all.
func fillTimes(p *rawProducer, partition int32, codec batch.Codec) {
	const day = int64(24 * time.Hour / time.Millisecond)
	now := int64(1_700_000_000_000)
	for _, times := range [][]int64{
		{now, now + 10*day, now + 30*day},
		{now + 30*day, now, now + 15*day},
		{-1},
		{0},
		{-1, now, -1},
		{0, now},
		{now, 0},
		{1, math.MaxInt32, math.MaxUint32, 1 << 40},
		{4_000_000_000_000, 1, 250_000_000_000_000},
		{1 << 61},
		{0, 1 << 61},
		{-1000},
		{math.MaxInt64},
		{math.MinInt64},
		{math.MinInt64, math.MaxInt64},
	} {
		// Large enough to be sent as they are, and small enough to be joined with others.
		for _, padding := range []int{10_000, 1} {
			noise := make([]byte, padding)
			rand.NewChaCha8([32]byte{byte(codec)}).Read(noise)
			var records []stamped
			for i, at := range times {
				records = append(records, stamped{at, batch.NewRecord([]byte(fmt.Sprint(i)), noise)})
			}
			p.send(partition, codec, records...)
		}
	}
}

// fillOrdinary lets the client library make the batches, with its own idempotent producer id.
func fillOrdinary(p *rawProducer, partition int32, codec batch.Codec) {
	compression := map[batch.Codec]kgo.CompressionCodec{
		batch.None: kgo.NoCompression(), batch.Gzip: kgo.GzipCompression(), batch.Snappy: kgo.SnappyCompression(),
		batch.LZ4: kgo.Lz4Compression(), batch.Zstd: kgo.ZstdCompression(),
	}
	client := producer(p.t, p.bed, kgo.ProducerBatchCompression(compression[codec]), kgo.ProducerLinger(5*time.Millisecond))
	defer client.Close()
	var records []*kgo.Record
	for i := range 2000 {
		records = append(records, &kgo.Record{
			Topic: p.topic.Name, Partition: partition, Key: []byte(fmt.Sprint("key ", i)), Value: fmt.Appendf(nil, `{"order":%d,"codec":"%s"}`, i, codec),
			Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte(fmt.Sprint(i))}},
		})
	}
	produce(p.t, client, records...)
}
