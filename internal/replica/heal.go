package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// ErrSpoilt says that a copy lacks what it had, or has it damaged, and was only looked at.
var ErrSpoilt = errors.New("the copy has lost objects")

// UnhealedError says that objects of the copy are missing or damaged, and could not be sent
// again. All else was copied.
type UnhealedError struct {
	Objects int
	Err     error // of the first of them

	mu sync.Mutex
}

func (u *UnhealedError) Error() string {
	return fmt.Sprintf("%s of the copy cannot be sent again: %v", english.Plural(u.Objects, "object", ""), u.Err)
}

// Unwrap returns why the first one could not be.
func (u *UnhealedError) Unwrap() error { return u.Err }

func (u *UnhealedError) add(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.Objects++; u.Err == nil {
		u.Err = err
	}
}

func (u *UnhealedError) orNil() error {
	if u.Objects == 0 {
		return nil
	}
	return u
}

// heal sends again what the copy has lost: segments before the entries that name
// them. What cannot be sent is noted, and tried again by the next call.
func (c *Copier) heal(ctx context.Context, done *Result, bad *UnhealedError) error {
	if c.census.descriptor != sound {
		if err := c.From.Restate(ctx, c.To); err != nil {
			return err
		}
		done.count(c.census.descriptor)
		c.census.descriptor = sound
	}
	if err := c.healSegments(ctx, done, bad); err != nil {
		return err
	}
	return c.healEntries(ctx, done)
}

func (c *Copier) healSegments(ctx context.Context, done *Result, bad *UnhealedError) error {
	var mu sync.Mutex // of done and what is lost
	g, ctx := c.group(ctx)
	names := slices.SortedFunc(maps.Keys(c.census.lost), func(a, b manifest.SegmentName) int { return strings.Compare(a.Key(), b.Key()) })
	for _, name := range names {
		l := c.census.lost[name]
		g.Go(func() error {
			healed, err := c.resend(ctx, name, l.ref, bad)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && healed.gone {
				delete(c.census.lost, name)
			}
			done.count(healed.had)
			return err
		})
	}
	return g.Wait()
}

// resent is what became of a segment.
type resent struct {
	had  state // what was in its place, if it was sent
	gone bool  // there is nothing left to do about it
}

// resend makes sure that the copy has a segment, if anybody can read it. Unless ctx
// ended, what keeps it from that is noted.
func (c *Copier) resend(ctx context.Context, name manifest.SegmentName, ref segment.Ref, bad *UnhealedError) (resent, error) {
	had, err := c.segment(ctx, name.Key(), ref)
	switch {
	case err == nil:
		c.advance(ref.Size)
		return resent{had, true}, nil
	case ctx.Err() != nil:
		return resent{}, ctx.Err()
	case isUnreadable(err) && isSpared(c.tail.State(), name):
		return resent{gone: true}, nil
	}
	bad.add(asDamage(err))
	return resent{}, nil
}

// isSendable says whether the repository has a segment that the copy has not, or may
// not do without it: what is removed can be gone there.
func (c *Copier) isSendable(ctx context.Context, name manifest.SegmentName) (bool, error) {
	if !isSpared(c.tail.State(), name) {
		return true, nil
	}
	_, err := c.From.Store().Stat(ctx, name.Key())
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// forgetUnsendable takes away lost segments that nobody can send, and need not.
func (c *Copier) forgetUnsendable(ctx context.Context) error {
	for name := range c.census.lost {
		sendable, err := c.isSendable(ctx, name)
		if err != nil {
			return fmt.Errorf("look up %s: %w", name.Key(), err)
		}
		if !sendable {
			delete(c.census.lost, name)
		}
	}
	return nil
}

// healEntries puts entries into the gaps of the copy's log, and in the place of
// damaged ones.
func (c *Copier) healEntries(ctx context.Context, done *Result) error {
	for after := c.From.Tail().State().HeadNow(); len(c.census.lostEntries) > 0; {
		entries, err := c.From.Entries(ctx, after, c.head.Sequence)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return errors.New("internal error: an entry is lost that nobody has")
		}
		for i := range entries {
			e := &entries[i]
			after = manifest.Head{Sequence: e.Sequence, Digest: e.Digest}
			what := c.census.lostEntries[e.Sequence]
			switch what {
			case missing:
				err = c.there.Extend(ctx, *e)
			case damaged:
				err = e.ReplaceIn(ctx, c.To)
			}
			if err != nil {
				return fmt.Errorf("mend the log of the copy: %w", err)
			}
			delete(c.census.lostEntries, e.Sequence)
			done.count(what)
		}
	}
	return nil
}

// verify reads back what the copy had up to an entry, and replaces what is damaged.
func (c *Copier) verify(ctx context.Context, upTo manifest.Head, done *Result, bad *UnhealedError) error {
	var mu sync.Mutex // of done
	return c.readBack(ctx, upTo.Sequence, func(ctx context.Context, name manifest.SegmentName, ref segment.Ref) error {
		healed, err := c.resend(ctx, name, ref, bad)
		mu.Lock()
		defer mu.Unlock()
		done.Verified++
		done.count(healed.had)
		return err
	})
}

// lookAt reads back what the copy has, and adds what is wrong with that.
func (c *Copier) lookAt(ctx context.Context, todo Result) (Result, error) {
	var mu sync.Mutex // of todo
	c.done.Store(0)
	c.total.Store(0)
	err := c.readBack(ctx, c.head.Sequence, func(ctx context.Context, name manifest.SegmentName, ref segment.Ref) error {
		had, err := c.look(ctx, name.Key(), ref)
		if err == nil && had != sound {
			sendable, serr := c.isSendable(ctx, name)
			if err = serr; !sendable {
				had = sound
			}
		}
		c.advance(ref.Size)
		mu.Lock()
		defer mu.Unlock()
		todo.Verified++
		todo.count(had)
		return err
	})
	return todo, err
}

// readBack calls fn, concurrently, for each segment that the log names up to an entry
// and that somebody may read, also by an earlier entry, but for those that are known to be lost.
func (c *Copier) readBack(ctx context.Context, upTo uint64, fn func(context.Context, manifest.SegmentName, segment.Ref) error) error {
	if upTo == 0 {
		return nil
	}
	state := c.tail.State()
	c.total.Add(state.SegmentBytes + state.RemovedBytes)
	g, ctx := c.group(ctx)
	_, err := c.From.Read(ctx, upTo, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			s := &e.Segments[i]
			name := manifest.SegmentName{Writer: e.Writer, Counter: s.Counter}
			if _, lost := c.census.lost[name]; lost || !state.Segments.Has(name.Writer, name.Counter) || state.Quarantined(name.Writer, name.Counter) || c.leavesOut(name) {
				continue
			}
			ref := s.Ref // the entry is valid during this call only
			g.Go(func() error { return fn(ctx, name, ref) })
		}
		return ctx.Err()
	})
	return errors.Join(g.Wait(), err)
}
