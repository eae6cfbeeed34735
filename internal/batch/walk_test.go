package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

func TestParseHeader(t *testing.T) {
	b := kmsg.RecordBatch{
		FirstOffset: 1 << 40, PartitionLeaderEpoch: 9, Attributes: 0x54, LastOffsetDelta: 41, FirstTimestamp: -5,
		MaxTimestamp: 1 << 62, ProducerID: 1 << 50, ProducerEpoch: 3, FirstSequence: 77, NumRecords: 40,
		Records: []byte("payload"),
	}
	raw := encode(b)
	got, err := batch.ParseHeader(raw[:batch.HeaderSize])
	if err != nil {
		t.Fatal(err)
	}
	want := batch.Header{
		BaseOffset: 1 << 40, Length: 49 + 7, LeaderEpoch: 9, Magic: 2, CRC: binary.BigEndian.Uint32(raw[17:]),
		Attributes: 0x54, LastOffsetDelta: 41, BaseTimestamp: -5, MaxTimestamp: 1 << 62, ProducerID: 1 << 50,
		ProducerEpoch: 3, BaseSequence: 77, Count: 40,
	}
	if got != want {
		t.Errorf("header\n got %+v\nwant %+v", got, want)
	}
	if got.Size() != len(raw) {
		t.Errorf("Size: got %d, want %d", got.Size(), len(raw))
	}
	if want := int64(1<<40 + 42); got.NextOffset() != want {
		t.Errorf("NextOffset: got %d, want %d", got.NextOffset(), want)
	}
}

func TestHeaderFlags(t *testing.T) {
	type flags struct{ append, txn, control, horizon bool }
	for name, tc := range map[string]struct {
		attributes int16
		codec      batch.Codec
		want       flags
	}{
		"none":            {0, batch.None, flags{}},
		"zstd append":     {0x0c, batch.Zstd, flags{append: true}},
		"lz4 transaction": {0x13, batch.LZ4, flags{txn: true}},
		"marker":          {0x30, batch.None, flags{txn: true, control: true}},
		"horizon":         {0x42, batch.Snappy, flags{horizon: true}},
		"unused bits":     {-0x80 + 1, batch.Gzip, flags{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := batch.Header{Attributes: tc.attributes}
			got := flags{h.IsLogAppendTime(), h.IsTransactional(), h.IsControl(), h.HasDeleteHorizon()}
			if got != tc.want || h.Codec() != tc.codec {
				t.Errorf("got %+v %v, want %+v %v", got, h.Codec(), tc.want, tc.codec)
			}
		})
	}
}

func TestIsDense(t *testing.T) {
	for _, tc := range []struct {
		count, last int32
		want        bool
	}{
		{1, 0, true}, {10, 9, true}, {9, 9, false}, {0, 0, false}, {math.MaxInt32, math.MaxInt32, false},
	} {
		h := batch.Header{Count: tc.count, LastOffsetDelta: tc.last}
		if got := h.IsDense(); got != tc.want {
			t.Errorf("count %d, last offset delta %d: got %v", tc.count, tc.last, got)
		}
	}
}

func TestCodecString(t *testing.T) {
	for c, want := range map[batch.Codec]string{
		batch.None: "none", batch.Gzip: "gzip", batch.Snappy: "snappy", batch.LZ4: "lz4", batch.Zstd: "zstd", 6: "codec(6)",
	} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestHeaderBounds(t *testing.T) {
	set := func(at int, value ...byte) func([]byte) {
		return func(raw []byte) { copy(raw[at:], value) }
	}
	set32 := func(at int, v int32) func([]byte) {
		return func(raw []byte) { binary.BigEndian.PutUint32(raw[at:], uint32(v)) }
	}
	set64 := func(at int, v int64) func([]byte) {
		return func(raw []byte) { binary.BigEndian.PutUint64(raw[at:], uint64(v)) }
	}
	for name, tc := range map[string]struct {
		edit func([]byte)
		ok   bool
	}{
		"as it is":                   {func([]byte) {}, true},
		"base offset 0":              {set64(0, 0), true},
		"base offset negative":       {set64(0, -1), false},
		"next offset at the end":     {set64(0, math.MaxInt64-3), true},
		"next offset overflows":      {set64(0, math.MaxInt64-2), false},
		"length of an empty batch":   {set32(8, 49), true},
		"length below the header":    {set32(8, 48), false},
		"length negative":            {set32(8, -1), false},
		"length overflows":           {set32(8, math.MaxInt32), false},
		"magic 3":                    {set(16, 3), false},
		"magic negative":             {set(16, 0xff), false},
		"codec 5":                    {set(22, 5), false},
		"codec 7":                    {set(22, 7), false},
		"last offset delta negative": {set32(23, -1), false},
		"last offset delta largest":  {set32(23, math.MaxInt32), true},
		"count 0":                    {set32(57, 0), true},
		"count negative":             {set32(57, -1), false},
		"count at the delta":         {set32(57, 3), true},
		"count above the delta":      {set32(57, 4), false},
	} {
		t.Run(name, func(t *testing.T) {
			raw := encode(plain(3))
			tc.edit(raw)
			_, err := batch.ParseHeader(raw)
			var corrupt *batch.CorruptError
			if tc.ok && err != nil || !tc.ok && !errors.As(err, &corrupt) {
				t.Errorf("got error %v", err)
			}
		})
	}
}

func TestNextWalksAll(t *testing.T) {
	var stream []byte
	for i := range 5 {
		b := plain(i + 1)
		b.FirstOffset = int64(1000 * i)
		stream = append(stream, encode(b)...)
	}
	rest, all := stream, stream
	for i := range 5 {
		h, raw, after := mustNext(t, rest)
		if want := int64(1000 * i); h.BaseOffset != want {
			t.Errorf("batch %d: base offset %d, want %d", i, h.BaseOffset, want)
		}
		if len(raw) != h.Size() || !bytes.Equal(raw, all[:len(raw)]) {
			t.Errorf("batch %d: raw is not the batch as it lies there", i)
		}
		if cap(raw) != len(raw) {
			t.Errorf("batch %d: appending to raw would overwrite its successor", i)
		}
		all, rest = all[len(raw):], after
	}
	if _, _, _, err := batch.Next(rest); !errors.Is(err, batch.ErrCut) {
		t.Errorf("at the end: got %v, want ErrCut", err)
	}
}

func TestNextCutAtEveryLength(t *testing.T) {
	raw := encode(plain(3))
	for n := range raw {
		if _, _, _, err := batch.Next(raw[:n]); !errors.Is(err, batch.ErrCut) {
			t.Errorf("first %d of %d bytes: got %v, want ErrCut", n, len(raw), err)
		}
	}
}

// TestNextDetectsEveryBitFlip also documents what is not detected: base offset and leader epoch lie outside the CRC.
func TestNextDetectsEveryBitFlip(t *testing.T) {
	intact := encode(plain(3))
	follower := encode(plain(2))
	unprotected := func(at int) bool { return at < 8 || 12 <= at && at < 16 }
	for _, tail := range [][]byte{nil, bytes.Repeat(follower, 20)} {
		for i := range len(intact) * 8 {
			raw := append(bytes.Clone(intact), tail...)
			raw[i/8] ^= 0x80 >> (i % 8)
			_, _, _, err := batch.Next(raw)
			switch {
			case i == 0 && err == nil:
				t.Error("negative base offset accepted")
			case i > 0 && unprotected(i/8) && err != nil:
				t.Errorf("byte %d bit %d: %v", i/8, i%8, err)
			case !unprotected(i/8) && err == nil:
				t.Errorf("byte %d bit %d: damage not detected", i/8, i%8)
			}
		}
	}
}

func TestNextOldMagic(t *testing.T) {
	for _, magic := range []int8{0, 1} {
		t.Run(fmt.Sprint(magic), func(t *testing.T) {
			raw := make([]byte, 17) // the magic of a message may be the last byte there is
			binary.BigEndian.PutUint64(raw, 5)
			raw[16] = byte(magic)
			_, _, _, err := batch.Next(raw)
			var old *batch.MagicError
			if !errors.As(err, &old) || !errors.Is(err, batch.ErrMagic) {
				t.Fatalf("got %v", err)
			}
			if old.Magic != magic || old.Offset != 5 {
				t.Errorf("got %+v", *old)
			}
		})
	}
}

func TestNextNamesOffset(t *testing.T) {
	raw := encode(plain(3))
	raw[len(raw)-1]++
	_, _, _, err := batch.Next(raw)
	var corrupt *batch.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Offset != 100 || corrupt.Reason == "" {
		t.Errorf("got %#v", err)
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	raw := encode(plain(3))
	id := batch.ProducerIdentity{ID: 1}
	if n := testing.AllocsPerRun(100, func() {
		mustNext(t, raw)
		batch.Rewrite(raw, id)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestErrorTexts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&batch.MagicError{Offset: 5, Magic: 1}, "batch at offset 5: old message format 1"},
		{&batch.CorruptError{Offset: 5, Reason: "why"}, "batch at offset 5: why"},
		{&batch.CorruptError{Offset: 5, Reason: "decompress gzip", Err: io.ErrUnexpectedEOF}, "batch at offset 5: decompress gzip: unexpected EOF"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
