// Package metered tells what calls of a store there are, how long they take, how
// they end, and how much content they move.
package metered

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// The operations: the methods of store.Store.
const (
	Put    = "put"
	Get    = "get"
	Stat   = "stat"
	List   = "list"
	Delete = "delete"
)

// Operations are all of them.
var Operations = []string{Put, Get, Stat, List, Delete}

// The reasons of failures.
const (
	Auth        = "auth"
	Full        = "full"
	Invalid     = "invalid"
	Unreachable = "unreachable"
	Unusable    = "unusable"
	Timeout     = "timeout"
	Other       = "other"
)

// Reasons are all of them.
var Reasons = []string{Auth, Full, Invalid, Unreachable, Unusable, Timeout, Other}

// Meter is told of all calls, by many goroutines at once.
type Meter interface {
	// Began: a call is under way, until Ended.
	Began(operation string)
	// Ended is called once for each Began. The duration of a Get is that up to the
	// beginning of the answer; of a Put, the time that its content took to come is a part.
	Ended(operation string, took time.Duration)
	// Failed: a call, or the reading of what a Get returned, has failed. What a caller
	// asks a store to find out is no failure: that an object is or is not there, or
	// ends before a range begins. Neither is what the caller has ended or spoilt.
	Failed(operation, reason string)
	// Moved: so many bytes of content have gone to the store, and come from it.
	Moved(up, down int64)
}

// Store tells a Meter of the calls of another store.
type Store struct {
	inner store.Store
	meter Meter
}

// New returns a store that tells meter of the calls of inner.
func New(inner store.Store, meter Meter) *Store { return &Store{inner, meter} }

// begin returns what is to be called with the error that the call ends with.
func (s *Store) begin(ctx context.Context, operation string) (end func(error)) {
	began := time.Now()
	s.meter.Began(operation)
	return func(err error) {
		s.meter.Ended(operation, time.Since(began))
		s.failed(ctx, operation, err)
	}
}

func (s *Store) failed(ctx context.Context, operation string, err error) {
	if reason := reasonOf(ctx, err); reason != "" {
		s.meter.Failed(operation, reason)
	}
}

// reasonOf says why a call failed, or nothing if that is no failure of the store's.
func reasonOf(ctx context.Context, err error) string {
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return ""
	}
	for _, expected := range []error{store.ErrNotExist, store.ErrExists, store.ErrRange} {
		if errors.Is(err, expected) {
			return ""
		}
	}
	for _, class := range []struct {
		err    error
		reason string
	}{
		{store.ErrAuth, Auth}, {store.ErrFull, Full}, {store.ErrInvalid, Invalid}, {store.ErrUnreachable, Unreachable}, {store.ErrUnusable, Unusable},
		{context.DeadlineExceeded, Timeout},
	} {
		if errors.Is(err, class.err) {
			return class.reason
		}
	}
	return Other
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	end := s.begin(ctx, Put)
	src := &source{r: r, meter: s.meter}
	var content io.Reader = src
	if w, ok := r.(io.WriterTo); ok {
		content = sourceWriterTo{src, w}
	}
	info, err := s.inner.Put(ctx, key, content, opts)
	if src.failed.Load() {
		end(nil) // what was to be put broke, not the store
	} else {
		end(err)
	}
	return info, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	end := s.begin(ctx, Get)
	rc, err := s.inner.Get(ctx, key, off, n)
	if end(err); err != nil {
		return nil, err
	}
	return &body{ReadCloser: rc, store: s, ctx: ctx}, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	end := s.begin(ctx, Stat)
	info, err := s.inner.Stat(ctx, key)
	end(err)
	return info, err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	end := s.begin(ctx, List)
	var own error
	err := s.inner.List(ctx, prefix, func(i store.Info) error {
		own = fn(i)
		return own
	})
	if own != nil {
		end(nil) // the caller has seen enough
	} else {
		end(err)
	}
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	end := s.begin(ctx, Delete)
	err := s.inner.Delete(ctx, keys...)
	end(err)
	return err
}

// body is the content of an object that is being read.
type body struct {
	io.ReadCloser
	store *Store
	ctx   context.Context
	broke bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.store.meter.Moved(0, int64(n))
	}
	if err != nil && err != io.EOF && !b.broke {
		b.broke = true
		b.store.failed(b.ctx, Get, err)
	}
	return n, err
}

// source is what is put.
type source struct {
	r      io.Reader
	meter  Meter
	failed atomic.Bool // a store may read it from a goroutine of its own
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.meter.Moved(int64(n), 0)
	}
	if err != nil && err != io.EOF {
		s.failed.Store(true)
	}
	return n, err
}

// sourceWriterTo is one that writes itself.
type sourceWriterTo struct {
	*source
	w io.WriterTo
}

// WriteTo implements io.WriterTo.
func (s sourceWriterTo) WriteTo(dst io.Writer) (int64, error) {
	out := &sink{w: dst, meter: s.meter}
	n, err := s.w.WriteTo(out)
	if err != nil && !out.failed {
		s.failed.Store(true)
	}
	return n, err
}

// sink is the store's end of what writes itself.
type sink struct {
	w      io.Writer
	meter  Meter
	failed bool
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if n > 0 {
		s.meter.Moved(int64(n), 0)
	}
	s.failed = s.failed || err != nil
	return n, err
}
