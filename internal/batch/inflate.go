package batch

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
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
	default: // Zstd; ParseHeader lets no others through
		return f.openZstd(payload)
	}
}

// release forgets the payload.
func (f *inflater) release() {
	f.in.Reset(nil)
	f.snappy.release()
}
