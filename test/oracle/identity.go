// Package oracle judges a copy of a topic by its records: which of them are lost, there twice, out of order, altered,
// from an aborted transaction, or from nowhere. It knows nothing of how the copy was made.
package oracle

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
)

// Identity is what makes a record itself: key, value, headers in their order, timestamp. Null differs from empty. The
// offset is not part of it, as a copy may have its own.
type Identity [sha256.Size]byte

// Content is a record as a consumer sees it; batch.Record is one.
type Content interface {
	Key() []byte // nil for null
	Value() []byte
	HeaderCount() int
	Headers() iter.Seq2[[]byte, []byte]
}

// Identify returns the identity of a record with the given timestamp in ms.
func Identify(timestamp int64, c Content) Identity {
	h := sha256.New()
	writeInt(h, timestamp)
	writeBytes(h, c.Key())
	writeBytes(h, c.Value())
	writeInt(h, int64(c.HeaderCount()))
	for key, value := range c.Headers() {
		writeBytes(h, key)
		writeBytes(h, value)
	}
	return Identity(h.Sum(nil))
}

func writeInt(h hash.Hash, n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// writeBytes writes a length, -1 for null, and the bytes, so that no two records give the same stream.
func writeBytes(h hash.Hash, b []byte) {
	if b == nil {
		writeInt(h, -1)
		return
	}
	writeInt(h, int64(len(b)))
	h.Write(b)
}
