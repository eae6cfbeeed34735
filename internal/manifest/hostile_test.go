package manifest_test

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

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// object wraps a stored body into an entry whose digest is right: what an
// author of a repository can do, as opposed to the wire.
func object(codec, raw uint32, stored []byte) []byte {
	b := append([]byte("OFSLOG\x00\x01"), make([]byte, 80)...)
	binary.BigEndian.PutUint64(b[8:], 1)
	b = binary.BigEndian.AppendUint32(b, codec)
	b = binary.BigEndian.AppendUint32(b, raw)
	b = binary.BigEndian.AppendUint32(b, uint32(len(stored)))
	return seal(append(b, stored...))
}

func plain(body []byte) []byte { return object(0, uint32(len(body)), body) }

func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func uv(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = wire.AppendUvarint(b, v)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func section(kind byte, payload ...[]byte) []byte {
	p := join(payload...)
	return join([]byte{kind}, uv(uint64(len(p))), p)
}

func str(s string) []byte { return wire.AppendString(nil, s) }

// topicOf is a section with one topic whose fields can be chosen.
func topicOf(number uint64, flags byte, name string, partitions, replicas uint64, configs ...[]byte) []byte {
	return section(2, uv(1, number), []byte{flags}, make([]byte, 16), str(name), uv(partitions, replicas, uint64(len(configs))), join(configs...))
}

func segmentOf(size, footer uint64) []byte {
	return section(4, uv(1, 1, size, footer), make([]byte, 32))
}

// rangeOf is a section of ranges behind one segment.
func rangeOf(parts ...[]byte) []byte {
	return join(segmentOf(1000, 100), section(5, parts...))
}

func groupOf(parts ...[]byte) []byte {
	return section(7, uv(1), str("g"), []byte{0}, str("classic"), str("consumer"), join(parts...))
}

func sv(v int64) []byte { return wire.AppendVarint(nil, v) }

// TestBodyBounds goes to the bound of each field and one beyond.
func TestBodyBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"empty", nil, true},
		{"agent", section(1, str("p"), str("h"), str(long(64<<10))), true},
		{"agent, name too long", section(1, str("p"), str("h"), str(long(64<<10+1))), false},
		{"agent, bytes left over", section(1, str("p"), str("h"), str("u"), []byte{0}), false},
		{"agent, cut short", section(1, str("p"), str("h")), false},
		{"sections out of order", join(topicOf(0, 0, "t", 1, 1), section(1, str("p"), str("h"), str("u"))), false},
		{"section twice", join(topicOf(0, 0, "t", 1, 1), topicOf(1, 0, "u", 1, 1)), false},
		{"section longer than the body", []byte{1, 200, 1}, false},
		{"section type without a length", []byte{1}, false},
		{"unknown section", section(100, []byte{1}), false},
		{"last unknown section that matters", section(127, []byte{1}), false},
		{"first that may be skipped", section(200, []byte{1}), true},
		{"closing", section(128, uv(20, 1, 0)), true},
		{"closing without a mark", section(128, uv(20, 0, 0)), false},
		{"closing, cut short", section(128, uv(20, 1)), false},
		{"verification", section(131, []byte{3}, uv(1, 1, 1e6), make([]byte, 8), uv(0, 0, 0, 0)), true},
		{"verification of an unknown level", section(131, []byte{4}, uv(1, 1, 1e6), make([]byte, 8), uv(0, 0, 0, 0)), false},
		{"verification of more than all", section(131, []byte{3}, uv(1, 1, 1e6+1), make([]byte, 8), uv(0, 0, 0, 0)), false},
		{"verification of nothing", section(131, []byte{3}, uv(1, 1, 0), make([]byte, 8), uv(0, 0, 0, 0)), false},
		{"verification backwards", section(131, []byte{3}, uv(2, 1, 1), make([]byte, 8), uv(0, 0, 0, 0)), false},
		{"verification of no entry", section(131, []byte{3}, uv(0, 1, 1), make([]byte, 8), uv(0, 0, 0, 0)), false},
		{"verification, cut short", section(131, []byte{3}, uv(1, 1, 1), make([]byte, 7)), false},
		{"last that may be skipped", section(255), true},
		{"type 0", section(0), false},
		{"no topics", section(2, uv(0)), false},
		{"topic", topicOf(1<<24, 1, long(249), 1<<24, 1<<15), true},
		{"topic number", topicOf(1<<24+1, 0, "t", 1, 1), false},
		{"topic flags", topicOf(0, 2, "t", 1, 1), false},
		{"topic name", topicOf(0, 0, long(250), 1, 1), false},
		{"topic partitions", topicOf(0, 0, "t", 1<<24+1, 1), false},
		{"topic replicas", topicOf(0, 0, "t", 1, 1<<15+1), false},
		{"configs", topicOf(0, 0, "t", 1, 1, str(long(1<<10)), uv(0)), false}, // counted as two
		{"config", topicOf(0, 0, "t", 1, 1, join(str(long(1<<10)), uv(0))), true},
		{"config name", topicOf(0, 0, "t", 1, 1, join(str(long(1<<10+1)), uv(0))), false},
		{"config value", topicOf(0, 0, "t", 1, 1, join(str("c"), uv(1<<20+1), []byte(long(1<<20)))), true},
		{"config value too long", topicOf(0, 0, "t", 1, 1, join(str("c"), uv(1<<20+2), []byte(long(1<<20+1)))), false},
		{"configs in order", topicOf(0, 0, "t", 1, 1, join(str("a"), uv(0)), join(str("b"), uv(0))), true},
		{"configs out of order", topicOf(0, 0, "t", 1, 1, join(str("b"), uv(0)), join(str("a"), uv(0))), false},
		{"config twice", topicOf(0, 0, "t", 1, 1, join(str("a"), uv(0)), join(str("a"), uv(0))), false},
		{"no streams", section(3, uv(0)), false},
		{"stream", section(3, uv(1, 1<<24, 1<<31-1, 1<<24, math.MaxInt64-1)), true},
		{"stream's topic", section(3, uv(1, 1<<24+1, 0, 0, 0)), false},
		{"stream's partition", section(3, uv(1, 0, 1<<31, 0, 0)), false},
		{"stream's parent", section(3, uv(1, 0, 0, 1<<24+1, 0)), false},
		{"stream's first offset", section(3, uv(1, 0, 0, 0, math.MaxInt64)), false},
		{"no segments", section(4, uv(0)), false},
		{"smallest segment", segmentOf(124, 100), true},
		{"segment too small for its footer", segmentOf(123, 100), false},
		{"segment size", segmentOf(1<<50+1, 100), false},
		{"largest footer", segmentOf(1<<40, 64<<20), true},
		{"footer length", segmentOf(1<<40, 64<<20+1), false},
		{"no ranges", rangeOf(uv(0)), false},
		{"range", rangeOf(uv(1, 0, 5), sv(5)), true},
		{"range with records", rangeOf(uv(1, 0, 5), sv(0), sv(1), uv(2)), true},
		{"more records than offsets", rangeOf(uv(1, 0, 5), sv(-9), sv(1), uv(2)), true},
		{"fewer than no records", rangeOf(uv(1, 0, 5), sv(6)), false},
		{"records that overflow", rangeOf(uv(1, 0, math.MaxInt64-1), sv(math.MinInt64), sv(1), uv(2)), false},
		{"timestamps that overflow", rangeOf(uv(1, 0, 5), sv(0), sv(math.MinInt64), uv(1)), false},
		{"range of a high number", rangeOf(uv(1, 1<<26, 5), sv(5)), true},
		{"range's number", rangeOf(uv(1, 1<<26+4, 5), sv(5)), false},
		{"range with an epoch", rangeOf(uv(1, 1), sv(math.MaxInt32), uv(5), sv(5)), true},
		{"range's epoch", rangeOf(uv(1, 1), sv(math.MaxInt32+1), uv(5), sv(5)), false},
		{"empty span", rangeOf(uv(1, 0, 0), sv(0)), false},
		{"longest span", rangeOf(uv(1, 0, math.MaxInt64-1), sv(math.MaxInt64-1)), true},
		{"span's offsets", rangeOf(uv(1, 0, math.MaxInt64), sv(math.MaxInt64)), false},
		{"gap", rangeOf(uv(1, 2, 1, 1, 5)), true},
		{"gap of the last reason", rangeOf(uv(1, 2, 1, 3, 5)), true},
		{"gap's reason", rangeOf(uv(1, 2, 1, 5, 5)), false},
		{"empty gap", rangeOf(uv(1, 2, 1, 1, 0)), false},
		{"empty span list", rangeOf(uv(1, 2, 0, 0, 0)), false},
		{"span list of what needs none", rangeOf(uv(1, 2, 1, 0, 5), sv(5)), false},
		{"two spans", rangeOf(uv(1, 2, 2, 0, 5), sv(5), uv(1, 7)), true},
		{"span of a segment that is not there", rangeOf(uv(1, 2, 1, 2, 5), sv(5)), false},
		{"data without a segment", section(5, uv(1, 0, 5), sv(5)), false},
		{"log start", section(6, uv(1, 1<<24, math.MaxInt64-1)), true},
		{"log start's stream", section(6, uv(1, 1<<24+1, 0)), false},
		{"log start's offset", section(6, uv(1, 0, math.MaxInt64)), false},
		{"no log starts", section(6, uv(0)), false},
		{"no groups", section(7, uv(0)), false},
		{"group without offsets", groupOf(uv(0)), true},
		{"group that is gone", section(7, uv(1), str("g"), []byte{1}), true},
		{"group flags", section(7, uv(1), str("g"), []byte{2}), false},
		{"group that is gone, with more", section(7, uv(1), str("g"), []byte{1}, str("classic")), false},
		{"groups in order", section(7, uv(2), str("a"), []byte{1}, str("b"), []byte{1}), true},
		{"groups out of order", section(7, uv(2), str("b"), []byte{1}, str("a"), []byte{1}), false},
		{"group twice", section(7, uv(2), str("a"), []byte{1}, str("a"), []byte{1}), false},
		{"group id", section(7, uv(1), str(long(64<<10+1)), []byte{1}), false},
		{"committed offset", groupOf(uv(1), str("t"), uv(0, math.MaxInt64), sv(-1), str(long(64<<10))), true},
		{"committed offset beyond the last", groupOf(uv(1), str("t"), uv(0, math.MaxInt64+1), sv(-1), str("")), false},
		{"metadata", groupOf(uv(1), str("t"), uv(0, 1), sv(-1), str(long(64<<10+1))), false},
		{"commit epoch", groupOf(uv(1), str("t"), uv(0, 1), sv(math.MinInt32-1), str("")), false},
		{"no longer committed", groupOf(uv(1), str("t"), uv(0, 0)), true},
		{"offsets in order", groupOf(uv(2), str("t"), uv(0, 0), str("t"), uv(1, 0)), true},
		{"partitions out of order", groupOf(uv(2), str("t"), uv(1, 0), str("t"), uv(0, 0)), false},
		{"topics out of order", groupOf(uv(2), str("u"), uv(0, 0), str("t"), uv(1, 0)), false},
		{"offset twice", groupOf(uv(2), str("t"), uv(0, 0), str("t"), uv(0, 0)), false},
		{"point", section(8, str("p"), make([]byte, 8), uv(1, 1<<24, math.MaxInt64-1)), true},
		{"point without a time", section(8, str("p"), make([]byte, 7)), false},
		{"point's exceptions", section(8, str("p"), make([]byte, 8), uv(2, 0, 0)), false},
		{"exception's stream", section(8, str("p"), make([]byte, 8), uv(1, 1<<24+1, 0)), false},
		{"exception's distance", section(8, str("p"), make([]byte, 8), uv(1, 0, math.MaxInt64)), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := manifest.DecodeEntry(plain(tc.body))
			if (err == nil) != tc.ok {
				t.Fatalf("got %v, want ok %v", err, tc.ok)
			}
			if tc.ok && !strings.Contains(tc.name, "skipped") && !bytes.Equal(e.Body(), tc.body) {
				t.Error("it is not encoded as it was")
			}
		})
	}
}

// A newer version is named as such, but only if the object is intact: a flipped
// bit must not look like a new version.
func TestVersions(t *testing.T) {
	b := mustEncode(t, full())
	b[7] = 2
	if _, err := manifest.DecodeEntry(b); err == nil || errors.Is(err, manifest.ErrVersion) {
		t.Errorf("an entry with a flipped version: got %v", err)
	}
	if _, err := manifest.DecodeEntry(seal(b[:len(b)-32])); !errors.Is(err, manifest.ErrVersion) {
		t.Errorf("an entry of version 2: got %v, want ErrVersion", err)
	}
	if _, err := manifest.DecodeEntry(plain(section(100))); !errors.Is(err, manifest.ErrVersion) {
		t.Errorf("an unknown section: got %v, want ErrVersion", err)
	}
}

// affordable is what a small hostile input may cost.
const affordable = 32 << 20

func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileEntryIsCheap: counts, lengths and content sizes are claims.
func TestHostileEntryIsCheap(t *testing.T) {
	zeros := make([]byte, 1<<20)
	frame := func(size uint32) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, size), 1, 0, 0)
	}
	windowed := func(size uint32) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x50}, size), 1, 0, 0)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	bomb := enc.EncodeAll(make([]byte, manifest.MaxBody), nil)
	cases := map[string][]byte{
		"a claim of 64 MiB":           object(1, manifest.MaxBody, frame(manifest.MaxBody)),
		"the same with a window":      object(1, manifest.MaxBody, windowed(manifest.MaxBody)),
		"a claim of the frame alone":  object(1, 100, frame(manifest.MaxBody)),
		"a body above the limit":      object(1, manifest.MaxBody+1, frame(manifest.MaxBody+1)),
		"a bomb":                      object(1, 100, bomb),
		"a second frame":              object(1, 100, join(enc.EncodeAll(zeros[:100], nil), bomb)),
		"a skippable frame":           object(1, 4, []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}),
		"an unknown codec":            object(2, 4, []byte{1, 2, 3, 4}),
		"lengths that differ":         object(0, 5, []byte{1, 2, 3, 4}),
		"nothing but the frame":       object(1, 0, nil),
		"a second frame without data": object(1, 300, join(enc.EncodeAll(section(200, zeros[:297]), nil), frame(0))),
	}
	for kind, least := range map[byte]uint64{2: 22, 3: 4, 4: 35, 5: 3, 6: 2, 7: 2} {
		name := string(rune('0' + kind))
		cases["count of section "+name] = plain(section(kind, uv(math.MaxUint64)))
		cases["large count of section "+name] = plain(section(kind, uv(1<<30), zeros[:100]))
		cases["the most that 128 KiB could have in section "+name] = plain(section(kind, uv(128<<10/least), zeros[:128<<10]))
	}
	cases["configs"] = plain(section(2, uv(1, 0), make([]byte, 17), str("t"), uv(1, 1, 1<<40)))
	cases["spans"] = plain(rangeOf(uv(1, 2, 1<<40)))
	cases["offsets of a group"] = plain(groupOf(uv(1 << 40)))
	cases["exceptions"] = plain(section(8, str(""), make([]byte, 8), uv(1<<40)))
	for name, b := range cases {
		var err error
		cost := allocated(func() { _, err = manifest.DecodeEntry(b) })
		honest := strings.HasPrefix(name, "the most") // zeros may be what they seem
		if err == nil && !honest || cost > affordable {
			t.Errorf("%s: %d bytes are allocated for %d, error %v", name, cost, len(b), err)
		}
	}
}

// FuzzBody: what decodes is the only encoding of its content.
func FuzzBody(f *testing.F) {
	f.Add(full().Body())
	f.Add(keysBody(f))
	f.Add(join(topicOf(0, 0, "t", 1, 1, join(str("c"), uv(0))), section(3, uv(1, 0, 0, 0, 5)), rangeOf(uv(1, 2, 2, 0, 5), sv(5), uv(1, 7))))
	f.Add(join(section(6, uv(1, 1, 1)), groupOf(uv(1), str("t"), uv(0, 9), sv(-1), str("m")), section(8, str("p"), make([]byte, 8), uv(1, 0, 0)), section(200)))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := manifest.DecodeEntry(plain(body))
		if err != nil {
			return
		}
		again := e.Body()
		if rest, ok := bytes.CutPrefix(body, again); !ok || len(rest) > 0 && rest[0] < 132 {
			t.Errorf("% x\nis encoded as\n% x", body, again)
		}
	})
}

// FuzzEntry gives the decoder whole objects, most of which have a wrong digest;
// the digest is put right in every second case.
func FuzzEntry(f *testing.F) {
	b, err := full().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, false)
	f.Add(b[:len(b)-32], true)
	f.Add(object(1, 100, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0x23, 3, 0, 0}), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix {
			b = seal(bytes.Clone(b))
		}
		e, err := manifest.DecodeEntry(b)
		if err == nil && e == nil {
			t.Error("neither an entry nor an error")
		}
	})
}
