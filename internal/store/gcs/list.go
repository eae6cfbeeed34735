package gcs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/api/storage/v1"

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
	last := "" // full name of the object seen last
	for token := ""; ; {
		page, err := s.listPage(ctx, prefix, token, pageSize)
		if isNoBucket(err) && ctx.Err() == nil {
			err = s.noBucket(err)
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
		}
		if last, err = s.each(page, prefix, last, fn); err != nil {
			return err
		}
		switch next := page.NextPageToken; next {
		case "":
			return nil
		case token:
			return fmt.Errorf("list %q: server says that there is more but not how to get it", prefix)
		default:
			token = next
		}
	}
}

// each calls fn for the objects of a page, and returns the name of the last one.
func (s *Store) each(page *storage.Objects, prefix, last string, fn func(store.Info) error) (string, error) {
	for _, object := range page.Items {
		if object.Name <= last || !strings.HasPrefix(object.Name, s.name(prefix)) {
			// Of a server that does this, what else may it leave out?
			return "", fmt.Errorf("list %q: server lists %.1100q after %.1100q", prefix, object.Name, last)
		}
		last = object.Name
		key := strings.TrimPrefix(object.Name, s.prefix)
		if store.CheckKey(key) != nil {
			continue // not ours
		}
		info, err := infoOf(key, object)
		if err != nil {
			return "", fmt.Errorf("list %q: %s: %w", prefix, key, err)
		}
		if err := fn(info); err != nil {
			return "", err
		}
	}
	return last, nil
}

// listPage returns an error of the SDK.
func (s *Store) listPage(ctx context.Context, prefix, token string, size int64) (*storage.Objects, error) {
	service, err := s.service()
	if err != nil {
		return nil, err
	}
	return service.Objects.List(s.bucket).Prefix(s.name(prefix)).PageToken(token).MaxResults(size).
		Fields("nextPageToken", "items(name,size,updated)").Context(ctx).Do()
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
	service, err := s.service()
	if err != nil {
		return s.classify(ctx, err)
	}
	err = service.Objects.Delete(s.bucket, s.name(key)).Context(ctx).Do()
	if err = s.classifyMissing(ctx, err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}
