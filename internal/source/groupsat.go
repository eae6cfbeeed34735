package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/grouplog"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"golang.org/x/sync/semaphore"
)

// GroupsAt is what all groups had committed at a moment.
type GroupsAt struct {
	Time   int64 // ms since 1970: the moment; not after the one that was asked for
	Point  manifest.PointRef
	Exact  bool // known from the log of groups, as of Time; else as of Point, which is the newest one that was durable then
	Groups map[string]*manifest.Group
	Future bool                // the moment that was asked for is yet to come
	topics map[string][16]byte // which topics names stood for at Point
}

// LoadGroups finds what groups had committed at the moment that at names, in the
// words of Load: at a point, or at a time. What was captured as a log is known as
// of every moment, and else as of each recovery point.
func LoadGroups(ctx context.Context, repo *manifest.Repository, at string, now time.Time) (*GroupsAt, error) {
	snap, err := Load(ctx, repo, at, now)
	if err != nil {
		return nil, err
	}
	all, err := repo.State(ctx, 0)
	if err != nil {
		return nil, err
	}
	if t, ok := momentOf(all.Points, at, now); ok {
		then, err := groupsAt(ctx, repo, all.Points, t.UnixMilli())
		if err == nil && then == nil {
			err = fmt.Errorf("%w: what groups had committed at %s is not known: the first recovery point was not durable yet", ErrNoPoint, Clock(t.UnixMilli()))
		}
		if err == nil {
			then.Future = snap.Future()
		}
		return then, err
	}
	return &GroupsAt{Time: snap.Point.Time, Point: snap.Point, Exact: FollowsGroups(snap.State), Groups: snap.State.Groups}, nil
}

// FollowsGroups says whether a state's group offsets are known from their log.
func FollowsGroups(s *manifest.State) bool { return slices.ContainsFunc(s.Topics, isLog) }

func isLog(t manifest.Topic) bool { return t.Name == kafka.GroupLogTopic && !t.Gone }

// groupsAt is LoadGroups for a time, in ms since 1970. It returns nil if no point is
// as old as that.
func groupsAt(ctx context.Context, repo *manifest.Repository, points []manifest.PointRef, at int64) (*GroupsAt, error) {
	before, after := around(points, at)
	if before == nil {
		return nil, nil
	}
	at = min(at, after.Time)
	s, err := surveyLog(ctx, repo, before.Sequence, after.Sequence, at)
	if err != nil {
		return nil, err
	}
	if !s.exact {
		return pointAt(ctx, repo, s.polled)
	}
	g := &GroupsAt{Time: at, Point: *before, Exact: true, topics: s.topics}
	table := grouplog.NewTable()
	if s.base > 0 {
		state, err := repo.State(ctx, s.base)
		if err != nil {
			return nil, err
		}
		table.Begin(state.Groups)
	}
	err = s.replay(ctx, repo, *after, at, table)
	if errors.Is(err, errCompacted) || errors.Is(err, errRemoved) {
		return pointAt(ctx, repo, cmp.Or(s.polled, before.Sequence))
	}
	if err != nil {
		return nil, err
	}
	g.Groups = table.All(nil)
	return g, nil
}

// pointAt returns what groups had committed at a point, or nil if it is 0.
func pointAt(ctx context.Context, repo *manifest.Repository, point uint64) (*GroupsAt, error) {
	if point == 0 {
		return nil, nil
	}
	state, err := repo.State(ctx, point)
	if err != nil {
		return nil, err
	}
	p := state.Points[len(state.Points)-1]
	return &GroupsAt{Time: p.Time, Point: p, Groups: state.Groups, topics: topicIDs(state)}, nil
}

// topicIDs returns which topics names stand for.
func topicIDs(state *manifest.State) map[string][16]byte {
	ids := make(map[string][16]byte)
	for _, t := range state.Topics {
		if !t.Gone {
			ids[t.Name] = t.ID
		}
	}
	return ids
}

// isOf says whether what groups had committed in a topic was for this one, and
// not for another one of its name.
func (g *GroupsAt) isOf(t Incarnation) bool {
	id, ok := g.topics[t.Name]
	return !ok || id == t.ID
}

// around returns the newest point that is not later than a time, and the first
// one that is not earlier, or the last one.
func around(points []manifest.PointRef, at int64) (before, after *manifest.PointRef) {
	for i := range points {
		p := &points[i]
		if p.Time <= at {
			before, after = p, p
		}
		if p.Time >= at {
			return before, p
		}
	}
	return before, after
}

// survey is what it takes to know group offsets between two points from their
// log.
type survey struct {
	exact  bool
	since  uint64              // the entry behind which it begins, 0 for none
	polled uint64              // the newest point that was durable by then, 0 for none
	base   uint64              // the point to begin with, 0 for nothing
	from   map[int]int64       // by stream of the log: where to begin to read
	whole  map[int]int64       // from where on nothing must be missing: where base ends
	topics map[string][16]byte // at the point before
	state  *manifest.State     // at the point after
}

// surveyLog reads the repository's log up to the point after. It begins with the newest point
// at which nothing counted that is younger than at; what is to be read begins
// where the point before that one ended, since what it left open may count.
func surveyLog(ctx context.Context, repo *manifest.Repository, before, after uint64, at int64) (*survey, error) {
	for _, ahead := range []time.Duration{10 * time.Minute, 48 * time.Hour} {
		s, err := surveySince(ctx, repo, before, after, at, func(state *manifest.State) bool {
			return state.Sequence < before && newestOf(state) <= at-ahead.Milliseconds()
		})
		if err != nil || s.since == 0 || s.from != nil && s.polled > 0 {
			return s, err
		}
	}
	return surveySince(ctx, repo, before, after, at, func(*manifest.State) bool { return false })
}

// surveySince is surveyLog from a state on. What it would find before that, it
// does not find.
func surveySince(ctx context.Context, repo *manifest.Repository, before, after uint64, at int64, since func(*manifest.State) bool) (*survey, error) {
	s := &survey{}
	var last map[int]int64 // where the point before ended
	newest := int64(math.MinInt64)
	rewritten, known := false, false
	begin := func(state *manifest.State) bool {
		if !since(state) {
			return false
		}
		s.since, newest = state.Sequence, newestOf(state)
		return true
	}
	var err error
	s.state, err = repo.ReadSince(ctx, after, begin, func(state *manifest.State, e *manifest.Entry) error {
		newest = max(newest, newestIn(state, e), e.Time)
		for _, n := range e.Streams {
			rewritten = rewritten || n.Parent >= 0 && isLog(state.Topics[n.Topic])
		}
		if e.Point == nil {
			return nil
		}
		if e.Time <= at {
			s.polled = e.Sequence // it was asked for before that
		}
		if FollowsGroups(state) && newest <= at {
			s.base, s.from, s.whole, rewritten = e.Sequence, last, logPositions(state), false
		}
		if e.Sequence == before {
			s.topics = topicIDs(state)
		}
		last = logEnds(state)
		known = known || e.Sequence == before && FollowsGroups(state)
		return nil
	})
	s.exact = err == nil && known && FollowsGroups(s.state) && !rewritten
	return s, err
}

// newestOf returns the newest timestamp in all that a state has of the log of
// groups, or the time of the latest entry.
func newestOf(state *manifest.State) int64 {
	newest := state.Newest
	for n := range state.Streams {
		if st := &state.Streams[n]; state.Topics[st.Topic].Name == kafka.GroupLogTopic {
			newest = max(newest, st.Newest)
		}
	}
	return newest
}

// newestIn returns the newest timestamp in what an entry adds to the log of
// groups.
func newestIn(state *manifest.State, e *manifest.Entry) int64 {
	newest := int64(math.MinInt64)
	for i := range e.Ranges {
		r := &e.Ranges[i]
		if !isLog(state.Topics[state.Streams[r.Stream].Topic]) {
			continue
		}
		for _, sp := range r.Spans {
			if sp.Records > 0 {
				newest = max(newest, sp.MaxTimestamp)
			}
		}
	}
	return newest
}

// logPositions returns, by stream of the log of groups, its position.
func logPositions(state *manifest.State) map[int]int64 {
	ends := make(map[int]int64)
	for n := range state.Streams {
		if isLog(state.Topics[state.Streams[n].Topic]) {
			ends[n] = state.Streams[n].Next
		}
	}
	return ends
}

// logEnds returns, by stream of the log of groups, its position, or where the
// first transaction begins that is open there.
func logEnds(state *manifest.State) map[int]int64 {
	ends := logPositions(state)
	for _, t := range state.Transactions {
		if end, ok := ends[t.Stream]; ok && t.Kind != manifest.TxnUndone {
			ends[t.Stream] = min(end, t.Offset)
		}
	}
	return ends
}

// errCompacted: records of the log of groups were compacted away before they were
// captured, so that nobody knows what was in force meanwhile.
var errCompacted = errors.New("the log of group offsets has holes")

// replay lets count in the table what the log of groups up to a point says until
// a time. The error is errCompacted if something of it is not known.
func (s *survey) replay(ctx context.Context, repo *manifest.Repository, point manifest.PointRef, until int64, table *grouplog.Table) error {
	snap := &Snapshot{Repository: repo, Point: point, State: s.state}
	p := &Plan{Snapshot: snap}
	for n, t := range s.state.Topics {
		if isLog(t) {
			p.Topics = append(p.Topics, &TopicPlan{Source: Incarnation{n, 1, t}, Partitions: t.Partitions, From: snap})
		}
	}
	p.addTracks()
	parts := make(map[*track]*logThen)
	for _, t := range p.tracks {
		l := &logThen{Partition: grouplog.NewPartition(), asOf: asOf{table: table, time: until}}
		for i := range t.branches {
			b := &t.branches[i]
			b.lo = max(b.lo, s.from[b.stream])
			l.next, l.whole = b.lo, max(l.whole, s.whole[b.stream])
		}
		parts[t] = l
	}
	decoder, err := segment.NewDecoder()
	if err != nil {
		return err
	}
	budget := semaphore.NewWeighted(readBytes)
	var pool sync.Pool
	return snap.walk(ctx, p.byStream, nil, func(key string, list []part) error {
		return snap.read(ctx, key, list, budget, &pool, func(j job) error {
			defer budget.Release(j.weight)
			defer j.stored.done()
			raw, err := decoder.Decode(j.part.block, j.stored.b, nil)
			if err == nil {
				raw, err = bare(j.part.block, raw)
			}
			if err == nil {
				err = parts[j.part.track].take(raw, j.part.lo)
			}
			if err != nil && !errors.Is(err, errCompacted) {
				return manifest.BlockError(key, j.part.block, err)
			}
			return err
		})
	})
}

// logThen is a partition of the log of groups, as of a time.
type logThen struct {
	*grouplog.Partition
	asOf
	next  int64 // the offset behind what has been read
	whole int64 // from here on nothing must be missing
}

// take reads the next batches.
func (l *logThen) take(raw []byte, from int64) error {
	for rest := raw; len(rest) > 0; {
		h, _, after, err := batch.Next(rest)
		if err != nil {
			return err
		}
		rest = after
		if h.NextOffset() <= from {
			continue
		}
		hole := h.BaseOffset > l.next || !h.IsDense()
		if l.next = h.NextOffset(); hole && !l.over && l.next > l.whole {
			return errCompacted
		}
		l.over = l.over || h.MaxTimestamp > l.time
	}
	return l.Read(raw, from, &l.asOf)
}

// asOf lets count what was committed until a time.
type asOf struct {
	table *grouplog.Table
	time  int64
	over  bool // what follows is younger
}

// Record implements grouplog.Follower.
func (a *asOf) Record(r grouplog.Record, timestamp int64) {
	if timestamp <= a.time {
		a.table.Put(&r)
	}
}

// Marker implements grouplog.Follower.
func (a *asOf) Marker(m grouplog.Marker, records grouplog.Records) {
	if m.Commit && m.Timestamp <= a.time {
		a.table.PutAll(records)
	}
}
