package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
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

// record begins a record at the given offset, which n more bytes must follow: a value and, as the last byte, 0 for no
// headers.
func (f *zstdFrame) record(offset, n int) {
	rest := binary.AppendVarint([]byte{0, 0}, int64(offset))
	rest = append(rest, 1) // null key
	rest = binary.AppendVarint(rest, int64(n-1))
	f.raw(append(binary.AppendVarint(nil, int64(len(rest)+n)), rest...)...)
}

// end returns the frame, finished with an empty last block.
func (f *zstdFrame) end() []byte { return append(f.b, 1, 0, 0) }

// zstdBatch returns a batch at offset 0 with the given frames as its payload.
func zstdBatch(count int32, frames []byte) []byte {
	return encode(kmsg.RecordBatch{Attributes: int16(batch.Zstd), LastOffsetDelta: count - 1, NumRecords: count, Records: frames})
}

// allocated decodes raw and returns the number of records, all memory that was allocated meanwhile, and the error,
// whether or not it was held at one time.
func allocated(raw []byte) (records int, size uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = batch.NewDecoder().Decode(raw, func(*batch.Record) error { records++; return nil })
	runtime.ReadMemStats(&after)
	return records, after.TotalAlloc - before.TotalAlloc, err
}

const mib = 1 << 20

func TestDecodeBombs(t *testing.T) {
	const blocks = 10 << 30 / (128 << 10) // 10 GiB
	zeros := newZstdFrame(20)
	zeros.zeros(blocks)

	// Two frames a record, so that the second can be the same for all.
	value := zstdEncode(t, append(bytes.Repeat([]byte("ab"), mib/2-1), 'c', 0))
	records := new(zstdFrame)
	for i := range blocks / 8 {
		head := newZstdFrame(20)
		head.record(i, mib)
		records.b = append(append(records.b, head.end()...), value...)
	}

	claim := newZstdFrame(20)
	claim.record(0, batch.MaxRecordSize-100)
	claim.zeros(4)

	huge := newZstdFrame(20)
	huge.record(0, batch.MaxRecordSize)
	huge.zeros(1024)

	window := newZstdFrame(27)
	window.record(0, mib)
	window.zeros(8)

	widest := newZstdFrame(28)
	widest.raw(encodeRecords(kmsg.Record{})...)

	second := append(newZstdFrame(20).end(), newZstdFrame(27).end()...)

	// A bare snappy block that could just as well hold the 129 MiB it declares.
	block := binary.AppendUvarint(nil, 129*mib)
	snappy := encode(kmsg.RecordBatch{Attributes: int16(batch.Snappy), NumRecords: 1, Records: append(block, make([]byte, 6*mib)...)})

	lie := encode(kmsg.RecordBatch{Attributes: int16(batch.Snappy), NumRecords: 1, Records: binary.AppendUvarint(nil, 100*mib)})

	// A single segment, whose window is its content, that declares 100 MiB.
	segment := &zstdFrame{[]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0x06}}
	segment.raw(encodeRecords(kmsg.Record{})...)

	// Whole streams, one behind the other, each of 1 MiB of zeros; and a record that claims to be as large as one may be.
	member := compress(t, batch.Gzip, make([]byte, mib))
	claimed := binary.AppendVarint(nil, batch.MaxRecordSize-100)
	gzipZeros := encode(kmsg.RecordBatch{Attributes: int16(batch.Gzip), NumRecords: 1 << 30, LastOffsetDelta: 1<<30 - 1, Records: bytes.Repeat(member, 4<<10)})
	gzipClaim := encode(kmsg.RecordBatch{Attributes: int16(batch.Gzip), NumRecords: 1, Records: compress(t, batch.Gzip, append(claimed, make([]byte, mib/2)...))})
	lz4Zeros := encode(kmsg.RecordBatch{Attributes: int16(batch.LZ4), NumRecords: 1 << 30, LastOffsetDelta: 1<<30 - 1, Records: compress(t, batch.LZ4, make([]byte, 64*mib))})
	lz4Claim := encode(kmsg.RecordBatch{Attributes: int16(batch.LZ4), NumRecords: 1, Records: compress(t, batch.LZ4, append(claimed, make([]byte, mib/2)...))})
	snappyClaim := encode(kmsg.RecordBatch{Attributes: int16(batch.Snappy), NumRecords: 1, Records: xerial(append(claimed, make([]byte, mib/2)...), 32<<10)})

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
		{"10 GiB of zeros", zstdBatch(1<<30, zeros.end()), isCorrupt, 0, 8 * mib},
		{"10 GiB of records", zstdBatch(blocks/8, records.b), isTooLarge, 4095, 32 * mib},
		{"record declared but not there", zstdBatch(1, claim.end()), isCorrupt, 0, 8 * mib},
		{"record above the limit", zstdBatch(1, huge.end()), isTooLarge, 0, 8 * mib},
		{"window declared but not needed", zstdBatch(1, window.end()), isNil, 1, 8 * mib},
		{"window above the limit", zstdBatch(1, widest.end()), isTooLarge, 0, 8 * mib},
		{"large window in a second frame", zstdBatch(1, second), isTooLarge, 0, 8 * mib},
		{"snappy block above its ratio", lie, isCorrupt, 0, 8 * mib},
		{"snappy block above the limit", snappy, isTooLarge, 0, 8 * mib},
		{"gzip, 4 GiB of zeros", gzipZeros, isCorrupt, 0, 8 * mib},
		{"gzip, record declared but not there", gzipClaim, isCorrupt, 0, 8 * mib},
		{"lz4, 64 MiB of zeros", lz4Zeros, isCorrupt, 0, 24 * mib},
		{"lz4, record declared but not there", lz4Claim, isCorrupt, 0, 24 * mib},
		{"snappy, record declared but not there", snappyClaim, isCorrupt, 0, 8 * mib},
		{"content declared but not there", zstdBatch(1, segment.end()), isCorrupt, 0, 8 * mib},
	} {
		t.Run(tc.name, func(t *testing.T) {
			records, size, err := allocated(tc.raw)
			if !tc.want(err) || records != tc.records {
				t.Errorf("%d records, want %d; error: %v", records, tc.records, err)
			}
			if size >= tc.below {
				t.Errorf("allocated %d MiB, want less than %d", size/mib, tc.below/mib)
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
	for _, window := range []int{16 * mib, 64 * mib} { // used as it is, and more than can be used
		t.Run(fmt.Sprintf("zstd with a window of %d MiB", window/mib), func(t *testing.T) {
			b := b
			b.Attributes = int16(batch.Zstd)
			b.Records = zstdEncode(t, b.Records, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
			if got := mustDecode(t, encode(b)); string(got[0].value) != string(value) {
				t.Error("value differs")
			}
		})
	}
}
