package batch_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// large returns an uncompressed batch of n records with headers and long values that repeat each other.
func large(n int) kmsg.RecordBatch {
	b := plain(n)
	records := make([]kmsg.Record, n)
	for i := range records {
		value := append(bytes.Repeat(fmt.Appendf(nil, "value %d ", i%7), 20), bytes.Repeat([]byte{byte(i)}, 400)...)
		records[i] = kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: fmt.Appendf(nil, "key %d", i), Value: value,
			Headers: []kmsg.Header{{Key: "h", Value: []byte{1, 2}}, {Key: "h"}}}
	}
	b.Records = encodeRecords(records...)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.Attributes = 4711, 3, 17, 0x10
	return b
}

// served are batches of every codec as the clients there are make them.
func served(t testing.TB, b kmsg.RecordBatch) map[string][]byte {
	all := make(map[string][]byte)
	add := func(name string, c batch.Codec, payload []byte) {
		b := b
		b.Records = payload
		b.Attributes |= int16(c)
		all[name] = encode(b)
	}
	for _, c := range codecs {
		add(c.String(), c, compress(t, c, b.Records))
	}
	add("snappy-java", batch.Snappy, xerial(b.Records, 1000))
	add("zstd of levels 20 to 22", batch.Zstd, zstdEncode(t, b.Records, zstd.WithWindowSize(64<<20)))
	for name, opt := range map[string]lz4.Option{
		"checksums of blocks": lz4.BlockChecksumOption(true), "none": lz4.ChecksumOption(false), "size": lz4.SizeOption(uint64(len(b.Records))),
		"large blocks": lz4.BlockSizeOption(lz4.Block4Mb), "high compression": lz4.CompressionLevelOption(lz4.Level9), "small blocks": lz4.BlockSizeOption(lz4.Block64Kb),
	} {
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		if err := w.Apply(opt); err != nil {
			t.Fatal(err)
		}
		_, err := w.Write(b.Records)
		if err = firstError(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		add("lz4, "+name, batch.LZ4, out.Bytes())
	}
	return all
}

func contentOf(t testing.TB, raw []byte) string {
	t.Helper()
	var all bytes.Buffer
	err := batch.NewDecoder().Decode(raw, func(r *batch.Record) error {
		fmt.Fprintf(&all, "%d %d %q %q", r.Offset, r.Timestamp, r.Key(), r.Value())
		for k, v := range r.Headers() {
			fmt.Fprintf(&all, " %q=%q", k, v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestReencode: a batch keeps all that it is, but for the way in which it is packed.
func TestReencode(t *testing.T) {
	for _, n := range []int{1, 3, 300} {
		var opener batch.Opener
		var prover batch.Prover
		var list, original []byte
		for name, raw := range served(t, large(n)) {
			was, _, _ := mustNext(t, raw)
			at := len(list)
			list, original = opener.Append(list, raw, batch.MaxOpened), append(original, raw...)
			h, now, rest, origin, err := batch.NextReencoded(list[at:])
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s: %v, %d bytes left", name, err, len(rest))
			}
			if h.Codec() != batch.None || origin != was.Origin() || contentOf(t, now) != contentOf(t, raw) {
				t.Errorf("%s: %+v of %+v, was %+v", name, h, origin, was)
			}
			if err := prover.Prove(list[at:], raw); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			back := h
			back.Attributes |= int16(origin.Codec)
			if back.CRC, back.Length = origin.CRC, origin.Length; back != was {
				t.Errorf("%s: %+v is not %+v", name, back, was)
			}
			if origin.Codec == batch.None {
				continue
			}
			packed, _, err := batch.NewPacker().Compress(now, origin.Codec)
			if err != nil {
				t.Fatal(err)
			}
			if p, _, _ := mustNext(t, packed); p.Codec() != origin.Codec || contentOf(t, packed) != contentOf(t, raw) {
				t.Errorf("%s: compressed anew it is another batch, %+v", name, p)
			}
		}
		if err := prover.Prove(list, original); err != nil {
			t.Errorf("all together: %v", err)
		}
		bare, err := batch.Bare(bytes.Clone(list))
		for count := 0; err == nil && len(bare) > 0; count++ {
			_, _, bare, err = batch.Next(bare)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestProveNoticesEveryByte: whatever one byte of a re-encoded batch becomes, with the checksum put right, is noticed.
func TestProveNoticesEveryByte(t *testing.T) {
	for name, raw := range served(t, large(2)) {
		var prover batch.Prover
		list := new(batch.Opener).Append(nil, raw, batch.MaxOpened)
		at := 1
		if list[0] != 0 {
			at = 9
		}
		for i := range list {
			bad := bytes.Clone(list)
			bad[i] ^= 1 << (i % 8)
			if i >= at+21 {
				seal(bad[at:])
			}
			if err := prover.Prove(bad, raw); !errors.Is(err, batch.ErrNotSame) {
				t.Fatalf("%s: byte %d of %d changed, and %v", name, i, len(list), err)
			}
		}
		for _, bad := range [][]byte{nil, list[:len(list)-1], append(bytes.Clone(list), list...)} {
			if err := prover.Prove(bad, raw); !errors.Is(err, batch.ErrNotSame) {
				t.Errorf("%s: %d bytes instead of %d, and %v", name, len(bad), len(list), err)
			}
		}
	}
}

// TestReencodeLeavesAlone: what is not surely understood stays as it is.
func TestReencodeLeavesAlone(t *testing.T) {
	bomb := newZstdFrame(20)
	bomb.zeros(1 << 20)
	short, long := large(5), large(5)
	short.NumRecords, long.NumRecords, long.LastOffsetDelta = 4, 6, 5
	empty := large(1)
	empty.NumRecords, empty.Records = 0, nil
	for name, raw := range map[string][]byte{
		"not compressed": encode(large(3)),
		"a bomb":         zstdBatch(1, bomb.end()),
		"too large":      encode(compressed(t, large(2000), batch.LZ4)),
		"no lz4":         encode(kmsg.RecordBatch{Attributes: int16(batch.LZ4), NumRecords: 1, Records: []byte("no lz4")}),
		"cut gzip":       cutPayload(encode(compressed(t, large(3), batch.Gzip))),
		"cut zstd":       cutPayload(encode(compressed(t, large(3), batch.Zstd))),
		"cut snappy":     cutPayload(encode(compressed(t, large(3), batch.Snappy))),
		"a record more":  encode(compressed(t, short, batch.Gzip)),
		"a record less":  encode(compressed(t, long, batch.Snappy)),
		"compacted":      encode(compressed(t, empty, batch.None)),
		"wrong codec":    encode(func() kmsg.RecordBatch { b := compressed(t, large(3), batch.LZ4); b.Attributes ^= 7; return b }()),
	} {
		list := new(batch.Opener).Append([]byte("before"), raw, 1<<20)
		if want := append([]byte("before\x00"), raw...); !bytes.Equal(list, want) {
			t.Errorf("%s: %d bytes became %d", name, len(raw), len(list)-6)
			continue
		}
		if err := new(batch.Prover).Prove(list[6:], raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cutPayload returns the batch without the end of its payload.
func cutPayload(raw []byte) []byte {
	raw = bytes.Clone(raw[:len(raw)-7])
	raw[11], raw[10] = byte(len(raw)-12), byte((len(raw)-12)>>8)
	return seal(raw)
}

// FuzzReencode: whatever a batch holds, it is left as it is, or proven.
func FuzzReencode(f *testing.F) {
	for _, raw := range served(f, large(3)) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= batch.HeaderSize {
			b = seal(bytes.Clone(b))
		}
		_, raw, _, err := batch.Next(b)
		if err != nil {
			return
		}
		list := new(batch.Opener).Append(nil, raw, 1<<20)
		if err := new(batch.Prover).Prove(list, raw); err != nil && list[0] == 0 {
			t.Fatalf("left as it was: %v", err)
		}
		if _, _, _, _, err := batch.NextReencoded(list); err != nil {
			t.Fatal(err)
		}
		_, _, _, _, err = batch.NextReencoded(b)
		if err != nil {
			checkError(t, err)
		}
	})
}
