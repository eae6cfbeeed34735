package wire_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/wire"
)

func TestUvarintBounds(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		want uint64
		ok   bool
	}{
		{"zero", []byte{0}, 0, true},
		{"largest of one byte", []byte{0x7f}, 127, true},
		{"least of two bytes", []byte{0x80, 1}, 128, true},
		{"largest", bytes.Join([][]byte{bytes.Repeat([]byte{0xff}, 9), {1}}, nil), math.MaxUint64, true},
		{"nothing", nil, 0, false},
		{"cut short", []byte{0x80}, 0, false},
		{"zero in two bytes", []byte{0x80, 0}, 0, false},
		{"127 in two bytes", []byte{0xff, 0}, 0, false},
		{"1 in ten bytes", append([]byte{0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, 0), 0, false},
		{"beyond 64 bits", bytes.Join([][]byte{bytes.Repeat([]byte{0xff}, 9), {2}}, nil), 0, false},
		{"eleven bytes", bytes.Join([][]byte{bytes.Repeat([]byte{0xff}, 10), {1}}, nil), 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := wire.NewReader(tc.in)
			got := r.Uvarint()
			err := r.Close()
			if got != tc.want || (err == nil) != tc.ok {
				t.Errorf("got %d, %v, want %d, ok %v", got, err, tc.want, tc.ok)
			}
			if err != nil && !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%v is not ErrMalformed", err)
			}
		})
	}
}

func TestVarintIsZigzag(t *testing.T) {
	for v, want := range map[int64][]byte{
		0: {0}, -1: {1}, 1: {2}, -64: {0x7f}, 64: {0x80, 1},
		math.MaxInt64: {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		math.MinInt64: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if got := wire.AppendVarint(nil, v); !bytes.Equal(got, want) {
			t.Errorf("%d is encoded as % x, want % x", v, got, want)
		}
		r := wire.NewReader(want)
		if got := r.Varint(); got != v || r.Close() != nil {
			t.Errorf("% x is decoded as %d, %v, want %d", want, got, r.Err(), v)
		}
	}
}

// TestReaderRefuses gives each method what it has to refuse, and what it just does not.
func TestReaderRefuses(t *testing.T) {
	uv := func(v uint64, rest ...byte) []byte { return append(wire.AppendUvarint(nil, v), rest...) }
	for _, tc := range []struct {
		name string
		in   []byte
		read func(*wire.Reader)
		want string // "" if it is to be accepted
	}{
		{"value at its limit", uv(10), func(r *wire.Reader) { r.Max("x", 10) }, ""},
		{"value above its limit", uv(11), func(r *wire.Reader) { r.Max("x", 10) }, "x is 11, the limit is 10"},
		{"count that fits", uv(2, 1, 2, 3, 4), func(r *wire.Reader) { r.Count("x", 2); r.Bytes(4) }, ""},
		{"count that does not fit", uv(3, 1, 2, 3, 4), func(r *wire.Reader) { r.Count("x", 2) }, "3 x do not fit into 4 bytes"},
		{"count of half an element", uv(1, 1), func(r *wire.Reader) { r.Count("x", 2) }, "1 x do not fit"},
		{"largest count", uv(math.MaxUint64, 1), func(r *wire.Reader) { r.Count("x", 1) }, "do not fit"},
		{"byte", []byte{7}, func(r *wire.Reader) { r.Byte() }, ""},
		{"no byte", nil, func(r *wire.Reader) { r.Byte() }, "cut short"},
		{"bytes", []byte{1, 2}, func(r *wire.Reader) { r.Bytes(2) }, ""},
		{"no bytes", nil, func(r *wire.Reader) { r.Bytes(0) }, ""},
		{"too many bytes", []byte{1, 2}, func(r *wire.Reader) { r.Bytes(3) }, "3 bytes wanted, 2 left"},
		{"a negative number of bytes", []byte{1, 2}, func(r *wire.Reader) { r.Bytes(-1) }, "cut short"},
		{"string at its limit", uv(2, 'h', 'i'), func(r *wire.Reader) { r.String("x", 2) }, ""},
		{"string above its limit", uv(2, 'h', 'i'), func(r *wire.Reader) { r.String("x", 1) }, "x length is 2"},
		{"string that is cut short", uv(3, 'h', 'i'), func(r *wire.Reader) { r.String("x", 9) }, "cut short"},
		{"absent string", uv(0), func(r *wire.Reader) { r.Optional("x", 0) }, ""},
		{"optional string at its limit", uv(3, 'h', 'i'), func(r *wire.Reader) { r.Optional("x", 2) }, ""},
		{"optional string above its limit", uv(3, 'h', 'i'), func(r *wire.Reader) { r.Optional("x", 1) }, "x length is 3"},
		{"optional string that is cut short", uv(4, 'h', 'i'), func(r *wire.Reader) { r.Optional("x", 9) }, "cut short"},
		{"bytes left over", []byte{1, 2}, func(r *wire.Reader) { r.Byte() }, "1 bytes left over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := wire.NewReader(tc.in)
			tc.read(r)
			err := r.Close()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && !errors.Is(err, wire.ErrMalformed):
				t.Errorf("got %v, want ErrMalformed", err)
			case tc.want != "" && !strings.Contains(err.Error(), tc.want):
				t.Errorf("got %q, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestFirstErrorSticks(t *testing.T) {
	r := wire.NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	r.Failf("the first")
	r.Failf("the second")
	if r.Uvarint() != 0 || r.Varint() != 0 || r.Max("x", 9) != 0 || r.Count("x", 1) != 0 || r.Byte() != 0 ||
		r.Bytes(1) != nil || r.String("x", 9) != "" || r.Optional("x", 9) != nil || r.Len() != 0 {
		t.Error("a failed reader yields values")
	}
	if err := r.Close(); err == nil || err != r.Err() || !strings.Contains(err.Error(), "the first") {
		t.Errorf("got %v, want the first error", err)
	}
}

// A reader must not copy, and what it hands out must not be a way to write into its neighbour.
func TestBytesAliasAndAreCapped(t *testing.T) {
	in := []byte{1, 2, 3}
	p := wire.NewReader(in).Bytes(2)
	if &p[0] != &in[0] || cap(p) != 2 {
		t.Errorf("got a slice of capacity %d that aliases: %v", cap(p), &p[0] == &in[0])
	}
}

// field is one encoded value and how to read it back.
type field struct {
	encode func([]byte) []byte
	decode func(*wire.Reader) bool // says whether the value is the same
}

const limit = 40

func fields() *rapid.Generator[field] {
	return rapid.Custom(func(t *rapid.T) field {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			v := rapid.Uint64().Draw(t, "unsigned")
			return field{func(b []byte) []byte { return wire.AppendUvarint(b, v) }, func(r *wire.Reader) bool { return r.Uvarint() == v }}
		case 1:
			v := rapid.Int64().Draw(t, "signed")
			return field{func(b []byte) []byte { return wire.AppendVarint(b, v) }, func(r *wire.Reader) bool { return r.Varint() == v }}
		case 2:
			s := rapid.StringN(0, -1, limit).Draw(t, "string")
			return field{func(b []byte) []byte { return wire.AppendString(b, s) }, func(r *wire.Reader) bool { return r.String("x", limit) == s }}
		case 3:
			s := rapid.StringN(0, -1, limit).Draw(t, "optional")
			return field{func(b []byte) []byte { return wire.AppendOptional(b, &s) }, func(r *wire.Reader) bool {
				got := r.Optional("x", limit)
				return got != nil && *got == s
			}}
		}
		return field{func(b []byte) []byte { return wire.AppendOptional(b, nil) }, func(r *wire.Reader) bool { return r.Optional("x", limit) == nil && r.Err() == nil }}
	})
}

// TestRoundTrip also cuts the encoding at every length: no prefix decodes.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(fields(), 1, 8).Draw(t, "fields")
		var b []byte
		for _, f := range list {
			b = f.encode(b)
		}
		r := wire.NewReader(b)
		for i, f := range list {
			if !f.decode(r) {
				t.Fatalf("field %d is not the same (%v)", i, r.Err())
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for n := range b {
			r := wire.NewReader(b[:n])
			for _, f := range list {
				f.decode(r)
			}
			if r.Close() == nil {
				t.Fatalf("the first %d of %d bytes decode", n, len(b))
			}
		}
	})
}

// FuzzReader: what decodes encodes to the same bytes again.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{0x80, 1, 1, 2, 'h', 'i', 3, 'h', 'i'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 1, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := wire.NewReader(in)
		u, v, s, o := r.Uvarint(), r.Varint(), r.String("s", limit), r.Optional("o", limit)
		rest := r.Bytes(r.Len())
		if r.Close() != nil {
			return
		}
		out := wire.AppendOptional(wire.AppendString(wire.AppendVarint(wire.AppendUvarint(nil, u), v), s), o)
		if out = append(out, rest...); !bytes.Equal(out, in) {
			t.Errorf("% x is decoded, and encoded as % x", in, out)
		}
	})
}
