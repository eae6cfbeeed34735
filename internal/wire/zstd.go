package wire

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest zstd window of the format.
	maxWindow = 8 << 20
	// believed is the content size in bytes that a frame is believed without
	// proof: what a small hostile input can make us allocate.
	believed = 8 << 20
	// spare is what the decompressor wants behind the content to be fast.
	spare = 16
)

// Inflater decompresses zstd as docs/format.md has it: exactly one frame, which
// states its content size and needs a window of at most 8 MiB. It is not safe
// for concurrent use and needs no closing.
type Inflater struct {
	dec *zstd.Decoder
}

// NewInflater returns an Inflater.
func NewInflater() (*Inflater, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &Inflater{dec}, nil
}

// Inflate returns the n bytes that packed holds, in the memory of dst if that
// is large enough. Errors wrap ErrMalformed. Memory for more than 8 MiB is
// taken only once the content has been seen to be that large.
func (i *Inflater) Inflate(dst, packed []byte, n int) ([]byte, error) {
	if err := checkFrame(packed, n); err != nil {
		return nil, err
	}
	if n > believed && cap(dst) < n {
		if err := i.prove(packed, n); err != nil {
			return nil, err
		}
	}
	if cap(dst) < n {
		dst = make([]byte, 0, n+spare)
	}
	out, err := i.dec.DecodeAll(packed, dst[:0])
	if err == nil && len(out) != n {
		err = fmt.Errorf("%d bytes instead of %d", len(out), n)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", ErrMalformed, err)
	}
	return out, nil
}

// prove decompresses without keeping the content.
func (i *Inflater) prove(packed []byte, n int) error {
	err := i.dec.Reset(bytes.NewReader(packed))
	if err == nil {
		var m int64
		if m, err = io.Copy(io.Discard, io.LimitReader(i.dec, int64(n)+1)); err == nil && m != int64(n) {
			err = fmt.Errorf("%d bytes instead of %d", m, n)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: decompress: %w", ErrMalformed, err)
	}
	return nil
}

// checkFrame makes sure that packed is one frame, to its last byte, and says
// that it holds n bytes.
func checkFrame(packed []byte, n int) error {
	var h zstd.Header
	if err := h.Decode(packed); err != nil || h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(n) {
		return fmt.Errorf("%w: not a zstd frame of %d bytes", ErrMalformed, n)
	}
	at := h.HeaderSize
	for last := false; !last; {
		if len(packed)-at < 3 {
			return fmt.Errorf("%w: the zstd frame is cut short", ErrMalformed)
		}
		block := uint32(packed[at]) | uint32(packed[at+1])<<8 | uint32(packed[at+2])<<16
		last = block&1 != 0
		size := int(block >> 3)
		if block>>1&3 == 1 {
			size = 1 // a run of one byte
		}
		at += 3 + size
	}
	if h.HasCheckSum {
		at += 4
	}
	if at != len(packed) {
		return fmt.Errorf("%w: a zstd frame of %d bytes in %d", ErrMalformed, at, len(packed))
	}
	return nil
}
