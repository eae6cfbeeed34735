package batch

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// zstdWindow is the largest window of levels 1 to 19, and what a decoder is kept for.
	zstdWindow = 8 << 20

	// zstdMaxWindow is the largest window of levels 20 to 22, and what Kafka's own consumer accepts.
	zstdMaxWindow = 128 << 20
)

// inflater turns payloads into plain streams and keeps the decompressors for the next batch.
type inflater struct {
	in     bytes.Reader
	gzip   gzip.Reader
	snappy snappyReader
	lz4    *lz4.Reader
	zstd   *zstd.Decoder
}

// open returns the stream in payload. It is valid until the next open or release.
func (f *inflater) open(c Codec, payload []byte) (io.Reader, error) {
	f.in.Reset(payload)
	switch c {
	case Gzip:
		return &f.gzip, f.gzip.Reset(&f.in)
	case Snappy:
		f.snappy.reset(payload)
		return &f.snappy, nil
	case LZ4:
		if f.lz4 == nil {
			f.lz4 = lz4.NewReader(nil)
		}
		f.lz4.Reset(&f.in)
		return f.lz4, nil
	case Zstd:
		return f.openZstd(payload)
	}
	return nil, errors.New("unknown codec") // ParseHeader lets none through
}

// openZstd allows a large window only to a frame that says it needs one, with a decoder that is not kept.
func (f *inflater) openZstd(payload []byte) (io.Reader, error) {
	var frame zstd.Header
	if err := frame.Decode(payload); err != nil {
		return nil, err
	}
	window := frame.WindowSize
	if frame.SingleSegment {
		window = frame.FrameContentSize
	}
	if window > zstdWindow {
		d, err := newZstdDecoder(zstdMaxWindow)
		if err != nil {
			return nil, err
		}
		return d, d.Reset(&f.in)
	}
	if f.zstd == nil {
		d, err := newZstdDecoder(zstdWindow)
		if err != nil {
			return nil, err
		}
		f.zstd = d
	}
	return f.zstd, f.zstd.Reset(&f.in)
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

// exceedsWindow says that a zstd frame wants more memory than it may have.
func exceedsWindow(err error) bool {
	return errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded)
}

// release forgets the payload.
func (f *inflater) release() {
	f.in.Reset(nil)
	f.snappy.release()
}
