package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
)

// census is what a copy has, by its listings, and what it should have and has not,
// or not in the right size. It is taken once each time that both logs are read.
type census struct {
	last     uint64                  // entry that there is an object of, or 0
	segments map[manifest.ID][]sized // by counter

	descriptor  state
	lostEntries map[uint64]state
	lost        map[manifest.SegmentName]*lostSegment
}

// state is what is wrong with an object of the copy.
type state int

const (
	sound state = iota
	missing
	damaged
)

// sized is a segment's object.
type sized struct {
	counter uint64
	size    int64
}

// lostSegment is one that is to be sent again.
type lostSegment struct {
	ref  segment.Ref
	what state
}

// takeCensus lists what there is of a copy. The log comes first: what that names
// was durable before.
func takeCensus(ctx context.Context, st store.Store) (c census, err error) {
	c = census{segments: make(map[manifest.ID][]sized), lostEntries: make(map[uint64]state), lost: make(map[manifest.SegmentName]*lostSegment)}
	if c.last, err = manifest.LastListed(ctx, st); err != nil {
		return c, err
	}
	if err = st.List(ctx, manifest.SegmentPrefix, func(info store.Info) error {
		if writer, counter, ok := manifest.ParseSegmentKey(info.Key); ok {
			c.segments[writer] = append(c.segments[writer], sized{counter, info.Size})
		}
		return nil
	}); err != nil {
		return c, fmt.Errorf("list the segments: %w", err)
	}
	for _, list := range c.segments { // keys of more than 8 digits are not in their order
		slices.SortFunc(list, func(a, b sized) int { return cmp.Compare(a.counter, b.counter) })
	}
	return c, nil
}

// compareEntries compares entries with those that the copy has in their places, and
// notes which it has lost. The error is manifest.ErrDiverged if it has another one.
func (c *census) compareEntries(ctx context.Context, entries []manifest.Stored, copied store.Store) error {
	errs := make([]error, len(entries))
	var g errgroup.Group // their number is bounded
	for i := range entries {
		g.Go(func() error {
			errs[i] = entries[i].In(ctx, copied)
			return nil
		})
	}
	_ = g.Wait()
	for i, err := range errs {
		switch {
		case errors.Is(err, store.ErrNotExist):
			c.lostEntries[entries[i].Sequence] = missing
		case errors.Is(err, manifest.ErrDamaged):
			c.lostEntries[entries[i].Sequence] = damaged
		case err != nil:
			return err
		}
	}
	return nil
}

// compareSegments notes which of the segments of an entry the copy should have and
// has not. What it knows to be deleted is not missed; what is only removed is, since the
// log up to an entry before still reads it.
func (c *census) compareSegments(e *manifest.Entry, without func(manifest.SegmentName) bool) {
	for i := range e.Segments {
		s := &e.Segments[i]
		name := manifest.SegmentName{Writer: e.Writer, Counter: s.Counter}
		if without(name) {
			continue
		}
		if what := c.look(e.Writer, s.Counter, s.Size); what != sound {
			c.lost[name] = &lostSegment{s.Ref, what}
		}
	}
	if e.Deleted != nil {
		c.forget(func(n manifest.SegmentName) bool { return e.Deleted.Segments.Has(n.Writer, n.Counter) })
	}
}

func (c *census) look(writer manifest.ID, counter uint64, size int64) state {
	list := c.segments[writer]
	i, found := slices.BinarySearchFunc(list, counter, func(s sized, counter uint64) int { return cmp.Compare(s.counter, counter) })
	switch {
	case !found:
		return missing
	case list[i].size != size:
		return damaged
	}
	return sound
}

// forget takes away lost segments.
func (c *census) forget(which func(manifest.SegmentName) bool) {
	for name := range c.lost {
		if which(name) {
			delete(c.lost, name)
		}
	}
}

// count says how much is lost.
func (c *census) count() (r Result) {
	r.count(c.descriptor)
	for _, what := range c.lostEntries {
		r.count(what)
	}
	for _, l := range c.lost {
		r.count(l.what)
	}
	return r
}

// count counts an object that the copy had lost.
func (r *Result) count(what state) {
	switch what {
	case missing:
		r.Missing++
	case damaged:
		r.Damaged++
	}
}

// bytes are those of lost segments.
func (c *census) bytes() (n int64) {
	for _, l := range c.lost {
		n += l.ref.Size
	}
	return n
}

// addCounts adds another result.
func (r *Result) addCounts(o Result) {
	r.Entries += o.Entries
	r.Segments += o.Segments
	r.Bytes += o.Bytes
	r.Skipped += o.Skipped
	r.Missing += o.Missing
	r.Damaged += o.Damaged
	r.Verified += o.Verified
}
