// Package mem is an object store in memory, for tests and embedded use.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Store keeps its objects until it is garbage. The zero value is not usable.
type Store struct {
	Now func() time.Time // what objects are dated by

	mu      sync.RWMutex
	objects map[string]object
}

type object struct {
	data     []byte // never changed once it is in the map
	modified time.Time
}

func (o object) info(key string) store.Info {
	return store.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified}
}

// New returns an empty store.
func New() *Store { return &Store{Now: time.Now, objects: map[string]object{}} }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	var buf bytes.Buffer
	if _, err := io.Copy(contextWriter{ctx, &buf}, r); err != nil {
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	if err := ctx.Err(); err != nil {
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok && opts.IfAbsent {
		return store.Info{}, fmt.Errorf("put %s: %w", key, store.ErrExists)
	}
	o := object{data: buf.Bytes(), modified: s.Now()}
	s.objects[key] = o
	return o.info(key), nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	o, err := s.object(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if off < 0 {
		return nil, fmt.Errorf("get %s at %d: %w", key, off, store.ErrInvalid)
	}
	if off > int64(len(o.data)) {
		return nil, fmt.Errorf("get %s at %d of %d bytes: %w", key, off, len(o.data), store.ErrRange)
	}
	data := o.data[off:]
	if n >= 0 && n < int64(len(data)) {
		data = data[:n]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	o, err := s.object(ctx, key)
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return o.info(key), nil
}

func (s *Store) object(ctx context.Context, key string) (object, error) {
	if err := store.CheckKey(key); err != nil {
		return object{}, err
	}
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.objects[key]
	if !ok {
		return object{}, store.ErrNotExist
	}
	return o, nil
}

// List implements store.Store. What fn sees is the state at the call.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	for _, info := range s.snapshot(prefix) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *Store) snapshot(prefix string) []store.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var infos []store.Info
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, o.info(key))
		}
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.objects, key)
	}
	return nil
}

// contextWriter stops a copy once its context has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
