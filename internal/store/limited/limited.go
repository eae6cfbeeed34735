// Package limited bounds how many bytes per second go to a store and come from it.
package limited

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/time/rate"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Config has the limits, in bytes per second. Zero is none.
type Config struct {
	Upload, Download int64
}

// Store bounds the content of the objects that are put and read, of all calls
// together. Transfers at the same time share the limit alike, piece by piece, so
// that a small object has to wait for a piece of each large one, and not for the
// large ones. Listings, and what a store repeats by itself, do not count. What a
// store collects before it sends it goes out as fast as it can.
type Store struct {
	store.Store
	upload, download *rate.Limiter // nil for no limit
}

// maxPiece in bytes is the most that is waited for at once, and the most that goes
// ahead of the limit.
const maxPiece = 64 << 10

// New returns a store that bounds the transfers of inner, or inner if there are no
// limits.
func New(inner store.Store, c Config) store.Store {
	if c.Upload <= 0 && c.Download <= 0 {
		return inner
	}
	return &Store{Store: inner, upload: limiter(c.Upload), download: limiter(c.Download)}
}

func limiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	// A piece takes a sixteenth of a second at least.
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(max(1, min(maxPiece, bytesPerSecond/16))))
}

// Put implements store.Store. It is as slow as the limit makes the reading of r.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if s.upload == nil {
		return s.Store.Put(ctx, key, r, opts)
	}
	paced := &reader{ctx: ctx, limit: s.upload, r: r}
	if w, ok := r.(io.WriterTo); ok {
		return s.Store.Put(ctx, key, writerTo{paced, w}, opts)
	}
	return s.Store.Put(ctx, key, paced, opts)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	body, err := s.Store.Get(ctx, key, off, n)
	if err != nil || s.download == nil {
		return body, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&reader{ctx: ctx, limit: s.download, r: body}, body}, nil
}

// reader reads no faster than the limit allows.
type reader struct {
	ctx   context.Context
	limit *rate.Limiter
	r     io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), r.limit.Burst())])
	if waitErr := wait(r.ctx, r.limit, n); waitErr != nil {
		return n, waitErr
	}
	return n, err
}

func wait(ctx context.Context, limit *rate.Limiter, n int) error {
	if n == 0 {
		return nil
	}
	if err := limit.WaitN(ctx, n); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w, waiting for the limit of the bandwidth", ctx.Err())
		}
		// The limiter says that the deadline would pass.
		return fmt.Errorf("%w, waiting for the limit of the bandwidth: %v", context.DeadlineExceeded, err)
	}
	return nil
}

// writerTo is a reader of what writes itself.
type writerTo struct {
	*reader
	w io.WriterTo
}

// WriteTo implements io.WriterTo.
func (w writerTo) WriteTo(dst io.Writer) (int64, error) {
	return w.w.WriteTo(writer{w.reader, dst})
}

// writer writes no faster than the limit allows.
type writer struct {
	*reader
	dst io.Writer
}

func (w writer) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), w.limit.Burst())]
		if err := wait(w.ctx, w.limit, len(piece)); err != nil {
			return written, err
		}
		n, err := w.dst.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[len(piece):]
	}
	return written, nil
}
