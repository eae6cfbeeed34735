package segment

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// compressFrom is the raw size in bytes from which blocks may be compressed. The
// zstd encoder does not state the content size of smaller ones, which the
// format demands.
const compressFrom = 256

// Encoder turns raw blocks into stored ones. It is not safe for concurrent
// use: each worker has its own.
type Encoder struct {
	// Room, if set, yields the memory for blocks that are sealed and not compressed: a
	// slice of no length with room for n bytes.
	Room func(n int) []byte

	enc     *zstd.Encoder
	dec     *wire.Inflater
	scratch []byte
}

// DefaultLevel is the level at which backupd compresses.
const DefaultLevel = zstd.SpeedFastest

// ReencodeLevel is the level at which re-encoded blocks are compressed: they are made once, and read for years.
const ReencodeLevel = zstd.SpeedBetterCompression

// NewEncoder returns an encoder for zstd at the given level.
func NewEncoder(level zstd.EncoderLevel) (*Encoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	dec, err := wire.NewInflater()
	if err != nil {
		return nil, err
	}
	return &Encoder{enc: enc, dec: dec}, nil
}

// Encode fills the block's codec, lengths and digest and returns the bytes to
// store: raw itself where compress is false or does not pay, else a new slice. A
// block that a Seal has taken is sealed, in a new slice in any case. With Served,
// raw is that of a re-encoded block, of at least compressFrom bytes, and compressed whether it pays or not.
// Compressed bytes are decompressed as a reader would and compared before they
// are believed: encoders have had silent corruption bugs (restic #4523).
func (e *Encoder) Encode(k *Block, raw []byte, compress bool) ([]byte, error) {
	stored := raw
	k.Codec = Stored
	if compress && len(raw) >= compressFrom {
		packed := e.enc.EncodeAll(raw, make([]byte, 0, len(raw)/2+64)) // with room for a tag
		back, err := e.dec.Inflate(e.scratch, packed, len(raw))
		if err != nil || !bytes.Equal(back, raw) {
			return nil, fmt.Errorf("segment: internal error: zstd does not give back what it was given (%d bytes at offset %d): %v", len(raw), k.Start, err)
		}
		e.scratch = back
		switch {
		case k.Served > 0:
			stored, k.Codec = packed, Reencoded
		case len(packed) < len(raw):
			stored, k.Codec = packed, Zstd
		}
	}
	k.RawLength = int64(len(raw))
	if k.Key != nil {
		var err error
		if stored, err = k.seal(stored, e.Room); err != nil {
			return nil, err
		}
	}
	k.StoredLength = int64(len(stored))
	k.Digest = sha256.Sum256(stored)
	return stored, nil
}

// Check checks stored bytes against the block's length and digest. Errors wrap
// ErrCorrupt.
func (k *Block) Check(stored []byte) error {
	if int64(len(stored)) != k.StoredLength {
		return fmt.Errorf("%w: a block of %d bytes instead of %d", ErrCorrupt, len(stored), k.StoredLength)
	}
	if sha256.Sum256(stored) != k.Digest {
		return fmt.Errorf("%w: the SHA-256 of the block at byte %d is not the one in the footer", ErrCorrupt, k.Position)
	}
	return nil
}

// Decoder turns stored blocks into raw ones. It is not safe for concurrent use.
type Decoder struct {
	dec *wire.Inflater
}

// NewDecoder returns a decoder.
func NewDecoder() (*Decoder, error) {
	dec, err := wire.NewInflater()
	if err != nil {
		return nil, err
	}
	return &Decoder{dec: dec}, nil
}

// Decode checks stored against the block's length and digest and returns the
// raw bytes: stored itself, or, decompressed, in the memory of room if that is
// large enough. A sealed block is opened in the memory of stored. Errors wrap
// ErrCorrupt, or say that no identity opens the block's key.
func (d *Decoder) Decode(k *Block, stored, room []byte) ([]byte, error) {
	if err := k.Check(stored); err != nil {
		return nil, err
	}
	if k.Key != nil {
		var err error
		if stored, err = k.open(stored); err != nil {
			return nil, err
		}
	}
	if k.Codec == Stored {
		return stored, nil
	}
	raw, err := d.dec.Inflate(room, stored, int(k.RawLength))
	if err != nil {
		return nil, fmt.Errorf("%w: the block at byte %d: %w", ErrCorrupt, k.Position, err)
	}
	return raw, nil
}
