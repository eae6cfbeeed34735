package remote_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// fill lets n parts enter, and returns how many could, and a function that lets one of them leave.
func fill(t *testing.T, w *remote.Window, n int) (entered func() int, leave func(arrived bool)) {
	t.Helper()
	var mu sync.Mutex
	count := 0
	for range n {
		go func() {
			if w.Enter(t.Context()) == nil {
				mu.Lock()
				count++
				mu.Unlock()
			}
		}()
	}
	synctest.Wait()
	return func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return count
	}, w.Leave
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := remote.NewWindow()
		entered, leave := fill(t, w, 8)
		if n := entered(); n != 8 {
			t.Fatalf("%d of 8 parts enter a window that is open", n)
		}
		// Halved by what is in flight, and not again at once.
		w.Shrink()
		w.Shrink()
		for range 4 {
			leave(false)
		}
		more, _ := fill(t, w, 13)
		if n := more(); n != 0 {
			t.Errorf("%d parts enter a window of 4 in which there are 4", n)
		}
		// Every third windowful that arrives opens it by one: of 12 that leave, the last makes room for two.
		for range 11 {
			leave(true)
		}
		if n := more(); n != 11 {
			t.Errorf("%d parts entered after 11 have arrived, want as many", n)
		}
		leave(true)
		if n := more(); n != 13 {
			t.Errorf("%d parts entered after 12 have arrived, want 13", n)
		}
		for range 10 {
			time.Sleep(remote.ShrinkPause)
			w.Shrink()
		}
		for range 5 {
			leave(false)
		}
		last, _ := fill(t, w, 5)
		if n := last(); n != 1 {
			t.Errorf("%d parts enter a window that is shut as far as it goes", n)
		}
		for range 3 {
			leave(true)
		}
		if n := last(); n != 5 { // it is 2 wide now
			t.Errorf("%d parts entered, want all", n)
		}
		leave(true)
		leave(true)
	})
}

// It never opens wider than it was.
func TestWindowWidest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := remote.NewWindow()
		for range 10 * remote.Widest {
			if err := w.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.Leave(true)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var refused int
		var mu sync.Mutex
		for range remote.Widest + 3 {
			go func() {
				if errors.Is(w.Enter(ctx), context.Canceled) {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			}()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		if refused != 3 {
			t.Errorf("%d of %d had to wait, want 3", refused, remote.Widest+3)
		}
		// Those who gave up have left no trace.
		for range remote.Widest {
			w.Leave(true)
		}
		entered, _ := fill(t, w, remote.Widest)
		if n := entered(); n != remote.Widest {
			t.Errorf("%d enter afterwards, want %d", n, remote.Widest)
		}
	})
}
