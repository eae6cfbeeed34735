package storecheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// How a new repository is tried: quickly, since nobody asked for it, and with few
// racers, since each of them may hold a part of an upload in memory.
const (
	startRacers = 8
	startRounds = 5
	startTime   = 3 * time.Second
)

// FenceFix is what to do about ErrNoFence.
const FenceFix = "use another store, or a way to it without the proxy that drops If-None-Match; " +
	"one backupd alone can work without, at your own risk: store.unsafeNoFence: true"

// Fence tries quickly whether st honours create-if-absent, and returns ErrNoFence
// if it does not, or the error that kept it from finding out. left are the keys of
// the canaries that stay behind because they may not be removed.
func Fence(ctx context.Context, st store.Store) (left []string, err error) {
	c := newCanaries(st)
	defer func() { left = c.remove(ctx) }()
	key := c.key(0)
	if err := c.putNew(ctx, key, []byte("canary")); err != nil {
		return nil, err
	}
	if err := c.refusesSecond(ctx, key); err != nil {
		return nil, err
	}
	n := startRounds
	if st.Delete(ctx, key) == nil {
		c.forget(key)
	} else {
		n = 1
	}
	_, err = c.race(ctx, n, startRacers, startTime)
	return nil, err
}

// fence is the check of create-if-absent.
func (c *checker) fence(ctx context.Context) (Result, error) {
	if c.canary == nil {
		return nothingThere()
	}
	key, n := c.key(0), fewRounds
	if c.deletes {
		c.forget(key) // it is gone
		key, n = c.key(1), rounds
		if err := c.putNew(ctx, key, []byte("canary")); err != nil {
			return Result{}, err
		}
	}
	err := c.refusesSecond(ctx, key)
	run := 0
	if err == nil {
		run, err = c.race(ctx, n, racers, raceTime)
	}
	if errors.Is(err, ErrNoFence) {
		return Result{State: Failed, Detail: "two backupd on this repository would destroy it: " + err.Error(), Fix: FenceFix}, nil
	}
	if err != nil {
		return Result{}, err
	}
	return Result{State: OK, Detail: fmt.Sprintf("honoured: one winner of %d racers, in each of %d rounds", racers, run)}, nil
}

// refusesSecond puts another object under a key that is taken.
func (c *canaries) refusesSecond(ctx context.Context, key string) error {
	err := c.putIfAbsent(ctx, key, []byte("second"))
	switch {
	case err == nil:
		return fmt.Errorf("%w: it replaced an object that was there", ErrNoFence)
	case errors.Is(err, store.ErrExists):
		return nil
	}
	return fmt.Errorf("create an object that is there already: %w", err)
}

// firstRaced is the number of the first canary that racers create.
const firstRaced = 2

// race runs rounds, as many as have begun within the time given, and returns how
// many there were.
func (c *canaries) race(ctx context.Context, rounds, racers int, limit time.Duration) (int, error) {
	began := time.Now()
	for n := range rounds {
		if n > 0 && time.Since(began) > limit {
			return n, nil
		}
		key := c.key(firstRaced + n)
		attempts := c.attempts(ctx, key, racers)
		there, err := c.content(ctx, key, 0, -1)
		if err := judge(attempts, there, err); err != nil {
			return n, err
		}
		c.found(key)
	}
	return rounds, nil
}

// attempt is one racer's.
type attempt struct {
	content  []byte
	err      error
	repeated bool // the store sent it again by itself: the first may have won
}

// attempts lets racers create an object at once.
func (c *canaries) attempts(ctx context.Context, key string, racers int) []attempt {
	all := make([]attempt, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range all {
		all[i].content = fmt.Appendf(nil, "canary of racer %d", i)
		wg.Go(func() {
			<-start
			var repeated atomic.Bool
			watched := store.WithRepetition(ctx, func(error, time.Duration) { repeated.Store(true) })
			all[i].err = c.putIfAbsent(watched, key, all[i].content)
			all[i].repeated = repeated.Load()
		})
	}
	close(start)
	wg.Wait()
	return all
}

// judge says what is wrong with a race after which Get returned the given content
// or error: exactly one racer must have been told that it won, and its object must
// be there. One that was told nothing certain may have won in its place.
func judge(attempts []attempt, there []byte, getErr error) error {
	var winners []attempt
	var unsure error // of a racer that does not know
	for _, a := range attempts {
		switch {
		case a.err == nil:
			winners = append(winners, a)
		case !errors.Is(a.err, store.ErrExists):
			unsure = a.err
		}
	}
	absent := isAbsent(getErr)
	switch {
	case len(winners) > 1:
		return fmt.Errorf("%w: %d of %d that created the same object at once were told that they had", ErrNoFence, len(winners), len(attempts))
	case getErr != nil && !absent:
		return fmt.Errorf("read what racers created: %w", getErr)
	case len(winners) == 1 && absent:
		return fmt.Errorf("%w: an object that was created is not there", ErrNoFence)
	case len(winners) == 1 && !bytes.Equal(there, winners[0].content):
		return fmt.Errorf("%w: an object that one of %d racers created holds what another wrote", ErrNoFence, len(attempts))
	case len(winners) == 1:
		return nil
	case absent && unsure != nil:
		return fmt.Errorf("create an object, %d at once: %w", len(attempts), unsure)
	case absent:
		return fmt.Errorf("%w: all of %d that created the same object at once were told that it was there, and it is not", ErrNoFence, len(attempts))
	case slices.ContainsFunc(attempts, func(a attempt) bool {
		return bytes.Equal(a.content, there) && (a.repeated || !errors.Is(a.err, store.ErrExists))
	}):
		return nil
	}
	return fmt.Errorf("%w: one of %d racers created an object, and all were told that another had", ErrNoFence, len(attempts))
}
