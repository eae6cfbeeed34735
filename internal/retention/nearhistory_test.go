package retention

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// TestNearRemovesNothingNeeded: whatever has happened to a repository, a prune that learns from
// snapshots neither removes nor deletes what one needs that reads all of the log, and judges
// removals as that one does.
func TestNearRemovesNothingNeeded(t *testing.T) {
	removed, gone, needed := int64(0), 0, 0
	for _, seed := range []uint64{7, 17, 28, 38} {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			h := newHistory(t, seed)
			for i := range 250 {
				if h.step(); h.oneIn(40) {
					h.loseSnapshots()
				}
				if i < 20 || !h.oneIn(8) {
					continue
				}
				near, exact := h.plans()
				if near == nil {
					continue
				}
				removed += near.Removed.Segments
				gone += len(near.gone)
				needed += len(exact.gone) - len(deletable(exact))
			}
		})
	}
	if removed < 100 || gone < 100 || needed < 100 {
		t.Errorf("removed were %d segments, %d were removed before, and %d of these needed", removed, gone, needed)
	}
}

// plans compares the plans of a prune that reads all, and of one that does not, and sometimes
// goes on as the latter says. They are nil without a point.
func (h *history) plans() (near, exact *plan) {
	p := h.pruner()
	head, err := h.repo.State(h.t.Context(), 0)
	if err != nil {
		h.t.Fatal(err)
	}
	p.WholeLog = 1 << 60
	if exact, err = p.plan(h.t.Context(), head); err != nil {
		h.t.Fatal(err)
	}
	p.WholeLog = 1
	if near, err = p.plan(h.t.Context(), head); err != nil {
		h.t.Fatal(err)
	}
	if exact.needs == nil {
		return nil, nil
	}
	must := h.needed(p, head, exact)
	if must.Meets(exact.lot.Segments) {
		h.t.Errorf("at entry %d: who reads all removes what is needed", head.Sequence)
	}
	if more := must.Common(near.lot.Segments); len(more) > 0 {
		h.t.Errorf("at entry %d: removed are %v, which are needed", head.Sequence, more)
	}
	for _, d := range deletable(near) {
		if must.Has(d.writer, d.counter) {
			h.t.Errorf("at entry %d: deleted is %s, which is needed", head.Sequence, d.key())
		}
	}
	h.compareJudgements(head, near, exact, p.Grace > 0)
	if h.oneIn(3) {
		if _, err = p.Prune(h.t.Context()); err != nil && !errors.Is(err, ErrShare) && !errors.Is(err, ErrKept) && !errors.Is(err, errNeeded) {
			h.t.Error(err)
		}
	}
	return near, exact
}

// compareJudgements: with a grace nothing that is removed now is among what is removed already.
func (h *history) compareJudgements(head *manifest.State, near, exact *plan, grace bool) {
	if near.spent != exact.spent || len(near.removals) != len(exact.removals) {
		h.t.Errorf("at entry %d: spent is %v, want %v", head.Sequence, near.spent, exact.spent)
	}
	if !grace {
		return
	}
	if len(near.gone) != len(exact.gone) {
		h.t.Errorf("at entry %d: %d were removed, want %d", head.Sequence, len(near.gone), len(exact.gone))
	}
	if exact.lot.Segments.Contains(near.lot.Segments) && !slices.EqualFunc(near.large, exact.large, func(a, b *removal) bool { return a.String() == b.String() }) {
		h.t.Errorf("at entry %d: too large are %v, want %v", head.Sequence, near.large, exact.large)
	}
}

func deletable(p *plan) []deletion {
	return slices.DeleteFunc(slices.Clone(p.gone), func(d deletion) bool { return d.needed })
}

// needed are the segments of which a point that is kept, or one behind the newest, needs
// something. What lies before that, and was captured behind the last point of a topic
// that is gone, is not, though who reads all keeps it.
func (h *history) needed(p *Pruner, head *manifest.State, exact *plan) manifest.SegmentSet {
	points, err := readNeeds(h.t.Context(), h.repo, &p.Policy, head, exact.Decisions, h.now, true)
	if err != nil {
		h.t.Fatal(err)
	}
	newest, err := h.repo.State(h.t.Context(), exact.needs.newest.Sequence)
	if err != nil {
		h.t.Fatal(err)
	}
	must := make(manifest.SegmentSet)
	for i, list := range h.units {
		for _, u := range list {
			need := points.has(i, u.start, u.next()) || i >= len(newest.Streams) || u.next() > newest.Streams[i].Next
			if head.Topics[head.Streams[i].Topic].Name == groupLog {
				need = exact.needs.has(i, u.start, u.next())
			}
			if need {
				must.Add(u.in.Writer, u.in.Counter)
			}
		}
	}
	return must
}

func (h *history) pruner() *Pruner {
	p := &Pruner{Repository: h.repo, MaxShare: []float64{0.1, 0.5, 1}[h.IntN(3)], Now: func() time.Time { return h.now }, Near: uint64(1 + h.IntN(40)), Force: h.oneIn(8)}
	p.Policy.Rules = h.rules()
	if h.oneIn(2) {
		topics, err := pattern.Parse([]string{"b"})
		if err != nil {
			h.t.Fatal(err)
		}
		p.Policy.Topics = []TopicRules{{Name: "b", Topics: topics, Rules: h.rules()}}
	}
	if h.oneIn(3) {
		p.Grace = time.Duration(h.IntN(600)) * time.Minute
	}
	return p
}

func (h *history) rules() Rules {
	return []Rules{
		{Window: time.Duration(h.IntN(600)) * time.Minute},
		{Last: 1 + h.IntN(6)},
		{Hourly: 1 + h.IntN(20)},
		{Last: 2, Daily: 1 + h.IntN(3)},
		{},
	}[h.IntN(5)]
}
