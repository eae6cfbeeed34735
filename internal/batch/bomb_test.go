package batch_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// zstdFrame writes a frame by hand, so that a bomb of any size costs nothing to make.
type zstdFrame struct{ b []byte }

// newZstdFrame declares a window of 2^log bytes and no content size.
func newZstdFrame(log byte) *zstdFrame {
	return &zstdFrame{[]byte{0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3}}
}

func (f *zstdFrame) block(kind, size int, data ...byte) {
	head := uint32(kind<<1 | size<<3)
	f.b = append(f.b, byte(head), byte(head>>8), byte(head>>16))
	f.b = append(f.b, data...)
}

func (f *zstdFrame) raw(data ...byte) { f.block(0, len(data), data...) }

// zeros adds blocks of 128 KiB of zeros each, in four bytes.
func (f *zstdFrame) zeros(blocks int) {
	for range blocks {
		f.block(1, 128<<10, 0)
	}
}

// record begins a record of n bytes at the given offset, which zeros of the same number of bytes must follow: they
// make up its value and the header count.
func (f *zstdFrame) record(offset, n int) {
	rest := binary.AppendVarint([]byte{0, 0}, int64(offset))
	rest = append(rest, 1) // null key
	rest = binary.AppendVarint(rest, int64(n-1))
	f.raw(append(binary.AppendVarint(nil, int64(len(rest)+n)), rest...)...)
}

func (f *zstdFrame) batch(count int32) []byte {
	f.b = append(f.b, 1, 0, 0) // an empty last block
	return encode(kmsg.RecordBatch{Attributes: int16(batch.Zstd), LastOffsetDelta: count - 1, NumRecords: count, Records: f.b})
}

// allocated decodes raw and returns the error, the number of records, and all memory that was allocated meanwhile,
// whether or not it was held at one time.
func allocated(raw []byte) (err error, records int, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = batch.NewDecoder().Decode(raw, func(*batch.Record) error { records++; return nil })
	runtime.ReadMemStats(&after)
	return err, records, after.TotalAlloc - before.TotalAlloc
}

const mib = 1 << 20

func TestDecodeBombs(t *testing.T) {
	const blocks = 10 << 30 / (128 << 10) // 10 GiB
	zeros := newZstdFrame(20)
	zeros.zeros(blocks)

	records := newZstdFrame(20)
	for i := range blocks / 8 {
		records.record(i, mib)
		records.zeros(8)
	}

	claim := newZstdFrame(20)
	claim.record(0, batch.MaxRecordSize-100)
	claim.zeros(4)

	huge := newZstdFrame(20)
	huge.record(0, batch.MaxRecordSize)
	huge.zeros(1024)

	window := newZstdFrame(27)
	window.raw(encodeRecords(kmsg.Record{})...)

	widest := newZstdFrame(28)
	widest.raw(encodeRecords(kmsg.Record{})...)

	// A single segment, whose window is its content, that declares 100 MiB.
	segment := &zstdFrame{[]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0x06}}
	segment.raw(encodeRecords(kmsg.Record{})...)

	isTooLarge := func(err error) bool { return errors.Is(err, batch.ErrTooLarge) }
	isCorrupt := func(err error) bool { var c *batch.CorruptError; return errors.As(err, &c) }
	isNil := func(err error) bool { return err == nil }
	for _, tc := range []struct {
		name    string
		raw     []byte
		want    func(error) bool
		records int
		below   uint64
	}{
		{"10 GiB of zeros", zeros.batch(1 << 30), isCorrupt, 0, 8 * mib},
		{"10 GiB of records", records.batch(blocks / 8), isTooLarge, 4095, 32 * mib},
		{"record declared but not there", claim.batch(1), isCorrupt, 0, 8 * mib},
		{"record above the limit", huge.batch(1), isTooLarge, 0, 8 * mib},
		{"window declared but not needed", window.batch(1), isNil, 1, 8 * mib},
		{"window above the limit", widest.batch(1), isTooLarge, 0, 8 * mib},
		{"content declared but not there", segment.batch(1), isCorrupt, 0, 8 * mib},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err, records, bytes := allocated(tc.raw)
			if !tc.want(err) || records != tc.records {
				t.Errorf("%d records, want %d; error: %v", records, tc.records, err)
			}
			if bytes >= tc.below {
				t.Errorf("allocated %d MiB, want less than %d", bytes/mib, tc.below/mib)
			}
		})
	}
}

// TestDecodeBigRecord reads a record much larger than any buffer, out of a frame that really needs its large window.
func TestDecodeBigRecord(t *testing.T) {
	value := make([]byte, 20*mib)
	for i := range value {
		value[i] = byte(i * i >> 7)
	}
	copy(value[10*mib:], value[:10*mib]) // a match ten MiB back
	b := plain(1)
	b.Records = encodeRecords(kmsg.Record{Value: value})
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			if got := mustDecode(t, encode(compressed(t, b, c))); string(got[0].value) != string(value) {
				t.Error("value differs")
			}
		})
	}
	t.Run("zstd with a large window", func(t *testing.T) {
		b := b
		b.Attributes, b.Records = int16(batch.Zstd), zstdEncode(t, b.Records, zstd.WithWindowSize(64*mib), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
		if got := mustDecode(t, encode(b)); string(got[0].value) != string(value) {
			t.Error("value differs")
		}
	})
}
