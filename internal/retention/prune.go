package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Errors that callers match with errors.Is.
var (
	// ErrShare: more would be removed than may be at once.
	ErrShare = errors.New("too much would be removed")
	// ErrKept: the store did not delete everything that is to be deleted.
	ErrKept = errors.New("not everything could be deleted")
	// errStale: somebody else has changed what was planned for.
	errStale = errors.New("the repository has changed meanwhile")
)

// Pruner takes away what a policy does not keep.
type Pruner struct {
	Repository *manifest.Repository // its own: not that of somebody who captures
	Policy     Policy
	Grace      time.Duration // between the removal of segments and the deletion of their objects
	MaxShare   float64       // of the stored bytes that may be removed at once, 0 to 1
	Force      bool          // whatever the share is, and whatever needs what is removed
	Agent      manifest.Agent
	Now        func() time.Time
	DropPins   []string // ids of pins that do not count, and are deleted
}

// Amount is a number of segments.
type Amount struct {
	Segments int64
	Bytes    int64
}

func (a *Amount) add(bytes int64) {
	a.Segments++
	a.Bytes += bytes
}

// Refusal is an object that the store did not delete.
type Refusal struct {
	Key string
	Err error
}

// Report is what a prune has done, or would do.
type Report struct {
	Decisions []Decision
	Entry     uint64 // of the log that removes, 0 for none
	Stored    Amount // that could be read before
	Removed   Amount
	Deleted   Amount
	Waiting   Amount    // removed, now or before, and not deleted yet
	Until     time.Time // the first of those may be deleted then
	Refused   []Refusal
	Pins      []manifest.Pin // of restores that are running, or were
	Held      int            // removals whose grace is over, and which they keep from being deleted
}

// attempts bounds how often a plan is made anew because somebody else was faster.
const attempts = 5

// Prune deletes points and removes segments by one entry, and deletes the objects
// of those that were removed before the grace. It may be killed at any moment and
// done again, also by several at once. The error is ErrShare if it has refused, and
// ErrKept, with a report, if the store has refused to delete something.
func (p *Pruner) Prune(ctx context.Context) (*Report, error) {
	log, err := p.Repository.OpenLog(ctx, p.Now)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		report, err := p.prune(ctx, log)
		if errors.Is(err, errStale) && n < attempts {
			continue
		}
		return report, err
	}
}

// Plan says what Prune would do, and changes nothing.
func (p *Pruner) Plan(ctx context.Context) (*Report, error) {
	head, err := p.Repository.Read(ctx, 0, nil)
	if err != nil {
		return nil, err
	}
	plan, err := p.plan(ctx, head)
	if err != nil {
		return nil, err
	}
	due, err := p.due(ctx, head, plan)
	if err != nil {
		return nil, err
	}
	err = p.each(ctx, head, plan, due, func(d deletion, needed error) error {
		if needed != nil {
			plan.Refused = append(plan.Refused, Refusal{d.key, needed})
		} else {
			plan.Deleted.add(d.size)
		}
		return nil
	})
	plan.count(head)
	plan.Waiting.Segments += plan.Removed.Segments - plan.Deleted.Segments
	plan.Waiting.Bytes += plan.Removed.Bytes - plan.Deleted.Bytes
	if err == nil {
		err = p.checkShare(plan)
	}
	return plan.Report, err
}

func (p *Pruner) prune(ctx context.Context, log *manifest.Log) (*Report, error) {
	plan, err := p.plan(ctx, log.State())
	if err != nil {
		return nil, err
	}
	if err := p.checkShare(plan); err != nil {
		return plan.Report, err
	}
	if err := p.remove(ctx, log, plan); err != nil {
		return nil, err
	}
	err = p.deleteDue(ctx, log, plan)
	if err != nil && !errors.Is(err, ErrKept) {
		return nil, err
	}
	plan.count(log.State())
	return plan.Report, err
}

// plan is what an entry will say.
type plan struct {
	*Report
	head  uint64 // the entry up to which it knows the log
	needs *needs // nil: not known
	drops []manifest.PointChange
	lot   manifest.SegmentLot
}

func (p *Pruner) plan(ctx context.Context, head *manifest.State) (*plan, error) {
	now := p.Now()
	r := &Report{Decisions: p.Policy.Decide(head.Points, now), Stored: Amount{head.SegmentCount, head.SegmentBytes}}
	plan := &plan{Report: r, head: head.Sequence, lot: manifest.SegmentLot{Segments: make(manifest.SegmentSet)}}
	if len(r.Decisions) == 0 || p.Policy.LegalHold {
		return plan, nil // without a point nobody knows what the next one needs
	}
	for i := range r.Decisions {
		if d := &r.Decisions[i]; !d.Keep {
			plan.drops = append(plan.drops, manifest.PointChange{Point: d.Point.Sequence, Deleted: true})
		}
	}
	needs, err := readNeeds(ctx, p.Repository, &p.Policy, head, r.Decisions, now)
	if err != nil {
		return nil, err
	}
	plan.needs = needs
	_, err = p.Repository.Read(ctx, head.Sequence, func(s *manifest.State, e *manifest.Entry) error {
		needs.unneeded(head, s, e, func(seg *manifest.Segment) {
			plan.lot.Segments.Add(e.Writer, seg.Counter)
			plan.lot.Bytes += seg.Size
			r.Removed.add(seg.Size)
		})
		return nil
	})
	return plan, err
}

// checkShare refuses to remove very much, which is more often a mistake in the rules
// than meant.
func (p *Pruner) checkShare(plan *plan) error {
	if p.Force || plan.Stored.Bytes == 0 || float64(plan.Removed.Bytes) <= p.MaxShare*float64(plan.Stored.Bytes) {
		return nil
	}
	return fmt.Errorf("%w: %d of %d stored bytes, more than retention.maxRemovedShare (%g) allows: look at \"backupd prune --dry-run\", and if that is what is meant, --force",
		ErrShare, plan.Removed.Bytes, plan.Stored.Bytes, p.MaxShare)
}

// remove appends the entry that deletes points and removes segments.
func (p *Pruner) remove(ctx context.Context, log *manifest.Log, plan *plan) error {
	if len(plan.drops) == 0 && len(plan.lot.Segments) == 0 {
		return nil
	}
	e, err := log.Append(ctx, func(s *manifest.State) (*manifest.Entry, error) {
		if plan.isStale(s) {
			return nil, errStale
		}
		e := &manifest.Entry{Time: p.Now().UnixMilli(), Agent: &p.Agent, PointChanges: plan.drops}
		if len(plan.lot.Segments) > 0 {
			e.Removed = &plan.lot
		}
		return e, nil
	})
	if err != nil {
		return err
	}
	plan.Entry = e.Sequence
	return nil
}

// isStale says whether the plan does not hold for a later state any more: a point
// is protected or gone, or segments are removed already. New points need nothing
// that the newest one did not, and what came since.
func (plan *plan) isStale(s *manifest.State) bool {
	points := make(map[uint64]manifest.PointRef, len(s.Points))
	for _, point := range s.Points {
		points[point.Sequence] = point
	}
	for i := range plan.Decisions {
		d := &plan.Decisions[i]
		point, there := points[d.Point.Sequence]
		if !there || !d.Keep && point.Protected() || point.Protected() != d.Point.Protected() {
			return true
		}
	}
	return !s.Segments.Contains(plan.lot.Segments) || s.Pending().Meets(plan.lot.Segments)
}

// count says what waits after the entries of the state.
func (plan *plan) count(s *manifest.State) {
	plan.Waiting = Amount{s.Pending().Count(), s.RemovedBytes}
}

// due returns the removed segments whose grace is over, by the clock of who removed
// them and by that of the store, but for those that a restore may still be reading.
// Pins are listed after the removals are durable: whoever puts one later, reads of them in the log.
// What somebody else has removed since the plan was made is not due yet.
func (p *Pruner) due(ctx context.Context, s *manifest.State, plan *plan) (manifest.SegmentSet, error) {
	due, r := make(manifest.SegmentSet), plan.Report
	if p.Policy.LegalHold || plan.needs == nil {
		return due, nil
	}
	now := p.Now()
	if err := p.readPins(ctx, r); err != nil {
		return nil, err
	}
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

// each calls fn for each segment of a set, as the log up to the state names them, but
// for those behind the newest point, of which it is not known yet who needs them.
func (p *Pruner) each(ctx context.Context, head *manifest.State, plan *plan, set manifest.SegmentSet, fn func(d deletion, needed error) error) error {
	if len(set) == 0 {
		return nil
	}
	_, err := p.Repository.Read(ctx, head.Sequence, func(state *manifest.State, e *manifest.Entry) error {
		if e.Sequence > plan.needs.newest.Sequence && e.Moves == nil {
			return nil
		}
		var needed []bool
		for i := range e.Segments {
			s := &e.Segments[i]
			if !set.Has(e.Writer, s.Counter) {
				continue
			}
			if needed == nil {
				_, needed = plan.needs.segments(state, e)
			}
			var why error
			if needed[i] && !p.Force {
				why = errNeeded
			}
			if err := fn(deletion{manifest.SegmentKey(e.Writer, s.Counter), e.Writer, s.Counter, s.Size}, why); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// deleteDue deletes the objects whose grace is over and says so in the log.
func (p *Pruner) deleteDue(ctx context.Context, log *manifest.Log, plan *plan) error {
	due, err := p.due(ctx, log.State(), plan)
	if err == nil {
		err = p.dropPins(ctx, plan.Report)
	}
	if err != nil || len(due) == 0 {
		return err
	}
	d := &deleter{store: p.Repository.Store(), done: make(manifest.SegmentSet)}
	if err := p.each(ctx, log.State(), plan, due, func(one deletion, needed error) error {
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
			return &manifest.Entry{Time: p.Now().UnixMilli(), Agent: &p.Agent, Deleted: &manifest.SegmentLot{Segments: d.done, Bytes: d.amount.Bytes}}, nil
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
	key     string
	writer  manifest.ID
	counter uint64
	size    int64
}

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
		keys[i] = batch[i].key
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
		err := d.store.Delete(ctx, batch[i].key)
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
	if d.refused = append(d.refused, Refusal{one.key, why}); len(d.refused) > mostRefused {
		return fmt.Errorf("delete %s, and %d others before: %w", one.key, mostRefused, why)
	}
	return nil
}

func (d *deleter) note(one *deletion) {
	d.done.Add(one.writer, one.counter)
	d.amount.add(one.size)
}
