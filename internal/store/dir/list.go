package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/store"
)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	root, err := s.readable()
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %q: %w", prefix, err)
	}
	l := lister{ctx: ctx, prefix: prefix, fn: fn}
	err = l.list(root)
	if err != nil && !l.stopped {
		return fmt.Errorf("list %q: %w", prefix, err)
	}
	return err
}

type lister struct {
	ctx     context.Context
	prefix  string
	fn      func(store.Info) error
	stopped bool // fn returned an error, which is passed on as it is
}

// list starts in the directory that holds all keys with the prefix.
func (l *lister) list(root *os.Root) error {
	dir := l.prefix[:strings.LastIndexByte(l.prefix, '/')+1]
	name := path.Clean(dir)
	info, err := root.Stat(name)
	if err = classify(err); errors.Is(err, store.ErrNotExist) {
		return nil // no Put has made a directory for such keys
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return nil // the object "a" is not among those under "a/"
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return listError(err)
	}
	defer sub.Close()
	return l.walk(sub, dir)
}

// walk visits what is under dir, whose keys begin with at.
func (l *lister) walk(dir *os.Root, at string) error {
	names, err := l.names(dir, at)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if sub, isDir := strings.CutSuffix(name, "/"); isDir {
			err = l.descend(dir, sub, at+name)
		} else {
			err = l.visit(dir, name, at+name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns what is in dir and can lead to a wanted key, directories with a
// slash at the end. With it the byte order of the names is that of the keys
// below them: "a-b" and "a.b" come before "a/b", because '-' < '.' < '/'.
func (l *lister) names(dir *os.Root, at string) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, listError(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, listError(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if store.CheckKey(at+name) != nil {
			continue // not ours
		}
		if e.IsDir() {
			name += "/"
		}
		key := at + name
		if strings.HasPrefix(key, l.prefix) || e.IsDir() && strings.HasPrefix(l.prefix, key) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (l *lister) descend(dir *os.Root, name, at string) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return listError(err)
	}
	defer sub.Close()
	return l.walk(sub, at)
}

func (l *lister) visit(dir *os.Root, name, key string) error {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted since
	}
	if err != nil {
		return listError(err)
	}
	if !info.Mode().IsRegular() {
		// Neither to follow it nor to leave it out would be a true listing.
		return fmt.Errorf("%s is not a regular file: %s", key, info.Mode().Type())
	}
	err = l.fn(store.Info{Key: key, Size: info.Size(), Modified: info.ModTime()})
	l.stopped = err != nil
	return err
}

// listError classifies err, but for ErrNotExist: that a directory vanished does
// not mean that there is nothing in it.
func listError(err error) error {
	return notAbsent(classify(err))
}
