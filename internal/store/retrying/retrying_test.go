package retrying_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
)

func wrap(inner store.Store) *retrying.Store {
	return retrying.New(inner, retrying.Config{}, slog.New(slog.DiscardHandler))
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return wrap(mem.New()) })
}

// failing returns a store that holds an object under "k", and lets the given
// calls of one kind fail in the same way.
func failing(t *testing.T, op faulty.Op, fault faulty.Fault, calls ...int) (*retrying.Store, *faulty.Store, *mem.Store) {
	t.Helper()
	inner := mem.New()
	if _, err := inner.Put(t.Context(), "k", bytes.NewReader(object()), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var rules []faulty.Rule
	for _, call := range calls {
		rules = append(rules, faulty.Rule{Op: op, Call: call, Fault: fault})
	}
	f := faulty.New(inner, rules...)
	return wrap(f), f, inner
}

func object() []byte { return storetest.Bytes(1, 10_000) }

var operations = map[faulty.Op]func(s store.Store) error{
	faulty.Put: func(s store.Store) error {
		_, err := s.Put(context.Background(), "new", bytes.NewReader(object()), store.PutOptions{})
		return err
	},
	faulty.Get: func(s store.Store) error {
		data, err := read(s, 0, -1)
		if err == nil && !bytes.Equal(data, object()) {
			return errors.New("another object")
		}
		return err
	},
	faulty.Stat: func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err },
	faulty.List: func(s store.Store) error {
		return s.List(context.Background(), "", func(store.Info) error { return nil })
	},
	faulty.Delete: func(s store.Store) error { return s.Delete(context.Background(), "k") },
}

func read(s store.Store, off, n int64) ([]byte, error) {
	body, err := s.Get(context.Background(), "k", off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}

func TestTransientFaults(t *testing.T) {
	for op, call := range operations {
		for _, fault := range []faulty.Fault{faulty.ErrorBefore, faulty.ErrorAfter, faulty.Unavailable, faulty.Timeout, faulty.TruncatedUpload, faulty.Conflict} {
			if !fault.AppliesTo(op) || fault == faulty.ErrorAfter && op == faulty.List {
				continue
			}
			t.Run(string(op)+" "+fault.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, f, inner := failing(t, op, fault, 1, 2, 3, 4)
					start := time.Now()
					if err := call(s); err != nil {
						t.Errorf("after four faults: %v", err)
					}
					// 200 + 400 + 800 + 1600 ms, each give or take a half.
					if took := time.Since(start); took < 1500*time.Millisecond || took > 4500*time.Millisecond {
						t.Errorf("took %v", took)
					}
					if op == faulty.Put {
						wantNew(t, inner)
					}
					if f.Fired() != 4 {
						t.Errorf("%d faults fired", f.Fired())
					}
				})
			})
		}
	}
}

func wantNew(t *testing.T, s store.Store) {
	t.Helper()
	info, err := s.Stat(t.Context(), "new")
	if err != nil || info.Size != int64(len(object())) {
		t.Errorf("Stat = %+v, %v, want the whole object", info, err)
	}
}

func TestGivesUp(t *testing.T) {
	for op, call := range operations {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f, _ := failing(t, op, faulty.Unavailable, 1, 2, 3, 4, 5, 6)
				if err := call(s); !errors.Is(err, faulty.ErrInjected) {
					t.Errorf("got %v, want the error of the store", err)
				}
				if f.Calls(op) != 5 {
					t.Errorf("tried %d times, want 5", f.Calls(op))
				}
			})
		})
	}
}

func TestFinalErrors(t *testing.T) {
	once := func(t *testing.T, s store.Store, f *faulty.Store, op faulty.Op, want error) {
		t.Helper()
		if err := operations[op](s); !errors.Is(err, want) {
			t.Errorf("%s = %v, want %v", op, err, want)
		}
		if f.Calls(op) != 1 {
			t.Errorf("%s was tried %d times", op, f.Calls(op))
		}
	}
	for op := range operations {
		s, f, _ := failing(t, op, faulty.Denied, 1)
		once(t, s, f, op, store.ErrAuth)
	}
	s, f, _ := failing(t, faulty.Put, faulty.Full, 1)
	once(t, s, f, faulty.Put, store.ErrFull)
	empty := faulty.New(mem.New())
	once(t, wrap(empty), empty, faulty.Get, store.ErrNotExist)
	empty = faulty.New(mem.New())
	once(t, wrap(empty), empty, faulty.Stat, store.ErrNotExist)
	s, f, _ = failing(t, faulty.Get, faulty.None)
	if _, err := read(s, 1<<20, 1); !errors.Is(err, store.ErrRange) || f.Calls(faulty.Get) != 1 {
		t.Errorf("Get = %v in %d tries, want ErrRange at once", err, f.Calls(faulty.Get))
	}
}

func TestUnusableIsFinal(t *testing.T) {
	for op, call := range operations {
		u := &unusable{}
		if err := call(wrap(u)); !errors.Is(err, store.ErrUnusable) || u.calls != 1 {
			t.Errorf("%s = %v after %d tries, want ErrUnusable at once", op, err, u.calls)
		}
	}
}

// unusable is a store that only another process can go on with.
type unusable struct{ calls int }

func (u *unusable) fail() error {
	u.calls++
	return store.ErrUnusable
}

func (u *unusable) Put(context.Context, string, io.Reader, store.PutOptions) (store.Info, error) {
	return store.Info{}, u.fail()
}

func (u *unusable) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, u.fail()
}

func (u *unusable) Stat(context.Context, string) (store.Info, error) {
	return store.Info{}, u.fail()
}

func (u *unusable) List(context.Context, string, func(store.Info) error) error { return u.fail() }

func (u *unusable) Delete(context.Context, ...string) error { return u.fail() }

func TestPutOnce(t *testing.T) {
	pipe, w, err := os.Pipe() // has a Seek, which fails
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := w.Write(object()); err != nil { // fits into its buffer
		t.Fatal(err)
	}
	w.Close()
	for name, tt := range map[string]struct {
		body io.Reader
		opts store.PutOptions
	}{
		"if absent":   {bytes.NewReader(object()), store.PutOptions{IfAbsent: true}},
		"no seeker":   {bytes.NewBuffer(object()), store.PutOptions{}},
		"pipe":        {pipe, store.PutOptions{}},
		"body failed": {failingSeeker{bytes.NewReader(nil), errors.New("boom")}, store.PutOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, f, _ := failing(t, faulty.Put, faulty.ErrorAfter, 1)
			if _, err := s.Put(t.Context(), "new", tt.body, tt.opts); err == nil {
				t.Error("Put = nil, want an error")
			}
			if f.Calls(faulty.Put) != 1 {
				t.Errorf("tried %d times, want once", f.Calls(faulty.Put))
			}
		})
	}
}

type failingSeeker struct {
	io.Seeker
	err error
}

func (f failingSeeker) Read([]byte) (int, error) { return 0, f.err }

// A reader that failed is not asked again, whether it is read or writes itself.
func TestReaderFails(t *testing.T) {
	boom := errors.New("boom")
	for name, r := range map[string]io.Reader{
		"read":  failingSeeker{bytes.NewReader(nil), boom},
		"write": failingWriterTo{failingSeeker{bytes.NewReader(nil), boom}},
	} {
		f := faulty.New(mem.New())
		if _, err := wrap(f).Put(t.Context(), "new", r, store.PutOptions{}); !errors.Is(err, boom) {
			t.Errorf("%s: Put = %v, want the error of the reader", name, err)
		}
		if f.Calls(faulty.Put) != 1 {
			t.Errorf("%s: tried %d times", name, f.Calls(faulty.Put))
		}
	}
}

type failingWriterTo struct{ failingSeeker }

func (f failingWriterTo) WriteTo(io.Writer) (int64, error) { return 0, f.err }

// The part that was read before the Put is not put.
func TestPutFromTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, inner := failing(t, faulty.Put, faulty.TruncatedUpload, 1)
		r := strings.NewReader("skipped,put")
		if _, err := io.CopyN(io.Discard, r, 8); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), "k", r, store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, err := read(inner, 0, -1); string(got) != "put" || err != nil {
			t.Errorf("put %q, %v", got, err)
		}
	})
}

// ErrAuth promises that nothing is visible, which the first try leaves open.
func TestRefusalAfterUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faulty.New(mem.New(), faulty.Rule{Call: 1, Fault: faulty.ErrorAfter}, faulty.Rule{Call: 2, Fault: faulty.Denied})
		err := operations[faulty.Put](wrap(f))
		if err == nil || errors.Is(err, store.ErrAuth) {
			t.Errorf("Put = %v, want an unclassified error", err)
		}
		if f.Calls(faulty.Put) != 2 {
			t.Errorf("tried %d times, want twice", f.Calls(faulty.Put))
		}
	})
}

func TestListIsNotRepeatedHalfway(t *testing.T) {
	inner := mem.New()
	for _, key := range []string{"a", "b"} {
		if _, err := inner.Put(t.Context(), key, strings.NewReader(""), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	f := faulty.New(inner, faulty.Rule{Call: 1, Fault: faulty.ErrorAfter})
	calls := 0
	err := wrap(f).List(t.Context(), "", func(store.Info) error { calls++; return nil })
	if !errors.Is(err, faulty.ErrInjected) || calls != 1 || f.Calls(faulty.List) != 1 {
		t.Errorf("List = %v after %d objects in %d tries, want an error at once", err, calls, f.Calls(faulty.List))
	}
	stop := errors.New("stop")
	if err := wrap(inner).List(t.Context(), "", func(store.Info) error { return stop }); err != stop {
		t.Errorf("List = %v, want the error of fn itself", err)
	}
}

func TestBrokenBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks []int
		off, n int64
		ok     bool
	}{
		{"once", []int{1}, 0, -1, true},
		{"four times", []int{1, 2, 3, 4}, 0, -1, true},
		{"five times", []int{1, 2, 3, 4, 5}, 0, -1, false},
		{"range", []int{1, 2}, 1000, 5000, true},
		{"range over the end", []int{1, 2}, 9000, 5000, true},
		{"empty range", []int{1}, 100, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, f, _ := failing(t, faulty.Get, faulty.ShortBody, tt.breaks...)
			got, err := read(s, tt.off, tt.n)
			if !tt.ok {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("read %d bytes, %v, want io.ErrUnexpectedEOF", len(got), err)
				}
				return
			}
			want := object()[tt.off:]
			if tt.n >= 0 {
				want = want[:min(tt.n, int64(len(want)))]
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, %v, want %d in %d tries", len(got), err, len(want), f.Calls(faulty.Get))
			}
		})
	}
}

func TestBodyByByte(t *testing.T) {
	s, _, _ := failing(t, faulty.Get, faulty.ShortBody, 1, 2, 3)
	body, err := s.Get(t.Context(), "k", 10, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := iotest.TestReader(body, object()[10:110]); err != nil {
		t.Error(err)
	}
}

// An object that vanishes while its body is continued is an error, not an end.
func TestBodyVanishes(t *testing.T) {
	s, _, inner := failing(t, faulty.Get, faulty.ShortBody, 1)
	body, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := inner.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(body); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("read %d bytes, %v, want ErrNotExist", len(data), err)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f, _ := failing(t, faulty.Stat, faulty.Unavailable, 1, 2, 3, 4, 5)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := s.Stat(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stat = %v, want the error of the context", err)
		}
		if took := time.Since(start); took != 10*time.Millisecond || f.Calls(faulty.Stat) != 1 {
			t.Errorf("took %v and %d tries", took, f.Calls(faulty.Stat))
		}
	})
}
