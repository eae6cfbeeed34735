package retention

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

const (
	// wholeLog is by default how many entries are read twice rather than to be satisfied
	// with what snapshots say.
	wholeLog = 5000
	// near is by default how many entries may be between points that are taken for one: what
	// is between them is then kept, too. Snapshots are about half as far from each other.
	near = 2000
)

// nearNeeds finds out what somebody may want to read, as readNeeds does, from snapshots
// of the log: from that before a point it knows where the source's logs began, or
// earlier, and from that after it up to where they had been captured, or further. So it
// may be more than is needed, by what comes between two snapshots, and never less.
func (p *Pruner) nearNeeds(ctx context.Context, head *manifest.State, decisions []Decision, now time.Time) (*needs, error) {
	repo, policy := p.Repository, &p.Policy
	n := newNeeds(policy, decisions, now)
	n.streams = make([]intervals, len(head.Streams))
	past := repo.Past(ctx, head)
	rules := make([]int, len(head.Topics))
	for i := range head.Topics {
		rules[i] = policy.rulesOf(head.Topics[i].Name)
	}
	views := make(map[uint64]*view)
	for number := range 1 + len(policy.Topics) {
		for first, last := range n.clusters(number, cmp.Or(p.Near, near)) {
			before := viewOf(past.Before(ctx, first), views)
			after := viewOf(past.After(ctx, last), views)
			if after == nil {
				after = viewOf(head, views)
			}
			n.cluster(head, first, last, before, after, func(topic int) bool { return rules[topic] == number })
		}
	}
	n.fates(head, rules)
	if err := n.readGroupLog(ctx, repo, head); err != nil {
		return nil, err
	}
	if _, err := repo.ReadSince(ctx, n.newest.Sequence, nil, func(s *manifest.State, e *manifest.Entry) error {
		if e.Sequence == n.newest.Sequence {
			n.takePoint(s, e)
			for stream := len(s.Streams); stream < len(n.streams); stream++ { // that began behind it
				n.streams[stream].add(0, math.MaxInt64)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return n, n.readLayout(ctx, repo, head)
}

// clusters yields the first and the last of the points that rules keep, of each group
// of them that are near each other.
func (n *needs) clusters(rules int, near uint64) func(yield func(first, last uint64) bool) {
	return func(yield func(first, last uint64) bool) {
		first, last := uint64(0), uint64(0)
		for i := range n.decisions {
			d := &n.decisions[i]
			if !d.by[rules] {
				continue
			}
			if first > 0 && d.Point.Sequence-last > near {
				if !yield(first, last) {
					return
				}
				first = 0
			}
			if last = d.Point.Sequence; first == 0 {
				first = last
			}
		}
		if first > 0 {
			yield(first, last)
		}
	}
}

// view is what counts of an earlier state.
type view struct {
	sequence uint64
	start    []int64 // by stream: where the source's log of its partition began
	next     []int64 // by stream
}

// viewOf returns that of a state, which may be nil.
func viewOf(s *manifest.State, views map[uint64]*view) *view {
	if s == nil {
		return nil
	}
	if v := views[s.Sequence]; v != nil {
		return v
	}
	v := &view{sequence: s.Sequence, start: make([]int64, len(s.Streams)), next: make([]int64, len(s.Streams))}
	for i := range s.Streams {
		youngest := i
		for s.Streams[youngest].Child >= 0 {
			youngest = s.Streams[youngest].Child
		}
		v.start[i], v.next[i] = s.Streams[youngest].LogStart, s.Streams[i].Next
	}
	views[s.Sequence] = v
	return v
}

// cluster adds what restores to points need that are near each other, of topics of some
// rules: before is none of no state, and after the state that has them all.
func (n *needs) cluster(head *manifest.State, first, last uint64, before, after *view, rules func(topic int) bool) {
	for stream := range after.next {
		st := &head.Streams[stream]
		life := &head.Lives[st.Topic]
		if head.Topics[st.Topic].Name == groupLog || !rules(st.Topic) || life.Since.Entry > last || life.Gone.Entry > 0 && life.Gone.Entry <= first {
			continue
		}
		start := st.First
		if before != nil && stream < len(before.start) && !lowered(head, stream, before.sequence) {
			start = max(start, before.start[stream])
		}
		n.streams[stream].add(start, after.next[stream])
	}
}

// lowered says whether the log start of the partition of a stream was lowered behind an entry.
func lowered(s *manifest.State, stream int, entry uint64) bool {
	if len(s.Lowered) == 0 {
		return false
	}
	key := s.Key(stream)
	return slices.ContainsFunc(s.Lowered, func(l manifest.Lowered) bool { return l.Entry > entry && s.Key(l.Stream) == key })
}

// fates finds out which topics points have. One that was gone for a while, and is back,
// counts as if it had not been.
func (n *needs) fates(head *manifest.State, rules []int) {
	count := make([][]int, 2+len(n.policy.Topics)) // of the decisions up to each, by rules; the last: of points that are deleted
	for r := range count {
		count[r] = make([]int, len(n.decisions)+1)
	}
	for i := range n.decisions {
		d := &n.decisions[i]
		for r := range count {
			if count[r][i+1] = count[r][i]; r < len(d.by) && d.by[r] || r == len(d.by) && !d.Keep {
				count[r][i+1]++
			}
		}
	}
	for i := range head.Topics {
		if head.Topics[i].Name == groupLog {
			continue
		}
		from, _ := slices.BinarySearchFunc(n.decisions, head.Lives[i].Since.Entry, compareDecision)
		to := len(n.decisions)
		if gone := head.Lives[i].Gone.Entry; gone > 0 {
			to, _ = slices.BinarySearchFunc(n.decisions, gone, compareDecision)
		}
		has := func(r int) bool { return to > from && count[r][to] > count[r][from] }
		n.topics[head.Topics[i].ID] = fate{deleted: has(len(count) - 1), kept: has(rules[i])}
	}
}

// errEnough ends the reading of entries.
var errEnough = errors.New("no more is needed")

// readGroupLog finds out what is needed of the log of groups: from before the last points
// at which nothing counted that is younger than the window, to behind them. If that is not
// enough to know, it is everything.
func (n *needs) readGroupLog(ctx context.Context, repo *manifest.Repository, head *manifest.State) error {
	if !slices.ContainsFunc(head.Topics, func(t manifest.Topic) bool { return t.Name == groupLog }) {
		return nil
	}
	const enough = 3 // two, and one in case the last is too young for what its entry says
	old := make([]uint64, 0, enough)
	for i := len(head.Points) - 1; i >= 0 && len(old) < enough; i-- {
		if head.Points[i].Time <= n.log.since {
			old = append(old, head.Points[i].Sequence)
		}
	}
	if len(old) < enough {
		return nil
	}
	begin := func(s *manifest.State) bool { return s.Sequence < old[enough-1] && newestOfLog(s) <= n.log.since }
	first := true
	_, err := repo.ReadSince(ctx, n.newest.Sequence, begin, func(s *manifest.State, e *manifest.Entry) error {
		if first {
			n.log.newest, first = newestOfLog(s), false
		}
		if n.log.entry(s, e); n.log.newest > n.log.since {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// newestOfLog is the newest timestamp of a record of the log of groups, or of an entry.
func newestOfLog(s *manifest.State) int64 {
	newest := s.Newest
	for i := range s.Streams {
		if st := &s.Streams[i]; s.Topics[st.Topic].Name == groupLog {
			newest = max(newest, st.Newest)
		}
	}
	return newest
}

// surveyNear finds out what is to be removed without reading all of the log: only the
// stretches of it of which something is removed, or seems to be needed by nobody.
func (p *Pruner) surveyNear(ctx context.Context, plan *plan, head *manifest.State, stretches []manifest.Stretch) (err error) {
	if plan.needs, err = p.nearNeeds(ctx, head, plan.Decisions, plan.now); err != nil {
		return err
	}
	homes := plan.needs.layout.Homes()
	known := make(manifest.SegmentSet)
	for _, h := range homes {
		known.Add(h.Name.Writer, h.Name.Counter)
	}
	moved := make(manifest.SegmentSet) // those that hold nothing else
	var read []span
	for i := range stretches {
		t := &stretches[i]
		if t.Stream < 0 {
			moved.AddAll(t.Segments)
		}
		if plan.doubts(head, t, known) {
			read = append(read, span{t.First, t.Last})
		}
	}
	for _, part := range joined(read) {
		if _, err := p.Repository.ReadSince(ctx, part.last, func(s *manifest.State) bool { return s.Sequence < part.first }, func(s *manifest.State, e *manifest.Entry) error {
			if e.Sequence >= part.first {
				p.take(plan, head, s, e)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for _, h := range homes {
		w, c := h.Name.Writer, h.Name.Counter
		if h.Entry > plan.needs.newest.Sequence || plan.needs.homes[h.Name] || !moved.Has(w, c) || !head.Readable(w, c) || plan.lot.Segments.Has(w, c) {
			continue
		}
		if plan.remove(w, c, h.Ref.Size); p.Grace <= 0 {
			plan.gone = append(plan.gone, deletion{w, c, h.Ref.Size, false})
		}
	}
	return nil
}

// doubts says whether the entries of a stretch have to be read: homes are the segments of
// which it is known what was moved into them.
func (plan *plan) doubts(head *manifest.State, t *manifest.Stretch, homes manifest.SegmentSet) bool {
	n := plan.needs
	switch {
	case head.Pending().Meets(t.Segments):
		return true
	case t.First > n.newest.Sequence:
		return false
	case t.Stream < 0:
		return !homes.Contains(t.Segments)
	}
	return !n.has(t.Stream, t.Start, t.Next) || n.layout.Covers(t.Stream, t.Start, t.Next)
}

// span are entries of the log.
type span struct{ first, last uint64 }

// joined returns spans, ascending and those together that are not far from each other: to
// read on is not more than to begin anew.
func joined(list []span) (out []span) {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for _, s := range list {
		if n := len(out) - 1; n >= 0 && s.first <= out[n].last+near/2 {
			out[n].last = max(out[n].last, s.last)
		} else {
			out = append(out, s)
		}
	}
	return out
}
