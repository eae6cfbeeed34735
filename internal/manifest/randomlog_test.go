package manifest_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// chance draws what follows from a state. Who adds a section to the log adds it
// here, so that every test with random logs has it.
type chance struct{ *rand.Rand }

func dice(seed uint64) chance { return chance{rand.New(rand.NewPCG(seed, 1))} }

// oneIn is true once in n times.
func (c chance) oneIn(n int) bool { return c.IntN(n) == 0 }

// entry draws an entry that may follow the state. Time goes back now and then.
func (c chance) entry(s *manifest.State) *manifest.Entry {
	e := &manifest.Entry{Time: 1_700_000_000_000 + int64(s.Sequence)*10_000 - c.Int64N(30_000)}
	if c.oneIn(5) {
		e.Agent = &manifest.Agent{Program: "backupd", Host: fmt.Sprint("h", c.IntN(3)), Principal: "User:b"}
	}
	c.topics(s, e)
	ends := c.streams(s, e)
	c.ranges(s, e, ends)
	c.groups(s, e)
	c.points(s, e, ends)
	c.transactions(e, ends)
	c.removals(s, e)
	c.moves(s, e)
	c.losses(s, e)
	if c.oneIn(4) {
		content := fmt.Sprintf("{\"a\":%d}", c.IntN(9))
		e.Metadata = []manifest.MetadataChange{{Kind: "acls", Content: &content}, {Kind: fmt.Sprint("quotas", c.IntN(3))}}
	}
	return e
}

func (c chance) topics(s *manifest.State, e *manifest.Entry) {
	for n := range s.Topics {
		if t := s.Topics[n]; c.oneIn(8) {
			t.Gone = !t.Gone && c.oneIn(2) || t.Gone && !c.oneIn(2) // names are never used again, so that any may come back
			t.Partitions += int32(c.IntN(2))
			e.Topics = append(e.Topics, manifest.TopicChange{Number: n, Topic: t})
		}
	}
	if n := len(s.Topics); n == 0 || n < 8 && c.oneIn(4) {
		t := topicNamed(n, byte(n+1), fmt.Sprint("topic-", n), c.oneIn(9))
		if value := fmt.Sprint(c.IntN(100)); c.oneIn(2) {
			t.Configs = []manifest.Config{{Name: "retention.ms", Value: &value}, {Name: "secret"}}
		}
		e.Topics = append(e.Topics, t)
	}
}

// streams draws new streams and branches, and returns the positions of those that
// may get a range.
func (c chance) streams(s *manifest.State, e *manifest.Entry) map[int]int64 {
	ends := make(map[int]int64)
	for n := range s.Streams {
		if s.Streams[n].Child < 0 {
			ends[n] = s.Streams[n].Next
		}
	}
	add := func(n manifest.NewStream) {
		ends[len(s.Streams)+len(e.Streams)] = n.First
		e.Streams = append(e.Streams, n)
	}
	for n := range s.Topics {
		for p := range s.Topics[n].Partitions {
			current, known := s.Current(manifest.StreamKey{TopicID: s.Topics[n].ID, Partition: p})
			switch {
			case !known && c.oneIn(2):
				add(manifest.NewStream{Topic: n, Partition: p, Parent: -1, First: c.Int64N(50)})
			case known && c.oneIn(15):
				st := &s.Streams[current]
				delete(ends, current)
				add(manifest.NewStream{Topic: n, Partition: p, Parent: current, First: st.First + c.Int64N(st.Next-st.First+1)})
			}
		}
	}
	return ends
}

// moves draws moves of ranges that are there. Whether they replace whole spans, a state does not know.
func (c chance) moves(s *manifest.State, e *manifest.Entry) {
	m := &manifest.Moves{After: s.Moved}
	for n := range s.Streams {
		if st := &s.Streams[n]; st.Next > st.First && c.oneIn(4) {
			start := st.First + c.Int64N(st.Next-st.First)
			m.List = append(m.List, manifest.Move{Stream: n, Start: start, Span: manifest.Span{Segment: c.IntN(len(e.Segments)), Offsets: 1 + c.Int64N(st.Next-start)}})
		}
	}
	if len(m.List) > 0 && c.oneIn(3) {
		e.Moves = m
	}
}

// losses draws losses in a segment that is there.
func (c chance) losses(s *manifest.State, e *manifest.Entry) {
	var names []manifest.SegmentName
	for writer, runs := range s.Segments {
		if n := runs[0].First; s.Readable(writer, n) && (e.Removed == nil || !e.Removed.Segments.Has(writer, n)) {
			names = append(names, manifest.SegmentName{Writer: writer, Counter: n})
		}
	}
	if len(names) == 0 || !c.oneIn(3) {
		return
	}
	l := &manifest.Losses{After: s.Moved}
	for n := range s.Streams {
		if st := &s.Streams[n]; st.Next > st.First && c.oneIn(3) {
			start := st.First + c.Int64N(st.Next-st.First)
			l.List = append(l.List, manifest.Loss{
				Stream: n, Start: start, Offsets: 1 + c.Int64N(st.Next-start), Records: 1, MinTimestamp: 5, MaxTimestamp: 7, Epoch: int32(c.IntN(3)) - 1, In: names[0], Reason: "gone",
			})
		}
	}
	if len(l.List) > 0 {
		e.Losses = l
	}
}

func (c chance) ranges(s *manifest.State, e *manifest.Entry, ends map[int]int64) {
	e.Segments = make([]manifest.Segment, 1+c.IntN(2))
	for i := range e.Segments {
		e.Segments[i].Counter, e.Segments[i].Size = s.Sequence*2+uint64(i), 1000+c.Int64N(1000)
	}
	for n := range len(s.Streams) + len(e.Streams) {
		if _, open := ends[n]; !open || c.oneIn(2) {
			continue
		}
		r := manifest.Range{Stream: n}
		if c.oneIn(4) {
			r.LeaderEpoch, r.EpochGiven = int32(c.IntN(9)), true
		}
		for range 1 + c.IntN(3) {
			span := manifest.Span{Offsets: 1 + c.Int64N(100)}
			switch {
			case c.oneIn(5):
				span.Gap, span.Reason = true, manifest.GapReason(c.IntN(2))
			case !c.oneIn(6):
				span.Segment, span.Records = c.IntN(len(e.Segments)), 1+c.Int64N(100)
				span.MaxTimestamp = e.Time - c.Int64N(1000)
				span.MinTimestamp = span.MaxTimestamp - c.Int64N(1000)
			}
			r.Spans = append(r.Spans, span)
			ends[n] += span.Offsets
		}
		e.Ranges = append(e.Ranges, r)
		if c.oneIn(3) {
			e.LogStarts = append(e.LogStarts, manifest.LogStart{Stream: n, Offset: c.Int64N(ends[n] + 10)})
		}
	}
}

func (c chance) groups(s *manifest.State, e *manifest.Entry) {
	for g := range 4 {
		change := manifest.GroupChange{ID: fmt.Sprint("group-", g)}
		switch _, there := s.Groups[change.ID]; {
		case there && c.oneIn(8):
			change.Gone = true
		case c.oneIn(3):
			change.Type, change.ProtocolType = "classic", "consumer"
			for p := range 3 {
				o := manifest.OffsetChange{Topic: "topic-0", Partition: int32(p), Committed: !c.oneIn(4)}
				if o.Committed {
					o.Offset, o.Epoch, o.Metadata = c.Int64N(1000), int32(c.IntN(3))-1, fmt.Sprint(c.IntN(2))
				}
				change.Offsets = append(change.Offsets, o)
			}
		default:
			continue
		}
		e.Groups = append(e.Groups, change)
	}
}

func (c chance) points(s *manifest.State, e *manifest.Entry, ends map[int]int64) {
	for _, p := range s.Points {
		switch {
		case p.Pinned && c.oneIn(6):
			e.PointChanges = append(e.PointChanges, manifest.PointChange{Point: p.Sequence})
		case !p.Pinned && c.oneIn(6):
			pin := c.oneIn(2)
			e.PointChanges = append(e.PointChanges, manifest.PointChange{Point: p.Sequence, Pinned: pin, Deleted: !pin && !p.Held, Held: pin && c.oneIn(2)})
		}
	}
	if s.Sequence > 0 && c.oneIn(4) {
		first := 1 + uint64(c.Int64N(int64(s.Sequence)))
		e.Verification = &manifest.Verification{
			Level: manifest.Level(c.IntN(4)), First: first, Last: s.Sequence, Share: manifest.WholeShare - c.Int64N(2), Seed: c.Uint64(), Segments: c.Int64N(9), Bytes: c.Int64N(99), Damages: c.Int64N(2), Text: "found",
		}
	}
	if c.oneIn(6) {
		e.Promotion = &manifest.Promotion{Mark: manifest.Digest{byte(c.IntN(256))}, Archive: c.IntN(4) == 0}
	}
	if c.oneIn(2) {
		return
	}
	e.Point = &manifest.Point{Time: e.Time - 100}
	if c.oneIn(3) {
		e.Point.Name = fmt.Sprint("point-", s.Sequence)
	}
	if c.oneIn(2) {
		e.Closing = &manifest.Closing{Millis: c.Int64N(50), Marks: 1 + c.Int64N(3), Unproven: c.Int64N(2)}
	}
	for n := range len(s.Streams) + len(e.Streams) {
		if end := ends[n]; end > 0 && c.oneIn(6) {
			e.Point.Exceptions = append(e.Point.Exceptions, manifest.CutException{Stream: n, Behind: c.Int64N(end)})
		}
	}
}

func (c chance) transactions(e *manifest.Entry, ends map[int]int64) {
	if len(e.Ranges) == 0 && e.Point == nil {
		return
	}
	for n, end := range ends {
		if end > 0 && c.oneIn(5) {
			kind := manifest.TxnOpen
			if e.Point != nil {
				kind = manifest.TxnKind(c.IntN(3))
			}
			e.Transactions = append(e.Transactions, manifest.Transaction{Stream: n, Kind: kind, ProducerID: c.Int64N(5), Epoch: int16(c.IntN(3)), Offset: c.Int64N(end)})
		}
	}
	slices.SortFunc(e.Transactions, func(a, b manifest.Transaction) int { return cmp.Compare(a.Stream, b.Stream) })
}

// removals draws segments that are removed, segments that are deleted, and a fence.
func (c chance) removals(s *manifest.State, e *manifest.Entry) {
	pending := s.Pending()
	some := func(of manifest.SegmentSet, not manifest.SegmentSet) *manifest.SegmentLot {
		lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
		for writer, runs := range of {
			for _, r := range runs {
				if n := r.First + c.Uint64N(r.Last-r.First+1); !not.Has(writer, n) && c.oneIn(3) {
					lot.Segments.Add(writer, n)
					lot.Bytes += 1000
				}
			}
		}
		if len(lot.Segments) == 0 {
			return nil
		}
		return lot
	}
	e.Deleted, e.Removed = some(pending, nil), some(s.Segments, pending)
	if e.Deleted != nil {
		e.Deleted.Bytes = min(e.Deleted.Bytes, s.RemovedBytes)
	}
	if c.oneIn(6) {
		e.Fences = []manifest.ID{{byte(s.Sequence), 1}}
	}
}

// randomLog appends random entries to a new repository, and puts a snapshot after
// each with a number that snapshots names. It returns those numbers.
func randomLog(t testing.TB, st store.Store, seed uint64, entries int, snapshot func(uint64) bool) (after []uint64) {
	t.Helper()
	c, l := dice(seed), openLog(t, create(t, st))
	for range entries {
		var ref *manifest.SnapshotRef
		if seq := l.State().Sequence; seq > 0 && snapshot(seq) {
			var err error
			if ref, err = l.PutSnapshot(t.Context()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			after = append(after, seq)
		}
		_, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			e := c.entry(s)
			e.Snapshot = ref
			return e, nil
		})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	return after
}
