package retention

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// lately is for how long what was removed still counts once its grace is over: a job that
// runs as often as the grace is long finds its last removal just over it.
const lately = time.Hour

// checkShare refuses to remove very much, at once or together with what was removed
// lately, which is more often a mistake in the rules than meant.
func (p *Pruner) checkShare(plan *plan) error {
	removed, stored := plan.Removed.Bytes+plan.spent.Bytes, plan.Stored.Bytes+plan.spent.Bytes
	if plan.Removed.Bytes == 0 || float64(removed) <= p.MaxShare*float64(stored) {
		return nil
	}
	if p.Force {
		plan.Forced = p.Grace > 0
		return nil
	}
	before := ""
	if plan.spent.Bytes > 0 {
		before = fmt.Sprintf(" (%d of them by prunes within the last retention.grace)", plan.spent.Bytes)
	}
	return fmt.Errorf("%w: %d of %d stored bytes%s, more than retention.maxRemovedShare (%g) allows: \"backupd prune --dry-run\" tells what that is, and --force goes on, if it is meant",
		ErrShare, removed, stored, before, p.MaxShare)
}

// removal is an entry of the log that removed segments which are not deleted yet.
type removal struct {
	entry  uint64
	time   time.Time // by the clock of who removed
	newest int64     // ms since 1970: the latest time of the log until then
	agent  *manifest.Agent
	bytes  int64 // removed, as it says, or more if what is left is more
	stored int64 // that could be read before
	before int64 // of the bytes that others had removed within the grace
}

// note takes in what entries have removed, but for what was replaced elsewhere: of what no
// rule keeps, and whose grace is not over, or just so, the share counts. So rules that are wrong
// take away a bearable share each day.
func (p *Pruner) note(plan *plan, s *manifest.State) {
	for i := range s.Removals {
		m := &s.Removals[i]
		if m.Replaced {
			continue
		}
		plan.removals = append(plan.removals, &removal{
			entry: m.Sequence, time: time.UnixMilli(m.Time), newest: m.Newest, agent: m.Agent, bytes: m.Bytes, stored: m.Stored,
		})
		if plan.now.Sub(time.UnixMilli(m.Time)) <= p.Grace+lately {
			plan.spent.Segments += m.Count
			plan.spent.Bytes += m.Bytes
		}
	}
}

// judge finds the entries that removed more than a prune may without Force: whoever may
// append to the log can have it say anything, and this is the last chance to notice. It
// reckons as checkShare did, so that what has passed it passes again; but the time is
// that of the log, which goes only forward, and what was removed lately ends with the grace.
func (p *Pruner) judge(plan *plan, head *manifest.State) {
	if p.Force {
		return
	}
	segments := make(map[uint64]manifest.SegmentSet, len(head.Removals))
	for i := range head.Removals {
		segments[head.Removals[i].Sequence] = head.Removals[i].Segments
	}
	for i, m := range plan.removals {
		var left, deletable int64
		for _, d := range plan.gone {
			if !segments[m.entry].Has(d.writer, d.counter) {
				continue
			}
			if left += d.size; !d.needed {
				deletable += d.size
			}
		}
		m.bytes = max(m.bytes, left)
		for _, o := range plan.removals[:i] {
			if m.newest-o.newest <= p.Grace.Milliseconds() {
				m.before += o.bytes
			}
		}
		if deletable > 0 && float64(m.bytes+m.before) > p.MaxShare*float64(m.stored+m.before) {
			plan.large = append(plan.large, m)
		}
	}
}

// largeBy returns the removal by an entry if it is one that removed too much.
func (plan *plan) largeBy(entry uint64) (*removal, bool) {
	i := slices.IndexFunc(plan.large, func(m *removal) bool { return m.entry == entry })
	if i < 0 {
		return nil, false
	}
	return plan.large[i], true
}

// checkRemovals refuses to delete what entries removed that removed very much.
func (p *Pruner) checkRemovals(plan *plan) error {
	if len(plan.over) == 0 {
		return nil
	}
	list := make([]string, len(plan.over))
	for i, m := range plan.over {
		list[i] = m.String()
	}
	return fmt.Errorf("%w: retention.grace is over of what was removed by %s, more than retention.maxRemovedShare (%g) allows: look at what there was before with \"restored verify --log-until %d\", and if it was meant, delete it with --force",
		ErrShare, strings.Join(list, ", and by "), p.MaxShare, plan.over[0].entry-1)
}

func (m *removal) String() string {
	who, before := "somebody who does not say who", ""
	if a := m.agent; a != nil {
		who = fmt.Sprintf("%q on host %q as %q", a.Program, a.Host, a.Principal)
	}
	if m.before > 0 {
		before = fmt.Sprintf(", after %d by others within the grace", m.before)
	}
	return fmt.Sprintf("log entry %d of %s, by %s (%d of %d stored bytes%s)", m.entry, m.time.UTC().Format(time.RFC3339), who, m.bytes, m.stored, before)
}

// refuse refuses all that a prune would do if too much would be removed, or deleted.
func (p *Pruner) refuse(ctx context.Context, head *manifest.State, plan *plan) error {
	err := p.checkShare(plan)
	if err == nil && len(plan.large) > 0 {
		now, cerr := manifest.EarlierNow(ctx, p.Repository.Store(), p.Now())
		if cerr != nil {
			return cerr
		}
		if _, err = p.due(ctx, head, plan, now); err == nil {
			err = p.checkRemovals(plan)
		}
	}
	return err
}
