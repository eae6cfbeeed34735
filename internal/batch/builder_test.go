package batch_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
)

var identity = batch.ProducerIdentity{ID: 4711, Epoch: 2, Sequence: 99}

func newBuilder(t testing.TB, c batch.Codec) *batch.Builder {
	t.Helper()
	b, err := batch.NewBuilder(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuilderHeader(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			b := newBuilder(t, c)
			for _, ts := range []int64{50, 70, 60} {
				b.Append(ts, batch.NewRecord([]byte("k"), nil))
			}
			if b.Len() != 3 {
				t.Errorf("Len: got %d", b.Len())
			}
			raw, h, err := b.Finish(identity)
			if err != nil {
				t.Fatal(err)
			}
			parsed, whole, rest := mustNext(t, raw)
			if parsed != h || len(whole) != len(raw) || len(rest) != 0 {
				t.Errorf("header\n   got %+v\nparsed %+v", h, parsed)
			}
			want := batch.Header{
				Length: int32(len(raw) - 12), LeaderEpoch: -1, Magic: 2, CRC: h.CRC, Attributes: int16(c),
				LastOffsetDelta: 2, BaseTimestamp: 50, MaxTimestamp: 70,
				ProducerID: 4711, ProducerEpoch: 2, BaseSequence: 99, Count: 3,
			}
			if h != want {
				t.Errorf("header\n got %+v\nwant %+v", h, want)
			}
		})
	}
}

func TestBuilderMaxTimestampWithoutTimestamps(t *testing.T) {
	b := newBuilder(t, batch.None)
	b.Append(-5, batch.NewRecord(nil, nil)) // below "no timestamp": a broker takes the maximum with -1
	_, h, err := b.Finish(identity)
	if err != nil || h.BaseTimestamp != -5 || h.MaxTimestamp != -1 {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestBuilderIsEmptyAfterFinish(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			b := newBuilder(t, c)
			if _, _, err := b.Finish(identity); !errors.Is(err, batch.ErrEmpty) {
				t.Errorf("Finish of nothing: got %v", err)
			}
			b.Append(1000, batch.NewRecord(nil, bytes.Repeat([]byte("large"), 1000)))
			if _, _, err := b.Finish(identity); err != nil {
				t.Fatal(err)
			}
			if b.Len() != 0 || b.Size() != batch.HeaderSize {
				t.Errorf("after Finish: %d records, %d bytes", b.Len(), b.Size())
			}
			b.Append(5, batch.NewRecord(nil, []byte("small")))
			raw, h, err := b.Finish(identity)
			if err != nil || h.BaseTimestamp != 5 || h.MaxTimestamp != 5 || h.Count != 1 {
				t.Fatalf("second batch: %+v, %v", h, err)
			}
			if got := mustDecode(t, raw); string(got[0].value) != "small" {
				t.Errorf("second batch: got %+v", got)
			}
		})
	}
}

func TestBuilderSizeIsExact(t *testing.T) {
	b := newBuilder(t, batch.None)
	for i := range 300 {
		r := batch.NewRecord(nil, make([]byte, i))
		before := b.Size()
		b.Append(int64(i)<<55, r)
		if grown := b.Size() - before; grown > len(r.Body())+batch.MaxRecordOverhead {
			t.Fatalf("record %d added %d bytes to a body of %d", i, grown, len(r.Body()))
		}
	}
	size := b.Size()
	if raw, _, err := b.Finish(identity); err != nil || len(raw) != size {
		t.Errorf("Size %d, batch %d bytes, %v", size, len(raw), err)
	}
}

func TestBuilderRefusesUnknownCodec(t *testing.T) {
	if _, err := batch.NewBuilder(5); err == nil {
		t.Error("codec 5 accepted")
	}
}

// TestBuilderFramings checks what Java clients and brokers insist on and others do not.
func TestBuilderFramings(t *testing.T) {
	b := newBuilder(t, batch.Snappy)
	b.Append(0, batch.NewRecord(nil, bytes.Repeat([]byte("x"), 100_000)))
	raw, _, _ := b.Finish(identity)
	if want := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"); !bytes.HasPrefix(raw[batch.HeaderSize:], want) {
		t.Errorf("snappy is not framed: % x", raw[batch.HeaderSize:][:16])
	}
	b = newBuilder(t, batch.LZ4)
	b.Append(0, batch.NewRecord(nil, bytes.Repeat([]byte("x"), 100_000)))
	raw, _, _ = b.Finish(identity)
	// Magic, then version 1 with independent blocks and nothing else, then blocks of 64 KiB.
	if want := []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40}; !bytes.HasPrefix(raw[batch.HeaderSize:], want) {
		t.Errorf("lz4 frame begins % x, want % x", raw[batch.HeaderSize:][:6], want)
	}
}

// drawBytes draws null, empty, short and sometimes long bytes of any value.
func drawBytes(t *rapid.T, name string) []byte {
	switch rapid.IntRange(0, 9).Draw(t, name+" kind") {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return bytes.Repeat([]byte{rapid.Byte().Draw(t, name)}, rapid.IntRange(1, 200_000).Draw(t, name+" length"))
	}
	return rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, name)
}

func drawHeaders(t *rapid.T) []batch.RecordHeader {
	n := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 4), rapid.IntRange(0, 1000)).Draw(t, "headers")
	distinct := make([]batch.RecordHeader, min(n, 5))
	for i := range distinct {
		key := rapid.OneOf(rapid.Just([]byte{}), rapid.Just([]byte("dup")), rapid.SliceOfN(rapid.Byte(), 0, 8)).Draw(t, "header key")
		value := rapid.OneOf(rapid.Just[[]byte](nil), rapid.Just([]byte{}), rapid.SliceOfN(rapid.Byte(), 0, 8)).Draw(t, "header value")
		distinct[i] = batch.RecordHeader{Key: append([]byte{}, key...), Value: value}
	}
	var headers []batch.RecordHeader
	for i := range n {
		headers = append(headers, distinct[i%len(distinct)])
	}
	return headers
}

var timestamps = rapid.OneOf(
	rapid.SampledFrom([]int64{-1, 0, 1, 1 << 31, -1 << 31, 1 << 32, 1_700_000_000_000, 1 << 62}),
	rapid.Int64Range(1_600_000_000_000, 1_900_000_000_000),
	rapid.Int64(),
)

// TestBuildDecodeRoundTrip builds batches of random records, repeated up to 10,000 times, and takes them apart again.
func TestBuildDecodeRoundTrip(t *testing.T) {
	builders := make(map[batch.Codec]*batch.Builder)
	for _, c := range codecs {
		builders[c] = newBuilder(t, c)
	}
	d := batch.NewDecoder()
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(codecs).Draw(t, "codec")
		distinct := rapid.IntRange(1, 8).Draw(t, "distinct records")
		var want []record
		total := 0
		for range distinct {
			w := record{timestamp: timestamps.Draw(t, "timestamp"), key: drawBytes(t, "key"), value: drawBytes(t, "value"), headers: drawHeaders(t)}
			total += len(w.key) + len(w.value) + 16*len(w.headers)
			want = append(want, w)
		}
		n := rapid.OneOf(rapid.Just(distinct), rapid.IntRange(1, 10_000)).Draw(t, "records")
		n = min(n, 1+distinct*(4<<20)/(total+1)) // keep a batch at some MiB
		for i := range n {
			w := want[i%distinct]
			builders[c].Append(w.timestamp, batch.NewRecord(w.key, w.value, w.headers...))
		}
		raw, h, err := builders[c].Finish(identity)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := batch.Next(raw); err != nil || !h.IsDense() || int(h.Count) != n {
			t.Fatalf("header %+v: %v", h, err)
		}
		i := 0
		err = d.Decode(raw, func(r *batch.Record) error {
			w := want[i%distinct]
			w.offset = int64(i)
			if got := remember(r); !reflect.DeepEqual(got, w) {
				return fmt.Errorf("record %d: got %s, want %s", i, got, w)
			}
			i++
			return nil
		})
		if err != nil || i != n {
			t.Fatalf("%d of %d records: %v", i, n, err)
		}
	})
}

// TestRebuildKeepsBodies decodes a batch of another encoder and builds it again: the bodies must be the same bytes.
func TestRebuildKeepsBodies(t *testing.T) {
	b, want := shapes()
	raw := encode(compressed(t, b, batch.LZ4))
	builder := newBuilder(t, batch.Zstd)
	var bodies [][]byte
	d := batch.NewDecoder()
	err := d.Decode(raw, func(r *batch.Record) error {
		bodies = append(bodies, bytes.Clone(r.Body()))
		builder.Append(r.Timestamp, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rebuilt, _, err := builder.Finish(identity)
	if err != nil {
		t.Fatal(err)
	}
	var again [][]byte
	err = d.Decode(rebuilt, func(r *batch.Record) error {
		again = append(again, bytes.Clone(r.Body()))
		return nil
	})
	if err != nil || !reflect.DeepEqual(again, bodies) {
		t.Errorf("bodies changed: %v", err)
	}
	for i := range want {
		want[i].offset = int64(i)
	}
	compare(t, mustDecode(t, rebuilt), want)
}
