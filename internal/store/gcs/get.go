package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"google.golang.org/api/storage/v1"

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
		return s.emptyRange(ctx, key, off) // HTTP has no notation for it
	}
	service, err := s.service()
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	call := service.Objects.Get(s.bucket, s.name(key)).Context(ctx)
	ranged := true
	switch {
	case n > 0 && n <= math.MaxInt64-off:
		call.Header().Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		call.Header().Set("Range", fmt.Sprintf("bytes=%d-", off))
	default:
		ranged = false
	}
	resp, err := call.Download()
	if errors.Is(classOf(err), store.ErrRange) {
		// Also what GCS says to a range that begins right at the end.
		return s.emptyRange(ctx, key, off)
	}
	if err != nil {
		return nil, s.classifyMissing(ctx, err)
	}
	length, err := remote.BodyLength(resp.ContentLength, resp.Header.Get("Content-Range"), ranged, off, n)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return remote.Body(ctx, resp.Body, length), nil
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
	service, err := s.service()
	if err != nil {
		return store.Info{}, s.classify(ctx, err)
	}
	object, err := service.Objects.Get(s.bucket, s.name(key)).Fields("size", "updated").Context(ctx).Do()
	if err != nil {
		return store.Info{}, s.classifyMissing(ctx, err)
	}
	return infoOf(key, object)
}

func infoOf(key string, object *storage.Object) (store.Info, error) {
	modified, err := time.Parse(time.RFC3339, object.Updated)
	if err != nil {
		return store.Info{}, fmt.Errorf("answer with the time %.40q", object.Updated)
	}
	return store.Info{Key: key, Size: int64(object.Size), Modified: modified}, nil
}
