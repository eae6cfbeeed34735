package storecheck_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// bucket is a store that knows all that a provider can tell, and is as good as can
// be. A test puts functions in the place of its own.
type bucket struct {
	*mem.Store
	put      func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error)
	get      func(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	stat     func(ctx context.Context, key string) (store.Info, error)
	list     func(ctx context.Context, prefix string, fn func(store.Info) error) error
	remove   func(ctx context.Context, keys ...string) error
	corrupt  func(ctx context.Context, key string, data []byte) (bool, error)
	rules    []store.LifecycleRule
	versions store.Versioning
	locked   store.Lock
	tells    error // of lifecycle, versioning and lock
	locks    store.Lock
	tryLock  func(ctx context.Context, key string, data []byte) (bool, error)
}

func newBucket() *bucket {
	m := mem.New()
	return &bucket{
		Store: m, put: m.Put, get: m.Get, stat: m.Stat, list: m.List, remove: m.Delete,
		corrupt:  func(context.Context, string, []byte) (bool, error) { return false, nil },
		versions: store.Versioning{Enabled: true},
		locked:   store.Lock{Possible: true, Mode: "COMPLIANCE", For: 30 * 24 * time.Hour},
	}
}

func (b *bucket) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	return b.put(ctx, key, r, opts)
}

func (b *bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	return b.get(ctx, key, off, n)
}

func (b *bucket) Stat(ctx context.Context, key string) (store.Info, error) { return b.stat(ctx, key) }

func (b *bucket) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return b.list(ctx, prefix, fn)
}

func (b *bucket) Delete(ctx context.Context, keys ...string) error { return b.remove(ctx, keys...) }

func (b *bucket) PutCorrupt(ctx context.Context, key string, data []byte) (bool, error) {
	return b.corrupt(ctx, key, data)
}

func (b *bucket) Lifecycle(context.Context) ([]store.LifecycleRule, error) { return b.rules, b.tells }

func (b *bucket) Versioning(context.Context) (store.Versioning, error) { return b.versions, b.tells }

func (b *bucket) Lock(context.Context) (store.Lock, error) { return b.locked, b.tells }

func (b *bucket) Locks() store.Lock { return b.locks }

func (b *bucket) TryLock(ctx context.Context, key string, data []byte) (bool, error) {
	return b.tryLock(ctx, key, data)
}

// The ways to misbehave.

var errDenied = fmt.Errorf("%w: status 403", store.ErrAuth)

func ignoresIfAbsent(b *bucket) {
	b.put = func(ctx context.Context, key string, r io.Reader, _ store.PutOptions) (store.Info, error) {
		return b.Store.Put(ctx, key, r, store.PutOptions{})
	}
}

// hasTwoWinners looks first and puts then.
func hasTwoWinners(b *bucket) {
	gate := newGate()
	b.put = func(ctx context.Context, key string, r io.Reader, _ store.PutOptions) (store.Info, error) {
		_, err := b.Store.Stat(ctx, key)
		gate.pass(key)
		if err == nil {
			return store.Info{}, store.ErrExists
		}
		return b.Store.Put(ctx, key, r, store.PutOptions{})
	}
}

// gate holds the first that comes with a key until the second has come, or nobody
// does for a while: how else would a test have a race each time?
type gate struct {
	mu   sync.Mutex
	keys map[string]chan struct{}
}

func newGate() *gate { return &gate{keys: map[string]chan struct{}{}} }

func (g *gate) pass(key string) {
	g.mu.Lock()
	second, waits := g.keys[key]
	if !waits {
		second = make(chan struct{})
		g.keys[key] = second
		g.mu.Unlock()
		select {
		case <-second:
		case <-time.After(100 * time.Millisecond):
		}
		return
	}
	select {
	case <-second:
	default:
		close(second)
	}
	g.mu.Unlock()
}

// letsAnotherWin tells one racer that it won, and keeps what another wrote.
func letsAnotherWin(b *bucket) {
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		data, _ := io.ReadAll(r)
		if bytes.Contains(data, []byte("racer")) {
			data = []byte("canary of another")
		}
		return b.Store.Put(ctx, key, bytes.NewReader(data), opts)
	}
}

// tellsAllToHaveLost tells no racer that it has won.
func tellsAllToHaveLost(b *bucket) {
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		data, _ := io.ReadAll(r)
		info, err := b.Store.Put(ctx, key, bytes.NewReader(data), opts)
		if err == nil && bytes.Contains(data, []byte("racer")) {
			err = store.ErrExists
		}
		return info, err
	}
}

// losesAnswers stores what it was sent and repeats the request, of which it tells,
// as an SDK does when the answer to the first was lost.
func losesAnswers(b *bucket) {
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		info, err := b.Store.Put(ctx, key, r, opts)
		if err == nil {
			store.TellRepetition(ctx, fmt.Errorf("connection reset"), time.Second)
			err = store.ErrExists
		}
		return info, err
	}
}

// isUnsure does not know of the winner, and answers the others as S3 answers
// competing requests.
func isUnsure(b *bucket) {
	b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
		data, _ := io.ReadAll(r)
		info, err := b.Store.Put(ctx, key, bytes.NewReader(data), opts)
		if bytes.Contains(data, []byte("racer")) {
			err = fmt.Errorf("409 ConditionalRequestConflict")
		}
		return info, err
	}
}

func losesObjects(b *bucket) {
	b.put = func(_ context.Context, key string, r io.Reader, _ store.PutOptions) (store.Info, error) {
		n, err := io.Copy(io.Discard, r)
		return store.Info{Key: key, Size: n}, err
	}
}

func listsLate(b *bucket) {
	b.list = func(ctx context.Context, prefix string, fn func(store.Info) error) error {
		var all []store.Info
		err := b.Store.List(ctx, prefix, func(info store.Info) error { all = append(all, info); return nil })
		for i := range len(all) - 1 { // the newest has the last name
			if err := fn(all[i]); err != nil {
				return err
			}
		}
		return err
	}
}

func cutsRanges(b *bucket) {
	b.get = func(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
		if n > 10 {
			n--
		}
		return b.Store.Get(ctx, key, off, n)
	}
}

func ignoresRanges(b *bucket) {
	b.get = func(ctx context.Context, key string, _, _ int64) (io.ReadCloser, error) {
		return b.Store.Get(ctx, key, 0, -1)
	}
}

func altersContent(b *bucket) {
	b.get = func(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
		body, err := b.Store.Get(ctx, key, off, n)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(body)
		if len(data) > 0 {
			data[len(data)/2] ^= 1
		}
		return io.NopCloser(bytes.NewReader(data)), err
	}
}

func takesBadChecksums(b *bucket) {
	b.corrupt = func(ctx context.Context, key string, data []byte) (bool, error) {
		_, err := b.Store.Put(ctx, key, bytes.NewReader(data), store.PutOptions{})
		return true, err
	}
}

func storesWhatItRefuses(b *bucket) {
	takesBadChecksums(b)
	taken := b.corrupt
	b.corrupt = func(ctx context.Context, key string, data []byte) (bool, error) {
		_, err := taken(ctx, key, data)
		return false, err
	}
}

func mayNotDelete(b *bucket) { b.remove = func(context.Context, ...string) error { return errDenied } }

func mayNotList(b *bucket) {
	b.list = func(context.Context, string, func(store.Info) error) error { return errDenied }
}

func mayNotPut(b *bucket) {
	b.put = func(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
		return store.Info{}, errDenied
	}
}

func keepsWhatIsDeleted(b *bucket) { b.remove = func(context.Context, ...string) error { return nil } }

// hangs in all calls for objects whose keys end in suffix.
func hangs(suffix string) func(*bucket) {
	return func(b *bucket) {
		b.put = func(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
			if strings.HasSuffix(key, suffix) {
				<-ctx.Done()
				return store.Info{}, ctx.Err()
			}
			return b.Store.Put(ctx, key, r, opts)
		}
	}
}
