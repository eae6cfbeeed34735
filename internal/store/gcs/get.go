package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"cloud.google.com/go/storage"

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
	if n > math.MaxInt64-off {
		n = -1 // there is no such end
	}
	object, err := s.object(key)
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	d := &download{off: off, n: n}
	d.reader, err = object.NewRangeReader(supervise(ctx, d.roundTrip), off, n)
	switch {
	case d.err != nil:
		return nil, d.err
	case errors.Is(classOf(err), store.ErrRange):
		// Also what GCS says to a range that begins right at the end.
		return s.emptyRange(ctx, key, off)
	case err != nil:
		return nil, s.classifyMissing(ctx, err)
	}
	return d, nil
}

// download is the body of a Get, as the SDK reads it. The SDK answers a body that
// breaks with a request for the rest, as often as it takes. This is refused: who
// reads decides if it is worth another Get.
type download struct {
	off, n int64
	reader *storage.Reader
	err    error // of the body, or of the answer that it came with
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	n, err := d.reader.Read(p)
	if d.err != nil {
		err = d.err // and not that another request was refused
	}
	return n, err
}

// Close implements io.Closer.
func (d *download) Close() error { return d.reader.Close() }

// roundTrip makes sure that the answer is to what was asked.
func (d *download) roundTrip(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	if d.err != nil {
		return nil, d.err
	}
	resp, err := base.RoundTrip(req)
	if err != nil || resp.StatusCode/100 != 2 {
		return resp, err
	}
	length, err := remote.BodyLength(resp.ContentLength, resp.Header.Get("Content-Range"), d.off > 0 || d.n > 0, d.off, d.n)
	if err != nil {
		resp.Body.Close()
		d.err = err
		return nil, err
	}
	resp.Body = watchedBody{remote.Body(req.Context(), resp.Body, length), d}
	return resp, nil
}

// watchedBody tells a download how its body broke.
type watchedBody struct {
	io.ReadCloser
	of *download
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.of.err = err
	}
	return n, err
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
	object, err := s.object(key)
	if err != nil {
		return store.Info{}, s.classify(ctx, err)
	}
	attrs, err := object.Attrs(ctx)
	if err != nil {
		return store.Info{}, s.classifyMissing(ctx, err)
	}
	return infoOf(key, attrs)
}

func infoOf(key string, attrs *storage.ObjectAttrs) (store.Info, error) {
	if attrs.Updated.IsZero() {
		return store.Info{}, errors.New("answer without the time of the object")
	}
	return store.Info{Key: key, Size: attrs.Size, Modified: attrs.Updated}, nil
}
