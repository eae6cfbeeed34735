package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Delete implements store.Store. The directories of the objects stay.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := store.CheckKey(key); err != nil {
			return err
		}
	}
	root, err := s.readable()
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	parents := map[string]struct{}{}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("delete %s: %w", key, err)
		}
		if err := remove(root, key); err != nil {
			return fmt.Errorf("delete %s: %w", key, err)
		}
		parents[path.Dir(key)] = struct{}{}
	}
	for parent := range parents {
		if err := s.syncParent(root, parent); err != nil {
			return fmt.Errorf("delete %d objects: %w", len(keys), err)
		}
	}
	return nil
}

func remove(root *os.Root, key string) error {
	info, err := root.Lstat(key)
	if err == nil && info.IsDir() {
		return nil // not an object, and Remove would take it if it is empty
	}
	if err == nil {
		err = root.Remove(key)
	}
	if err = classify(err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) syncParent(root *os.Root, parent string) error {
	f, err := root.Open(parent)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // nothing can have been removed from it
	}
	if err != nil {
		return classify(err)
	}
	return s.syncAndClose(f)
}
