package gcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"

	"github.com/offsite-kafka/offsite/internal/store"
)

const (
	// pageSize is how many objects GCS lists at once.
	pageSize = 1000
	// deletesInFlight bounds how many objects are deleted at once: GCS has no
	// request for several.
	deletesInFlight = 8
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	objects, err := s.objects(ctx, prefix, pageSize)
	if err != nil {
		return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
	}
	for last := ""; ; { // full name of the object seen last
		object, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if isNoBucket(err) && ctx.Err() == nil {
			err = s.noBucket(err)
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
		}
		if object.Name <= last || !strings.HasPrefix(object.Name, s.name(prefix)) {
			// Of a server that does this, what else may it leave out?
			return fmt.Errorf("list %q: server lists %.1100q after %.1100q", prefix, object.Name, last)
		}
		last = object.Name
		if err := s.visit(object, prefix, fn); err != nil {
			return err
		}
	}
}

// visit calls fn for a listed object.
func (s *Store) visit(object *storage.ObjectAttrs, prefix string, fn func(store.Info) error) error {
	key := strings.TrimPrefix(object.Name, s.prefix)
	if store.CheckKey(key) != nil {
		return nil // not ours
	}
	info, err := infoOf(key, object)
	if err != nil {
		return fmt.Errorf("list %q: %s: %w", prefix, key, err)
	}
	return fn(info)
}

// objects returns what a listing iterates over, in pages of at most size. Its
// errors are of the SDK.
func (s *Store) objects(ctx context.Context, prefix string, size int) (*storage.ObjectIterator, error) {
	bucket, err := s.handle()
	if err != nil {
		return nil, err
	}
	query := &storage.Query{Prefix: s.name(prefix), Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name", "Size", "Updated"}); err != nil {
		return nil, err
	}
	objects := bucket.Objects(supervise(ctx, (&listing{}).roundTrip), query)
	objects.PageInfo().MaxSize = size
	return objects, nil
}

// listing sees to it that no page is asked for twice in a row. The SDK asks until
// there is an object or no next page.
type listing struct{ token string }

func (l *listing) roundTrip(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	token := req.URL.Query().Get("pageToken")
	if token != "" && token == l.token {
		return nil, misbehaviour("server says that there is more but not how to get it")
	}
	l.token = token
	return base.RoundTrip(req)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := store.CheckKey(key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(deletesInFlight)
	for _, key := range keys {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := s.delete(groupCtx, key); err != nil {
				return fmt.Errorf("delete %s: %w", key, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *Store) delete(ctx context.Context, key string) error {
	object, err := s.object(key)
	if err != nil {
		return s.classify(ctx, err)
	}
	if err = s.classifyMissing(ctx, object.Delete(ctx)); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}
