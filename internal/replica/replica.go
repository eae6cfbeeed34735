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

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
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

	Parallel int // segments at once; 0 means a default
	// Progress, if set, is called with the bytes of segments copied, or skipped as
	// they are there, and how many there are to copy. Concurrently.
	Progress func(done, total int64)

	tail  *manifest.Tail
	there *manifest.Repository
	head  manifest.Head // of the copy
	seen  uint64        // entries of the copy that are there
	// reached is the time of the copy's last entry, or before that of the first one.
	reached int64
	rounds  int // of Copy that came to their end
	// reported are the reports that are in the copy.
	reported map[string]bool
	todo     Result // what is missing in the copy

	done, total atomic.Int64 // bytes
}

// Result counts what was copied, or is to be copied.
type Result struct {
	Entries  int64
	Segments int64
	Bytes    int64 // of segments
	// Skipped segments are named by the entries, but later ones have removed them.
	Skipped int64
}

// Head returns up to where the copy is the same as the repository, after Survey or Copy.
func (c *Copier) Head() manifest.Head { return c.head }

// Source returns the head of the repository, after Survey or Copy.
func (c *Copier) Source() manifest.Head { return c.tail.State().HeadNow() }

// Survey reads the log of both sides, and says what is missing in the copy. It
// writes nothing. The error is manifest.ErrDiverged if what is in the place of the
// copy is not one: it names the first entry that differs.
func (c *Copier) Survey(ctx context.Context) (Result, error) {
	if c.tail == nil {
		c.tail = c.From.Tail()
		c.head = c.tail.State().HeadNow()
	}
	if c.there == nil {
		if err := c.open(ctx); err != nil {
			return Result{}, err
		}
	}
	if err := c.compare(ctx); err != nil {
		c.forget()
		return Result{}, err
	}
	return c.todo, nil
}

// forget lets the next call read both logs from their beginnings.
func (c *Copier) forget() { c.tail, c.there, c.seen, c.todo, c.reached = nil, nil, 0, Result{}, 0 }

// open looks for what there is of a copy.
func (c *Copier) open(ctx context.Context) error {
	there, err := manifest.Open(ctx, c.To)
	if errors.Is(err, manifest.ErrNoRepository) {
		return nil
	}
	if err == nil {
		there, err = c.From.Clone(ctx, c.To)
	}
	if err != nil {
		return fmt.Errorf("open the copy: %w", err)
	}
	if c.seen, err = there.Last(ctx); err != nil {
		return fmt.Errorf("open the copy: %w", err)
	}
	c.there = there
	return nil
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
		if err := c.there.Same(ctx, both); err != nil {
			return fmt.Errorf("compare with the copy: %w", err)
		}
		if n := len(both); n > 0 {
			c.reach(&both[n-1])
		}
		for i := range entries[len(both):] {
			c.todo.add(&entries[len(both)+i])
		}
	}
	if last := c.tail.State().Sequence; c.seen > last {
		return fmt.Errorf("compare with the copy: %w: it has an entry %d, the repository ends with %d", manifest.ErrDiverged, last+1, last)
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

func (r *Result) add(e *manifest.Stored) {
	r.Entries++
	r.Segments += int64(len(e.Segments))
	for i := range e.Segments {
		r.Bytes += e.Segments[i].Size
	}
}

func (r *Result) sub(e *manifest.Stored) {
	r.Entries--
	r.Segments -= int64(len(e.Segments))
	for i := range e.Segments {
		r.Bytes -= e.Segments[i].Size
	}
}

// Copy copies what is missing, up to the end that the log has when it begins, and
// says what that was. After an error it may be called again.
func (c *Copier) Copy(ctx context.Context) (Result, error) {
	todo, err := c.Survey(ctx)
	if err != nil {
		return Result{}, err
	}
	if c.there == nil {
		if c.there, err = c.From.Clone(ctx, c.To); err != nil {
			return Result{}, fmt.Errorf("make the copy: %w", err)
		}
	}
	if err := c.reports(ctx); err != nil {
		return Result{}, fmt.Errorf("copy reports: %w", err)
	}
	c.total.Store(todo.Bytes)
	c.done.Store(0)
	var done Result
	for last := c.tail.State().Sequence; c.head.Sequence < last; {
		entries, err := c.From.Entries(ctx, c.head, last)
		if err != nil {
			return done, err
		}
		if err := c.segments(ctx, entries, &done); err != nil {
			return done, err
		}
		for i := range entries {
			if err := c.entry(ctx, &entries[i]); err != nil {
				return done, err
			}
			done.Entries++
		}
	}
	c.rounds++
	return done, nil
}

// segments copies those that entries name. If one is not there any more, the log
// has meanwhile been told that it was removed, or else is damaged.
func (c *Copier) segments(ctx context.Context, entries []manifest.Stored, done *Result) error {
	copied, err := c.trySegments(ctx, entries)
	if errors.Is(err, store.ErrNotExist) && ctx.Err() == nil {
		before := c.tail.State().Sequence
		if err := c.compare(ctx); err != nil {
			c.forget()
			return err
		}
		if c.tail.State().Sequence > before {
			copied, err = c.trySegments(ctx, entries)
		}
	}
	var vanished *vanishedError
	if errors.As(err, &vanished) {
		return &manifest.Damage{Key: vanished.key, Err: errors.New("missing")}
	}
	done.Segments += copied.Segments
	done.Bytes += copied.Bytes
	done.Skipped += copied.Skipped
	return err
}

func (c *Copier) trySegments(ctx context.Context, entries []manifest.Stored) (done Result, err error) {
	parallel := c.Parallel
	if parallel == 0 {
		parallel = defaultParallel
	}
	state := c.tail.State()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range entries {
		for j := range entries[i].Segments {
			writer, s := entries[i].Writer, &entries[i].Segments[j]
			if !state.Readable(writer, s.Counter) {
				done.Skipped++
				continue
			}
			done.Segments++
			done.Bytes += s.Size
			g.Go(func() error {
				key := manifest.SegmentKey(writer, s.Counter)
				err := c.segment(ctx, key, s.Ref)
				if isUnreadable(err) && state.Quarantined(writer, s.Counter) {
					c.Log.Debug("a segment is not copied, since it is damaged, as the log says", "object", key, "error", err)
					err = nil
				}
				if err == nil {
					c.advance(s.Size)
				}
				return err
			})
		}
	}
	return done, g.Wait()
}

// isUnreadable says whether a segment is damaged or missing where it is copied from.
func isUnreadable(err error) bool {
	var vanished *vanishedError
	return errors.Is(err, manifest.ErrDamaged) || errors.As(err, &vanished)
}

func (c *Copier) advance(bytes int64) {
	if done := c.done.Add(bytes); c.Progress != nil {
		c.Progress(done, c.total.Load())
	}
}

// deleteAtOnce is how many objects are deleted by one request.
const deleteAtOnce = 1000

// deleteSegments deletes those that an entry which is in the copy already has
// removed. Who may not delete leaves them: nobody reads them.
func (c *Copier) deleteSegments(ctx context.Context, set manifest.SegmentSet) error {
	var keys []string
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := c.To.Delete(ctx, keys...)
		if errors.Is(err, store.ErrAuth) {
			c.Log.Info("what the repository has deleted stays in the copy, since it may not be deleted there", "objects", len(keys), "error", err)
			err = nil
		}
		keys = keys[:0]
		return err
	}
	for writer := range set.Writers() {
		for _, run := range set[writer] {
			for counter := run.First; ; counter++ {
				if keys = append(keys, manifest.SegmentKey(writer, counter)); len(keys) == deleteAtOnce {
					if err := flush(); err != nil {
						return err
					}
				}
				if counter == run.Last {
					break
				}
			}
		}
	}
	return flush()
}

// entry puts an entry whose segments are there.
func (c *Copier) entry(ctx context.Context, e *manifest.Stored) error {
	if e.Deleted != nil {
		if err := c.deleteSegments(ctx, e.Deleted.Segments); err != nil {
			return fmt.Errorf("delete from the copy what the repository has deleted: %w", err)
		}
	}
	if err := c.there.Extend(ctx, *e); err != nil {
		return fmt.Errorf("extend the copy: %w", err)
	}
	c.reach(e)
	c.seen = max(c.seen, e.Sequence)
	c.todo.sub(e)
	return nil
}

func (c *Copier) reach(e *manifest.Stored) {
	c.head, c.reached = manifest.Head{Sequence: e.Sequence, Digest: e.Digest}, e.Time
}
