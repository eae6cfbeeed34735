package retrying

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// quiet is how long a call says nothing more after it has said that it failed.
const quiet = 10 * time.Second

// patient is how long nothing is said of a store that does not answer, and often how
// often that is said at most of all calls together.
const (
	patient = 10 * time.Second
	often   = time.Minute
)

// call is one call of a Store under way. It logs its failures, also those that
// the inner store repeats by itself, while there is still hope.
type call struct {
	store   *Store
	log     *slog.Logger
	cfg     Config
	op, key string
	large   bool        // its content may take its time
	waiting *time.Timer // of an attempt that has had no answer
	stalled *time.Timer // of a read of an answer's body; nil before the first one

	mu       sync.Mutex    // parts of a Put may fail at once
	try      int           // the one under way or, between two, the last
	failed   int           // attempts, those of the inner store included
	patience time.Duration // of the inner store in one try, as far as it is known
	logged   time.Time
}

// begin is called for a call that is tried at most tries times.
func (s *Store) begin(op, key string, tries int) *call {
	c := &call{store: s, log: s.log, cfg: s.cfg, op: op, key: key, try: 1}
	c.cfg.Tries = tries
	return c
}

// watch returns a context for the inner store.
func (c *call) watch(ctx context.Context) context.Context {
	return store.WithRepetition(ctx, func(err error, left time.Duration) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.patience = max(c.patience, left)
		c.failure(err, left)
	})
}

// await is called before a try. It says once if nothing comes of it for long; that
// something has come, answered says. Not of a large put: that has a limit of its own.
func (c *call) await() {
	if !c.large && c.waiting == nil {
		c.waiting = time.AfterFunc(patient, c.silent)
	}
}

// small in bytes is what takes no time to be put, unless the store does not answer.
const small = 64 << 10

// isLarge says whether it may take its time until all that r yields is put.
func isLarge(r io.Reader) bool {
	sized, ok := r.(interface{ Len() int })
	return !ok || sized.Len() > small
}

// read reads from an answer that is there already, and says if nothing more comes of it for long.
func (c *call) read(r io.Reader, p []byte) (int, error) {
	if c.stalled == nil {
		c.stalled = time.AfterFunc(patient, c.silent)
	} else {
		c.stalled.Reset(patient)
	}
	defer c.stalled.Stop()
	return r.Read(p)
}

// answered is called when a try has ended, or the first of an answer is there.
func (c *call) answered() {
	if c.waiting != nil {
		c.waiting.Stop()
	}
}

// silent logs that there is no answer, unless failures are logged, or another call has just said so.
func (c *call) silent() {
	c.mu.Lock()
	failed := c.failed > 0
	c.mu.Unlock()
	if !failed && c.store.mayComplain(time.Now()) {
		c.log.Warn("the store does not answer; this waits for it, and asks again, before it gives up", "store", c.store.cfg.Name, "op", c.op, "key", c.key, "waited", patient)
	}
}

// mayComplain says whether the store's silence was not mentioned for long.
func (s *Store) mayComplain(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.complained.IsZero() && now.Sub(s.complained) < often {
		return false
	}
	s.complained = now
	return true
}

// again notes that a try failed and that the next one follows.
func (c *call) again(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure(err, 0)
	c.try++
}

// anew notes that what had succeeded broke and that all tries begin again.
func (c *call) anew(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.try = 1
	c.failure(err, c.patience)
}

// failure logs an attempt that failed, unless it has just logged another.
func (c *call) failure(err error, left time.Duration) {
	c.failed++
	if now := time.Now(); c.logged.IsZero() || now.Sub(c.logged) >= quiet {
		c.logged = now
		left += c.cfg.waits(c.try) + time.Duration(c.cfg.Tries-c.try)*c.patience
		c.log.Warn("store call failed, will be repeated", "op", c.op, "key", c.key, "attempt", c.failed, "error", err,
			"givesUpWithin", left.Round(time.Second))
	}
	var more store.Detailed
	if errors.As(err, &more) {
		c.log.Debug("store call failed", "op", c.op, "key", c.key, "attempt", c.failed, "detail", more.Detail())
	}
}

// waits returns the longest that all waits from that after the given try on can be.
func (c Config) waits(try int) (sum time.Duration) {
	for n, mean := 1, c.First; n < c.Tries; n, mean = n+1, min(2*mean, c.Max) {
		if n >= try {
			sum += mean * 3 / 2
		}
	}
	return sum
}
