package batch

import (
	"encoding/binary"
	"iter"
	"math"
)

// Record is one record of a batch. One that a Decoder hands out, and every slice taken from it, is borrowed: it is
// valid until the callback returns. Its structure has been checked, so the accessors cannot fail.
type Record struct {
	Offset     int64
	Timestamp  int64 // ms, what a consumer sees: the append time in a log-append-time batch
	Attributes int8  // no bit is in use by Kafka today

	body       []byte
	key, value []byte
	headers    []byte // the encoded headers, without their count
	nheaders   int
}

// RecordHeader is one header of a record. Keys may be empty, repeated and of any bytes; a null value is nil.
type RecordHeader struct {
	Key, Value []byte
}

// NewRecord makes a record that owns its memory, for Builder.Append. A nil key or value becomes null, an empty one
// stays empty.
func NewRecord(key, value []byte, headers ...RecordHeader) *Record {
	b := appendBytes(nil, key)
	b = appendBytes(b, value)
	b = binary.AppendVarint(b, int64(len(headers)))
	for _, h := range headers {
		b = binary.AppendVarint(b, int64(len(h.Key)))
		b = append(b, h.Key...)
		b = appendBytes(b, h.Value)
	}
	r := new(Record)
	if reason := r.parseBody(b); reason != "" {
		panic("batch: internal error: new record: " + reason)
	}
	return r
}

// appendBytes appends a length and the bytes, or the length -1 for null.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// Body returns the encoded key, value and headers, from the key's length to the end of the last header, exactly as
// they were read.
func (r *Record) Body() []byte { return r.body }

// Key returns the key: nil if it is null, not nil if it is empty.
func (r *Record) Key() []byte { return r.key }

// Value returns the value: nil if it is null, not nil if it is empty.
func (r *Record) Value() []byte { return r.value }

// HeaderCount returns the number of headers.
func (r *Record) HeaderCount() int { return r.nheaders }

// Headers iterates over keys and values of the headers in their order, duplicates included. A null value is nil, an
// empty one is not.
func (r *Record) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		b := r.headers
		for range r.nheaders {
			var key, value []byte
			key, b, _ = takeBytes(b)
			value, b, _ = takeBytes(b)
			if !yield(key, value) {
				return
			}
		}
	}
}

// deltas are the parts of a record that only its batch gives a meaning.
type deltas struct {
	timestamp int64
	offset    int32
}

// parse reads one encoded record, b being all of it after its length. It leaves Offset and Timestamp to the caller and
// returns what is wrong, or "".
func (r *Record) parse(b []byte) (d deltas, reason string) {
	if len(b) == 0 {
		return d, "no attributes"
	}
	r.Attributes = int8(b[0])
	b = b[1:]
	// 64 bits: one placeholder timestamp of 1970 makes the others of its batch lie further away than 32 bits reach.
	ts, n := binary.Varint(b)
	if n <= 0 {
		return d, "bad timestamp delta"
	}
	b = b[n:]
	off, n := varint32(b)
	if n <= 0 {
		return d, "bad offset delta"
	}
	return deltas{timestamp: ts, offset: off}, r.parseBody(b[n:])
}

// parseBody checks b as a record's body and takes it apart.
func (r *Record) parseBody(b []byte) (reason string) {
	var ok bool
	r.body = b
	if r.key, b, ok = takeBytes(b); !ok {
		return "bad key length"
	}
	if r.value, b, ok = takeBytes(b); !ok {
		return "bad value length"
	}
	count, n := varint32(b)
	if n <= 0 || count < 0 {
		return "bad header count"
	}
	r.headers, r.nheaders = b[n:], int(count)
	rest, reason := skipHeaders(r.headers, r.nheaders)
	if reason == "" && len(rest) > 0 {
		return "bytes after the last header"
	}
	return reason
}

// skipHeaders checks count headers. A false count costs nothing: every header takes bytes, and they run out.
func skipHeaders(b []byte, count int) (rest []byte, reason string) {
	for range count {
		key, after, ok := takeBytes(b)
		if !ok || key == nil {
			return nil, "bad header key length"
		}
		if _, b, ok = takeBytes(after); !ok {
			return nil, "bad header value length"
		}
	}
	return b, ""
}

// takeBytes takes a length and that many bytes off b; v is nil for null, that is for any negative length.
func takeBytes(b []byte) (v, rest []byte, ok bool) {
	size, n := varint32(b)
	if n <= 0 || int(size) > len(b)-n {
		return nil, nil, false
	}
	b = b[n:]
	if size < 0 {
		return nil, b, true
	}
	return b[:size:size], b[size:], true
}

// varint32 reads a zigzag varint of at most 32 bits; n <= 0 if there is none.
func varint32(b []byte) (v int32, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int32(b[0]>>1) ^ -int32(b[0]&1), 1
	}
	u, n := binary.Uvarint(b)
	if n > binary.MaxVarintLen32 || u > math.MaxUint32 {
		return 0, -1
	}
	return int32(u>>1) ^ -int32(u&1), n
}
