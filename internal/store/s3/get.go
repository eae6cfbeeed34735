package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("get %s at %d: %w", key, off, store.ErrInvalid)
	}
	body, err := s.get(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s at %d: %w", key, off, err)
	}
	return body, nil
}

func (s *Store) get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if n == 0 {
		return s.emptyRange(ctx, key, off) // S3 has no notation for it
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)}
	switch {
	case n > 0 && n <= math.MaxInt64-off:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := s.client.GetObject(ctx, in)
	if err = s.classify(ctx, err); errors.Is(err, store.ErrRange) {
		// Also what S3 says to a range that begins right at the end.
		return s.emptyRange(ctx, key, off)
	}
	if err != nil {
		return nil, err
	}
	length, err := bodyLength(out, in.Range != nil, off, n)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return &body{ctx: ctx, rc: out.Body, remaining: length}, nil
}

// emptyRange returns an empty body if off is not beyond the end of the object.
func (s *Store) emptyRange(ctx context.Context, key string, off int64) (io.ReadCloser, error) {
	info, err := s.stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if off > info.Size {
		return nil, fmt.Errorf("%d bytes: %w", info.Size, store.ErrRange)
	}
	return http.NoBody, nil
}

// bodyLength returns how many bytes the body must have, after making sure that
// the server answers what was asked: proxies and servers exist that ignore
// ranges, or give no length, without which a body cut short looks complete.
func bodyLength(out *s3.GetObjectOutput, ranged bool, off, n int64) (int64, error) {
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return 0, errors.New("answer without a length")
	}
	length := *out.ContentLength
	if !ranged {
		return length, nil
	}
	var first, last, size int64
	contentRange := aws.ToString(out.ContentRange)
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return 0, fmt.Errorf("answer to a range with Content-Range %.80q", contentRange)
	}
	ends := last == size-1 // at the end of the object, or where it was asked to
	if first != off || last-first+1 != length || !ends && length != n || n > 0 && length > n {
		return 0, fmt.Errorf("answer of %d bytes with Content-Range %.80q to a range of %d bytes", length, contentRange, n)
	}
	return length, nil
}

// body yields remaining bytes of rc, and io.ErrUnexpectedEOF if there are fewer.
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

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return info, nil
}

func (s *Store) stat(ctx context.Context, key string) (store.Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if statusOf(err) == http.StatusNotFound && ctx.Err() == nil {
		return store.Info{}, s.whatIsMissing(ctx, key)
	}
	if err != nil {
		return store.Info{}, s.classify(ctx, err)
	}
	if out.ContentLength == nil {
		return store.Info{}, errors.New("answer without a length")
	}
	return store.Info{Key: key, Size: *out.ContentLength, Modified: aws.ToTime(out.LastModified)}, nil
}

// whatIsMissing asks again by GetObject. The answer to HeadObject has no body to
// tell a missing bucket, which is an error of the operator, from a missing
// object.
func (s *Store) whatIsMissing(ctx context.Context, key string) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil {
		return s.classify(ctx, err)
	}
	out.Body.Close()
	return errors.New("object appeared while it was looked for")
}
