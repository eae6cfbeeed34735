package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Pauses of a Follower after an attempt that failed; doubled from one to the next.
const (
	leastPause = time.Second
	mostPause  = 5 * time.Minute
)

// lookAfter is how often a Follower makes sure that all it has copied is still there.
const lookAfter = 24 * time.Hour

// Follower keeps a copy up with its repository. What keeps it from doing so is
// logged and tried again, for as long as it takes.
type Follower struct {
	Copier *Copier
	Every  time.Duration // how often it looks for new entries
	Log    *slog.Logger  // says which copy it is
	// Ended, if set, is called after each attempt to bring the copy up to date.
	Ended func(error)
}

// Lag says how far a copy is behind its repository.
type Lag struct {
	Entries uint64        // of the log
	Time    time.Duration // between the last entry of the copy and that of the repository
}

// Run copies until ctx ends. It holds nobody up, and may be interrupted anywhere.
func (f *Follower) Run(ctx context.Context) {
	failures := 0
	began := time.Now()
	for ctx.Err() == nil {
		if time.Since(began) >= lookAfter {
			f.Copier.Forget()
			began = time.Now()
		}
		done, err := f.Copier.Copy(ctx)
		f.tellLost(done)
		pause := f.Every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.ended(err)
			pause = min(leastPause<<min(failures, 20), mostPause)
			failures++
			f.warn(err, pause)
		default:
			f.ended(nil)
			f.tell(done, failures)
			failures = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (f *Follower) ended(err error) {
	if f.Ended != nil {
		f.Ended(err)
	}
}

func (f *Follower) warn(err error, pause time.Duration) {
	log := f.Log
	if lag, known := f.Copier.Lag(); known {
		log = log.With("entries behind", lag.Entries, "time behind", lag.Time)
	}
	log.Warn("the replica cannot be kept up", "error", err, "again in", pause)
}

// tell logs what was copied: the first time, and after failures, for everybody.
func (f *Follower) tell(done Result, failures int) {
	level := slog.LevelDebug
	if failures > 0 || f.Copier.rounds == 1 {
		level = slog.LevelInfo
	}
	f.Log.Log(context.Background(), level, "the replica is up to date", "entry", f.Copier.Head().Sequence, "copied entries", done.Entries, "copied bytes", done.Bytes)
}

// tellLost logs that the replica was not what it should have been.
func (f *Follower) tellLost(done Result) {
	if done.Missing+done.Damaged > 0 {
		f.Log.Warn("the replica had lost objects, which were sent again", "missing", done.Missing, "damaged", done.Damaged)
	}
}

// Lag says how far the copy is behind, as far as the repository's log has been read,
// or false if it has not been read yet. It may be called while the Copier is at work.
func (c *Copier) Lag() (Lag, bool) {
	if lag := c.lag.Load(); lag != nil {
		return *lag, true
	}
	return Lag{}, false
}

// noteLag notes how far the copy is behind.
func (c *Copier) noteLag() {
	s := c.tail.State()
	lag := lagOf(s.Sequence, c.head.Sequence, s.Time, c.reached)
	c.lag.Store(&lag)
}

func lagOf(last, there uint64, lastTime, thereTime int64) Lag {
	if there >= last {
		return Lag{}
	}
	return Lag{last - there, max(0, time.Duration(lastTime-thereTime)*time.Millisecond)}
}

// Look says how far the copy in a store is behind a repository of which state is
// the newest. It reads the last entry of the copy only, unless that differs: the error is
// manifest.ErrDiverged if the repository has another one there, and names the first such; and ErrAhead if it has
// lost it.
func Look(ctx context.Context, from *manifest.Repository, state *manifest.State, to store.Store) (Lag, error) {
	last, at := uint64(0), int64(0)
	there, err := manifest.Open(ctx, to)
	if err == nil {
		last, err = there.Last(ctx)
	} else if errors.Is(err, manifest.ErrNoRepository) {
		err = nil
	}
	if err == nil && last > 0 {
		at, err = sameLast(ctx, from, there, last)
	} else if err == nil && state.Sequence > 0 {
		_, at, err = from.Peek(ctx, 1) // all of the time that the log is of
	}
	if err != nil {
		return Lag{}, err
	}
	return lagOf(state.Sequence, last, state.Time, at), nil
}

// sameLast returns the time of an entry that both have.
func sameLast(ctx context.Context, from, there *manifest.Repository, last uint64) (int64, error) {
	got, at, err := there.Peek(ctx, last)
	if err != nil {
		return 0, err
	}
	err = sameAs(ctx, from, there, got)
	if errors.Is(err, store.ErrNotExist) {
		if err := Ahead(ctx, from, there.Store()); err != nil {
			return 0, err
		}
		if err := Parted(ctx, from, there); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%w: it has an entry %d, the repository has none", manifest.ErrDiverged, last)
	}
	if errors.Is(err, manifest.ErrDiverged) {
		err = firstParted(ctx, from, there, last)
	}
	return at, err
}
