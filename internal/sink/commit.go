package sink

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// quietPoints is how often a recovery point is committed while nothing at all
// changes and the newest one has all that is committed.
const quietPoints = time.Minute

// sealedSegment is a segment whose body is complete, or a seal without data.
type sealedSegment struct {
	covered covered
	upload  *upload           // nil without data
	segment *manifest.Segment // nil without data
}

// committer appends to the log, one entry per seal. One goroutine owns it.
type committer struct {
	ses       *session
	lastPoint uint64    // id of its last recovery point, 0 for none
	captured  uint64    // the last entry that a point has to come with or after
	until     time.Time // what was read before has been committed
	agent     *manifest.Agent
	snapshot  *manifest.SnapshotRef // of the log, which the next entry states, or nil
	tried     uint64                // the entry after which a snapshot was tried last
}

// commitAll commits the sealed segments in order.
func (ses *session) commitAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-ses.sealed:
			if !ok {
				return nil
			}
			if err := ses.committer.commit(ctx, s); err != nil {
				return err
			}
		}
	}
}

// commit makes a seal durable: first its segment, then the entry that names it.
// From here on the covered records are safe.
func (c *committer) commit(ctx context.Context, s sealedSegment) error {
	if s.upload != nil {
		if err := s.upload.wait(); err != nil {
			return err
		}
	}
	c.putSnapshot(ctx)
	began := time.Now()
	e, err := c.ses.log.Append(ctx, func(state *manifest.State) (*manifest.Entry, error) {
		return c.build(state, s)
	})
	c.tell(s, e, time.Since(began), err)
	if err != nil {
		return err
	}
	c.until = s.covered.until
	if s.covered.cut != nil {
		s.covered.cut.request.settle(e)
	}
	if e == nil {
		return nil
	}
	c.captured = e.Sequence
	if e.Point != nil {
		c.lastPoint = e.Sequence
	}
	c.agent, c.snapshot = nil, nil
	c.ses.Log.Debug("committed", "entry", e.Sequence, "streams", len(e.Ranges), "point", e.Point != nil)
	return nil
}

// build says what has happened since the state. It returns ErrFenced if
// somebody else has covered a range, and nil if there is nothing to say.
func (c *committer) build(state *manifest.State, s sealedSegment) (*manifest.Entry, error) {
	e := &manifest.Entry{Time: time.Now().UnixMilli(), Agent: c.agent}
	if c.snapshot.CanState(state.Sequence + 1) {
		e.Snapshot = c.snapshot
	}
	if s.segment != nil {
		e.Segments = []manifest.Segment{*s.segment}
	}
	numbers := c.topics(state, e, s.covered.topics)
	fresh, err := c.ranges(state, e, s.covered, numbers)
	if err != nil {
		return nil, err
	}
	addTransactions(state, e, s.covered.txns, fresh)
	if s.covered.cut == nil {
		return e, nil
	}
	addLogStarts(state, e, s.covered.cut.starts)
	e.Groups = groupChanges(state, s.covered.cut.groups)
	exceptions := addExceptions(state, e, s.covered.cut.logBound, fresh)
	e.Metadata = metadataChanges(state, s.covered.cut.kinds)
	changed := e.Segments != nil || e.Topics != nil || e.Streams != nil || e.Ranges != nil || e.LogStarts != nil || e.Groups != nil || e.Metadata != nil
	// What the last point left out, though it had come to its end, is in this one.
	changed = changed || slices.ContainsFunc(state.Transactions, func(t manifest.Transaction) bool { return t.Kind == manifest.TxnUndone })
	name := s.covered.cut.request.nameIn(state)
	if !changed && !c.ses.once && s.covered.cut.request == nil && c.allInPoint(state) && e.Time-state.Points[len(state.Points)-1].Time < quietPoints.Milliseconds() {
		return nil, nil
	}
	e.Point = &manifest.Point{Name: name, Time: s.covered.cut.time.UnixMilli(), Exceptions: exceptions}
	e.Closing = s.covered.cut.closed
	return e, nil
}

// allInPoint says whether the newest recovery point has all that is committed. What
// was sealed by age or size since then is in none.
func (c *committer) allInPoint(state *manifest.State) bool {
	n := len(state.Points)
	return n > 0 && state.Points[n-1].Sequence >= c.captured
}

// foreign returns ErrFenced if another process captures into this repository,
// even if its ranges leave room for one's own next one: of two that go on beside
// each other, each could take a range that the other needs, and both would end;
// and what one of them does not select the other would call gone. So whoever
// meets the other's entry ends, and the author of the last one goes on. An entry
// that only names or pins points disturbs nobody.
func (s *Sink) foreign(state *manifest.State, e *manifest.Entry) error {
	var n int
	switch {
	case state.IsArchive():
		return fmt.Errorf("%w: so says log entry %d", manifest.ErrArchive, e.Sequence)
	case len(e.Ranges) > 0:
		n = e.Ranges[0].Stream
	case len(e.Streams) > 0:
		n = len(state.Streams) - 1
	case len(e.Topics) > 0 || len(e.Groups) > 0 || e.Point != nil:
		return fmt.Errorf("%w: log entry %d", manifest.ErrFenced, e.Sequence)
	default:
		return nil
	}
	st := &state.Streams[n]
	return fmt.Errorf("%w: log entry %d took %s-%d to offset %d", manifest.ErrFenced, e.Sequence, state.Topics[st.Topic].Name, st.Partition, st.Next)
}

// topics states topics that are new, changed or gone, and returns the number
// of each topic by id.
func (c *committer) topics(state *manifest.State, e *manifest.Entry, now []manifest.Topic) map[[16]byte]int {
	numbers := make(map[[16]byte]int)
	next := len(state.Topics)
	here := make(map[[16]byte]bool)
	for _, t := range now {
		here[t.ID] = true
		n, known := state.TopicNumber(t.ID)
		if !known {
			n = next
			next++
		}
		numbers[t.ID] = n
		if !known || !sameTopic(&state.Topics[n], &t) {
			e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: t})
		}
	}
	for n := range state.Topics {
		t := state.Topics[n]
		numbers[t.ID] = n
		if !t.Gone && !here[t.ID] {
			t.Gone = true
			e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: t})
		}
	}
	return numbers
}

func sameTopic(a, b *manifest.Topic) bool {
	return a.ID == b.ID && a.Gone == b.Gone && a.Partitions == b.Partitions && a.ReplicationFactor == b.ReplicationFactor &&
		slices.EqualFunc(a.Configs, b.Configs, func(x, y manifest.Config) bool {
			return x.Name == y.Name && (x.Value == nil) == (y.Value == nil) && (x.Value == nil || *x.Value == *y.Value)
		})
}

// ranges states what the streams advance by, and returns the numbers of those
// that begin with it.
func (c *committer) ranges(state *manifest.State, e *manifest.Entry, cov covered, topics map[[16]byte]int) (fresh map[manifest.StreamKey]int, err error) {
	fresh = make(map[manifest.StreamKey]int)
	type numbered struct {
		number int
		*coverage
	}
	var list []numbered
	for s, v := range cov.streams {
		n, known := state.Current(s.key)
		switch {
		case known && state.Streams[n].Next == v.start:
		case known:
			return nil, fmt.Errorf("%w: %s-%d is at offset %d, this process was about to add [%d,…)", manifest.ErrFenced,
				s.topic, s.key.Partition, state.Streams[n].Next, v.start)
		default:
			topic, ok := topics[s.key.TopicID]
			if !ok {
				return nil, fmt.Errorf("sink: internal error: topic %s of a captured stream is not known", s.topic)
			}
			n = len(state.Streams) + len(e.Streams)
			fresh[s.key] = n
			e.Streams = append(e.Streams, manifest.NewStream{Topic: topic, Partition: s.key.Partition, Parent: -1, First: v.start})
		}
		list = append(list, numbered{n, v})
	}
	slices.SortFunc(list, func(a, b numbered) int { return a.number - b.number })
	for _, v := range list {
		epoch, logStart := int32(-1), v.start
		if v.number < len(state.Streams) {
			epoch, logStart = state.Streams[v.number].LeaderEpoch, state.Streams[v.number].LogStart
		}
		if len(v.spans) > 0 {
			r := manifest.Range{Stream: v.number, Spans: v.spans}
			if v.epoch > epoch {
				r.LeaderEpoch, r.EpochGiven = v.epoch, true
			}
			e.Ranges = append(e.Ranges, r)
		}
		if v.logStart >= 0 && v.logStart != logStart {
			e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: v.number, Offset: v.logStart})
		}
	}
	return fresh, nil
}

// addTransactions states the transactions that are open, and how the point ends
// them. fresh are the numbers of the streams that the entry begins.
func addTransactions(state *manifest.State, e *manifest.Entry, list []held, fresh map[manifest.StreamKey]int) {
	for _, h := range list {
		n, known := state.Current(h.key)
		if !known {
			if n, known = fresh[h.key]; !known {
				continue // of a topic that has gone before anything of it was committed
			}
		}
		h.Stream = n
		e.Transactions = append(e.Transactions, h.Transaction)
	}
	slices.SortFunc(e.Transactions, manifest.Transaction.Compare)
}

// addLogStarts states where logs begin that were trimmed while nothing was
// written to them. What came with data may be newer: a log start only rises.
func addLogStarts(state *manifest.State, e *manifest.Entry, starts map[manifest.StreamKey]int64) {
	stated := make(map[int]bool)
	for _, l := range e.LogStarts {
		stated[l.Stream] = true
	}
	for key, start := range starts {
		if n, known := state.Current(key); known && !stated[n] && start > state.Streams[n].LogStart {
			e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: n, Offset: start})
		}
	}
	slices.SortFunc(e.LogStarts, func(a, b manifest.LogStart) int { return a.Stream - b.Stream })
}

// addExceptions states that a recovery point ends, in the log of groups, where
// what is in force was read.
func addExceptions(state *manifest.State, e *manifest.Entry, bounds marks, fresh map[manifest.StreamKey]int) (list []manifest.CutException) {
	ends := make(map[int]int64) // positions after the entry
	for _, s := range e.Streams {
		ends[len(state.Streams)+len(ends)] = s.First
	}
	for i := range e.Ranges {
		r := &e.Ranges[i]
		end, ok := ends[r.Stream]
		if !ok {
			end = state.Streams[r.Stream].Next
		}
		for _, sp := range r.Spans {
			end += sp.Offsets
		}
		ends[r.Stream] = end
	}
	for key, bound := range bounds {
		n, known := state.Current(key)
		if !known {
			if n, known = fresh[key]; !known {
				continue // gone before anything of it was committed
			}
		}
		end, ok := ends[n]
		if !ok {
			end = state.Streams[n].Next
		}
		if behind := end - bound; behind > 0 {
			list = append(list, manifest.CutException{Stream: n, Behind: behind})
		}
	}
	slices.SortFunc(list, func(a, b manifest.CutException) int { return a.Stream - b.Stream })
	return list
}

// groupChanges compares the groups of the cluster with those of the state.
func groupChanges(state *manifest.State, now groups) []manifest.GroupChange {
	var changes []manifest.GroupChange
	for id, g := range now.list {
		old := state.Groups[id]
		if g == nil {
			if old != nil {
				changes = append(changes, manifest.GroupChange{ID: id, Gone: true})
			}
			continue
		}
		c := manifest.GroupChange{ID: id, Type: g.Type, ProtocolType: g.ProtocolType, Offsets: offsetChanges(old, g)}
		if old == nil || len(c.Offsets) > 0 || old.Type != g.Type || old.ProtocolType != g.ProtocolType {
			changes = append(changes, c)
		}
	}
	for id, g := range state.Groups {
		if _, stated := now.list[id]; !stated && (!now.some || g.Type == kafka.ShareGroup) {
			changes = append(changes, manifest.GroupChange{ID: id, Gone: true})
		}
	}
	slices.SortFunc(changes, func(a, b manifest.GroupChange) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return changes
}

func offsetChanges(old, now *manifest.Group) []manifest.OffsetChange {
	var changes []manifest.OffsetChange
	for _, k := range now.SortedOffsets() {
		o := now.Offsets[k]
		if old != nil {
			if was, ok := old.Offsets[k]; ok && was == o {
				continue
			}
		}
		changes = append(changes, manifest.OffsetChange{Topic: k.Topic, Partition: k.Partition, Committed: true, Offset: o.Offset, Epoch: o.Epoch, Metadata: o.Metadata})
	}
	if old == nil {
		return changes
	}
	for _, k := range old.SortedOffsets() {
		if _, ok := now.Offsets[k]; !ok {
			changes = append(changes, manifest.OffsetChange{Topic: k.Topic, Partition: k.Partition})
		}
	}
	manifest.SortOffsets(changes)
	return changes
}
