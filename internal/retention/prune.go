package retention

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
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
	// WholeLog is how many entries a log may have that is read from its beginning, 0 for the
	// default. Of a longer one as much is read as snapshots do not say, and segments stay that
	// are needed only nearly: points count as one that are not more than Near entries apart, 0
	// for the default.
	WholeLog, Near uint64
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
	Unmatched []string // patterns of rules that match no topic
	Lost      []string // topics that no point has any more, NAME@N if there was another of the name
	Entry     uint64   // of the log that removes, 0 for none
	Stored    Amount   // that could be read before
	Removed   Amount
	Forced    bool // so much that it takes Force again to delete it
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
	head, err := p.Repository.State(ctx, 0)
	if err != nil {
		return nil, err
	}
	if err := refuseReplica(ctx, p.Repository, head); err != nil {
		return nil, err
	}
	plan, err := p.plan(ctx, head)
	if err != nil {
		return nil, err
	}
	due, err := p.due(ctx, head, plan, p.Now())
	if err != nil {
		return nil, err
	}
	err = p.each(plan, due, func(d deletion, needed error) error {
		if needed != nil {
			plan.Refused = append(plan.Refused, Refusal{d.key(), needed})
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
	if err == nil {
		err = p.checkRemovals(plan)
	}
	return plan.Report, err
}

func (p *Pruner) prune(ctx context.Context, log *manifest.Log) (*Report, error) {
	plan, err := p.plan(ctx, log.State())
	if err != nil {
		return nil, err
	}
	if err := p.refuse(ctx, log.State(), plan); err != nil {
		plan.count(log.State())
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
	gone  []deletion // what is removed already, or now without a grace, in the order of the log
	spent Amount     // of what retention has removed lately, see checkShare
	now   time.Time
	large []*removal // of those in the log, that must not be deleted without Force, see checkRemovals
	over  []*removal // those of them whose grace is over

	removals []*removal // in the log, but for what was replaced
}

func (p *Pruner) plan(ctx context.Context, head *manifest.State) (*plan, error) {
	now := p.Now()
	r := &Report{Decisions: p.Policy.Decide(head.Points, now), Stored: Amount{head.SegmentCount, head.SegmentBytes}, Unmatched: p.Policy.unmatched(head)}
	plan := &plan{Report: r, head: head.Sequence, now: now, lot: manifest.SegmentLot{Segments: make(manifest.SegmentSet)}}
	if len(r.Decisions) == 0 || p.Policy.LegalHold {
		return plan, nil // without a point nobody knows what the next one needs
	}
	for i := range r.Decisions {
		if d := &r.Decisions[i]; !d.Keep {
			plan.drops = append(plan.drops, manifest.PointChange{Point: d.Point.Sequence, Deleted: true})
		}
	}
	whole, err := p.survey(ctx, plan, head)
	if err != nil {
		return nil, err
	}
	r.Lost = plan.needs.lost(head)
	p.note(plan, whole)
	p.judge(plan, head)
	return plan, nil
}

// survey finds out what is to be removed, and what is removed already. It returns the
// state that knows all about removals.
func (p *Pruner) survey(ctx context.Context, plan *plan, head *manifest.State) (*manifest.State, error) {
	stretches, known := head.Stretches()
	if !known || head.Sequence <= cmp.Or(p.WholeLog, wholeLog) {
		return p.surveyWhole(ctx, plan, head)
	}
	if err := p.surveyNear(ctx, plan, head, stretches); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(plan.gone, func(d deletion) bool { return d.needed }) { // before that is said, it has to be known exactly
		plan.clear()
		return p.surveyWhole(ctx, plan, head)
	}
	return head, nil
}

// surveyWhole does so by reading the log from its beginning, twice.
func (p *Pruner) surveyWhole(ctx context.Context, plan *plan, head *manifest.State) (whole *manifest.State, err error) {
	if plan.needs, err = readNeeds(ctx, p.Repository, &p.Policy, head, plan.Decisions, plan.now, false); err != nil {
		return nil, err
	}
	return p.Repository.Read(ctx, head.Sequence, func(s *manifest.State, e *manifest.Entry) error {
		p.take(plan, head, s, e)
		return nil
	})
}

// clear forgets what was found out.
func (plan *plan) clear() {
	plan.needs, plan.gone, plan.Removed = nil, nil, Amount{}
	plan.lot = manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
}

// take notes what of an entry is to be removed, and what of it is removed already: of
// the segments behind the newest point it is not known yet who needs them.
func (p *Pruner) take(plan *plan, head, s *manifest.State, e *manifest.Entry) {
	if len(e.Segments) == 0 || e.Sequence > plan.needs.newest.Sequence && e.Moves == nil {
		return
	}
	known, needed := plan.needs.segments(s, e)
	for i := range e.Segments {
		seg := &e.Segments[i]
		removed := head.Pending().Has(e.Writer, seg.Counter)
		if !removed && known[i] && !needed[i] && e.Sequence <= plan.needs.newest.Sequence && head.Readable(e.Writer, seg.Counter) {
			plan.remove(e.Writer, seg.Counter, seg.Size)
			removed = p.Grace <= 0
		}
		if removed {
			plan.gone = append(plan.gone, deletion{e.Writer, seg.Counter, seg.Size, needed[i]})
		}
	}
}

// remove notes a segment that is to be removed.
func (plan *plan) remove(writer manifest.ID, counter uint64, size int64) {
	plan.lot.Segments.Add(writer, counter)
	plan.lot.Bytes += size
	plan.Removed.add(size)
}

// remove appends the entry that deletes points and removes segments.
func (p *Pruner) remove(ctx context.Context, log *manifest.Log, plan *plan) error {
	if len(plan.drops) == 0 && len(plan.lot.Segments) == 0 {
		return nil
	}
	e, err := log.Append(ctx, func(s *manifest.State) (e *manifest.Entry, err error) {
		if plan.isStale(s) {
			return nil, errStale
		}
		e = &manifest.Entry{Time: p.Now().UnixMilli(), Agent: &p.Agent, PointChanges: plan.drops}
		if len(plan.lot.Segments) > 0 {
			e.Removed = &plan.lot
		}
		e.Note, err = p.noteRemoval(plan)
		return e, err
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
