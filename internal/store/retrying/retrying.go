// Package retrying repeats the calls of a store that failed for reasons that may
// pass, where repeating them is safe.
package retrying

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/offsite-kafka/offsite/internal/store"
)

// Config bounds the repetitions. Zero fields mean the defaults.
type Config struct {
	Name  string        // of the store, where it is said that it does not answer
	Tries int           // how often a call is made in all; default 5
	First time.Duration // the mean wait before the second try, doubled from then on; default 200 ms
	Max   time.Duration // the longest mean wait; default 10 s
}

func (c Config) withDefaults() Config {
	if c.Tries <= 0 {
		c.Tries = 5
	}
	if c.First <= 0 {
		c.First = 200 * time.Millisecond
	}
	if c.Max <= 0 {
		c.Max = 10 * time.Second
	}
	return c
}

// Store repeats calls to another store that return an unclassified error. The
// errors of package store and the end of a context are final.
type Store struct {
	inner store.Store
	cfg   Config
	log   *slog.Logger

	mu         sync.Mutex
	complained time.Time // of its silence, the last time
}

// New returns a store that repeats calls to inner. What fails and is repeated,
// here or by inner itself, is logged: at once, and then every 10 s of a call. So is that
// nothing has come of a call for 10 s, once a minute at most: but of a put of more than 64 KiB,
// whose content may take its time.
func New(inner store.Store, cfg Config, log *slog.Logger) *Store {
	return &Store{inner: inner, cfg: cfg.withDefaults(), log: log}
}

// retry calls fn until it succeeds, fails for good, or was tried often enough.
func (s *Store) retry(ctx context.Context, c *call, fn func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval, wait.Multiplier = s.cfg.First, s.cfg.Max, 2
	watched := c.watch(ctx)
	for try := 1; ; try++ {
		c.await()
		err := fn(watched)
		c.answered()
		if err == nil || try == s.cfg.Tries || isFinal(ctx, err) {
			return err
		}
		c.again(err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, before repeating what failed: %v", ctx.Err(), err)
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// final marks an error that is not to be retried whatever it wraps.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// isFinal does not ask whether err is one of a context: timeouts of the network
// may look like that too.
func isFinal(ctx context.Context, err error) bool {
	var marked final
	if ctx.Err() != nil || errors.As(err, &marked) || errors.Is(err, store.ErrUnusable) {
		return true
	}
	return isClassified(err)
}

// isClassified tells whether err promises that a Put had no effect.
func isClassified(err error) bool {
	for _, class := range []error{
		store.ErrNotExist, store.ErrExists, store.ErrRange, store.ErrAuth, store.ErrFull, store.ErrInvalid, store.ErrUnreachable,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// Put implements store.Store. It repeats only what is harmless if it took effect
// unnoticed, and possible: a Put without IfAbsent of a reader that can seek. With
// IfAbsent only the caller can tell its own object from that of another.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (info store.Info, err error) {
	rewind := rewinder(r)
	tries, once := s.cfg.Tries, opts.IfAbsent || rewind == nil
	if once {
		tries = 1
	}
	c := s.begin("put", key, tries)
	c.large = isLarge(r)
	if once {
		c.await()
		defer c.answered()
		return s.inner.Put(c.watch(ctx), key, r, opts)
	}
	unknown := false
	err = s.retry(ctx, c, func(ctx context.Context) error {
		if err := rewind(); err != nil {
			return final{fmt.Errorf("rewind what to put under %s: %w", key, err)}
		}
		src, failed := watch(r)
		info, err = s.inner.Put(ctx, key, src, opts)
		switch {
		case err == nil:
			return nil
		case unknown && (failed() || isClassified(err)):
			// This try stored nothing, but one before may have.
			return final{fmt.Errorf("unknown if stored: %v", err)}
		case failed():
			return final{err}
		}
		unknown = true
		return err
	})
	return info, unmark(err)
}

// unmark returns what is in a final error, so that it does not leave the package.
func unmark(err error) error {
	if marked, ok := err.(final); ok { //nolint:errorlint // what wraps a mark is another package's, and stays
		return marked.error
	}
	return err
}

// rewinder returns a function that takes r back to where it is now, or nil.
func rewinder(r io.Reader) func() error {
	seeker, ok := r.(io.Seeker)
	if !ok {
		return nil
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe, for one, says so only when it is asked
	}
	return func() error {
		_, err := seeker.Seek(start, io.SeekStart)
		return err
	}
}

// Get implements store.Store. A body that breaks is continued by another Get, at
// most as often as there are tries: objects do not change.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	b := &body{store: s, ctx: ctx, call: s.begin("get", key, s.cfg.Tries), off: off, n: n}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, c *call, off, n int64) (rc io.ReadCloser, err error) {
	err = s.retry(ctx, c, func(ctx context.Context) error {
		rc, err = s.inner.Get(ctx, c.key, off, n)
		return err
	})
	return rc, err
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = s.retry(ctx, s.begin("stat", key, s.cfg.Tries), func(ctx context.Context) error {
		info, err = s.inner.Stat(ctx, key)
		return err
	})
	return info, err
}

// List implements store.Store. It is repeated only if it failed before fn was
// called, because fn is not to see an object twice.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	c := s.begin("list", prefix, s.cfg.Tries)
	err := s.retry(ctx, c, func(ctx context.Context) error {
		called := false
		err := s.inner.List(ctx, prefix, func(info store.Info) error {
			called = true
			c.answered()
			return fn(info)
		})
		if err != nil && called {
			return final{err}
		}
		return err
	})
	return unmark(err)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.retry(ctx, s.begin("delete", keys[0], s.cfg.Tries), func(ctx context.Context) error {
		return s.inner.Delete(ctx, keys...)
	})
}
