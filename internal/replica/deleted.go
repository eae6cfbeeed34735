package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// deleteAtOnce is how many objects are deleted by one request.
const deleteAtOnce = 1000

// leftovers are what the log says is deleted and the copy still has. They follow from
// the log and the listing of the copy alone.
type leftovers struct {
	listed  manifest.SegmentSet // all that the copy has
	removed []manifest.Removal  // and what of the log's segments is not deleted yet
	deleted []manifest.Removal
	tidied  bool
}

// leftovers returns those of a copy with a listing, before any entry.
func (c *census) leftovers() leftovers {
	l := leftovers{listed: make(manifest.SegmentSet)}
	for writer, list := range c.segments {
		for i := range list {
			l.listed.Add(writer, list[i].counter)
		}
	}
	return l
}

// note takes in the next entry that the copy has.
func (l *leftovers) note(e *manifest.Entry) {
	if e.Deleted != nil {
		for i := range l.removed {
			r := &l.removed[i]
			set := r.Segments.Common(e.Deleted.Segments)
			r.Segments.RemoveAll(set)
			if set = set.Common(l.listed); len(set) > 0 {
				l.deleted = append(l.deleted, manifest.Removal{Sequence: r.Sequence, Segments: set})
			}
		}
		l.removed = slices.DeleteFunc(l.removed, func(r manifest.Removal) bool { return len(r.Segments) == 0 })
	}
	if e.Removed != nil {
		l.removed = append(l.removed, manifest.Removal{Sequence: e.Sequence, Segments: e.Removed.Segments.Clone()})
	}
}

// tidy deletes from the copy what is deleted in the repository. Its log alone is not
// believed: whoever may write there could say it of everything. What stays, the next
// listing of the copy finds again. It keeps nobody from copying: but for the end of ctx,
// what goes wrong is only logged.
func (c *Copier) tidy(ctx context.Context) error {
	if c.left.tidied {
		return nil
	}
	c.left.tidied = true
	keys, err := c.due(ctx)
	if err == nil && len(keys) > 0 {
		keys, err = c.gone(ctx, keys)
	}
	for batch := range slices.Chunk(keys, deleteAtOnce) {
		if err == nil {
			err = c.To.Delete(ctx, batch...)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrAuth):
		c.Log.Info("what the repository has deleted stays in the copy, since it may not be deleted there", "objects", len(keys), "error", err)
	case err != nil:
		c.Log.Warn("what the repository has deleted stays in the copy for now", "error", err)
	case len(keys) > 0:
		c.Log.Info("deleted from the copy what the repository has deleted", "objects", len(keys))
	}
	return nil
}

// due returns the objects that may be deleted, if they are gone in the repository. Pins
// are read when the copy has the removals: who puts one later reads of them in its log.
func (c *Copier) due(ctx context.Context) (keys []string, err error) {
	if len(c.left.deleted) == 0 {
		return nil, nil
	}
	now, err := manifest.EarlierNow(ctx, c.To, time.Now())
	if err != nil {
		return nil, err
	}
	pins, err := c.there.Pins(ctx)
	if err != nil {
		return nil, err
	}
	for i := range c.left.deleted {
		r := &c.left.deleted[i]
		info, err := c.To.Stat(ctx, manifest.LogKey(r.Sequence))
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", manifest.LogKey(r.Sequence), err)
		}
		if info.Modified.IsZero() || info.Modified.Add(c.Grace).After(now) ||
			slices.ContainsFunc(pins, func(p manifest.Pin) bool { return p.Holds(r.Sequence, now) }) {
			continue
		}
		keys = c.appendDeleted(keys, r.Segments)
	}
	return keys, nil
}

// appendDeleted adds the keys of segments, but for those that a later entry names anew.
func (c *Copier) appendDeleted(keys []string, set manifest.SegmentSet) []string {
	state := c.tail.State()
	for writer := range set.Writers() {
		for _, run := range set[writer] {
			for counter := run.First; ; counter++ {
				if !state.Segments.Has(writer, counter) {
					keys = append(keys, manifest.SegmentKey(writer, counter))
				}
				if counter == run.Last {
					break
				}
			}
		}
	}
	return keys
}

// gone returns those of the objects that the repository has not any more.
func (c *Copier) gone(ctx context.Context, keys []string) (gone []string, err error) {
	var mu sync.Mutex // of gone
	g, inner := c.group(ctx)
	for _, key := range keys {
		g.Go(func() error {
			_, err := c.From.Store().Stat(inner, key)
			if !errors.Is(err, store.ErrNotExist) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, key)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look whether it is gone in the repository: %w", err)
	}
	if n := len(keys) - len(gone); n > 0 {
		c.Log.Warn("the log says that segments are deleted which the repository still has: they stay in the copy", "segments", n)
	}
	slices.Sort(gone)
	return gone, nil
}
