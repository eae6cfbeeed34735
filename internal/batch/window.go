package batch

import (
	"encoding/binary"
	"io"
)

const (
	maxVarint32 = binary.MaxVarintLen32

	// minBuffer is what a window starts with; keepBuffer is how much memory survives a batch.
	minBuffer  = 64 << 10
	keepBuffer = 4 << 20

	// maxIdleReads is how often a decompressor may return nothing before it counts as stuck.
	maxIdleReads = 100
)

// window shows a stream, piece by piece, as slices. It reads ahead only what its buffer has room for, and the buffer
// grows only when it is full of data that has been asked for.
type window struct {
	src    io.Reader // nil at the end of the stream
	buf    []byte    // storage, kept between batches
	data   []byte    // bytes not yet skipped: the end of buf's filled part, or what show was given
	budget int64     // bytes that src may still deliver
}

// show makes the window a view of b.
func (w *window) show(b []byte) { w.src, w.data = nil, b }

// read makes the window a view of what src delivers.
func (w *window) read(src io.Reader) {
	if w.buf == nil {
		w.buf = make([]byte, minBuffer)
	}
	w.src, w.data, w.budget = src, w.buf[:0], MaxDecompressed
}

// peek returns at least n bytes, or all there are up to the end of the stream if these are fewer. They stay valid
// until the next peek.
func (w *window) peek(n int) ([]byte, error) {
	for idle := 0; len(w.data) < n && w.src != nil; {
		w.makeRoom(n)
		m, err := w.src.Read(w.data[len(w.data):cap(w.data)])
		w.data = w.data[:len(w.data)+m]
		if w.budget -= int64(m); w.budget < 0 {
			return nil, ErrTooLarge
		}
		if m == 0 {
			idle++
		}
		switch {
		case err == io.EOF:
			w.src = nil
		case err != nil:
			return nil, err
		case idle > maxIdleReads:
			return nil, io.ErrNoProgress
		}
	}
	return w.data, nil
}

// makeRoom makes the bytes after data, up to its capacity, free for more. n bytes are wanted in all.
func (w *window) makeRoom(n int) {
	atFront := cap(w.data) == len(w.buf)
	if len(w.data) < cap(w.data) && (atFront || cap(w.data) >= n) {
		return
	}
	if len(w.data) == len(w.buf) {
		w.buf = make([]byte, min(2*len(w.buf), n+minBuffer))
	}
	w.data = w.buf[:copy(w.buf, w.data)]
}

// skip moves past n bytes, which must have been peeked.
func (w *window) skip(n int) { w.data = w.data[n:] }

// release forgets the stream, and the buffer if it has become large.
func (w *window) release() {
	w.src, w.data = nil, nil
	if len(w.buf) > keepBuffer {
		w.buf = nil
	}
}
