package limited_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/limited"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
)

const mib = 1 << 20

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		return limited.New(mem.New(), limited.Config{Upload: 1 << 40, Download: 1 << 40})
	})
}

func TestNoLimit(t *testing.T) {
	inner := mem.New()
	if st := limited.New(inner, limited.Config{}); st != store.Store(inner) {
		t.Error("without a limit there is a wrapper")
	}
}

// near tells whether a duration is about another: within the pieces that may go ahead.
func near(got, want time.Duration) bool {
	return got > want-200*time.Millisecond && got < want+200*time.Millisecond
}

func put(t *testing.T, st store.Store, key string, size int) {
	t.Helper()
	if _, err := st.Put(t.Context(), key, bytes.NewReader(storetest.Bytes(1, size)), store.PutOptions{}); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := limited.New(mem.New(), limited.Config{Upload: mib, Download: 2 * mib})
		began := time.Now()
		put(t, st, "a", 10*mib)
		if took := time.Since(began); !near(took, 10*time.Second) {
			t.Errorf("10 MiB were put in %s", took)
		}
		began = time.Now()
		if _, err := st.Put(t.Context(), "b", struct{ io.Reader }{bytes.NewReader(make([]byte, 5*mib))}, store.PutOptions{}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); !near(took, 5*time.Second) {
			t.Errorf("5 MiB of a plain reader were put in %s", took)
		}
		began = time.Now()
		body, err := st.Get(t.Context(), "a", 0, 4*mib)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if n, err := io.Copy(io.Discard, body); n != 4*mib || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if took := time.Since(began); !near(took, 2*time.Second) {
			t.Errorf("4 MiB were read in %s", took)
		}
	})
}

// One direction may have no limit.
func TestOneDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := limited.New(mem.New(), limited.Config{Download: mib})
		began := time.Now()
		put(t, st, "a", 10*mib)
		if took := time.Since(began); took != 0 {
			t.Errorf("put in %s", took)
		}
	})
}

// A small object waits for a piece of each large one, not for the large ones.
func TestSmallBesideLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := limited.New(mem.New(), limited.Config{Upload: mib})
		done := make(chan time.Duration)
		for i := range 4 {
			go func() {
				began := time.Now()
				put(t, st, fmt.Sprint("large/", i), 8*mib)
				done <- time.Since(began)
			}()
		}
		for range 20 {
			time.Sleep(time.Second)
			began := time.Now()
			put(t, st, "log/1", 20<<10)
			if took := time.Since(began); took > time.Second/2 {
				t.Errorf("a small object took %s", took)
			}
		}
		var longest time.Duration
		for range 4 {
			longest = max(longest, <-done)
		}
		if !near(longest, 32*time.Second+400*time.Millisecond) { // and what was small
			t.Errorf("all took %s", longest)
		}
	})
}

// Who waits for the limit stops waiting when its context ends.
func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mem.New()
		st := limited.New(inner, limited.Config{Upload: mib})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := st.Put(ctx, "a", bytes.NewReader(make([]byte, 10*mib)), store.PutOptions{})
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 2*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		if _, err := inner.Stat(t.Context(), "a"); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("the object is there: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := st.Put(short, "a", bytes.NewReader(make([]byte, 10*mib)), store.PutOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
