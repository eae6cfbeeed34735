package batch

import (
	"bytes"
	"errors"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is the largest window of levels 1 to 19, and what a decoder is kept for.
	zstdWindow = 8 << 20

	// zstdMaxWindow is the largest window of levels 20 to 22, and what Kafka's own consumer accepts.
	zstdMaxWindow = 128 << 20

	// zstdMaxBlock is the most that one block decompresses to.
	zstdMaxBlock = 128 << 10
)

// openZstd returns the stream in payload.
//
// A decoder allocates the window that a frame declares. At levels above 19 that is up to 128 MiB for a batch of any
// size, because a producer that streams does not know how small the batch will be; and a hostile one may declare it for
// nothing. A window larger than the frame's content is never used, so such a frame is given the window it can use. Frames
// after the first, which no client writes, are held to zstdWindow.
func (f *inflater) openZstd(payload []byte) (io.Reader, error) {
	var frame zstd.Header
	if err := frame.Decode(payload); err != nil {
		return nil, err
	}
	window := frame.WindowSize
	if frame.SingleSegment {
		window = frame.FrameContentSize
	}
	if frame.Skippable || window <= zstdWindow {
		return f.resetZstd(&f.in, zstdWindow)
	}
	if window > zstdMaxWindow {
		return nil, ErrTooLarge
	}
	blocks := payload[frame.HeaderSize:]
	usable := max(zstdContentBound(blocks), zstdMaxBlock) // a window also limits the blocks
	if usable >= window {
		return f.resetZstd(&f.in, window)
	}
	if frame.SingleSegment {
		return nil, errors.New("zstd frame declares more content than it has")
	}
	header := bytes.Clone(payload[:frame.HeaderSize])
	log := bits.Len64(usable - 1)
	header[5] = byte(log-10) << 3 // the window descriptor: an exponent and no mantissa
	f.in.Reset(blocks)
	return f.resetZstd(io.MultiReader(bytes.NewReader(header), &f.in), 1<<log)
}

// resetZstd returns a decoder of in, the one that is kept unless the window is too large for it.
func (f *inflater) resetZstd(in io.Reader, window uint64) (io.Reader, error) {
	if window > zstdWindow {
		d, err := newZstdDecoder(zstdMaxWindow)
		if err != nil {
			return nil, err
		}
		return d, d.Reset(in)
	}
	if f.zstd == nil {
		d, err := newZstdDecoder(zstdWindow)
		if err != nil {
			return nil, err
		}
		f.zstd = d
	}
	return f.zstd, f.zstd.Reset(in)
}

// newZstdDecoder returns a decoder that works in the goroutine of its reader, and therefore needs no closing, and that
// never decodes a small input at once, which would let the output be of any size.
func newZstdDecoder(window uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecodeBuffersBelow(0),
		zstd.WithDecoderMaxWindow(window))
}

// zstdContentBound returns the most that the blocks of one frame can decompress to. Blocks tell their kind and size in
// three bytes; where they are damaged the decoder will say so.
func zstdContentBound(blocks []byte) (bound uint64) {
	const raw, repeated = 0, 1
	for len(blocks) >= 3 {
		head := uint32(blocks[0]) | uint32(blocks[1])<<8 | uint32(blocks[2])<<16
		last, kind, size := head&1 != 0, head>>1&3, int(head>>3)
		blocks = blocks[3:]
		switch kind {
		case raw:
			bound += uint64(size)
		case repeated:
			bound += min(uint64(size), zstdMaxBlock)
			size = 1
		default:
			bound += zstdMaxBlock
		}
		if last || size > len(blocks) {
			break
		}
		blocks = blocks[size:]
	}
	return bound
}

// exceedsWindow says that a zstd frame wants more memory than it may have.
func exceedsWindow(err error) bool {
	return errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded)
}
