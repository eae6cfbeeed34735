package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// track is what a restore reads of one partition: offsets [lo, hi), over the
// branches of the stream.
type track struct {
	topic     int // index into the selection
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
// order, with the parts in the order in which they lie in the segment. Parts of
// one track come in offset order, over all calls. Footers are checked against
// the log. What else it comes past, the past is told, which may be nil.
func (s *Snapshot) walk(ctx context.Context, byStream map[int]*track, past *past, fn func(key string, parts []part) error) error {
	// Nothing of a track is in entries up to which its streams had not come so far.
	begin := func(state *manifest.State) bool {
		for n, t := range byStream {
			if n < len(state.Streams) && state.Streams[n].Next > t.lo {
				return false
			}
		}
		return past.begin(state)
	}
	_, err := s.Repository.ReadSince(ctx, s.Point.Sequence, begin, func(state *manifest.State, e *manifest.Entry) error {
		if past != nil {
			past.entry(state, e)
		}
		wanted := s.wanted(state, e, byStream, past)
		for i := range e.Segments {
			if len(wanted[i]) == 0 {
				continue
			}
			key := manifest.SegmentKey(e.Writer, e.Segments[i].Counter)
			footer, err := readFooter(ctx, s.Repository.Store(), key, e.Segments[i].Ref)
			if err != nil {
				return err
			}
			parts, err := match(footer, wanted[i])
			if err != nil {
				return &manifest.Damage{Key: key, Err: err}
			}
			if len(parts) == 0 {
				continue
			}
			if err := fn(key, parts); err != nil {
				return err
			}
		}
		return nil
	})
	return err
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

// wanted returns, for each segment of the entry, the stretches of the tracks.
func (s *Snapshot) wanted(state *manifest.State, e *manifest.Entry, byStream map[int]*track, past *past) [][]stretch {
	lists := make([][]stretch, len(e.Segments))
	for i := range e.Ranges {
		r := &e.Ranges[i]
		t := byStream[r.Stream]
		if t == nil {
			continue
		}
		b := t.branches[slices.IndexFunc(t.branches, func(b branch) bool { return b.stream == r.Stream })]
		at := state.Start(r)
		for _, sp := range r.Spans {
			next := at + sp.Offsets
			lo, hi := max(at, b.lo), min(next, b.hi)
			switch {
			case lo >= hi:
			case !sp.Gap:
				past.meet(t.key, e)
				lists[sp.Segment] = append(lists[sp.Segment], stretch{b, t, at, next, sp, epochUnstated})
			}
			at = next
		}
	}
	return lists
}

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
	from := slices.IndexFunc(s.Blocks, func(k segment.Block) bool { return k.Start == w.start })
	at, sum, epoch := w.start, manifest.Span{}, int32(epochUnstated)
	to := from
	for ; from >= 0 && to < len(s.Blocks) && s.Blocks[to].Start == at && at < w.next; to++ {
		at, epoch = s.Blocks[to].Next, s.Blocks[to].LeaderEpoch
		sum.Join(s.Blocks[to].Summary)
	}
	switch {
	case at != w.next || sum.Records != w.span.Records:
		return nil, fmt.Errorf("%w: the blocks of %s-%d do not make up the offsets [%d,%d) with %d records that the log states",
			segment.ErrCorrupt, s.Topic, s.Partition, w.start, w.next, w.span.Records)
	case sum.Records > 0 && (sum.MinTimestamp != w.span.MinTimestamp || sum.MaxTimestamp != w.span.MaxTimestamp):
		return nil, fmt.Errorf("%w: the blocks of %s-%d from offset %d have timestamps from %d to %d, the log says %d to %d",
			segment.ErrCorrupt, s.Topic, s.Partition, w.start, sum.MinTimestamp, sum.MaxTimestamp, w.span.MinTimestamp, w.span.MaxTimestamp)
	case w.epoch != epochUnstated && epoch != w.epoch:
		return nil, fmt.Errorf("%w: the blocks of %s-%d from offset %d end with leader epoch %d, the log says %d", segment.ErrCorrupt, s.Topic, s.Partition, w.start, epoch, w.epoch)
	}
	return s.Blocks[from:to], nil
}

// readFooter fetches and checks a segment's footer.
func readFooter(ctx context.Context, st store.Store, key string, ref segment.Ref) (*segment.Footer, error) {
	tail, err := readTail(ctx, st, key, ref)
	if err != nil {
		return nil, err
	}
	f, err := ref.Open(tail)
	if err != nil {
		return nil, &manifest.Damage{Key: key, Err: err}
	}
	return f, nil
}

// readTail reads the bytes that Open needs, and one more that must not be
// there. An object that is missing, too short or too long is damage.
func readTail(ctx context.Context, st store.Store, key string, ref segment.Ref) ([]byte, error) {
	body, err := st.Get(ctx, key, ref.Size-ref.TailLength(), ref.TailLength()+1)
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrRange) {
		return nil, &manifest.Damage{Key: key, Err: fmt.Errorf("%w: its footer: %w", segment.ErrCorrupt, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	defer body.Close()
	b, err := readBlock(body, ref.TailLength())
	if err == io.EOF {
		return nil, &manifest.Damage{Key: key, Err: fmt.Errorf("%w: it ends before byte %d", segment.ErrCorrupt, ref.Size)}
	}
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	switch _, err := io.CopyN(io.Discard, body, 1); {
	case err == nil:
		return nil, &manifest.Damage{Key: key, Err: fmt.Errorf("%w: it goes on after byte %d", segment.ErrCorrupt, ref.Size)}
	case err != io.EOF:
		return nil, fmt.Errorf("read segment %s: %w", key, err)
	}
	return b, nil
}

// readBlock reads exactly n bytes. It returns io.EOF if the object ends before,
// whereas a connection that breaks is io.ErrUnexpectedEOF or something else.
func readBlock(body io.Reader, n int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(n, 8<<20))) // n comes from the repository: more only as it arrives
	_, err := io.CopyN(&b, body, n)
	return b.Bytes(), err
}

// blockError names what could not be read. An object that is missing or too
// short is damage.
func blockError(key string, k *segment.Block, err error) error {
	err = fmt.Errorf("block at byte %d: %w", k.Position, err)
	switch {
	case isCorrupt(err):
		return &manifest.Damage{Key: key, Err: err}
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrRange), errors.Is(err, io.EOF):
		return &manifest.Damage{Key: key, Err: fmt.Errorf("%w: %w", segment.ErrCorrupt, err)}
	}
	return fmt.Errorf("read segment %s: %w", key, err)
}

func isCorrupt(err error) bool { return errors.Is(err, segment.ErrCorrupt) }
