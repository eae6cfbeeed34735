package retrying_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
)

// lines is a log without times; began is when it begins.
type lines struct {
	slog.Handler
	mu    sync.Mutex
	text  bytes.Buffer
	began time.Time
	at    []time.Duration
}

func newLines() *lines {
	l := &lines{began: time.Now()}
	l.Handler = slog.NewTextHandler(&l.text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return l
}

func (l *lines) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, time.Since(l.began))
	return l.Handler.Handle(ctx, r)
}

var errDown = errors.New("server down")

// sdk is a store that fails, after repeating each call by itself four times, a
// second apart.
type sdk struct{ *mem.Store }

func (s sdk) Stat(ctx context.Context, _ string) (store.Info, error) {
	for left := 4 * time.Second; left > 0; left -= time.Second {
		store.TellRepetition(ctx, errDown, left)
		time.Sleep(time.Second)
	}
	return store.Info{}, errDown
}

func (s sdk) Put(ctx context.Context, _ string, _ io.Reader, _ store.PutOptions) (store.Info, error) {
	return s.Stat(ctx, "")
}

// What a store repeats by itself is in the log at once, and then every 10 s.
func TestLogOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		s := retrying.New(sdk{mem.New()}, retrying.Config{First: 2 * time.Second, Max: 3 * time.Second}, slog.New(log))
		_, err := s.Stat(t.Context(), "k")
		if !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
		took := time.Since(log.began)
		// 4 s in each of five tries, and waits of 3, 4.5, 4.5 and 4.5 s at most.
		const first = `level=WARN msg="store call failed, will be repeated" op=stat key=k attempt=1 error="server down" givesUpWithin=37s` + "\n"
		if !strings.HasPrefix(log.text.String(), first) || took > 37*time.Second {
			t.Errorf("took %v, logged\n%swant first\n%s", took, log.text.String(), first)
		}
		if len(log.at) == 0 || log.at[0] != 0 || took-log.at[len(log.at)-1] > 20*time.Second {
			t.Errorf("logged at %v of %v", log.at, took)
		}
		for i, at := range log.at[1:] {
			if at-log.at[i] < 10*time.Second {
				t.Errorf("logged at %v, want 10 s between lines", log.at)
			}
		}
		left := 40 * time.Second
		for line := range strings.Lines(log.text.String()) {
			_, after, _ := strings.Cut(strings.TrimSpace(line), "givesUpWithin=")
			next, err := time.ParseDuration(after)
			if err != nil || next >= left {
				t.Errorf("%s: %v, want less than %v", line, err, left)
			}
			left = next
		}
	})
}

// A Put that is tried once only has the store's own patience.
func TestLogOfPutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		s := retrying.New(sdk{mem.New()}, retrying.Config{}, slog.New(log))
		_, err := s.Put(t.Context(), "new", strings.NewReader(""), store.PutOptions{IfAbsent: true})
		const want = `level=WARN msg="store call failed, will be repeated" op=put key=new attempt=1 error="server down" givesUpWithin=4s` + "\n"
		if !errors.Is(err, errDown) || log.text.String() != want {
			t.Errorf("Put = %v, logged\n%swant\n%s", err, log.text.String(), want)
		}
	})
}

// Every kind of call that is repeated says so, one line each in the first 10 s.
func TestLogOfEachCall(t *testing.T) {
	for op, call := range operations {
		synctest.Test(t, func(t *testing.T) {
			log := newLines()
			inner := mem.New()
			if _, err := inner.Put(t.Context(), "k", bytes.NewReader(object()), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			f := faulty.New(inner, faulty.Rule{Op: op, Call: 1, Fault: faulty.Unavailable}, faulty.Rule{Op: op, Call: 2, Fault: faulty.Unavailable})
			if err := call(retrying.New(f, retrying.Config{}, slog.New(log))); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(" op=%s ", op)
			if !slices.Equal(log.at, []time.Duration{0}) || !strings.Contains(log.text.String(), want) {
				t.Errorf("logged\n%swant one line with %s", log.text.String(), want)
			}
		})
	}
}

// A body that breaks again and again is one call.
func TestLogOfBrokenBody(t *testing.T) {
	_, f, _ := failing(t, faulty.Get, faulty.ShortBody, 1, 2, 3, 4)
	log := newLines()
	if _, err := read(retrying.New(f, retrying.Config{}, slog.New(log)), 0, -1); err != nil {
		t.Fatal(err)
	}
	if len(log.at) != 1 || !strings.Contains(log.text.String(), "op=get key=k attempt=1 ") {
		t.Errorf("logged\n%s", log.text.String())
	}
}

// hung is a store that answers nothing for a while.
type hung struct {
	*mem.Store
	silence time.Duration
}

func (s hung) Stat(ctx context.Context, key string) (store.Info, error) {
	time.Sleep(s.silence)
	return s.Store.Stat(ctx, key)
}

func (s hung) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	time.Sleep(s.silence)
	return s.Store.List(ctx, prefix, fn)
}

func (s hung) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	time.Sleep(s.silence)
	return s.Store.Put(ctx, key, r, opts)
}

// stalls is a store whose answers come at once, and stall in their middle.
type stalls struct{ hung }

func (s stalls) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	rc, err := s.Store.Get(ctx, key, off, n)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(rc, 1), late{rc, s.silence}), rc}, err
}

type late struct {
	io.Reader
	silence time.Duration
}

func (l late) Read(p []byte) (int, error) {
	time.Sleep(l.silence)
	return l.Reader.Read(p)
}

// The same is said of a small put, and of a body that stalls; not of a large put, nor while the
// caller takes its time between two reads.
func TestLogOfSilentPutsAndBodies(t *testing.T) {
	large := strings.Repeat("x", 64<<10+1)
	for name, test := range map[string]struct {
		silence time.Duration
		call    func(s *retrying.Store) error
		op      string
	}{
		"put if absent": {11 * time.Second, func(s *retrying.Store) error {
			_, err := s.Put(t.Context(), "new", strings.NewReader("a"), store.PutOptions{IfAbsent: true})
			return err
		}, "op=put key=new"},
		"put": {11 * time.Second, func(s *retrying.Store) error {
			_, err := s.Put(t.Context(), "new", bytes.NewReader([]byte("a")), store.PutOptions{})
			return err
		}, "op=put key=new"},
		"large put": {11 * time.Second, func(s *retrying.Store) error {
			_, err := s.Put(t.Context(), "new", strings.NewReader(large), store.PutOptions{IfAbsent: true})
			return err
		}, ""},
		"body":      {11 * time.Second, func(s *retrying.Store) error { _, err := read(s, 0, -1); return err }, "op=get key=k"},
		"slow body": {4 * time.Second, func(s *retrying.Store) error { _, err := read(s, 0, -1); return err }, ""},
		"slow reader": {time.Second, func(s *retrying.Store) error {
			rc, err := s.Get(t.Context(), "k", 0, -1)
			if err != nil {
				return err
			}
			defer rc.Close()
			for range 2 {
				if _, err := rc.Read(make([]byte, 1)); err != nil {
					return err
				}
				time.Sleep(time.Hour)
			}
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := mem.New()
				if _, err := inner.Put(context.Background(), "k", strings.NewReader("abc"), store.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				log := newLines()
				if err := test.call(retrying.New(stalls{hung{inner, test.silence}}, retrying.Config{}, slog.New(log))); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if said := log.text.String(); strings.Count(said, "the store does not answer") != len(log.at) || (test.op == "") != (len(log.at) == 0) || !strings.Contains(said, test.op) {
					t.Errorf("logged at %v\n%s", log.at, said)
				}
			})
		})
	}
}

// That a store does not answer is said after 10 s, once, whatever number of calls wait,
// and again after a minute; the time that the caller takes for a listing does not count.
func TestLogOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		if _, err := inner.Put(t.Context(), "k", strings.NewReader(""), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		log := newLines()
		s := retrying.New(hung{inner, 9 * time.Second}, retrying.Config{Name: "s3://b/p"}, slog.New(log))
		if err := s.List(t.Context(), "", func(store.Info) error { time.Sleep(time.Hour); return nil }); err != nil || len(log.at) > 0 {
			t.Errorf("%v, logged\n%s", err, log.text.String())
		}
		log = newLines()
		s = retrying.New(hung{inner, 40 * time.Second}, retrying.Config{Name: "s3://b/p"}, slog.New(log))
		done := make(chan error)
		for range 2 {
			go func() {
				var err error
				for range 2 {
					_, e := s.Stat(t.Context(), "k")
					err = errors.Join(err, e)
				}
				done <- err
			}()
		}
		if err := errors.Join(<-done, <-done, s.List(t.Context(), "", func(store.Info) error { return nil })); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the log
		const first = `level=WARN msg="the store does not answer; this waits for it, and asks again, before it gives up" store=s3://b/p op=stat key=k waited=10s` + "\n"
		if !strings.HasPrefix(log.text.String(), first) || !slices.Equal(log.at, []time.Duration{10 * time.Second, 90 * time.Second}) {
			t.Errorf("logged at %v\n%s", log.at, log.text.String())
		}
	})
}
