package remote

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// widest is the most that a window opens; uploads have less in flight.
	widest = 16
	// shrinkPause is how long a window does not shrink again: what was on its way
	// when it did says nothing about what is left.
	shrinkPause = time.Second
	// calm is how many windowfuls have to arrive before it opens by one: with each
	// part too many that is tried, some part loses one of its few attempts.
	calm = 3
)

// Window bounds how many parts of uploads are on their way to a store at once. It
// halves when the store asks for less, or does not take a part in time, down to
// one, and opens by one for every few windowfuls that arrive. A part that waits is in
// the memory of its upload, which has room for few and takes no more meanwhile.
type Window struct {
	mu       sync.Mutex
	limit    int
	inFlight int
	arrived  int // since the limit changed
	shrunk   time.Time
	queue    []chan struct{} // those who wait for their turn
}

// NewWindow returns one that is wide open.
func NewWindow() *Window { return &Window{limit: widest} }

// Enter waits for the turn of a part. Leave has to follow, unless there is an
// error, which is that of ctx.
func (w *Window) Enter(ctx context.Context) error {
	w.mu.Lock()
	turn := make(chan struct{})
	w.queue = append(w.queue, turn)
	w.admit()
	w.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.queue, turn); i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
		return ctx.Err()
	}
	w.inFlight-- // it was its turn in this very moment
	w.admit()
	return ctx.Err()
}

// admit is called with mu held.
func (w *Window) admit() {
	for len(w.queue) > 0 && w.inFlight < w.limit {
		close(w.queue[0])
		w.queue = w.queue[1:]
		w.inFlight++
	}
}

// Leave says how the part that entered has ended.
func (w *Window) Leave(arrived bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight--
	if arrived {
		w.arrived++
	}
	if w.arrived >= calm*w.limit && w.limit < widest {
		w.limit++
		w.arrived = 0
	}
	w.admit()
}

// Shrink is called when the store asks for less, or does not take a part in time.
func (w *Window) Shrink() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.shrunk) >= shrinkPause {
		w.limit = max(1, min(w.limit, w.inFlight)/2)
		w.arrived, w.shrunk = 0, now
	}
}
