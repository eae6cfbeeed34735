package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// track is what a restore reads of one partition: offsets [lo, hi), over the
// branches of the stream.
type track struct {
	topic     int    // index into the selection
	name      string // of the topic; only a verification needs it
	partition int32
	key       manifest.StreamKey
	lo, hi    int64
	branches  []branch // in offset order
	moved     bool     // it ends before the point does: see Request.Vector
}

// branch is the part of a track that one stream of the log provides.
type branch struct {
	stream int
	lo, hi int64
}

// addTracks adds the tracks of the topics, one for each partition that the
// backup has seen. Streams keep their numbers from one point to the next, so that
// tracks of several points can be walked together.
func (p *Plan) addTracks() {
	p.byStream = make(map[int]*track)
	for i, topic := range p.Topics {
		for q := range topic.Partitions {
			key := manifest.StreamKey{TopicID: topic.Source.ID, Partition: q}
			n, ok := topic.From.State.Current(key)
			if !ok {
				continue // known to be empty when the point was made
			}
			t := topic.From.track(n)
			t.topic, t.partition, t.key = i, q, key
			p.tracks = append(p.tracks, t)
			for _, b := range t.branches {
				p.byStream[b.stream] = t
			}
		}
	}
}

// track follows a stream back over its branches. Nothing below the source's
// log start at the point belongs to it.
func (s *Snapshot) track(n int) *track {
	hi := s.State.Streams[n].Next
	if cut, ok := s.cut[n]; ok {
		hi = cut
	}
	lo := max(s.State.Streams[n].LogStart, 0)
	t := &track{hi: hi, moved: s.moved[n]}
	for end := hi; n >= 0; n = s.State.Streams[n].Parent {
		st := &s.State.Streams[n]
		if st.First < end {
			t.branches = append(t.branches, branch{n, st.First, end})
			end = st.First
		}
		t.lo = st.First
	}
	slices.Reverse(t.branches)
	t.lo = min(max(t.lo, lo), t.hi)
	for i := range t.branches {
		t.branches[i].lo = max(t.branches[i].lo, t.lo)
	}
	return t
}

// part is a block of a track in a segment, clipped to [lo, hi).
type part struct {
	track  *track
	block  *segment.Block
	lo, hi int64
}

// records returns how many records of the part come back at most. How many are
// older than a time, nobody knows without reading them: timestamps need not ascend.
func (p *part) records() int64 { return min(p.block.Records, p.hi-p.lo) }

// walk calls fn for each segment that holds something of the tracks, in log
// order, with the parts in the order in which they lie in the segment. What was moved comes from
// where it is now, when the first of what it replaces comes up. Parts of
// one track come in offset order, over all calls. Footers are checked against
// the log. What else it comes past, the past is told, which may be nil.
func (s *Snapshot) walk(ctx context.Context, byStream map[int]*track, past *past, fn func(key string, parts []part) error) error {
	// First what is removed, then where data is: what was moved and then removed in
	// between must not look as if it were lost.
	if err := s.loadHead(ctx); err != nil {
		return err
	}
	layout, err := s.Repository.ReadLayout(ctx, func(stream int) bool { return byStream[stream] != nil })
	if err != nil {
		return err
	}
	w := newWalker(byStream, s.State, layout)
	// Nothing has to be read of entries up to which all that the tracks have was moved since,
	// or up to which they had nothing yet.
	begin := func(state *manifest.State) bool {
		from, ok := w.covers(state)
		if ok = ok && past.begin(state); ok {
			w.from = from
		}
		return ok
	}
	take := func() error { return s.take(ctx, w, past, fn) }
	begun := false
	_, err = s.Repository.ReadSince(ctx, s.Point.Sequence, begin, func(state *manifest.State, e *manifest.Entry) error {
		if !begun {
			begun = true
			if err := w.before(tracksOf(byStream), take); err != nil {
				return err
			}
		}
		if past != nil {
			past.entry(state, e)
		}
		if err := w.entry(state, e); err != nil {
			return err
		}
		return take()
	})
	return s.onMissing(ctx, err)
}

// tracksOf returns the tracks, by the first of their streams.
func tracksOf(byStream map[int]*track) []*track {
	var tracks []*track
	for _, n := range slices.Sorted(maps.Keys(byStream)) {
		if t := byStream[n]; t.branches[0].stream == n {
			tracks = append(tracks, t)
		}
	}
	return tracks
}

// take reads what the walker wants now, and calls fn.
func (s *Snapshot) take(ctx context.Context, w *walker, past *past, fn func(key string, parts []part) error) error {
	for _, l := range w.lost {
		if err := s.lack(errLost, l.in.Key, []stretch{l.stretch}, past); err != nil {
			return err
		}
	}
	for _, u := range w.units {
		if u.entry <= s.head.Sequence && s.isRemoved(u.key) {
			if err := w.layout.Knows(s.head.Sequence); err != nil {
				return err
			}
			if err := s.lack(errRemoved, u.key, u.stretches, past); err != nil {
				return err
			}
			continue
		}
		parts, err := s.partsOf(ctx, u)
		if err != nil {
			return err
		}
		if len(parts) == 0 {
			continue
		}
		if err := fn(u.key, parts); err != nil {
			return err
		}
	}
	return nil
}

// partsOf reads the footer of a segment for what is wanted of it.
func (s *Snapshot) partsOf(ctx context.Context, u *unit) ([]part, error) {
	if len(u.stretches) == 0 {
		return nil, nil
	}
	footer, err := s.Repository.ReadFooter(ctx, u.key, u.ref)
	if err != nil {
		return nil, err
	}
	parts, err := match(footer, u.stretches)
	if err != nil {
		return nil, &manifest.Damage{Key: u.key, Err: err}
	}
	return parts, nil
}

// stretch is what an entry says a segment holds of a stream.
type stretch struct {
	branch
	track       *track
	start, next int64
	span        manifest.Span
	epoch       int32 // leader epoch of the last batch, or epochUnstated
}

// epochUnstated: the log does not say it, or nobody asks. No record depends on it.
const epochUnstated = math.MinInt32

// match finds the blocks of the stretches in the footer and proves that they
// are what the log says: the same offsets, without a gap between, the same
// number of records, the same timestamps.
func match(f *segment.Footer, stretches []stretch) ([]part, error) {
	var parts []part
	for _, w := range stretches {
		i := slices.IndexFunc(f.Streams, func(s segment.StreamBlocks) bool {
			return s.TopicID == w.track.key.TopicID && s.Partition == w.track.key.Partition
		})
		if i < 0 {
			return nil, fmt.Errorf("%w: the log says that it holds partition %d of a topic that its footer does not name", segment.ErrCorrupt, w.track.key.Partition)
		}
		blocks, err := coverBlocks(&f.Streams[i], &w)
		if err != nil {
			return nil, err
		}
		for j := range blocks {
			k := &blocks[j]
			if lo, hi := max(k.Start, w.lo), min(k.Next, w.hi); lo < hi {
				parts = append(parts, part{w.track, k, lo, hi})
			}
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return int(a.block.Position - b.block.Position) })
	return parts, nil
}

// coverBlocks returns the stream's blocks that make up the stretch.
func coverBlocks(s *segment.StreamBlocks, w *stretch) ([]segment.Block, error) {
	blocks, err := w.span.Blocks(s, w.start)
	if err != nil {
		return nil, err
	}
	if epoch := blocks[len(blocks)-1].LeaderEpoch; w.epoch != epochUnstated && epoch != w.epoch {
		return nil, fmt.Errorf("%w: the blocks of %s-%d from offset %d end with leader epoch %d, the log says %d", segment.ErrCorrupt, s.Topic, s.Partition, w.start, epoch, w.epoch)
	}
	return blocks, nil
}

func isCorrupt(err error) bool { return errors.Is(err, segment.ErrCorrupt) }
