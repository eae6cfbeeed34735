package batch_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// benchBatch returns a batch of about 70 KB uncompressed, of records that look like JSON.
func benchBatch(b *testing.B, c batch.Codec) []byte {
	records := make([]kmsg.Record, 190)
	for i := range records {
		value := fmt.Sprintf(`{"id":%d,"user":"user-%d","action":"click","url":"https://example.com/item/%d","tags":[%d,%d],`+
			`"note":"%032x","session":"%x","price":%d.%02d,"text":"the quick brown fox jumps over the lazy dog %d times"}`,
			i*7919, i*31%977, i*104729%99991, i%13, i%17, i*i*2654435761, i*40503, i*37%1000, i%100, i)
		value += value[:len(value)/2]
		records[i] = kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i / 10), Key: fmt.Appendf(nil, "user-%d", i*31%977), Value: []byte(value)}
	}
	batch := plain(len(records))
	batch.Records = encodeRecords(records...)
	return encode(compressed(b, batch, c))
}

// plainSize is what the throughput of decoding and building is measured in.
func plainSize(b *testing.B) int64 { return int64(len(benchBatch(b, batch.None))) }

func BenchmarkNext(b *testing.B) {
	raw := benchBatch(b, batch.None)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		mustNext(b, raw)
	}
}

func BenchmarkRewrite(b *testing.B) {
	raw := benchBatch(b, batch.None)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		batch.Rewrite(raw, identity)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range codecs {
		b.Run(c.String(), func(b *testing.B) {
			raw := benchBatch(b, c)
			d := batch.NewDecoder()
			b.SetBytes(plainSize(b))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(raw, func(*batch.Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, c := range codecs {
		b.Run(c.String(), func(b *testing.B) {
			var records []*batch.Record
			for _, r := range mustDecode(b, benchBatch(b, batch.None)) {
				records = append(records, batch.NewRecord(r.key, r.value))
			}
			builder := newBuilder(b, c)
			b.SetBytes(plainSize(b))
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range records {
					builder.Append(1_700_000_000_000, r)
				}
				if _, _, err := builder.Finish(identity); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
