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
	"github.com/offsite-kafka/offsite/internal/store/remote"
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
	received := int64(-1)
	if out.ContentLength != nil {
		received = *out.ContentLength
	}
	length, err := remote.BodyLength(received, aws.ToString(out.ContentRange), in.Range != nil, off, n)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return remote.Body(ctx, out.Body, length), nil
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
