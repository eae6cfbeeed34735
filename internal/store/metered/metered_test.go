package metered_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/metered"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
)

// counts is a meter that counts.
type counts struct {
	mu       sync.Mutex
	inflight int
	ended    map[string]int
	failed   map[string]int // by operation and reason
	up, down int64
}

func newCounts() *counts { return &counts{ended: make(map[string]int), failed: make(map[string]int)} }

func (c *counts) lock() func() {
	c.mu.Lock()
	return c.mu.Unlock
}

func (c *counts) Began(string) {
	defer c.lock()()
	c.inflight++
}

func (c *counts) Ended(operation string, took time.Duration) {
	defer c.lock()()
	c.inflight--
	if c.ended[operation]++; took < 0 {
		panic("a call of negative duration")
	}
}

func (c *counts) Failed(operation, reason string) {
	defer c.lock()()
	c.failed[operation+" "+reason]++
}

func (c *counts) Moved(up, down int64) {
	defer c.lock()()
	c.up += up
	c.down += down
}

func TestConformance(t *testing.T) {
	c := newCounts()
	storetest.Run(t, func(*testing.T) store.Store { return metered.New(mem.New(), c) })
	if ops := slices.Sorted(maps.Keys(c.ended)); len(ops) != len(metered.Operations) || c.inflight != 0 {
		t.Errorf("of the operations %v there were %v, %d are under way", metered.Operations, ops, c.inflight)
	}
	for failure := range c.failed {
		if !strings.HasSuffix(failure, " "+metered.Invalid) { // of the suite's own wrong arguments
			t.Errorf("the store failed: %s", failure)
		}
	}
}

// Content is counted once in each direction, however it is handed over.
func TestBytes(t *testing.T) {
	c := newCounts()
	st := metered.New(mem.New(), c)
	content := storetest.Bytes(1, 100_000)
	for _, r := range []io.Reader{bytes.NewReader(content), struct{ io.Reader }{bytes.NewReader(content)}} {
		if _, err := st.Put(t.Context(), "a", r, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	rc, err := st.Get(t.Context(), "a", 10, 500)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, content[10:510]) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	rc.Close()
	if c.up != 200_000 || c.down != 500 {
		t.Errorf("%d bytes up, %d down", c.up, c.down)
	}
}

// broken is a store of which every call fails.
type broken struct {
	store.Store
	err error
}

func (b broken) Put(_ context.Context, _ string, r io.Reader, _ store.PutOptions) (store.Info, error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return store.Info{}, err
	}
	return store.Info{}, b.err
}

func (b broken) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader("abc"), failing{b.err})), nil
}

func (b broken) Stat(context.Context, string) (store.Info, error) { return store.Info{}, b.err }

func (b broken) List(_ context.Context, _ string, fn func(store.Info) error) error {
	if err := fn(store.Info{Key: "a"}); err != nil {
		return err
	}
	return b.err
}

func (b broken) Delete(context.Context, ...string) error { return b.err }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestFailures(t *testing.T) {
	for err, reason := range map[error]string{
		store.ErrAuth: metered.Auth, store.ErrFull: metered.Full, store.ErrInvalid: metered.Invalid, store.ErrUnreachable: metered.Unreachable, store.ErrUnusable: metered.Unusable,
		context.DeadlineExceeded: metered.Timeout, errors.New("500"): metered.Other,
		store.ErrNotExist: "", store.ErrExists: "", store.ErrRange: "",
	} {
		c := newCounts()
		callAll(t, metered.New(broken{err: fmt.Errorf("wrapped: %w", err)}, c), t.Context())
		for _, op := range metered.Operations {
			want := 1
			if reason == "" {
				want = 0
			}
			if got := c.failed[op+" "+reason]; got != want || c.ended[op] != 1 {
				t.Errorf("%v: %d failures of %d calls of %s, want %d: %v", err, got, c.ended[op], op, want, c.failed)
			}
		}
	}
}

// callAll calls everything, and reads a body to its end, and beyond.
func callAll(t *testing.T, st store.Store, ctx context.Context) {
	t.Helper()
	_, _ = st.Put(ctx, "a", strings.NewReader("abc"), store.PutOptions{})
	rc, err := st.Get(ctx, "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(rc)
	_, _ = io.ReadAll(rc)
	rc.Close()
	_, _ = st.Stat(ctx, "a")
	_ = st.List(ctx, "", func(store.Info) error { return nil })
	_ = st.Delete(ctx, "a")
}

// What the caller has ended, or spoilt, is not the store's fault.
func TestOwnFaults(t *testing.T) {
	c := newCounts()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	callAll(t, metered.New(broken{err: errors.New("500")}, c), ctx)
	st := metered.New(mem.New(), c)
	for _, r := range []io.Reader{failing{errors.New("nothing to put")}, writerTo{}} {
		if _, err := st.Put(t.Context(), "a", r, store.PutOptions{}); err == nil {
			t.Error("a broken reader was put")
		}
	}
	if _, err := st.Put(t.Context(), "b", strings.NewReader("abc"), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := st.List(t.Context(), "", func(store.Info) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the listing ends with %v", err)
	}
	if len(c.failed) != 0 || c.inflight != 0 {
		t.Errorf("failures: %v", c.failed)
	}
}

// writerTo fails to write itself.
type writerTo struct{}

func (writerTo) Read([]byte) (int, error) { return 0, errors.New("it is not read") }

func (writerTo) WriteTo(w io.Writer) (int64, error) {
	n, _ := w.Write([]byte("half"))
	return int64(n), errors.New("nothing more to put")
}
