// Package replica keeps a second copy of a repository in another store: segments
// first, then the entry that names them, in the order of the log. So what is there
// is at any time the repository as of an earlier entry.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// defaultParallel is how many segments are copied at once: each has some parts of
// an upload in memory.
const defaultParallel = 4

// Copier copies one repository to one store. It is not safe for concurrent use;
// several of them, in any processes, may copy to the same place.
type Copier struct {
	From *manifest.Repository
	To   store.Store
	Log  *slog.Logger

	// Grace is for how long the copy keeps what the repository has deleted, from when it
	// has got to know, by its own clock, that it was removed.
	Grace time.Duration

	Parallel int // segments at once; 0 means a default
	// Progress, if set, is called with the bytes of segments copied, or skipped as
	// they are there, and how many there are to copy. Concurrently.
	Progress func(done, total int64)
	// Reached, if set, is called with the last entry that the copy has and its time, in
	// ms since 1970, as often as that changes.
	Reached func(entry uint64, time int64)

	// Verify has Survey and Copy read back what the copy has, and check it against the
	// log's digests. Without it, that everything is there in its size is checked.
	Verify bool

	// Only, if set, are the segments to copy, and to look after. The copy lacks the
	// others: see manifest.Repository.PromoteChosen.
	Only *manifest.SegmentLot

	tail   *manifest.Tail
	there  *manifest.Repository
	census census
	head   manifest.Head // of the copy
	seen   uint64        // entries of the copy that are there
	// reached is the time of the copy's last entry, or before that of the first one.
	reached int64
	marked  bool // that it is a replica
	rounds  int  // of Copy that came to their end
	// reported are the reports that are in the copy.
	reported map[string]bool
	todo     Result // what is missing in the copy
	left     leftovers

	done, total atomic.Int64 // bytes
	lag         atomic.Pointer[Lag]
}

// Result counts what was copied, or is to be copied.
type Result struct {
	Entries  int64
	Segments int64
	Bytes    int64 // of segments
	// Skipped segments are named by the entries, but later ones have removed them, and
	// their objects are not there any more.
	Skipped int64
	// Missing objects of the copy were there before. Damaged ones were there, of
	// another size or with other bytes, and were replaced.
	Missing, Damaged int64
	Verified         int64 // segments that were read back
}

// Head returns up to where the copy is the same as the repository, after Survey or Copy.
func (c *Copier) Head() manifest.Head { return c.head }

// Source returns the head of the repository, after Survey or Copy.
func (c *Copier) Source() manifest.Head { return c.tail.State().HeadNow() }

// Copied returns the copy, once Copy has made it.
func (c *Copier) Copied() *manifest.Repository { return c.there }

// Survey reads the log of both sides, the first time, lists what is there, and says
// what is missing in the copy. It writes nothing. The error is manifest.ErrDiverged if
// what is in the place of the copy is not one: it names the first entry that differs; and
// ErrAhead if the repository has lost what the copy has.
func (c *Copier) Survey(ctx context.Context) (Result, error) {
	if err := c.survey(ctx); err != nil {
		return Result{}, err
	}
	if err := c.forgetUnsendable(ctx); err != nil {
		return Result{}, err
	}
	todo := c.todo
	todo.addCounts(c.census.count())
	if c.Verify {
		return c.lookAt(ctx, todo)
	}
	return todo, nil
}

func (c *Copier) survey(ctx context.Context) error {
	if c.tail == nil {
		c.tail = c.From.Tail()
		c.head = c.tail.State().HeadNow()
	}
	if c.there == nil {
		if err := c.open(ctx); err != nil {
			return fmt.Errorf("open the copy: %w", err)
		}
	}
	if err := c.compare(ctx); err != nil {
		c.Forget()
		return err
	}
	c.noteLag()
	state := c.tail.State()
	c.census.segments = nil // they are compared
	c.census.forget(func(n manifest.SegmentName) bool { return !state.Segments.Has(n.Writer, n.Counter) })
	return nil
}

// Forget lets the next call read both logs from their beginnings, and look after all
// that was copied.
func (c *Copier) Forget() {
	c.marked, c.reported = false, nil
	c.tail, c.there, c.seen, c.todo, c.reached = nil, nil, 0, Result{}, 0
	c.census, c.left = census{}, leftovers{}
}

// open looks for what there is of a copy.
func (c *Copier) open(ctx context.Context) error {
	_, err := manifest.Open(ctx, c.To)
	if errors.Is(err, manifest.ErrNoRepository) {
		return nil
	}
	headless := sound
	var d *manifest.Damage
	if errors.As(err, &d) {
		if headless, err = c.headless(ctx); err != nil {
			return err
		}
	}
	there := c.From.At(c.To)
	if headless == sound {
		if err == nil {
			there, err = c.From.Clone(ctx, c.To)
		}
		if err != nil {
			return err
		}
	}
	if c.census, err = takeCensus(ctx, c.To); err != nil {
		return err
	}
	c.census.descriptor, c.there, c.seen = headless, there, c.census.last
	c.left = c.census.leftovers()
	return nil
}

// headless says in which way the copy has lost its descriptor.
func (c *Copier) headless(ctx context.Context) (state, error) {
	_, err := c.To.Stat(ctx, manifest.RepositoryKey)
	if errors.Is(err, store.ErrNotExist) {
		return missing, nil
	}
	return damaged, err
}

// compare reads the repository's log to its end, compares it with the copy's, and
// adds up what comes behind that.
func (c *Copier) compare(ctx context.Context) error {
	for {
		entries, err := c.tail.Next(ctx)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		if c.head.Sequence == 0 && c.reached == 0 {
			c.reached = entries[0].Time
		}
		both := entries[:min(len(entries), c.bothHave(entries[0].Sequence))]
		if err := c.census.compareEntries(ctx, both, c.To); err != nil {
			return fmt.Errorf("compare with the copy: %w", c.parted(ctx, both, err))
		}
		for i := range both {
			c.census.compareSegments(both[i].Entry, c.leavesOut)
			c.left.note(both[i].Entry)
			c.reach(&both[i])
		}
		for i := range entries[len(both):] {
			c.todo.add(&entries[len(both)+i], c.leavesOut)
		}
	}
	if last := c.tail.State().Sequence; c.seen > last {
		return fmt.Errorf("compare with the copy: %w", beyond(ctx, c.From, c.tail.State().HeadNow(), c.To))
	}
	return nil
}

// bothHave returns how many entries from the given one on the copy has.
func (c *Copier) bothHave(from uint64) int {
	if c.seen < from {
		return 0
	}
	return int(min(c.seen-from+1, 1<<20))
}

// leavesOut says whether the copy is to lack a segment.
func (c *Copier) leavesOut(n manifest.SegmentName) bool {
	return c.Only != nil && !c.Only.Segments.Has(n.Writer, n.Counter)
}

func (r *Result) add(e *manifest.Stored, without func(manifest.SegmentName) bool) {
	r.Entries++
	for i := range e.Segments {
		if s := &e.Segments[i]; !without(manifest.SegmentName{Writer: e.Writer, Counter: s.Counter}) {
			r.Segments++
			r.Bytes += s.Size
		}
	}
}

func (r *Result) sub(e *manifest.Stored, without func(manifest.SegmentName) bool) {
	var o Result
	o.add(e, without)
	r.Entries -= o.Entries
	r.Segments -= o.Segments
	r.Bytes -= o.Bytes
}

// Copy copies what is missing, up to the end that the log has when it begins, sends
// again what the copy has lost, and says what that was. After an error it may be called
// again. An *UnhealedError has kept nothing else from being copied. At the end, once for each
// time that it lists the copy, it deletes there what is gone in the repository, after a grace.
func (c *Copier) Copy(ctx context.Context) (done Result, err error) {
	if err := c.lookOut(ctx); err != nil {
		return done, err
	}
	if err := c.survey(ctx); err != nil {
		return done, err
	}
	if err := c.mark(ctx); err != nil {
		return done, err
	}
	if c.there == nil {
		if c.there, err = c.From.Clone(ctx, c.To); err != nil {
			return done, fmt.Errorf("make the copy: %w", err)
		}
	}
	c.done.Store(0)
	c.total.Store(c.todo.Bytes + c.census.bytes())
	var unhealed UnhealedError
	before := c.head
	if err := c.heal(ctx, &done, &unhealed); err != nil {
		return done, err
	}
	if err := c.reports(ctx, &done, &unhealed); err != nil {
		return done, fmt.Errorf("copy reports: %w", err)
	}
	if err := c.entries(ctx, &done); err != nil {
		return done, err
	}
	if c.Verify {
		if err := c.verify(ctx, before, &done, &unhealed); err != nil {
			return done, err
		}
	}
	if err := c.tidy(ctx); err != nil {
		return done, err
	}
	c.rounds++
	return done, unhealed.orNil()
}

// entries copies those that the copy has not, each with its segments before it.
func (c *Copier) entries(ctx context.Context, done *Result) error {
	for last := c.tail.State().Sequence; c.head.Sequence < last; {
		entries, err := c.From.Entries(ctx, c.head, last)
		if err != nil {
			return err
		}
		if err := c.segments(ctx, entries, done); err != nil {
			return err
		}
		for i := range entries {
			if err := c.entry(ctx, &entries[i]); err != nil {
				return err
			}
			done.Entries++
		}
	}
	return nil
}

// entry puts an entry whose segments are there.
func (c *Copier) entry(ctx context.Context, e *manifest.Stored) error {
	if err := c.there.Extend(ctx, *e); err != nil {
		return fmt.Errorf("extend the copy: %w", err)
	}
	c.reach(e)
	c.left.note(e.Entry)
	c.seen = max(c.seen, e.Sequence)
	c.todo.sub(e, c.leavesOut)
	c.noteLag()
	return nil
}

func (c *Copier) reach(e *manifest.Stored) {
	c.head, c.reached = manifest.Head{Sequence: e.Sequence, Digest: e.Digest}, e.Time
	if c.Reached != nil {
		c.Reached(e.Sequence, e.Time)
	}
}
