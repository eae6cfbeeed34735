package azblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

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
	client, err := s.client()
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	asked := blob.HTTPRange{Offset: off} // to the end
	if n > 0 && n <= math.MaxInt64-off {
		asked.Count = n
	}
	out, err := client.NewBlobClient(s.name(key)).DownloadStream(ctx, &blob.DownloadStreamOptions{Range: asked})
	if err = s.classify(ctx, err); errors.Is(err, store.ErrRange) {
		// Also what Azure says to a range that begins right at the end.
		return s.emptyRange(ctx, key, off)
	}
	if err != nil {
		return nil, err
	}
	received, contentRange := int64(-1), ""
	if out.ContentLength != nil {
		received = *out.ContentLength
	}
	if out.ContentRange != nil {
		contentRange = *out.ContentRange
	}
	length, err := remote.BodyLength(received, contentRange, asked != blob.HTTPRange{}, off, n)
	if err != nil {
		out.Body.Close()
		return nil, err
	}
	return remote.Body(ctx, out.Body, length), nil
}

// emptyRange returns an empty body if off is not beyond the end of the blob.
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
	client, err := s.client()
	if err != nil {
		return store.Info{}, s.classify(ctx, err)
	}
	out, err := client.NewBlobClient(s.name(key)).GetProperties(ctx, nil)
	if err != nil {
		return store.Info{}, s.classify(ctx, err)
	}
	if out.ContentLength == nil || out.LastModified == nil {
		return store.Info{}, errors.New("answer without a length or a time")
	}
	return store.Info{Key: key, Size: *out.ContentLength, Modified: *out.LastModified}, nil
}
