package segment

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window that a block may need.
const maxWindow = 8 << 20

// Encoder turns raw blocks into stored ones. It is not safe for concurrent
// use: each worker has its own.
type Encoder struct {
	enc     *zstd.Encoder
	dec     *zstd.Decoder
	scratch []byte
}

// NewEncoder returns an encoder for zstd at the given level.
func NewEncoder(level zstd.EncoderLevel) (*Encoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	dec, err := newZstdDecoder()
	if err != nil {
		return nil, err
	}
	return &Encoder{enc: enc, dec: dec}, nil
}

// Encode fills the block's codec, lengths and digest and returns the bytes to
// store: raw itself where compress is false or does not pay, else a new slice.
// Compressed bytes are decompressed and compared before they are believed:
// encoders have had silent corruption bugs (restic #4523).
func (e *Encoder) Encode(k *Block, raw []byte, compress bool) ([]byte, error) {
	stored := raw
	k.Codec = Stored
	if compress {
		packed := e.enc.EncodeAll(raw, make([]byte, 0, len(raw)/2+64))
		back, err := e.dec.DecodeAll(packed, e.scratch[:0])
		if err != nil || !bytes.Equal(back, raw) {
			return nil, fmt.Errorf("segment: internal error: zstd does not give back what it was given (%d bytes at offset %d): %v", len(raw), k.Start, err)
		}
		e.scratch = back
		if len(packed) < len(raw) {
			stored, k.Codec = packed, Zstd
		}
	}
	k.RawLength, k.StoredLength = int64(len(raw)), int64(len(stored))
	k.Digest = sha256.Sum256(stored)
	return stored, nil
}

// Decoder turns stored blocks into raw ones. It is not safe for concurrent use.
type Decoder struct {
	dec *zstd.Decoder
}

// NewDecoder returns a decoder.
func NewDecoder() (*Decoder, error) {
	dec, err := newZstdDecoder()
	if err != nil {
		return nil, err
	}
	return &Decoder{dec: dec}, nil
}

func newZstdDecoder() (*zstd.Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(MaxBlock))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return dec, nil
}

// Decode checks stored against the block's length and digest and returns the
// raw bytes: stored itself, or a new slice. Errors wrap ErrCorrupt.
func (d *Decoder) Decode(k *Block, stored []byte) ([]byte, error) {
	if int64(len(stored)) != k.StoredLength {
		return nil, fmt.Errorf("%w: a block of %d bytes instead of %d", ErrCorrupt, len(stored), k.StoredLength)
	}
	if sha256.Sum256(stored) != k.Digest {
		return nil, fmt.Errorf("%w: the SHA-256 of the block at byte %d is not the one in the footer", ErrCorrupt, k.Position)
	}
	if k.Codec == Stored {
		return stored, nil
	}
	var h zstd.Header
	if err := h.Decode(stored); err != nil || !h.HasFCS || h.FrameContentSize != uint64(k.RawLength) || h.Skippable {
		return nil, fmt.Errorf("%w: the block at byte %d is not a zstd frame of %d raw bytes", ErrCorrupt, k.Position, k.RawLength)
	}
	// A frame cannot be larger than what its header says, which is what the
	// footer says; but the promise may be a bomb's, so large ones grow.
	raw, err := d.dec.DecodeAll(stored, make([]byte, 0, min(k.RawLength, 8<<20)))
	if err != nil {
		return nil, fmt.Errorf("%w: the block at byte %d: %w", ErrCorrupt, k.Position, err)
	}
	if int64(len(raw)) != k.RawLength {
		return nil, fmt.Errorf("%w: the block at byte %d has %d raw bytes instead of %d", ErrCorrupt, k.Position, len(raw), k.RawLength)
	}
	return raw, nil
}
