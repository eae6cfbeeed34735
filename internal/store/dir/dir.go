// Package dir keeps objects as files in a directory: the object "a/b" is the
// file a/b. The file system must have hard links, flock and an honest fsync.
//
// Files and directories that the store did not make, and whose names no key can
// have (lost+found, .snapshot), are left alone.
package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/store"
)

const (
	fileMode = 0o640
	dirMode  = 0o750
)

// Store is a directory of objects. Every access is confined to the directory,
// also where symbolic links in it lead elsewhere.
type Store struct {
	path string

	mu      sync.Mutex
	root    *os.Root            // nil until the directory has been seen
	swept   bool                // what killed processes left has been removed
	durable map[string]struct{} // directories whose own entry is known to be on disk
	damage  error               // set for good once a directory could not be synced

	// The calls that tests make fail.
	create func(root *os.Root, name string) (*os.File, error)
	sync   func(*os.File) error
}

// Open names the directory of a store. It does not touch the disk: the first Put
// creates the directory, and its parents, where they are missing; until then the
// store is empty.
func Open(path string) (*Store, error) {
	if path == "" {
		return nil, fmt.Errorf("open directory store: empty path: %w", store.ErrInvalid)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory store %s: %w", path, err)
	}
	return &Store{
		path:    abs,
		durable: map[string]struct{}{},
		create:  createFile,
		sync:    (*os.File).Sync,
	}, nil
}

func createFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
}

// Close releases the directory. No other method may be running or follow.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	root := s.root
	s.root = nil
	return root.Close()
}

// readable returns the directory, or ErrNotExist if there is none.
func (s *Store) readable() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open()
}

// open is called with mu held.
func (s *Store) open() (*os.Root, error) {
	if s.damage != nil {
		return nil, s.damage
	}
	if s.root != nil {
		return s.root, nil
	}
	root, err := os.OpenRoot(s.path)
	if err != nil && isFile(s.path) {
		return nil, fmt.Errorf("%w: %s is a file, not a directory", store.ErrInvalid, s.path)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%w: %w", store.ErrInvalid, err) // a wrong path, not an empty store
	}
	if err != nil {
		return nil, classify(err)
	}
	s.root = root
	return root, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// writable returns the directory, which it creates if there is none.
func (s *Store) writable() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root, err := s.open()
	if errors.Is(err, store.ErrNotExist) {
		if err := s.createRoot(); err != nil {
			return nil, err
		}
		root, err = s.open()
	}
	if err != nil {
		return nil, err
	}
	if !s.swept {
		if err := sweep(root); err != nil {
			return nil, err
		}
		s.swept = true
	}
	return root, nil
}

// createRoot makes the directory of the store, with its parents, durably. It is
// called with mu held.
func (s *Store) createRoot() error {
	top := filepath.Dir(s.path)
	for {
		if _, err := os.Stat(top); !errors.Is(err, fs.ErrNotExist) {
			break // an error other than "not there" is MkdirAll's to report
		}
		top = filepath.Dir(top)
	}
	if err := os.MkdirAll(s.path, dirMode); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no directory can be made there: %v", store.ErrInvalid, err)
	} else if err != nil {
		return classify(err)
	}
	for dir := filepath.Dir(s.path); ; dir = filepath.Dir(dir) {
		f, err := os.Open(dir)
		if err != nil {
			return classify(err)
		}
		err = errors.Join(s.sync(f), f.Close())
		if err != nil {
			return s.damaged(err)
		}
		if dir == top {
			return nil
		}
	}
}

// maxDurable bounds the memory of the set of directories known to be durable.
const maxDurable = 10_000

// makeParent creates the directory that key lies in and makes its entry, and
// those above it, durable. It returns the directory for its own fsync.
func (s *Store) makeParent(root *os.Root, key string) (*os.File, error) {
	dir := path.Dir(key)
	if err := root.MkdirAll(dir, dirMode); err != nil {
		return nil, classify(err)
	}
	// A directory that is there already may have been made by a process that
	// died before it could sync, hence the once per directory and process.
	for d := dir; d != "." && !s.isDurable(d); d = path.Dir(d) {
		parent, err := root.Open(path.Dir(d))
		if err != nil {
			return nil, classify(err)
		}
		if err := s.syncAndClose(parent); err != nil {
			return nil, err
		}
	}
	s.setDurable(dir)
	f, err := root.Open(dir)
	if err != nil {
		return nil, classify(err)
	}
	return f, nil
}

func (s *Store) isDurable(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.durable[dir]
	return ok
}

// setDurable notes dir and everything above it.
func (s *Store) setDurable(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) >= maxDurable {
		clear(s.durable)
	}
	for ; dir != "."; dir = path.Dir(dir) {
		s.durable[dir] = struct{}{}
	}
}

func (s *Store) syncAndClose(dir *os.File) error {
	return errors.Join(s.syncDir(dir), dir.Close())
}

// syncDir makes the entries of dir durable. If that fails, what the store shows
// may not be what is on disk, and asking again may wrongly succeed, because the
// kernel reports such an error once. So the store refuses all further work; a
// new process starts from what is on disk.
func (s *Store) syncDir(dir *os.File) error {
	err := s.sync(dir)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged(err)
}

// damaged is called with mu held.
func (s *Store) damaged(err error) error {
	s.damage = fmt.Errorf("sync directories of %s: %w: %w", s.path, store.ErrUnusable, err)
	return s.damage
}

// usable returns the error that stopped the store, if any.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damage
}

// classify wraps what the file system says in the errors of package store.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", store.ErrAuth, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %w", store.ErrNotExist, err)
	}
	return err
}
