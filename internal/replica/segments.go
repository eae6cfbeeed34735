package replica

import (
	"context"
	"errors"
	"sync"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
)

// segments copies those that entries name. If one is not there any more, the log
// has meanwhile been told that it was removed, or else is damaged.
func (c *Copier) segments(ctx context.Context, entries []manifest.Stored, done *Result) error {
	copied, err := c.trySegments(ctx, entries)
	if errors.Is(err, store.ErrNotExist) && ctx.Err() == nil {
		before := c.tail.State().Sequence
		if err := c.compare(ctx); err != nil {
			c.Forget()
			return err
		}
		if c.tail.State().Sequence > before {
			copied, err = c.trySegments(ctx, entries)
		}
	}
	done.addCounts(copied)
	return asDamage(err)
}

// asDamage says of what has vanished without a word that it is missing.
func asDamage(err error) error {
	var vanished *vanishedError
	if errors.As(err, &vanished) {
		return &manifest.Damage{Key: vanished.key, Err: errors.New("missing")}
	}
	return err
}

// trySegments copies all that there is. What is removed by a later entry the copy needs
// until it has that one; but the object may be deleted by then.
func (c *Copier) trySegments(ctx context.Context, entries []manifest.Stored) (done Result, err error) {
	var mu sync.Mutex // of done
	state := c.tail.State()
	g, ctx := c.group(ctx)
	for i := range entries {
		for j := range entries[i].Segments {
			s := &entries[i].Segments[j]
			name := manifest.SegmentName{Writer: entries[i].Writer, Counter: s.Counter}
			if c.leavesOut(name) {
				continue
			}
			if !state.Segments.Has(name.Writer, name.Counter) {
				mu.Lock()
				done.Skipped++
				mu.Unlock()
				continue
			}
			spared := isSpared(state, name)
			g.Go(func() error {
				had, err := c.segment(ctx, name.Key(), s.Ref)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					done.Segments++
					done.Bytes += s.Size
					if had == damaged { // it was nobody's yet, but is replaced all the same
						done.Damaged++
					}
				case spared && isUnreadable(err):
					c.Log.Debug("a segment is not copied, since nobody reads it any more", "object", name.Key(), "error", err)
					done.Skipped++
				default:
					return err
				}
				c.advance(s.Size)
				return nil
			})
		}
	}
	return done, g.Wait()
}

// group returns one for work on segments.
func (c *Copier) group(ctx context.Context) (*errgroup.Group, context.Context) {
	parallel := c.Parallel
	if parallel == 0 {
		parallel = defaultParallel
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	return g, ctx
}

// isSpared says whether nobody who has the whole log reads a segment, so that it may
// be missing, or damaged.
func isSpared(state *manifest.State, n manifest.SegmentName) bool {
	return !state.Readable(n.Writer, n.Counter) || state.Quarantined(n.Writer, n.Counter)
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
