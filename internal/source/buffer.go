package source

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// buffer holds a stored block while batches in it are on their way. Blocks are
// read at gigabytes per second: without reuse, clearing fresh memory would cost
// as much as reading.
type buffer struct {
	b     []byte
	users atomic.Int32
	pool  *sync.Pool
}

// maxPooled is the size up to which buffers are kept.
const maxPooled = 4 << 20

// newBuffer returns a buffer with one user and room for n bytes, but for no
// more than maxPooled: n comes from the repository.
func newBuffer(pool *sync.Pool, n int64) *buffer {
	f, _ := pool.Get().(*buffer)
	if f == nil {
		f = &buffer{pool: pool}
	}
	if int64(cap(f.b)) < n {
		f.b = make([]byte, 0, min(n+n/8, maxPooled))
	}
	f.b = f.b[:0]
	f.users.Store(1)
	return f
}

// fill reads exactly n bytes. It returns io.EOF if the object ends before,
// whereas a connection that breaks is io.ErrUnexpectedEOF or something else.
func (f *buffer) fill(r io.Reader, n int64) error {
	if n > int64(cap(f.b)) {
		var grown bytes.Buffer
		_, err := io.CopyN(&grown, r, n)
		f.b = grown.Bytes()
		return err
	}
	f.b = f.b[:n]
	for at := int64(0); at < n; {
		m, err := r.Read(f.b[at:])
		if at += int64(m); at < n && err != nil {
			return err
		}
	}
	return nil
}

func (f *buffer) use() { f.users.Add(1) }

// done ends one use; after the last one the bytes are overwritten.
func (f *buffer) done() {
	if f.users.Add(-1) == 0 && cap(f.b) <= maxPooled {
		f.pool.Put(f)
	}
}
