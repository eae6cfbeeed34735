package retrying

import (
	"context"
	"io"
)

// body reads an object through as many Gets as it takes.
type body struct {
	store  *Store
	ctx    context.Context
	call   *call
	off, n int64         // what is still to be read; n < 0 means to the end
	rc     io.ReadCloser // nil after it broke
	breaks int
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	for {
		if b.n == 0 || len(p) == 0 {
			return b.readNothing()
		}
		if err := b.open(); err != nil {
			return 0, err
		}
		n, err := b.call.read(b.rc, p)
		b.advance(int64(n))
		if err == nil || err == io.EOF {
			return n, err
		}
		b.breaks++
		if b.breaks >= b.store.cfg.Tries || isFinal(b.ctx, err) {
			return n, err
		}
		b.call.anew(err)
		b.rc.Close() // its error can say nothing new
		b.rc = nil
		if n > 0 {
			return n, nil
		}
	}
}

// readNothing answers what needs no byte of the object any more.
func (b *body) readNothing() (int, error) {
	if b.n == 0 {
		return 0, io.EOF
	}
	return 0, nil
}

func (b *body) open() error {
	if b.closed {
		return io.ErrClosedPipe
	}
	if b.rc != nil {
		return nil
	}
	rc, err := b.store.get(b.ctx, b.call, b.off, b.n)
	if err != nil {
		return err
	}
	b.rc = rc
	return nil
}

func (b *body) advance(n int64) {
	b.off += n
	if b.n >= 0 {
		b.n -= n
	}
}

func (b *body) Close() error {
	b.closed = true
	if b.rc == nil {
		return nil
	}
	rc := b.rc
	b.rc = nil
	return rc.Close()
}

// watch wraps r, keeping its io.WriterTo, and returns a function that tells
// whether r has failed, as opposed to what it was copied to.
func watch(r io.Reader) (io.Reader, func() bool) {
	w := &watched{r: r}
	if wt, ok := r.(io.WriterTo); ok {
		return &watchedWriterTo{watched: w, wt: wt}, func() bool { return w.failed }
	}
	return w, func() bool { return w.failed }
}

type watched struct {
	r      io.Reader
	failed bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		w.failed = true
	}
	return n, err
}

type watchedWriterTo struct {
	*watched
	wt io.WriterTo
}

func (w *watchedWriterTo) WriteTo(dst io.Writer) (int64, error) {
	out := &watchedWriter{w: dst}
	n, err := w.wt.WriteTo(out)
	if err != nil && !out.failed {
		w.failed = true
	}
	return n, err
}

type watchedWriter struct {
	w      io.Writer
	failed bool
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		w.failed = true
	}
	return n, err
}
