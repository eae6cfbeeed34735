package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// spec describes a batch as it may lie in a log. franz-go encodes it, so that
// the code under test is not its own judge.
type spec struct {
	base      int64
	records   []int32 // offset deltas of those that are left; nil: all
	last      int32   // last offset delta
	codec     batch.Codec
	size      int   // of a value; random-looking, so that it stays as large
	letters   bool  // made of 16 letters, so that zstd makes it half as large and lz4 does not
	producer  int64 // of a transaction, 0 for none
	marker    bool  // a commit or abort marker
	commit    bool
	logAppend bool
	stamps    []int64 // of the records, by delta, after firstTime; nil: ascending
}

// stamp is the time of a record, relative to firstTime.
func (s spec) stamp(delta int32) int64 {
	if s.stamps != nil {
		return s.stamps[delta]
	}
	return (s.base + int64(delta)) * 10
}

// maxStamp is that of the batch, of records that compaction has left out, too.
func (s spec) maxStamp() int64 {
	latest := s.stamp(s.last)
	for d := range s.last {
		latest = max(latest, s.stamp(d))
	}
	return latest
}

func (s spec) next() int64 { return s.base + int64(s.last) + 1 }

func (s spec) deltas() []int32 {
	if s.records != nil {
		return s.records
	}
	all := make([]int32, s.last+1)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// timestamp is what a consumer sees of the record at an offset.
func (s spec) timestamp(offset int64) int64 {
	if s.logAppend {
		return firstTime.UnixMilli() + s.next()
	}
	return firstTime.UnixMilli() + s.stamp(int32(offset-s.base))
}

func (s spec) key(offset int64) []byte { return fmt.Appendf(nil, "key-%d", offset) }

func (s spec) value(offset int64) []byte {
	v := fmt.Appendf(nil, "value-%d ", offset)
	for x := uint32(offset) + 1; len(v) < s.size; {
		x = x*1664525 + 1013904223
		if s.letters {
			v = append(v, 'a'+byte(x>>28))
			continue
		}
		v = append(v, byte(x>>24))
	}
	return v
}

func (s spec) identity(offset int64) string {
	return identity(s.timestamp(offset), s.key(offset), s.value(offset), "h=78,")
}

const (
	attrLogAppend     = 8
	attrTransactional = 16
	attrControl       = 32
)

// encode returns the batch as a broker serves it.
func (s spec) encode() []byte {
	deltas := s.deltas()
	b := kmsg.RecordBatch{
		FirstOffset: s.base, PartitionLeaderEpoch: 7, Magic: 2, Attributes: int16(s.codec), LastOffsetDelta: s.last,
		FirstTimestamp: s.stamp(0), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(deltas)),
	}
	b.FirstTimestamp += firstTime.UnixMilli()
	b.MaxTimestamp = firstTime.UnixMilli() + s.maxStamp()
	if s.logAppend {
		b.Attributes |= attrLogAppend
		b.MaxTimestamp = s.timestamp(0)
	}
	if s.producer != 0 {
		b.Attributes |= attrTransactional
		b.ProducerID, b.ProducerEpoch, b.FirstSequence = s.producer, 3, 0
	}
	if s.marker {
		b.Attributes |= attrControl
	}
	b.Records = compress(s.codec, s.payload(deltas))
	b.Length = int32(batch.HeaderSize - 12 + len(b.Records))
	return reseal(b.AppendTo(nil))
}

func (s spec) payload(deltas []int32) (payload []byte) {
	for _, d := range deltas {
		offset := s.base + int64(d)
		r := kmsg.Record{OffsetDelta: d, TimestampDelta64: s.stamp(d) - s.stamp(0), Key: s.key(offset), Value: s.value(offset), Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}
		if s.marker {
			kind := byte(0)
			if s.commit {
				kind = 1
			}
			r.Key, r.Value, r.Headers = []byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 5}, nil
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		payload = r.AppendTo(payload)
	}
	return payload
}

// compressors are kept, since zstd's needs megabytes.
var compressors = sync.OnceValue(func() map[batch.Codec]kgo.Compressor {
	all := make(map[batch.Codec]kgo.Compressor)
	for codec, choice := range map[batch.Codec]kgo.CompressionCodec{
		batch.Gzip: kgo.GzipCompression(), batch.Snappy: kgo.SnappyCompression(), batch.LZ4: kgo.Lz4Compression(), batch.Zstd: kgo.ZstdCompression(),
	} {
		c, err := kgo.DefaultCompressor(choice)
		if err != nil {
			panic(err)
		}
		all[codec] = c
	}
	return all
})

func compress(codec batch.Codec, payload []byte) []byte {
	if codec == batch.None {
		return payload
	}
	packed, _ := compressors()[codec].Compress(new(bytes.Buffer), payload)
	return bytes.Clone(packed)
}

// block makes a block of consecutive batches that begins at start. Its footer
// entry says what docs/format.md wants of it.
func block(start int64, specs ...spec) (raw []byte, k *segment.Block) {
	k = &segment.Block{Summary: segment.Summary{Start: start, Next: start, Plain: true}}
	open := make(map[int64]bool)
	for _, s := range specs {
		raw = append(raw, s.encode()...)
		one := segment.Summary{Start: k.Next, Next: s.next(), Batches: 1, LeaderEpoch: 7}
		n := len(s.deltas())
		one.Plain = n == int(s.last)+1 && !s.marker && s.producer == 0 && !s.logAppend && s.base == k.Next
		if !s.marker && n > 0 {
			one.Records, one.MaxTimestamp = int64(n), firstTime.UnixMilli()+s.maxStamp()
			one.MinTimestamp = firstTime.UnixMilli() + min(s.stamp(0), s.maxStamp())
			if s.logAppend {
				one.MaxTimestamp = s.timestamp(0)
				one.MinTimestamp = one.MaxTimestamp
			}
		}
		e := segment.TxnEvent{Offset: max(s.base, k.Next), ProducerID: s.producer, ProducerEpoch: 3}
		switch {
		case s.marker && s.commit:
			e.Kind = segment.TxnCommit
		case s.marker:
			e.Kind = segment.TxnAbort
		}
		if s.producer != 0 && n > 0 && (s.marker || !open[s.producer]) {
			one.Events = []segment.TxnEvent{e}
			open[s.producer] = !s.marker
		}
		k.Join(one)
	}
	k.RawLength = int64(len(raw))
	return raw, k
}

// reseal puts the checksum of a batch right.
func reseal(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}
