package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// scribe writes a repository without a cluster: one topic, and its partitions as streams.
type scribe struct {
	t       testing.TB
	repo    *manifest.Repository
	log     *manifest.Log
	counter uint64
	at      []int64 // by stream: the next offset
	part    []int32 // by stream: the partition
	held    map[[2]int64]blockOf
	asIs    bool // blocks are stored as they are
}

// blockOf is one that has been captured.
type blockOf struct {
	block segment.Block
	raw   []byte
}

const scribeTopic = "orders"

func newScribe(t testing.TB, streams int) *scribe {
	t.Helper()
	repo, err := manifest.OpenOrCreate(t.Context(), mem.New(), "cluster", firstTime)
	if err != nil {
		t.Fatal(err)
	}
	return newScribeOf(t, repo, streams)
}

// newScribeOf returns one for a repository that is empty but for its keys.
func newScribeOf(t testing.TB, repo *manifest.Repository, streams int) *scribe {
	t.Helper()
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s := &scribe{t: t, repo: repo, log: log, at: make([]int64, streams), held: make(map[[2]int64]blockOf)}
	e := &manifest.Entry{Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: scribeTopic, Partitions: int32(streams)}}}}
	for q := range streams {
		e.Streams = append(e.Streams, manifest.NewStream{Partition: int32(q), Parent: -1})
		s.part = append(s.part, int32(q))
	}
	if err := s.append(e); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scribe) append(e *manifest.Entry) error {
	_, err := s.log.Append(s.t.Context(), func(*manifest.State) (*manifest.Entry, error) { return e, nil })
	return err
}

func (s *scribe) stream(n int) segment.Stream {
	return segment.Stream{TopicID: [16]byte{1}, Topic: scribeTopic, Partition: s.part[n]}
}

// segment puts blocks into a segment of its own.
func (s *scribe) segment(streams []int, blocks []blockOf) manifest.Segment {
	s.t.Helper()
	var b strings.Builder
	s.counter++
	seal, err := s.repo.NewSeal(s.log.Writer(), s.counter)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := segment.NewSealedWriter(&b, seal)
	if err != nil {
		s.t.Fatal(err)
	}
	enc, err := segment.NewEncoder(zstd.SpeedFastest)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, k := range blocks {
		of := s.stream(streams[i])
		seal.Take(&k.block, &of)
		stored, err := enc.Encode(&k.block, k.raw, !s.asIs)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := w.WriteBlock(of, k.block, stored); err != nil {
			s.t.Fatal(err)
		}
	}
	ref, _, err := w.Finish()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.repo.Store().Put(s.t.Context(), manifest.SegmentKey(s.log.Writer(), s.counter), strings.NewReader(b.String()), store.PutOptions{}); err != nil {
		s.t.Fatal(err)
	}
	return manifest.Segment{Counter: s.counter, Ref: ref}
}

// capture adds a batch of some records to each of the streams, and a point. With gap, offsets are missing before it.
func (s *scribe) capture(gap int64, streams ...int) (point uint64) {
	s.t.Helper()
	return s.captureAll(gap, func(n int) []spec { return []spec{{base: s.at[n], last: int32(2 + n)}} }, streams...)
}

// captureAll does so with chosen batches, which begin at the stream's next offset.
func (s *scribe) captureAll(gap int64, choose func(stream int) []spec, streams ...int) (point uint64) {
	s.t.Helper()
	e := &manifest.Entry{Time: firstTime.UnixMilli(), Point: &manifest.Point{Time: firstTime.UnixMilli()}}
	var blocks []blockOf
	for _, n := range streams {
		r := manifest.Range{Stream: n, LeaderEpoch: 7, EpochGiven: true}
		if gap > 0 {
			r.Spans = append(r.Spans, manifest.Span{Gap: true, Offsets: gap, Reason: manifest.GapEmpty})
			s.at[n] += gap
		}
		raw, k := block(s.at[n], choose(n)...)
		blocks = append(blocks, blockOf{*k, raw})
		s.held[[2]int64{int64(n), s.at[n]}] = blockOf{*k, raw}
		span := manifest.Span{}
		span.Join(k.Summary)
		r.Spans = append(r.Spans, span)
		e.Ranges = append(e.Ranges, r)
		s.at[n] = k.Next
	}
	e.Segments = []manifest.Segment{s.segment(streams, blocks)}
	if err := s.append(e); err != nil {
		s.t.Fatal(err)
	}
	return e.Sequence
}

// branch begins a branch of a stream and returns its number.
func (s *scribe) branch(parent int, first int64) int {
	s.t.Helper()
	if err := s.append(&manifest.Entry{Streams: []manifest.NewStream{{Partition: s.part[parent], Parent: parent, First: first}}}); err != nil {
		s.t.Fatal(err)
	}
	s.at, s.part = append(s.at, first), append(s.part, s.part[parent])
	return len(s.at) - 1
}

// move writes the captured blocks of [start, next) of streams anew, into one segment, and moves them there.
func (s *scribe) move(start, next int64, streams ...int) (manifest.SegmentName, error) {
	s.t.Helper()
	m := &manifest.Moves{After: s.log.State().Moved}
	var blocks []blockOf
	var of []int
	for _, n := range streams {
		v := manifest.Move{Stream: n, Start: start}
		for at := start; at < next; {
			b, ok := s.held[[2]int64{int64(n), at}]
			if !ok {
				at++
				v.Span.Offsets++ // a gap, or the middle of a block
				continue
			}
			v.Span.Join(b.block.Summary)
			blocks, of = append(blocks, b), append(of, n)
			at = b.block.Next
		}
		m.List = append(m.List, v)
	}
	g := s.segment(of, blocks)
	return manifest.SegmentName{Writer: s.log.Writer(), Counter: g.Counter}, s.append(&manifest.Entry{Segments: []manifest.Segment{g}, Moves: m})
}

// restored is what a restore to each point yields, and how many parts of each segment it reads.
func (s *scribe) restored(at uint64) (records map[string][]string, read map[string]int, err error) {
	snap, err := LoadPoint(s.t.Context(), s.repo, at)
	if err != nil {
		return nil, nil, err
	}
	plan, err := snap.Plan(s.t.Context(), nil, Request{}, firstTime)
	if err != nil {
		return nil, nil, err
	}
	records, read = make(map[string][]string), make(map[string]int)
	lists := make([][]string, len(s.part)) // by partition: two workers write
	converters := plan.newConverters(func(t *track) emit {
		return func(raw []byte, _ int32, _ *buffer) error {
			got, err := identities(raw)
			lists[t.partition] = append(lists[t.partition], got...)
			return err
		}
	})
	if err := plan.replay(context.Background(), converters); err != nil {
		return nil, nil, err
	}
	for q, list := range lists {
		records[placeOf(scribeTopic, int32(q))] = list
	}
	return records, read, plan.last().walk(s.t.Context(), plan.byStream, nil, func(key string, parts []part) error {
		read[key] += len(parts)
		return nil
	})
}

// What was moved comes from where it was moved to, at every point, in the same order, whatever was moved again.
func TestRestoreOfWhatWasMoved(t *testing.T) {
	s := newScribe(t, 3)
	var points []uint64
	for range 3 {
		points = append(points, s.capture(0, 0, 1), s.capture(0, 1, 2))
	}
	points = append(points, s.capture(5, 0))
	before := make(map[uint64]map[string][]string)
	for _, p := range points {
		before[p], _, _ = s.restored(p)
	}
	same := func(what string) {
		t.Helper()
		for _, p := range points {
			got, _, err := s.restored(p)
			if err == nil {
				err = compareRecords(got, before[p], false)
			}
			if err != nil {
				t.Errorf("%s: point %d: %v", what, p, err)
			}
		}
	}
	first, err := s.move(3, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	same("the end of a stream")
	both, err := s.move(0, 4*4, 1)
	if err != nil {
		t.Fatal(err)
	}
	same("the beginning of another one")
	all, err := s.move(0, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	same("moved again")
	_, read, err := s.restored(points[6])
	if err != nil || read[first.Key()] != 0 || read[both.Key()] == 0 || read[all.Key()] == 0 {
		t.Errorf("%d parts of what was moved again are read, %d and %d of the others, %v", read[first.Key()], read[both.Key()], read[all.Key()], err)
	}
	if report, err := Verify(t.Context(), s.repo, Scope{Level: manifest.LevelDecode}, nil); err != nil || len(report.Damages) > 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// A segment with many pieces is read once where that is possible.
func TestNeighboursAreReadAtOnce(t *testing.T) {
	s := newScribe(t, 3)
	s.capture(0, 0)
	s.capture(0, 1)
	last := s.capture(0, 2)
	m := &manifest.Moves{}
	var blocks []blockOf
	for n := range 3 {
		b := s.held[[2]int64{int64(n), 0}]
		v := manifest.Move{Stream: n}
		v.Span.Join(b.block.Summary)
		m.List, blocks = append(m.List, v), append(blocks, b)
	}
	g := s.segment([]int{0, 1, 2}, blocks)
	if err := s.append(&manifest.Entry{Segments: []manifest.Segment{g}, Moves: m}); err != nil {
		t.Fatal(err)
	}
	snap, err := LoadPoint(t.Context(), s.repo, last)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, firstTime)
	if err != nil || plan.Segments != 1 {
		t.Errorf("%d segments are read instead of 1, %v", plan.Segments, err)
	}
}

// Moves that are not what they replace are damage, at plan time.
func TestMovesThatDoNotFit(t *testing.T) {
	for _, tc := range []struct {
		name string
		move func(s *scribe) error
		want string
	}{
		{"a part of what lies together", func(s *scribe) error { _, err := s.move(1, 6, 0); return err }, "a part only"},
		{"across a gap", func(s *scribe) error {
			s.capture(5, 0)
			_, err := s.move(3, 14, 0)
			return err
		}, "do not make up"}, // a segment has no blocks for a gap, so that this is met first
		{"a part of what was moved together", func(s *scribe) error {
			_, one := s.move(0, 6, 0)
			_, two := s.move(3, 6, 0)
			return errors.Join(one, two)
		}, "others were moved together"},
		{"other times", func(s *scribe) error {
			b := s.held[[2]int64{0, 0}]
			g := s.segment([]int{0}, []blockOf{b})
			v := manifest.Move{}
			v.Span.Join(b.block.Summary)
			v.Span.MaxTimestamp++
			return s.append(&manifest.Entry{Segments: []manifest.Segment{g}, Moves: &manifest.Moves{List: []manifest.Move{v}}})
		}, "in the place of"},
	} {
		s := newScribe(t, 1)
		s.capture(0, 0)
		s.capture(0, 0)
		if err := tc.move(s); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		last := slices.MaxFunc(s.log.State().Points, func(a, b manifest.PointRef) int { return int(a.Sequence) - int(b.Sequence) })
		_, _, err := s.restored(last.Sequence)
		report, verr := Verify(t.Context(), s.repo, Scope{Level: manifest.LevelDecode}, nil)
		if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: a restore gives %v", tc.name, err)
		}
		if verr != nil || len(report.Damages) == 0 || !strings.Contains(fmt.Sprint(report.Damages), tc.want) {
			t.Errorf("%s: verify gives %+v, %v", tc.name, report, verr)
		}
	}
}
