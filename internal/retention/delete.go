package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// due returns the removed segments whose grace is over, by the clock of who removed
// them and by that of the store, but for those that a restore may still be reading.
// Pins are listed after the removals are durable: whoever puts one later, reads of them in the log.
// What somebody else has removed since the plan was made is not due yet, nor is what
// must not be deleted because it was too much.
func (p *Pruner) due(ctx context.Context, s *manifest.State, plan *plan, now time.Time) (manifest.SegmentSet, error) {
	due, r := make(manifest.SegmentSet), plan.Report
	if p.Policy.LegalHold || plan.needs == nil {
		return due, nil
	}
	if err := p.readPins(ctx, r); err != nil {
		return nil, err
	}
	plan.over = nil
	for i := range s.Removals {
		m := &s.Removals[i]
		if m.Sequence > plan.head && m.Sequence != plan.Entry {
			continue
		}
		at := time.UnixMilli(m.Time)
		info, err := p.Repository.Store().Stat(ctx, manifest.LogKey(m.Sequence))
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", manifest.LogKey(m.Sequence), err)
		}
		if info.Modified.After(at) {
			at = info.Modified
		}
		until := at.Add(p.Grace)
		switch {
		case !until.After(now) && r.holds(m.Sequence, now):
			r.Held++
		case !until.After(now):
			if large, ok := plan.largeBy(m.Sequence); ok {
				plan.over = append(plan.over, large)
				continue
			}
			due.AddAll(m.Segments)
		case r.Until.IsZero() || until.Before(r.Until):
			r.Until = until
		}
	}
	return due, nil
}

// errNeeded: any writer may have an entry say that nobody reads a segment any more,
// by mistake or not. The object is all that is left then, and stays.
var errNeeded = errors.New("a recovery point that is kept needs it, although the log says that nobody reads it any more: the entry that says so is wrong, or the rules were others then")

// each calls fn for each segment of a set that the plan knows, in the order of the log.
func (p *Pruner) each(plan *plan, set manifest.SegmentSet, fn func(d deletion, needed error) error) error {
	for _, d := range plan.gone {
		if !set.Has(d.writer, d.counter) {
			continue
		}
		var why error
		if d.needed && !p.Force {
			why = errNeeded
		}
		if err := fn(d, why); err != nil {
			return err
		}
	}
	return nil
}

// deleteDue deletes the objects whose grace is over and says so in the log.
func (p *Pruner) deleteDue(ctx context.Context, log *manifest.Log, plan *plan) error {
	now := p.Now()
	if !p.Policy.LegalHold && plan.needs != nil { // else nothing is deleted
		var err error
		if now, err = manifest.EarlierNow(ctx, p.Repository.Store(), now); err != nil {
			return err
		}
	}
	due, err := p.due(ctx, log.State(), plan, now)
	if err == nil {
		err = p.dropPins(ctx, plan.Report, now)
	}
	if err != nil || len(due) == 0 {
		return err
	}
	d := &deleter{store: p.Repository.Store(), done: make(manifest.SegmentSet)}
	if err := p.each(plan, due, func(one deletion, needed error) error {
		if needed != nil {
			return d.refuse(&one, needed)
		}
		return d.add(ctx, one)
	}); err != nil {
		return err
	}
	if err := d.flush(ctx); err != nil {
		return err
	}
	plan.Refused = d.refused
	if len(d.done) > 0 {
		_, err = log.Append(ctx, func(s *manifest.State) (*manifest.Entry, error) {
			if !s.Pending().Contains(d.done) {
				return nil, errStale // another prune has deleted the same
			}
			bytes := min(d.amount.Bytes, s.RemovedBytes) // who removed may have said less than it was
			note, err := p.noteDeletion(d)
			return &manifest.Entry{Time: p.Now().UnixMilli(), Agent: &p.Agent, Deleted: &manifest.SegmentLot{Segments: d.done, Bytes: bytes}, Note: note}, err
		})
		if err != nil {
			return err
		}
	}
	plan.Deleted = d.amount
	if len(d.refused) > 0 {
		return fmt.Errorf("%w: %d objects, which the next prune tries again, the first of them %s: %w", ErrKept, len(d.refused), d.refused[0].Key, d.refused[0].Err)
	}
	return nil
}

// Bounds of what is deleted at once, and of how much of it the store may refuse
// before no more is tried.
const (
	deleteBatch = 1000
	mostRefused = 100
)

// deletion is an object to delete.
type deletion struct {
	writer  manifest.ID
	counter uint64
	size    int64
	needed  bool // by a point that is kept
}

func (d *deletion) key() string { return manifest.SegmentKey(d.writer, d.counter) }

// deleter deletes objects, many at once, and keeps account of it.
type deleter struct {
	store   store.Store
	batch   []deletion
	done    manifest.SegmentSet
	amount  Amount
	refused []Refusal
}

func (d *deleter) add(ctx context.Context, one deletion) error {
	if d.batch = append(d.batch, one); len(d.batch) < deleteBatch {
		return nil
	}
	return d.flush(ctx)
}

// flush deletes the batch; if that fails, each object for itself, since one that is
// locked must not keep the others.
func (d *deleter) flush(ctx context.Context) error {
	batch := d.batch
	d.batch = nil
	keys := make([]string, len(batch))
	for i := range batch {
		keys[i] = batch[i].key()
	}
	if len(keys) == 0 {
		return nil
	}
	if err := d.store.Delete(ctx, keys...); err == nil {
		for i := range batch {
			d.note(&batch[i])
		}
		return nil
	}
	for i := range batch {
		err := d.store.Delete(ctx, batch[i].key())
		switch {
		case err == nil:
			d.note(&batch[i])
		case ctx.Err() != nil:
			return err
		default:
			if err := d.refuse(&batch[i], err); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuse notes what is not deleted. With too much of that, the error ends it all.
func (d *deleter) refuse(one *deletion, why error) error {
	if d.refused = append(d.refused, Refusal{one.key(), why}); len(d.refused) > mostRefused {
		return fmt.Errorf("delete %s, and %d others before: %w", one.key(), mostRefused, why)
	}
	return nil
}

func (d *deleter) note(one *deletion) {
	d.done.Add(one.writer, one.counter)
	d.amount.add(one.size)
}
