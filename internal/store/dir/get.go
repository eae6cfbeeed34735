package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	f, size, err := s.openObject(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	b, err := newBody(f, off, n, size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("get %s at %d of %d bytes: %w", key, off, size, err)
	}
	return b, nil
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
	return store.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

func (s *Store) stat(ctx context.Context, key string) (fs.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := s.readable()
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(key)
	if err != nil {
		return nil, classifyObject(err)
	}
	return info, checkRegular(info)
}

// classifyObject classifies an error about an object, whose key the caller names.
func classifyObject(err error) error {
	err = classify(err)
	if errors.Is(err, store.ErrNotExist) {
		return store.ErrNotExist
	}
	return err
}

func (s *Store) openObject(ctx context.Context, key string) (*os.File, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	root, err := s.readable()
	if err != nil {
		return nil, 0, err
	}
	// O_NONBLOCK is for a fifo in the place of an object.
	f, err := root.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, classifyObject(err)
	}
	info, err := f.Stat()
	if err == nil {
		err = checkRegular(info)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// checkRegular returns ErrNotExist for a directory, which only exists because
// of the keys in it, and another error for what no Put can have made.
func checkRegular(info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case info.IsDir():
		return store.ErrNotExist
	}
	return fmt.Errorf("%s is not a regular file: %s", info.Name(), info.Mode().Type())
}

// body yields remaining bytes of f, and io.ErrUnexpectedEOF should the file turn
// out to be shorter than it was when it was opened.
type body struct {
	f         *os.File
	remaining int64
}

func newBody(f *os.File, off, n, size int64) (*body, error) {
	switch {
	case off < 0:
		return nil, store.ErrInvalid
	case off > size:
		return nil, store.ErrRange
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return nil, err
	}
	return &body{f: f, remaining: n}, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		return 0, io.EOF
	}
	n, err := b.f.Read(p[:min(int64(len(p)), b.remaining)])
	b.remaining -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *body) Close() error { return b.f.Close() }
