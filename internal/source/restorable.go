package source

import (
	"context"
	"maps"
	"slices"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// PointRun are recovery points, one after another, to which the same can be
// restored.
type PointRun struct {
	First, Last manifest.PointRef
	Count       int
	// Topics, by name, lack something there; the others are whole. A topic that was
	// gone at a point does not count, nor does what __consumer_offsets says of the
	// time between points.
	Topics []string
}

// weigh says what is known to be lost, and what can be restored to which points.
func (r *Report) weigh(ctx context.Context, repo *manifest.Repository, state *manifest.State) (err error) {
	if r.Losses, err = Losses(ctx, repo, state); err != nil {
		return err
	}
	all := slices.Clone(r.Damages)
	for i := range r.Losses {
		all = append(all, DamageNote{Lost: []LostRange{r.Losses[i].LostRange}})
	}
	r.Restorable, err = pointRuns(ctx, repo, state, all)
	return err
}

// pointRuns says what can be restored to which points, in spite of damage. The
// state is that at the end of the log, as far as that can be read.
func pointRuns(ctx context.Context, repo *manifest.Repository, state *manifest.State, damages []DamageNote) (runs []PointRun, err error) {
	var lost []LostRange
	for i := range damages {
		lost = append(lost, damages[i].Lost...)
	}
	lacks := make(map[uint64][]string) // by point
	if len(lost) > 0 && len(state.Points) > 0 {
		_, err = repo.Read(ctx, state.Sequence, func(s *manifest.State, e *manifest.Entry) error {
			if e.Point != nil {
				lacks[e.Sequence] = lackingAt(s, e, lost)
			}
			return nil
		})
	}
	for _, p := range state.Points {
		topics := lacks[p.Sequence]
		if n := len(runs); n == 0 || !slices.Equal(runs[n-1].Topics, topics) {
			runs = append(runs, PointRun{First: p, Topics: topics})
		}
		last := &runs[len(runs)-1]
		last.Last = p
		last.Count++
	}
	return runs, err
}

// lackingAt names the topics of a point that lack what is lost.
func lackingAt(state *manifest.State, e *manifest.Entry, lost []LostRange) []string {
	snap := Snapshot{State: state, cut: cutsOf(state, e)}
	lacking := make(map[string]bool)
	for _, l := range lost {
		n, ok := state.Current(l.Key)
		if !ok || lacking[l.Topic] || l.Topic == kafka.GroupLogTopic || state.Topics[state.Streams[n].Topic].Gone {
			continue
		}
		lacking[l.Topic] = slices.ContainsFunc(snap.track(n).branches, func(b branch) bool {
			return slices.Contains(l.inStreams, b.stream) && max(b.lo, l.From) < min(b.hi, l.To)
		})
	}
	maps.DeleteFunc(lacking, func(_ string, yes bool) bool { return !yes })
	return slices.Sorted(maps.Keys(lacking))
}
