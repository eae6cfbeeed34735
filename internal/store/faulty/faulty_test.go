package faulty_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
)

func TestConformanceWithoutRules(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return faulty.New(mem.New()) })
}

func put(s store.Store, key, data string) error {
	_, err := s.Put(context.Background(), key, strings.NewReader(data), store.PutOptions{IfAbsent: true})
	return err
}

func get(s store.Store, key string) (string, error) {
	body, err := s.Get(context.Background(), key, 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

func list(s store.Store) (keys []string, err error) {
	err = s.List(context.Background(), "", func(i store.Info) error { keys = append(keys, i.Key); return nil })
	return keys, err
}

// What each fault of a Put returns, and whether the object is there then.
func TestPut(t *testing.T) {
	for fault, want := range map[faulty.Fault]struct {
		err     error
		applied bool
	}{
		faulty.ErrorBefore:     {faulty.ErrInjected, false},
		faulty.ErrorAfter:      {faulty.ErrInjected, true},
		faulty.Unavailable:     {faulty.ErrInjected, false},
		faulty.Timeout:         {faulty.ErrInjected, false},
		faulty.AppliedLate:     {faulty.ErrInjected, false},
		faulty.Conflict:        {faulty.ErrInjected, false},
		faulty.ExistsAfter:     {store.ErrExists, true},
		faulty.TruncatedUpload: {faulty.ErrInjected, false},
		faulty.Denied:          {store.ErrAuth, false},
		faulty.Full:            {store.ErrFull, false},
		faulty.FalseExists:     {store.ErrExists, false},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			inner := mem.New()
			s := faulty.New(inner, faulty.Rule{Op: faulty.Put, Call: 2, Fault: fault})
			if err := put(s, "a", "first"); err != nil {
				t.Fatalf("first Put = %v", err)
			}
			if err := put(s, "k", "v"); !errors.Is(err, want.err) {
				t.Errorf("second Put = %v, want %v", err, want.err)
			}
			if _, err := inner.Stat(t.Context(), "k"); (err == nil) != want.applied {
				t.Errorf("Stat = %v, want the object there: %t", err, want.applied)
			}
			if s.Fired() != 1 || s.Calls(faulty.Put) != 2 || s.Calls(faulty.Any) != 2 {
				t.Errorf("fired %d, %d puts, %d calls", s.Fired(), s.Calls(faulty.Put), s.Calls(faulty.Any))
			}
		})
	}
}

func TestLate(t *testing.T) {
	inner := mem.New()
	s := faulty.New(inner,
		faulty.Rule{Op: faulty.Put, Call: 1, Fault: faulty.AppliedLate, Later: 2},
		faulty.Rule{Op: faulty.Delete, Call: 1, Fault: faulty.AppliedLate},
	)
	err := put(s, "k", "late")
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put = %v, want a timeout that is not the context's", err)
	}
	for call, want := range []error{store.ErrNotExist, store.ErrNotExist, nil} {
		if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, want) {
			t.Errorf("Stat %d = %v, want %v", call+1, err, want)
		}
	}
	if err := s.Delete(t.Context(), "k"); !errors.Is(err, faulty.ErrInjected) {
		t.Errorf("Delete = %v", err)
	}
	if got, err := get(s, "k"); got != "late" || err != nil {
		t.Errorf("Get = %q, %v, want the object that is deleted later", got, err)
	}
	if _, err := get(s, "k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Get = %v, want ErrNotExist", err)
	}
}

func TestSettle(t *testing.T) {
	inner := mem.New()
	s := faulty.New(inner, faulty.Rule{Call: 1, Fault: faulty.AppliedLate, Later: 100}, faulty.Rule{Call: 2, Fault: faulty.AppliedLate, Later: 100})
	for _, v := range []string{"one", "two"} {
		if err := put(s, "k", v); err == nil {
			t.Error("Put = nil, want an error")
		}
	}
	s.Settle()
	if got, err := get(inner, "k"); got != "one" || err != nil {
		t.Errorf("Get = %q, %v, want the first of two that were to be absent", got, err)
	}
}

func TestGet(t *testing.T) {
	data := string(storetest.Bytes(1, 1000))
	for fault, check := range map[faulty.Fault]func(got string, err error) bool{
		faulty.ErrorBefore: func(_ string, err error) bool { return errors.Is(err, faulty.ErrInjected) },
		faulty.Denied:      func(_ string, err error) bool { return errors.Is(err, store.ErrAuth) },
		faulty.ShortBody:   func(got string, err error) bool { return got == data[:500] && errors.Is(err, io.ErrUnexpectedEOF) },
		faulty.EarlyEOF:    func(got string, err error) bool { return got == data[:500] && err == nil },
		faulty.BitFlip: func(got string, err error) bool {
			return err == nil && len(got) == 1000 && got != data && got[:500]+got[501:] == data[:500]+data[501:]
		},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			s := faulty.New(mem.New(), faulty.Rule{Op: faulty.Get, Call: 1, Fault: fault})
			if err := put(s, "k", data); err != nil {
				t.Fatal(err)
			}
			if got, err := get(s, "k"); !check(got, err) {
				t.Errorf("Get = %d bytes, %v", len(got), err)
			}
			if got, err := get(s, "k"); got != data || err != nil {
				t.Errorf("the next Get = %d bytes, %v, want the object undamaged", len(got), err)
			}
		})
	}
}

func TestList(t *testing.T) {
	for fault, want := range map[faulty.Fault]struct {
		keys []string
		err  error
	}{
		faulty.ErrorBefore: {nil, faulty.ErrInjected},
		faulty.ErrorAfter:  {[]string{"a"}, faulty.ErrInjected},
		faulty.StaleList:   {[]string{"a", "c"}, nil},
	} {
		t.Run(fault.String(), func(t *testing.T) {
			s := faulty.New(mem.New(), faulty.Rule{Op: faulty.List, Call: 1, Fault: fault})
			for _, key := range []string{"a", "c", "b"} { // b is the newest
				if err := put(s, key, ""); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := list(s); !slices.Equal(got, want.keys) || !errors.Is(err, want.err) {
				t.Errorf("List = %q, %v, want %q, %v", got, err, want.keys, want.err)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	for fault, gone := range map[faulty.Fault]bool{faulty.ErrorBefore: false, faulty.ErrorAfter: true} {
		inner := mem.New()
		s := faulty.New(inner, faulty.Rule{Op: faulty.Delete, Call: 1, Fault: fault})
		if err := put(s, "k", ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "k"); !errors.Is(err, faulty.ErrInjected) {
			t.Errorf("%s: Delete = %v", fault, err)
		}
		if _, err := inner.Stat(t.Context(), "k"); errors.Is(err, store.ErrNotExist) != gone {
			t.Errorf("%s: Stat = %v, want the object gone: %t", fault, err, gone)
		}
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faulty.New(mem.New(), faulty.Rule{Call: 1, Fault: faulty.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		_, err := s.Stat(ctx, "k")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("Stat = %v after %v, want it to last as long as the context", err, time.Since(start))
		}
	})
}

// A sweep: a workload meets every fault at every call, and nothing panics, hangs
// or fails without a rule having fired.
func TestSweep(t *testing.T) {
	workload := func(s store.Store) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for i := range 3 {
			if _, err := s.Put(ctx, fmt.Sprint("k", i), bytes.NewReader(storetest.Bytes(1, 100)), store.PutOptions{}); err != nil {
				return err
			}
		}
		if _, err := get(s, "k1"); err != nil {
			return err
		}
		if _, err := s.Stat(ctx, "k1"); err != nil {
			return err
		}
		if _, err := list(s); err != nil {
			return err
		}
		return s.Delete(ctx, "k0", "k1")
	}
	counted := faulty.New(mem.New())
	if err := workload(counted); err != nil {
		t.Fatal(err)
	}
	for _, fault := range faulty.Faults() {
		if fault == faulty.Hang {
			continue // TestHang
		}
		for call := 1; call <= counted.Calls(faulty.Any); call++ {
			s := faulty.New(mem.New(), faulty.Rule{Call: call, Fault: fault})
			err := workload(s)
			applies := fault.AppliesTo(counted.History()[call-1].Op)
			silent := fault.BreaksContract() && fault != faulty.FalseExists && fault != faulty.FalseAbsent
			if applies != (s.Fired() == 1) || (err != nil) != (applies && !silent) {
				t.Errorf("%s at call %d: fired %d times, %v", fault, call, s.Fired(), err)
			}
		}
	}
}

func TestFaultStrings(t *testing.T) {
	seen := map[string]bool{}
	for _, fault := range faulty.Faults() {
		name := fault.String()
		if name == "" || strings.HasPrefix(name, "Fault(") || seen[name] {
			t.Errorf("fault %d is called %q", int(fault), name)
		}
		seen[name] = true
		if !fault.AppliesTo(faulty.Any) {
			t.Errorf("%s applies to nothing", fault)
		}
	}
}
