package batch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// The batches of these tests come from franz-go's encoder where that can write them, so that the package is not only
// tested against itself.

var codecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}

// encode returns the bytes of b with length and checksum filled in.
func encode(b kmsg.RecordBatch) []byte {
	b.Magic = 2
	b.Length = int32(batch.HeaderSize - 12 + len(b.Records))
	return seal(b.AppendTo(nil))
}

// seal recomputes the checksum of raw.
func seal(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// encodeRecords returns the payload of an uncompressed batch.
func encodeRecords(records ...kmsg.Record) []byte {
	var payload []byte
	for _, r := range records {
		r.Length = 0
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		payload = r.AppendTo(payload)
	}
	return payload
}

// plain returns an uncompressed batch at offset 100 of n small records.
func plain(n int) kmsg.RecordBatch {
	records := make([]kmsg.Record, n)
	for i := range records {
		records[i] = kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: []byte("key"), Value: []byte("value")}
	}
	return kmsg.RecordBatch{
		FirstOffset:          100,
		PartitionLeaderEpoch: 7,
		LastOffsetDelta:      int32(n - 1),
		FirstTimestamp:       1_700_000_000_000,
		MaxTimestamp:         1_700_000_000_000 + int64(n-1),
		ProducerID:           -1,
		ProducerEpoch:        -1,
		FirstSequence:        -1,
		NumRecords:           int32(n),
		Records:              encodeRecords(records...),
	}
}

// compressed returns b with its payload compressed as other clients than ours do.
func compressed(t testing.TB, b kmsg.RecordBatch, c batch.Codec) kmsg.RecordBatch {
	t.Helper()
	b.Records = compress(t, c, b.Records)
	b.Attributes |= int16(c)
	return b
}

func compress(t testing.TB, c batch.Codec, payload []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch c {
	case batch.None:
		return payload
	case batch.Gzip:
		w := gzip.NewWriter(&out)
		_, err = w.Write(payload)
		err = firstError(err, w.Close())
	case batch.Snappy:
		return s2.EncodeSnappy(nil, payload)
	case batch.LZ4:
		w := lz4.NewWriter(&out)
		_, err = w.Write(payload)
		err = firstError(err, w.Close())
	case batch.Zstd:
		return zstdEncode(t, payload, zstd.WithWindowSize(64<<10))
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zstdEncode writes a stream, whose frame does not tell its size, as Kafka's Java client does.
func zstdEncode(t testing.TB, payload []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(payload)
	if err = firstError(err, w.Flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// xerial frames payload as snappy-java does, in blocks of the given size.
func xerial(payload []byte, block int) []byte {
	out := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	for len(payload) > 0 {
		n := min(block, len(payload))
		packed := s2.EncodeSnappy(nil, payload[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(len(packed)))
		out = append(out, packed...)
		payload = payload[n:]
	}
	return out
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mustNext takes the first batch off b.
func mustNext(t testing.TB, b []byte) (batch.Header, []byte, []byte) {
	t.Helper()
	h, raw, rest, err := batch.Next(b)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return h, raw, rest
}
