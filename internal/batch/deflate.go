package batch

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// builderWindow is enough for the batches brokers accept by default, 1 MiB, and keeps the encoder small.
const builderWindow = 1 << 20

// deflater compresses payloads with one codec and keeps the compressor.
type deflater struct {
	packed []byte // the last batch, to be overwritten by the next
	codec  Codec
	gzip   *gzip.Writer
	lz4    *lz4.Writer
	zstd   *zstd.Encoder
	out    appender // a field because the compressors take its address
}

// newDeflater prepares the codec. What it writes is what Kafka's Java client can read: xerial blocks for snappy, and for
// lz4 a frame of independent blocks. zstd runs at about level 1 instead of Kafka's 3, because a rebuilding restore is
// bound by it.
func newDeflater(c Codec) (deflater, error) {
	d := deflater{codec: c}
	switch c {
	case None, Snappy:
		return d, nil
	case Gzip:
		d.gzip = gzip.NewWriter(nil)
		return d, nil
	case LZ4:
		d.lz4 = lz4.NewWriter(nil)
		// The batch has a checksum of its own.
		err := d.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1))
		return d, err
	case Zstd:
		var err error
		d.zstd, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(builderWindow))
		return d, err
	}
	return d, fmt.Errorf("batch: unknown codec %d", c)
}

// appendTo appends src to dst, compressed.
func (d *deflater) appendTo(dst, src []byte) ([]byte, error) {
	switch d.codec {
	case Gzip:
		d.out.b = dst
		d.gzip.Reset(&d.out)
		err := writeAll(d.gzip, src)
		return d.out.b, err
	case LZ4:
		d.out.b = dst
		d.lz4.Reset(&d.out)
		err := writeAll(d.lz4, src)
		return d.out.b, err
	case Snappy:
		return appendXerial(dst, src), nil
	default: // Zstd; there is nothing to do for None
		return d.zstd.EncodeAll(src, dst), nil
	}
}

func writeAll(w io.WriteCloser, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Close()
}

// appender is a slice to write to.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}
