package segment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// allocated returns how many bytes fn allocates, the garbage included.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// affordable is what a small hostile input may cost.
const affordable = 32 << 20

// blockFields are the fields of one block as docs/format.md lists them.
type blockFields struct {
	position            uint64
	codec               byte
	stored, raw         uint64
	start, offsets      uint64
	batches, records    uint64
	maxTimestamp        int64
	span                uint64
	epoch               int64
	flags               byte
	events              uint64
	eventOffset         uint64
	eventKind           byte
	eventEpoch          int64
	partition, topicLen uint64
}

// encode returns a footer with one stream and one block.
func (f blockFields) encode() []byte {
	b := wire.AppendUvarint(nil, 1)
	b = append(b, make([]byte, 16)...)
	b = wire.AppendString(b, strings.Repeat("t", int(f.topicLen)))
	b = wire.AppendUvarint(b, f.partition)
	b = wire.AppendUvarint(b, 1)
	b = append(wire.AppendUvarint(b, f.position), f.codec)
	for _, v := range []uint64{f.stored, f.raw, f.start, f.offsets, f.batches, f.records} {
		b = wire.AppendUvarint(b, v)
	}
	if f.records > 0 {
		b = wire.AppendUvarint(wire.AppendVarint(b, f.maxTimestamp), f.span)
	}
	b = append(wire.AppendVarint(b, f.epoch), f.flags)
	b = wire.AppendUvarint(b, f.events)
	if f.events > 0 {
		b = append(wire.AppendUvarint(b, f.eventOffset), f.eventKind)
		b = wire.AppendVarint(wire.AppendVarint(b, 9), f.eventEpoch)
	}
	return append(b, make([]byte, sha256.Size)...)
}

// sizeOf is the object's size that goes with a footer and its blocks.
func sizeOf(footer []byte, stored uint64) int64 { return 8 + int64(stored) + int64(len(footer)) + 16 }

// TestFooterBounds goes to the bound of each field and one beyond.
func TestFooterBounds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*blockFields)
		ok     bool
	}{
		{"as it is", func(*blockFields) {}, true},
		{"longest name", func(f *blockFields) { f.topicLen = 249 }, true},
		{"name too long", func(f *blockFields) { f.topicLen = 250 }, false},
		{"last partition", func(f *blockFields) { f.partition = math.MaxInt32 }, true},
		{"partition too large", func(f *blockFields) { f.partition = 1 << 31 }, false},
		{"space before the block", func(f *blockFields) { f.position = 1 }, false},
		{"position far away", func(f *blockFields) { f.position = 1 << 50 }, false},
		{"position out of bounds", func(f *blockFields) { f.position = math.MaxUint64 }, false},
		{"unknown codec", func(f *blockFields) { f.codec = 2 }, false},
		{"lengths differ, as it is", func(f *blockFields) { f.raw = 11 }, false},
		{"lengths differ, zstd", func(f *blockFields) { f.raw, f.codec = 11, 1 }, true},
		{"nothing stored", func(f *blockFields) { f.stored, f.raw = 0, 0 }, false},
		{"nothing raw", func(f *blockFields) { f.raw, f.codec = 0, 1 }, false},
		{"largest block", func(f *blockFields) { f.raw, f.codec = segment.MaxBlock, 1 }, true},
		{"raw too large", func(f *blockFields) { f.raw, f.codec = segment.MaxBlock+1, 1 }, false},
		{"stored too large", func(f *blockFields) { f.stored, f.raw = segment.MaxBlock+1, segment.MaxBlock+1 }, false},
		{"no offsets", func(f *blockFields) { f.offsets = 0 }, false},
		{"last offset", func(f *blockFields) { f.start, f.offsets = math.MaxInt64-2, 1 }, true},
		{"start beyond the last offset", func(f *blockFields) { f.start = math.MaxInt64 }, false},
		{"next beyond the last offset", func(f *blockFields) { f.start, f.offsets = math.MaxInt64-2, 2 }, false},
		{"most batches", func(f *blockFields) { f.batches = 1 << 40 }, true},
		{"too many batches", func(f *blockFields) { f.batches = 1<<40 + 1 }, false},
		{"too many records", func(f *blockFields) { f.records = 1<<40 + 1 }, false},
		{"no records", func(f *blockFields) { f.records = 0 }, true},
		{"any timestamps", func(f *blockFields) { f.maxTimestamp, f.span = math.MaxInt64, math.MaxUint64 }, true},
		{"timestamps that overflow", func(f *blockFields) { f.maxTimestamp, f.span = math.MinInt64, 1 }, false},
		{"epoch too large", func(f *blockFields) { f.epoch = 1 << 31 }, false},
		{"epoch too small", func(f *blockFields) { f.epoch = -1<<31 - 1 }, false},
		{"flag", func(f *blockFields) { f.flags = 1 }, true},
		{"unknown flag", func(f *blockFields) { f.flags = 2 }, false},
		{"more events than bytes", func(f *blockFields) { f.events = 1 << 20 }, false},
		{"last event kind", func(f *blockFields) { f.events, f.eventKind = 1, 2 }, true},
		{"unknown event kind", func(f *blockFields) { f.events, f.eventKind = 1, 3 }, false},
		{"event behind the block", func(f *blockFields) { f.events, f.eventOffset = 1, 6 }, false},
		{"event at the block's end", func(f *blockFields) { f.events, f.eventOffset = 1, 5 }, false},
		{"last event of the block", func(f *blockFields) { f.events, f.eventOffset = 1, 4 }, true},
		{"event epoch out of bounds", func(f *blockFields) { f.events, f.eventEpoch = 1, 1<<15 }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := blockFields{stored: 10, raw: 10, start: 3, offsets: 5, batches: 1, records: 5, topicLen: 3}
			tc.change(&f)
			b := f.encode()
			got, err := segment.ParseFooter(b, sizeOf(b, f.stored))
			switch {
			case tc.ok && err != nil:
				t.Errorf("refused: %v", err)
			case tc.ok && !bytes.Equal(got.Append(nil), b):
				t.Error("it is not encoded as it was")
			case !tc.ok && !errors.Is(err, segment.ErrCorrupt):
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestFooterStructure(t *testing.T) {
	one := blockFields{stored: 10, raw: 10, offsets: 5, topicLen: 3}.encode()
	noBlocks := append(append(wire.AppendUvarint(nil, 1), make([]byte, 16)...), 1, 't', 0, 0)
	for name, tc := range map[string]struct {
		footer []byte
		size   int64
	}{
		"bytes left over":            {append(bytes.Clone(one), 0), sizeOf(one, 10) + 1},
		"larger than the object":     {one, int64(len(one))},
		"an object too small":        {one, sizeOf(one, 9)},
		"an object too large":        {one, sizeOf(one, 11)},
		"no streams, but space":      {[]byte{0}, 8 + 1 + 1 + 16},
		"a stream without blocks":    {noBlocks, sizeOf(noBlocks, 0)},
		"nothing":                    {nil, 8 + 16},
		"more streams than bytes":    {wire.AppendUvarint(nil, 1<<62), 1 << 40},
		"more streams than it takes": {append(wire.AppendUvarint(nil, 3), make([]byte, 41)...), 1 << 40},
	} {
		if _, err := segment.ParseFooter(tc.footer, tc.size); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := segment.ParseFooter([]byte{0}, 8+1+16); err != nil {
		t.Errorf("a segment without blocks is refused: %v", err)
	}
}

// Counts and lengths are claims; nothing is allocated on their word.
func TestHostileFooterIsCheap(t *testing.T) {
	long := make([]byte, 1<<20)
	for name, footer := range map[string][]byte{
		"streams": append(wire.AppendUvarint(nil, 1<<19), long[:100]...),
		"blocks": append(append(append(wire.AppendUvarint(nil, 1), make([]byte, 16)...), 0, 0),
			append(wire.AppendUvarint(nil, 1<<40), long[:100]...)...),
		"the most streams that a megabyte could have": append(wire.AppendUvarint(nil, 1<<20/20), long...),
		"the most blocks that a megabyte could have": append(append(append(wire.AppendUvarint(nil, 1), make([]byte, 16)...), 0, 0),
			append(wire.AppendUvarint(nil, 1<<20/44), long...)...),
	} {
		var err error
		n := allocated(func() { _, err = segment.ParseFooter(footer, 1<<40) })
		if !errors.Is(err, segment.ErrCorrupt) || n > affordable {
			t.Errorf("%s: %d bytes allocated, %v", name, n, err)
		}
	}
}

// sealed returns the footer entry of stored bytes that claim to be a zstd
// block of raw bytes.
func sealed(stored []byte, raw int64) *segment.Block {
	return &segment.Block{Position: 8, Codec: segment.Zstd, StoredLength: int64(len(stored)), RawLength: raw, Digest: sha256.Sum256(stored)}
}

// frame is a single-segment zstd frame that says it holds size bytes.
func frame(size uint32, blocks ...byte) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}
	return append(binary.LittleEndian.AppendUint32(b, size), blocks...)
}

func compressed(t testing.TB, raw []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(raw, nil)
}

// TestDecodeRefuses: the digest is right in each case, so it was an author of
// a repository who wrote this, not the wire.
func TestDecodeRefuses(t *testing.T) {
	text := bytes.Repeat([]byte("some text "), 100)
	good := compressed(t, text)
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}
	empty := frame(0, 1, 0, 0)
	var unsized bytes.Buffer
	w, err := zstd.NewWriter(&unsized)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	n := int64(len(text))
	for name, tc := range map[string]struct {
		stored []byte
		raw    int64
	}{
		"not zstd":                        {text, n},
		"one byte more":                   {good, n + 1},
		"one byte less":                   {good, n - 1},
		"cut short":                       {good[:len(good)-1], n},
		"a byte behind":                   {append(bytes.Clone(good), 0), n},
		"a second frame":                  {append(bytes.Clone(good), good...), n},
		"a second frame, counted":         {append(bytes.Clone(good), good...), 2 * n},
		"a second, empty frame":           {append(bytes.Clone(good), empty...), n},
		"a skippable frame":               {skippable, 4},
		"a skippable frame before":        {append(bytes.Clone(skippable), good...), n},
		"a skippable frame behind":        {append(bytes.Clone(good), skippable...), n},
		"a frame without its size":        {unsized.Bytes(), n},
		"a claim of 256 MiB":              {frame(segment.MaxBlock, 1, 0, 0), segment.MaxBlock},
		"a claim of 256 MiB, unsupported": {frame(segment.MaxBlock, 1, 0, 0), 100},
		"a claim of 4 GiB":                {frame(math.MaxUint32, 1, 0, 0), segment.MaxBlock},
		"a frame that holds more":         {frame(10, 0x03|128<<3&0xff, 0, 0x10, 'x'), 10},
	} {
		t.Run(name, func(t *testing.T) {
			dec, err := segment.NewDecoder()
			if err != nil {
				t.Fatal(err)
			}
			cost := allocated(func() { _, err = dec.Decode(sealed(tc.stored, tc.raw), tc.stored, nil) })
			if !errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			if cost > affordable {
				t.Errorf("%d bytes are allocated for %d", cost, len(tc.stored))
			}
			// The decoder must have come out of it unharmed.
			if got, err := dec.Decode(sealed(good, n), good, nil); err != nil || !bytes.Equal(got, text) {
				t.Errorf("afterwards a good block gives %v", err)
			}
		})
	}
}

// A window beyond 8 MiB is out of the format, however small the block.
func TestDecodeRefusesLargeWindow(t *testing.T) {
	raw := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	stored := compressed(t, raw, zstd.WithWindowSize(16<<20))
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dec.Decode(sealed(stored, int64(len(raw))), stored, nil); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// Blocks above what is allocated at once are real: a batch may be 128 MiB.
func TestDecodeLargeBlock(t *testing.T) {
	raw := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	enc, err := segment.NewEncoder(zstd.SpeedFastest)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var k segment.Block
	stored, err := enc.Encode(&k, raw, true)
	if err != nil || k.Codec != segment.Zstd {
		t.Fatalf("codec %d, %v", k.Codec, err)
	}
	for range 2 {
		if got, err := dec.Decode(&k, stored, nil); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
}

func TestEncode(t *testing.T) {
	random := sha256.Sum256([]byte("does not compress"))
	text := bytes.Repeat([]byte("compresses "), 50)
	for name, tc := range map[string]struct {
		raw      []byte
		compress bool
		want     segment.Codec
	}{
		"not asked to":       {text, false, segment.Stored},
		"does not pay":       {random[:], true, segment.Stored},
		"pays":               {text, true, segment.Zstd},
		"least of all bytes": {[]byte{0}, true, segment.Stored},
	} {
		enc, err := segment.NewEncoder(zstd.SpeedFastest)
		if err != nil {
			t.Fatal(err)
		}
		var k segment.Block
		stored, err := enc.Encode(&k, tc.raw, tc.compress)
		if err != nil || k.Codec != tc.want || k.RawLength != int64(len(tc.raw)) || k.StoredLength != int64(len(stored)) || k.Digest != sha256.Sum256(stored) {
			t.Errorf("%s: got %+v, %v", name, k, err)
		}
		if k.Codec == segment.Stored && &stored[0] != &tc.raw[0] {
			t.Errorf("%s: a copy is stored", name)
		}
	}
}

func FuzzParseFooter(f *testing.F) {
	o := sample(f)
	f.Add(o.tail()[:o.ref.FooterLength], o.ref.Size)
	one := blockFields{stored: 10, raw: 10, offsets: 5, topicLen: 3, records: 5, events: 1}.encode()
	f.Add(one, sizeOf(one, 10))
	f.Add([]byte{0}, int64(25))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		footer, err := segment.ParseFooter(b, size)
		if err != nil {
			if !errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("%v is not ErrCorrupt", err)
			}
			return
		}
		if !bytes.Equal(footer.Append(nil), b) {
			t.Errorf("% x is not encoded as it was", b)
		}
	})
}

func FuzzDecode(f *testing.F) {
	text := bytes.Repeat([]byte("some text "), 100)
	f.Add(compressed(f, text), int64(len(text)))
	f.Add(frame(1<<20, 1, 0, 0), int64(1<<20))
	f.Add(frame(10, 0x03, 0, 0x10, 'x'), int64(10))
	dec, err := segment.NewDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stored []byte, raw int64) {
		raw &= segment.MaxBlock - 1
		var got []byte
		var err error
		cost := allocated(func() { got, err = dec.Decode(sealed(stored, raw), stored, nil) })
		if len(stored) < 256 && cost > affordable { // which it cannot hold
			t.Errorf("%d bytes are allocated for %d", cost, len(stored))
		}
		if err != nil && !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%v is not ErrCorrupt", err)
		}
		if err == nil && int64(len(got)) != raw {
			t.Errorf("%d bytes instead of %d", len(got), raw)
		}
	})
}

// A footer costs a small multiple of its own bytes, whatever it is made of: a
// hostile one may have 64 MiB.
func TestFooterCostsWhatItsBytesJustify(t *testing.T) {
	const n = 200_000
	streams, blocks := wire.AppendUvarint(nil, n), wire.AppendUvarint(nil, 1)
	blocks = append(append(blocks, make([]byte, 16)...), 0, 0)
	blocks = wire.AppendUvarint(blocks, n)
	block := append([]byte{0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0}, make([]byte, sha256.Size)...)
	for i := range n {
		streams = append(append(streams, make([]byte, 16)...), 0)
		streams = append(wire.AppendUvarint(streams, uint64(i)), 1)
		streams = append(wire.AppendUvarint(streams, uint64(i)), block[1:]...) // positions of first blocks count from the beginning
		blocks = append(blocks, block...)
	}
	events := append(append(wire.AppendUvarint(nil, 1), make([]byte, 16)...), 0, 0, 1)
	events = wire.AppendUvarint(append(events, block[:10]...), n)
	events = append(append(events, make([]byte, 4*n)...), block[11:]...)
	for _, tc := range []struct {
		name   string
		footer []byte
		stored uint64
	}{{"streams", streams, n}, {"blocks", blocks, n}, {"events", events, 1}} {
		var err error
		cost := allocated(func() { _, err = segment.ParseFooter(tc.footer, sizeOf(tc.footer, tc.stored)) })
		if factor := float64(cost) / float64(len(tc.footer)); err != nil || factor > 6.5 {
			t.Errorf("%s: %.1f times %d bytes, %v", tc.name, factor, len(tc.footer), err)
		} else {
			t.Logf("%s: %.1f times", tc.name, factor)
		}
	}
}
