package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// recompressing does what smallMerges does, and re-encodes.
func recompressing() merge.Config {
	c := smallMerges
	c.Recompress = true
	return c
}

// shapes are the batches that a point yields: where they begin and end, and with which codec, by partition. So are those
// for a target that takes no more than small bytes.
func (s *scribe) shapes(at uint64) (map[string][]string, error) {
	all, err := s.shapesToFit(at, 0)
	if err != nil {
		return nil, err
	}
	const small = 1500
	split, err := s.shapesToFit(at, small)
	for q, list := range split {
		all[q+" split"] = list
	}
	return all, err
}

func (s *scribe) shapesToFit(at uint64, fit int) (map[string][]string, error) {
	snap, err := LoadPoint(s.t.Context(), s.repo, at)
	if err != nil {
		return nil, err
	}
	plan, err := snap.Plan(s.t.Context(), nil, Request{}, firstTime)
	if err != nil {
		return nil, err
	}
	for _, t := range plan.Topics {
		t.fit = fit
	}
	lists := make([][]string, len(s.part)) // two workers write
	err = plan.replay(s.t.Context(), plan.newConverters(func(t *track) emit {
		return func(raw []byte, records int32, _ *buffer) error {
			h, _, rest, err := batch.Next(raw)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("%d bytes behind a batch", len(rest))
			}
			if fit > 0 && len(raw) > fit && records > 1 {
				err = fmt.Errorf("%d bytes in a batch of %d records", len(raw), records)
			}
			content, derr := identities(raw)
			lists[t.partition] = append(lists[t.partition], fmt.Sprintf("%d of %s to %d by %d: %s", records, h.Codec(), h.MaxTimestamp, h.BaseSequence, content))
			return errors.Join(err, derr)
		}
	}))
	shapes := make(map[string][]string)
	for q, list := range lists {
		shapes[fmt.Sprint(q)] = list
	}
	return shapes, err
}

// codecsOf counts the blocks that are read at a point, by codec.
func (s *scribe) codecsOf(at uint64) (count [3]int) {
	s.t.Helper()
	snap, err := LoadPoint(s.t.Context(), s.repo, at)
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := snap.Plan(s.t.Context(), nil, Request{}, firstTime)
	if err != nil {
		s.t.Fatal(err)
	}
	err = snap.walk(s.t.Context(), plan.byStream, nil, func(_ string, parts []part) error {
		for _, p := range parts {
			count[p.block.Codec]++
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return count
}

// captureBlock adds a block to a stream, and a point.
func (s *scribe) captureBlock(n int, raw []byte, k *segment.Block) (point uint64) {
	s.t.Helper()
	span := manifest.Span{}
	span.Join(k.Summary)
	e := &manifest.Entry{
		Time: firstTime.UnixMilli(), Point: &manifest.Point{Time: firstTime.UnixMilli()},
		Ranges:   []manifest.Range{{Stream: n, LeaderEpoch: 7, EpochGiven: true, Spans: []manifest.Span{span}}},
		Segments: []manifest.Segment{s.segment([]int{n}, []blockOf{{*k, raw}})},
	}
	if err := s.append(e); err != nil {
		s.t.Fatal(err)
	}
	s.at[n] = k.Next
	return e.Sequence
}

// decoded returns the batches of a block.
func (s *scribe) decoded(key string, k *segment.Block) ([]byte, error) {
	body, err := s.repo.Store().Get(s.t.Context(), key, k.Position, k.StoredLength)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	stored, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	dec, err := segment.NewDecoder()
	if err != nil {
		return nil, err
	}
	raw, err := dec.Decode(k, stored, nil)
	if err != nil {
		return nil, err
	}
	return bare(k, raw)
}

// fatBatches are like batches, and large enough that it pays to pack them together, some so large that they are sent as they are.
func (h *randomPast) fatBatches(n int) []spec {
	list := h.batches(n)
	for i := range list {
		list[i].letters = true
		if list[i].size = 400 + h.rng.IntN(400); h.rng.IntN(3) == 0 {
			list[i].size = 4000
		}
	}
	return list
}

// Whatever was captured, by whatever codec, every point yields the same records in the same batches once it is re-encoded, and
// a merge of what is re-encoded changes nothing either.
func TestRecompressionChangesNothing(t *testing.T) {
	t.Parallel()
	var reencoded int64
	for seed := range uint64(4) {
		h := newRandomPast(t, seed, 4)
		m := merger(h.repo, recompressing())
		before := make(map[uint64]map[string][]string)
		for round := range 3 {
			for range 2 + h.rng.IntN(6) {
				p := h.captureAll(0, h.fatBatches, slices.Sorted(slices.Values(h.ends))...)
				h.points = append(h.points[max(0, len(h.points)-4):], p) // the others yield less of the same
			}
			for _, p := range h.points {
				if before[p] != nil {
					continue
				}
				var err error
				if before[p], err = h.shapes(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.log.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, err := m.Run(t.Context())
			if err != nil || r.Damaged+r.Dropped+r.Unproven > 0 {
				t.Fatalf("seed %d, round %d: %+v, %v", seed, round, r, err)
			}
			reencoded += r.Reencoded
			if err := h.log.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, p := range h.points {
				want := before[p]
				if got, err := h.shapes(p); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("seed %d: point %d: %v\n%.2000v\nwant\n%.2000v", seed, p, err, got, want)
				}
			}
			if report, err := Verify(t.Context(), h.repo, Scope{Level: manifest.LevelDecode}, nil); err != nil || len(report.Damages) > 0 || report.Compared == 0 || report.Uncompared > 0 {
				t.Fatalf("verify: %+v, %v", report, err)
			}
		}
		if n := h.codecsOf(h.points[len(h.points)-1]); n[segment.Reencoded] == 0 {
			t.Errorf("seed %d: no block is re-encoded: %v", seed, n)
		}
	}
	if reencoded == 0 {
		t.Error("nothing was re-encoded")
	}
}

// A batch whose records cannot be read is moved as it is, and a plan says what is stored otherwise than it was served.
func TestWhatIsDamagedIsNotReencoded(t *testing.T) {
	s := newScribe(t, 1)
	s.asIs = true
	fat := func(n int) []spec {
		return []spec{{base: s.at[n], last: 3, size: 2000, letters: true, codec: batch.Snappy}, {base: s.at[n] + 4, last: 3, size: 2000, letters: true, codec: batch.LZ4}}
	}
	s.captureAll(0, fat, 0)
	raw, k := block(s.at[0], fat(0)...)
	_, first, second, err := batch.Next(raw)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(second)
	clear(bad[batch.HeaderSize:][:4])
	reseal(bad)
	raw = append(bytes.Clone(first), bad...)
	last := s.captureBlock(0, raw, k)
	r, err := merger(s.repo, recompressing()).Run(t.Context())
	if err != nil || r.Written == 0 || r.Reencoded == 0 || r.Unproven+r.Damaged > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	snap, err := LoadPoint(t.Context(), s.repo, last)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, firstTime)
	if err != nil || plan.Topics[0].Reencoded == 0 || len(plan.Notes) != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	var got []byte
	err = snap.walk(t.Context(), plan.byStream, nil, func(key string, parts []part) error {
		for _, p := range parts {
			raw, err := s.decoded(key, p.block)
			if err != nil {
				return err
			}
			got = append(got, raw...)
		}
		return nil
	})
	if err != nil || !bytes.Contains(got, bad) || bytes.Contains(got, first) {
		t.Errorf("%d bytes, %v: the damaged batch is there %t, the sound one as it was %t", len(got), err, bytes.Contains(got, bad), bytes.Contains(got, first))
	}
}
