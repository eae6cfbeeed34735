package azblob

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/store"
)

// deletesInFlight bounds how many blobs are deleted at once.
const deletesInFlight = 8

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	client, err := s.client()
	if err != nil {
		return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
	}
	begin := s.name(prefix)
	last, marker := "", "" // full name of the blob seen last, and where the page before ended
	for pages := client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &begin}); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, s.classify(ctx, err))
		}
		if page.Segment == nil {
			return fmt.Errorf("list %q: answer without a list", prefix)
		}
		if last, err = s.each(page.Segment.BlobItems, prefix, last, fn); err != nil {
			return err
		}
		if page.NextMarker == nil {
			continue
		}
		if marker == *page.NextMarker && marker != "" {
			return fmt.Errorf("list %q: server says that there is more but not how to get it", prefix)
		}
		marker = *page.NextMarker
	}
	return nil
}

// each calls fn for the blobs of a page, and returns the name of the last one.
func (s *Store) each(blobs []*container.BlobItem, prefix, last string, fn func(store.Info) error) (string, error) {
	for _, blob := range blobs {
		if blob.Name == nil || blob.Properties == nil || blob.Properties.ContentLength == nil || blob.Properties.LastModified == nil {
			return "", fmt.Errorf("list %q: server lists a blob without a name, a length or a time", prefix)
		}
		name := *blob.Name
		if name <= last || !strings.HasPrefix(name, s.name(prefix)) {
			// Of a server that does this, what else may it leave out?
			return "", fmt.Errorf("list %q: server lists %.1100q after %.1100q", prefix, name, last)
		}
		last = name
		key := strings.TrimPrefix(name, s.prefix)
		if store.CheckKey(key) != nil {
			continue // not ours
		}
		info := store.Info{Key: key, Size: *blob.Properties.ContentLength, Modified: *blob.Properties.LastModified}
		if err := fn(info); err != nil {
			return "", err
		}
	}
	return last, nil
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
	client, err := s.client()
	if err != nil {
		return s.classify(ctx, err)
	}
	_, err = client.NewBlobClient(s.name(key)).Delete(ctx, nil)
	if err = s.classify(ctx, err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}
