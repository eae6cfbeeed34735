package retention

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// groupLog is the topic in which the source keeps what groups commit
// (docs/format.md): no restore yields it, but group offsets of any moment come
// from it.
const groupLog = "__consumer_offsets"

// needs are the offsets that somebody may want to read: those of the points that
// are kept, and all that came after the newest one.
type needs struct {
	policy    *Policy
	decisions []Decision
	newest    manifest.PointRef
	chosen    bool        // nobody asks for what came after the newest one, nor for the log of groups
	streams   []intervals // by stream; of those that began after the newest point everything is needed
	log       logNeeds
	topics    map[[16]byte]fate // those that points have

	layout *manifest.Layout              // of what was moved
	homes  map[manifest.SegmentName]bool // segments with something that was moved there, or is lost in them, and is needed
}

// intervals are offsets [from, to), ascending, with a space between two of them.
type intervals []interval

type interval struct{ from, to int64 }

// add adds offsets [from, to).
func (v *intervals) add(from, to int64) {
	if from >= to {
		return
	}
	list := *v
	i, _ := slices.BinarySearchFunc(list, from, func(k interval, from int64) int {
		if k.to < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(list) && list[j].from <= to; j++ {
		from, to = min(from, list[j].from), max(to, list[j].to)
	}
	*v = slices.Replace(list, i, j, interval{from, to})
}

// meet says whether some of the offsets [from, to) are among them.
func (v intervals) meet(from, to int64) bool {
	i, _ := slices.BinarySearchFunc(v, from, func(k interval, from int64) int {
		if k.to <= from {
			return -1
		}
		return 1
	})
	return i < len(v) && v[i].from < to
}

// readNeeds reads the log up to the newest point of those about which decisions were made
// from a state, and finds out where data is that was moved up to that state.
func readNeeds(ctx context.Context, repo *manifest.Repository, policy *Policy, head *manifest.State, decisions []Decision, now time.Time, chosen bool) (*needs, error) {
	n := newNeeds(policy, decisions, now)
	n.chosen = chosen
	if _, err := repo.Read(ctx, n.newest.Sequence, func(s *manifest.State, e *manifest.Entry) error {
		n.entry(s, e)
		return nil
	}); err != nil {
		return nil, err
	}
	return n, n.readLayout(ctx, repo, head)
}

func newNeeds(policy *Policy, decisions []Decision, now time.Time) *needs {
	n := &needs{policy: policy, decisions: decisions, newest: decisions[len(decisions)-1].Point, homes: make(map[manifest.SegmentName]bool), topics: make(map[[16]byte]fate)}
	n.log.since = n.logSince(now)
	return n
}

// readLayout finds out which segments somebody needs into which data was moved, once it
// is known what is needed.
func (n *needs) readLayout(ctx context.Context, repo *manifest.Repository, head *manifest.State) (err error) {
	if n.layout, err = repo.LayoutAt(ctx, head, func(int) bool { return true }); err != nil {
		return err
	}
	n.layout.Pieces(func(p *manifest.Piece) {
		if n.has(p.Stream, p.Start, p.Next()) {
			n.homes[p.In.Name] = true
		}
	})
	return nil
}

// entry takes in the next entry.
func (n *needs) entry(s *manifest.State, e *manifest.Entry) {
	n.log.entry(s, e)
	n.takePoint(s, e)
}

// takePoint takes in the point of an entry, if it has one.
func (n *needs) takePoint(s *manifest.State, e *manifest.Entry) {
	if e.Point == nil || e.Sequence > n.newest.Sequence {
		return
	}
	cut := make(map[int]int64)
	for _, x := range e.Point.Exceptions {
		cut[x.Stream] = s.Streams[x.Stream].Next - x.Behind
	}
	end := func(stream int) int64 {
		if at, ok := cut[stream]; ok {
			return at
		}
		return s.Streams[stream].Next
	}
	for len(n.streams) < len(s.Streams) {
		n.streams = append(n.streams, nil)
	}
	if i, ok := slices.BinarySearchFunc(n.decisions, e.Sequence, compareDecision); ok {
		n.point(s, &n.decisions[i], end)
	}
	if e.Sequence == n.newest.Sequence && !n.chosen {
		for stream := range s.Streams {
			from := end(stream)
			if v := n.streams[stream]; len(v) > 0 {
				// A topic that is not selected for some time goes on at its position: as
				// long as a point has it, there shall be no hole before that.
				from = min(from, v[len(v)-1].to)
			}
			n.streams[stream].add(from, math.MaxInt64)
		}
		n.log.claim(s, n.streams)
	}
}

func compareDecision(d Decision, id uint64) int {
	switch {
	case d.Point.Sequence < id:
		return -1
	case d.Point.Sequence > id:
		return 1
	}
	return 0
}

// point adds what a restore to a point needs: of each topic that the cluster had,
// and whose rules keep the point, the offsets from the log start to the cut.
func (n *needs) point(s *manifest.State, d *Decision, end func(stream int) int64) {
	for i := range s.Topics {
		t := &s.Topics[i]
		if t.Gone || t.Name == groupLog {
			continue
		}
		keep := d.by[n.policy.rulesOf(t.Name)]
		f := n.topics[t.ID]
		n.topics[t.ID] = fate{deleted: f.deleted || !d.Keep, kept: f.kept || keep}
		if !keep {
			continue
		}
		for q := range t.Partitions {
			if stream, ok := s.Current(manifest.StreamKey{TopicID: t.ID, Partition: q}); ok {
				n.track(s, stream, end(stream))
			}
		}
	}
}

// fate is what becomes of a topic: whether a point that is deleted has it, and one of
// those that its rules keep.
type fate struct{ deleted, kept bool }

// lost returns the topics that no point has any more once those are deleted that are not
// kept, by name and age, as of a state.
func (n *needs) lost(s *manifest.State) (names []string) {
	nth, count := make(map[string]int), make(map[string]int)
	for i := range s.Topics {
		count[s.Topics[i].Name]++
	}
	for i := range s.Topics {
		t := &s.Topics[i]
		nth[t.Name]++
		if f := n.topics[t.ID]; !f.deleted || f.kept {
			continue
		}
		name := t.Name
		if count[name] > 1 {
			name = fmt.Sprintf("%s@%d", name, nth[name])
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// track adds a stream up to an offset, and its ancestors below it.
func (n *needs) track(s *manifest.State, stream int, to int64) {
	start := s.Streams[stream].LogStart
	for ; stream >= 0; stream = s.Streams[stream].Parent {
		first := s.Streams[stream].First
		n.streams[stream].add(max(first, start), to)
		to = min(to, first)
	}
}

// has says whether some of the offsets [from, to) of a stream are needed.
func (n *needs) has(stream int, from, to int64) bool {
	if stream >= len(n.streams) {
		return !n.chosen
	}
	return n.streams[stream].meet(from, to)
}

// segments says of which segments of an entry something is known, and of which
// somebody needs something that is nowhere else. What neither a range nor a move says
// anything of is left alone.
func (n *needs) segments(s *manifest.State, e *manifest.Entry) (known, needed []bool) {
	known, needed = make([]bool, len(e.Segments)), make([]bool, len(e.Segments))
	for i := range e.Ranges {
		r := &e.Ranges[i]
		at := s.Start(r)
		for _, sp := range r.Spans {
			if !sp.Gap {
				known[sp.Segment] = true
				moved := n.layout.Holds(r.Stream, at, at+sp.Offsets)
				needed[sp.Segment] = needed[sp.Segment] || !moved && n.has(r.Stream, at, at+sp.Offsets)
			}
			at += sp.Offsets
		}
	}
	if e.Moves != nil {
		for i := range e.Moves.List {
			j := e.Moves.List[i].Span.Segment
			known[j] = true
		}
	}
	for i := range e.Segments {
		needed[i] = needed[i] || n.homes[manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[i].Counter}]
	}
	return known, needed
}

// logNeeds is what the group offsets of any moment of the window need of the log of
// groups: from the newest point on at which nothing counted that is younger than
// the window, they can be told; and what the point before that left open may count.
type logNeeds struct {
	since  int64 // ms since 1970
	newest int64 // timestamp so far, of a record of the log or of an entry
	last   map[int]int64
	from   map[int]int64
}

// logSince returns from when on group offsets are to be known as of any moment.
func (n *needs) logSince(now time.Time) int64 {
	if n.policy.Rules == (Rules{}) {
		return math.MinInt64
	}
	return windowStart(n.newest, n.policy.Window, now)
}

func isLog(t *manifest.Topic) bool { return t.Name == groupLog && !t.Gone }

func (l *logNeeds) entry(s *manifest.State, e *manifest.Entry) {
	l.newest = max(l.newest, e.Time)
	for i := range e.Ranges {
		r := &e.Ranges[i]
		if !isLog(&s.Topics[s.Streams[r.Stream].Topic]) {
			continue
		}
		for _, sp := range r.Spans {
			if sp.Records > 0 {
				l.newest = max(l.newest, sp.MaxTimestamp)
			}
		}
	}
	if e.Point == nil {
		return
	}
	if l.newest <= l.since && slices.ContainsFunc(s.Topics, func(t manifest.Topic) bool { return isLog(&t) }) {
		l.from = l.last
	}
	l.last = make(map[int]int64)
	for stream := range s.Streams {
		if isLog(&s.Topics[s.Streams[stream].Topic]) {
			l.last[stream] = s.Streams[stream].Next
		}
	}
	for _, t := range s.Transactions {
		if end, ok := l.last[t.Stream]; ok && t.Kind != manifest.TxnUndone {
			l.last[t.Stream] = min(end, t.Offset)
		}
	}
}

// claim adds them, as of the newest point.
func (l *logNeeds) claim(s *manifest.State, streams []intervals) {
	for stream := range s.Streams {
		if isLog(&s.Topics[s.Streams[stream].Topic]) {
			streams[stream].add(l.from[stream], math.MaxInt64)
		}
	}
}
