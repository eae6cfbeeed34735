package batch

import (
	"errors"
	"fmt"
)

var (
	// ErrCut says that the bytes end before the batch does. It is the normal end of a fetch response, whose last batch
	// may be cut anywhere. Damage in the length field of the last batch looks the same: a caller that makes no progress
	// from one response to the next must treat ErrCut as corruption.
	ErrCut = errors.New("batch: cut short")

	// ErrMagic matches every *MagicError.
	ErrMagic = errors.New("batch: old message format")

	// ErrTooLarge says that a record is above MaxRecordSize, a payload above MaxDecompressed, a zstd window above what
	// Kafka's consumer takes, or a batch to build above 2 GiB. The batch may be intact.
	ErrTooLarge = errors.New("batch: too large")

	// ErrNoMarker is returned by Marker for a control batch that holds no record: compaction keeps the empty header of
	// a producer's last batch.
	ErrNoMarker = errors.New("batch: control batch without marker")
)

// MagicError reports a batch of message format 0 or 1, which brokers upgraded from Kafka before 0.11 still hold. It
// is intact as far as anybody looked, but this package does not read it. errors.Is(err, ErrMagic) holds.
type MagicError struct {
	Offset int64 // first field of the message: the offset of its last record when it is a compressed wrapper
	Magic  int8
}

func (e *MagicError) Error() string {
	return fmt.Sprintf("batch at offset %d: old message format %d", e.Offset, e.Magic)
}

// Is makes ErrMagic match.
func (e *MagicError) Is(target error) bool { return target == ErrMagic }

// CorruptError reports bytes that are no valid batch.
type CorruptError struct {
	Offset int64 // base offset as read, itself possibly damaged
	Reason string
	Err    error // what the decompressor said, or nil
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("batch at offset %d: %s: %v", e.Offset, e.Reason, e.Err)
	}
	return fmt.Sprintf("batch at offset %d: %s", e.Offset, e.Reason)
}

func (e *CorruptError) Unwrap() error { return e.Err }
