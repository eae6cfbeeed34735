package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// BodyLength returns how many bytes the body of an answer must have, after making
// sure that the server answers what was asked: proxies and servers exist that
// ignore ranges, or give no length, without which a body cut short looks
// complete. ranged tells whether the bytes [off, off+n) were asked for, n < 0
// meaning to the end of the object, and not the whole object.
func BodyLength(contentLength int64, contentRange string, ranged bool, off, n int64) (int64, error) {
	if contentLength < 0 {
		return 0, errors.New("answer without a length")
	}
	if !ranged {
		return contentLength, nil
	}
	var first, last, size int64
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return 0, fmt.Errorf("answer to a range with Content-Range %.80q", contentRange)
	}
	ends := last == size-1 // at the end of the object, or where it was asked to
	if first != off || last-first+1 != contentLength || !ends && contentLength != n || n > 0 && contentLength > n {
		return 0, fmt.Errorf("answer of %d bytes with Content-Range %.80q to a range of %d bytes", contentLength, contentRange, n)
	}
	return contentLength, nil
}

// Body yields length bytes of rc, and io.ErrUnexpectedEOF if there are fewer. An
// error after the end of ctx is that of ctx.
func Body(ctx context.Context, rc io.ReadCloser, length int64) io.ReadCloser {
	return &body{ctx: ctx, rc: rc, remaining: length}
}

type body struct {
	ctx       context.Context
	rc        io.ReadCloser
	remaining int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		return 0, io.EOF
	}
	n, err := b.rc.Read(p[:min(int64(len(p)), b.remaining)])
	b.remaining -= int64(n)
	switch {
	case err == io.EOF && b.remaining > 0:
		err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF && b.ctx.Err() != nil:
		err = fmt.Errorf("%w: %v", b.ctx.Err(), err)
	}
	return n, err
}

func (b *body) Close() error { return b.rc.Close() }
