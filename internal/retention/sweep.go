package retention

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Sweeper deletes segments that no log entry names, or ever named. Their writers are fenced first:
// one that was only paused may still mean to commit them.
type Sweeper struct {
	Repository *manifest.Repository
	// OlderThan spares writers that have put a segment within this time: one that is
	// at work has some that it has not committed yet. So is the writer of the last
	// entry that captured something, unless All is set. It is a courtesy: without it
	// they would have to begin anew, but nothing would be lost.
	OlderThan time.Duration
	All       bool
	Agent     manifest.Agent
	Now       func() time.Time
}

// Sweep is what a sweep has found.
type Sweep struct {
	Orphans []store.Info // that are deleted, or would be
	Spared  []store.Info // whose writers may be at work
	Kept    []store.Info // which the log says are deleted: no orphans
	Fenced  []manifest.ID
}

// Sweep finds orphans and, unless dry is set, deletes them.
func (w *Sweeper) Sweep(ctx context.Context, dry bool) (*Sweep, error) {
	if dry {
		return w.plan(ctx)
	}
	log, err := w.Repository.OpenLog(ctx, w.Now)
	if err != nil {
		return nil, err
	}
	found, err := w.find(ctx, log.State())
	if err != nil {
		return nil, err
	}
	r := &Sweep{}
	_, err = log.Append(ctx, func(s *manifest.State) (*manifest.Entry, error) {
		w.report(r, s, found) // what was committed meanwhile is no orphan
		if len(r.Orphans) == 0 {
			return nil, nil
		}
		note, err := r.note()
		return &manifest.Entry{Time: w.Now().UnixMilli(), Agent: &w.Agent, Fences: r.Fenced, Note: note}, err
	})
	if err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(r.Orphans, deleteBatch) {
		keys := make([]string, len(batch))
		for i := range batch {
			keys[i] = batch[i].Key
		}
		if err := w.Repository.Store().Delete(ctx, keys...); err != nil {
			return nil, fmt.Errorf("delete orphans, such as %s: %w", keys[0], err)
		}
	}
	return r, nil
}

// plan says what would be done, which takes no key to sign with.
func (w *Sweeper) plan(ctx context.Context) (*Sweep, error) {
	state, err := w.Repository.State(ctx, 0)
	if err != nil {
		return nil, err
	}
	if err := refuseReplica(ctx, w.Repository, state); err != nil {
		return nil, err
	}
	found, err := w.find(ctx, state)
	if err != nil {
		return nil, err
	}
	r := &Sweep{}
	w.report(r, state, found)
	return r, nil
}

// refuseReplica lets who only looks be refused as who writes is.
func refuseReplica(ctx context.Context, repo *manifest.Repository, state *manifest.State) error {
	replica, err := repo.IsReplica(ctx, state)
	if err == nil && replica {
		err = manifest.ErrReplica
	}
	return err
}

// find lists the segments that a state does not name, by writer.
func (w *Sweeper) find(ctx context.Context, s *manifest.State) (map[manifest.ID][]orphan, error) {
	found := make(map[manifest.ID][]orphan)
	err := w.Repository.Store().List(ctx, manifest.SegmentPrefix, func(info store.Info) error {
		writer, counter, ok := manifest.ParseSegmentKey(info.Key)
		if ok && !s.Segments.Has(writer, counter) {
			found[writer] = append(found[writer], orphan{Info: info, counter: counter})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the segments: %w", err)
	}
	return found, w.markNamed(ctx, s, found)
}

// markNamed notes which of them an entry has named once and a later one says is deleted.
// Only the whole log tells, since a state forgets it; and what it says is not believed,
// since whoever may append can have it say that of everything.
func (w *Sweeper) markNamed(ctx context.Context, s *manifest.State, found map[manifest.ID][]orphan) error {
	if len(found) == 0 {
		return nil
	}
	byName := make(map[manifest.SegmentName]*orphan)
	for writer, list := range found {
		for i := range list {
			byName[manifest.SegmentName{Writer: writer, Counter: list[i].counter}] = &list[i]
		}
	}
	_, err := w.Repository.Read(ctx, s.Sequence, func(_ *manifest.State, e *manifest.Entry) error {
		for i := range e.Segments {
			if o := byName[manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[i].Counter}]; o != nil {
				o.named = true
			}
		}
		return nil
	})
	return err
}

// orphan is a segment that was not named when it was listed.
type orphan struct {
	store.Info
	counter uint64
	named   bool // before
}

// report says what is to be done at a state.
func (w *Sweeper) report(r *Sweep, s *manifest.State, found map[manifest.ID][]orphan) {
	*r = Sweep{}
	young := w.Now().Add(-w.OlderThan)
	for _, writer := range slices.SortedFunc(maps.Keys(found), func(a, b manifest.ID) int { return bytes.Compare(a[:], b[:]) }) {
		_, fenced := s.Fenced[writer]
		spared := !fenced && writer == s.Capturer && !w.All
		var list []store.Info
		for _, o := range found[writer] {
			if s.Segments.Has(writer, o.counter) {
				continue
			}
			if o.named {
				r.Kept = append(r.Kept, o.Info)
				continue
			}
			list = append(list, o.Info)
			spared = spared || !fenced && o.Modified.After(young)
		}
		switch {
		case spared:
			r.Spared = append(r.Spared, list...)
		case len(list) > 0:
			r.Orphans = append(r.Orphans, list...)
			if !fenced {
				r.Fenced = append(r.Fenced, writer)
			}
		}
	}
}
