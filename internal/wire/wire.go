// Package wire holds the primitive encodings of docs/format.md ("Encoding"):
// shortest-form varints, strings and fixed fields. Log entries and segment
// footers are made of them.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed encoding")

// AppendUvarint appends v in shortest form.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendVarint appends v zigzag-encoded in shortest form.
func AppendVarint(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendString appends the length of s in bytes and s.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendOptional appends s, or the mark of an absent string.
func AppendOptional(b []byte, s *string) []byte {
	if s == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(*s))+1), *s...)
}

// Reader decodes from a byte slice that it does not copy. The first error
// sticks: later calls return zero values, and Err or Close reports it. That
// lets decoders be written straight down and checked once.
type Reader struct {
	b   []byte
	err error
}

// NewReader reads b, which must not change meanwhile.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Failf makes the reader fail, for values that are well-formed but not allowed.
func (r *Reader) Failf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		r.b = nil
	}
}

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Close returns the first error, or one if bytes are left over.
func (r *Reader) Close() error {
	if len(r.b) > 0 {
		r.Failf("%d bytes left over", len(r.b))
	}
	return r.err
}

// Len returns the number of bytes that are left.
func (r *Reader) Len() int { return len(r.b) }

// Uvarint reads an unsigned varint in shortest form.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || (n > 1 && r.b[n-1] == 0) {
		r.Failf("bad varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zigzag varint in shortest form.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Max reads an unsigned varint of at most limit.
func (r *Reader) Max(what string, limit uint64) uint64 {
	v := r.Uvarint()
	if v > limit {
		r.Failf("%s is %d, the limit is %d", what, v, limit)
		return 0
	}
	return v
}

// Count reads the number of elements that follow, each of at least size bytes,
// so that a caller can allocate for them.
func (r *Reader) Count(what string, size int) int {
	v := r.Uvarint()
	if v > uint64(len(r.b)/size) {
		r.Failf("%d %s do not fit into %d bytes", v, what, len(r.b))
		return 0
	}
	return int(v)
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Failf("cut short")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Bytes reads n bytes, which alias the input.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Failf("cut short: %d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// String reads a string of at most limit bytes.
func (r *Reader) String(what string, limit int) string {
	return string(r.Bytes(int(r.Max(what+" length", uint64(limit)))))
}

// Optional reads a string of at most limit bytes, nil if it is absent.
func (r *Reader) Optional(what string, limit int) *string {
	n := r.Max(what+" length", uint64(limit)+1)
	if n == 0 || r.err != nil {
		return nil
	}
	s := string(r.Bytes(int(n) - 1))
	return &s
}
