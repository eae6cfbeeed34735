package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrNotSame says that a re-encoded batch is not what it was made of.
var ErrNotSame = errors.New("batch: a re-encoded batch does not have the records of the original")

// Prover compares re-encoded batches with what they were made of. It does not ask the decompressors a second time which
// an Opener has asked: gzip is that of the standard library, lz4 and snappy are read by the few lines of this package
// that follow their specifications. Only zstd is the same library, in its other mode. It is for one goroutine at a time.
type Prover struct {
	room []byte
	zstd *zstd.Decoder
}

// Prove compares the batches of a re-encoded block with the original ones. Errors wrap ErrNotSame or are about what is no
// valid batch.
func (p *Prover) Prove(reencoded, original []byte) error {
	for len(reencoded) > 0 || len(original) > 0 {
		now, raw, after, from, err := NextReencoded(reencoded)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotSame, err)
		}
		was, one, rest, err := Next(original)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotSame, err)
		}
		left := reencoded[0] == byte(None)
		switch {
		case left && !bytes.Equal(raw, one), !left && was.Origin() != from, !left && !sameHeader(raw, one):
			return fmt.Errorf("%w: batch at offset %d is that at %d", ErrNotSame, was.BaseOffset, now.BaseOffset)
		case !left:
			if err := p.payload(&was, one[HeaderSize:], raw[HeaderSize:]); err != nil {
				return err
			}
		}
		reencoded, original = after, rest
	}
	return nil
}

// sameHeader compares what the header of an opened batch has in common with the original one.
func sameHeader(now, was []byte) bool {
	a := binary.BigEndian.Uint16(now[posAttributes:])
	b := binary.BigEndian.Uint16(was[posAttributes:])
	return bytes.Equal(now[:posLength], was[:posLength]) && bytes.Equal(now[posLeaderEpoch:posCRC], was[posLeaderEpoch:posCRC]) &&
		a == b&^codecMask && bytes.Equal(now[posLastOffsetDelta:HeaderSize], was[posLastOffsetDelta:HeaderSize])
}

// payload compares uncompressed records with what the original ones yield.
func (p *Prover) payload(h *Header, packed, plain []byte) error {
	got, err := p.inflate(h.Codec(), packed, len(plain))
	if err != nil {
		return fmt.Errorf("%w: batch at offset %d: %s: %w", ErrNotSame, h.BaseOffset, h.Codec(), err)
	}
	if !bytes.Equal(got, plain) {
		return fmt.Errorf("%w: batch at offset %d: %s yields other bytes", ErrNotSame, h.BaseOffset, h.Codec())
	}
	return nil
}

// inflate returns what a payload yields, up to one byte more than n.
func (p *Prover) inflate(c Codec, packed []byte, n int) ([]byte, error) {
	if cap(p.room) < n+1 {
		p.room = make([]byte, 0, n+1)
	}
	switch c {
	case Gzip:
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return p.readUpTo(r, n)
	case LZ4:
		return plainLZ4(p.room[:0], packed, n)
	case Snappy:
		return plainSnappy(p.room[:0], packed, n)
	}
	return p.inflateZstd(packed, n)
}

func (p *Prover) inflateZstd(packed []byte, n int) ([]byte, error) {
	if p.zstd == nil {
		var err error
		if p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMaxWindow), zstd.WithDecoderMaxWindow(zstdMaxWindow)); err != nil {
			return nil, err
		}
	}
	var frame zstd.Header
	if err := frame.Decode(packed); err != nil {
		return nil, err
	}
	if frame.HasFCS && frame.FrameContentSize > uint64(n) {
		return nil, fmt.Errorf("a frame of %d bytes instead of %d", frame.FrameContentSize, n)
	}
	return p.zstd.DecodeAll(packed, p.room[:0])
}

func (p *Prover) readUpTo(r io.Reader, n int) ([]byte, error) {
	got, err := io.ReadFull(r, p.room[:n+1])
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return p.room[:got], err
}
