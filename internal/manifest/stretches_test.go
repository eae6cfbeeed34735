package manifest_test

import (
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// TestStretches: each segment that there is belongs to one stretch, which has its entry,
// and what the stretch says of its stream is what its segments hold.
func TestStretches(t *testing.T) {
	shared, plain := 0, 0
	for seed := range uint64(20) {
		st := mem.New()
		randomLog(t, st, seed, 60, func(n uint64) bool { return n%20 == 0 })
		named := make(map[manifest.SegmentName]uint64)
		holds := make(map[manifest.SegmentName]map[int][2]int64)
		head, err := open(t, st).Read(t.Context(), 0, func(s *manifest.State, e *manifest.Entry) error {
			for i := range e.Segments {
				name := manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[i].Counter}
				named[name], holds[name] = e.Sequence, make(map[int][2]int64)
			}
			for i := range e.Ranges {
				at := s.Start(&e.Ranges[i])
				for _, sp := range e.Ranges[i].Spans {
					next := at + sp.Offsets
					if !sp.Gap {
						of := holds[manifest.SegmentName{Writer: e.Writer, Counter: e.Segments[sp.Segment].Counter}]
						held, ok := of[e.Ranges[i].Stream]
						if !ok {
							held = [2]int64{at, next}
						}
						of[e.Ranges[i].Stream] = [2]int64{held[0], next}
					}
					at = next
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		list, known := head.Stretches()
		all := make(manifest.SegmentSet)
		for _, part := range list {
			if all.Meets(part.Segments) {
				t.Fatalf("seed %d: a segment is in two stretches", seed)
			}
			all.AddAll(part.Segments.Clone())
			for name, entry := range named {
				if !part.Segments.Has(name.Writer, name.Counter) {
					continue
				}
				if entry < part.First || entry > part.Last {
					t.Errorf("seed %d: %v of entry %d is in a stretch from %d to %d", seed, name, entry, part.First, part.Last)
				}
				held, has := holds[name][part.Stream]
				if part.Stream >= 0 && (!has || held[0] < part.Start || held[1] > part.Next) || part.Stream < 0 && len(holds[name]) > 0 {
					t.Errorf("seed %d: %v holds %v, and its stretch is %+v", seed, name, holds[name], part)
				}
				if plain++; part.First < part.Last {
					shared++
				}
			}
		}
		if !known || !all.Contains(head.Segments) || !head.Segments.Contains(all) {
			t.Fatalf("seed %d: %v are in stretches, there are %v", seed, all, head.Segments)
		}
		since, err := open(t, st).State(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if from, _ := since.Stretches(); !slices.EqualFunc(from, list, func(a, b manifest.Stretch) bool {
			return a.First == b.First && a.Stream == b.Stream && a.Next == b.Next && a.Segments.Contains(b.Segments)
		}) {
			t.Errorf("seed %d: from a snapshot they are %v, want %v", seed, from, list)
		}
	}
	if shared < plain/4 {
		t.Errorf("of %d segments %d are in stretches of several", plain, shared)
	}
}

// TestStretchesOfOldSnapshots: a log that is opened at a snapshot of before there were
// stretches is read as a whole, so that the next one has them.
func TestStretchesOfOldSnapshots(t *testing.T) {
	st := mem.New()
	l := openLog(t, create(t, st))
	c := dice(3)
	add := func(ref *manifest.SnapshotRef) {
		t.Helper()
		if _, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			e := c.entry(s)
			e.Snapshot = ref
			return e, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		add(nil)
	}
	l.State().ForgetParts()
	ref, err := l.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	add(ref)
	s, err := open(t, st).State(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, known := s.Stretches(); known {
		t.Fatal("the snapshot is not an old one")
	}
	if _, known := openLog(t, open(t, st)).State().Stretches(); !known {
		t.Error("whoever appends does not know them")
	}
}

// TestLoweredByABranch: the log start of a partition is lowered, too, by an entry that begins
// a branch of it, below what the branch begins with.
func TestLoweredByABranch(t *testing.T) {
	l := openLog(t, create(t, mem.New()))
	for _, e := range []*manifest.Entry{
		{
			Topics:  []manifest.TopicChange{topicNamed(0, 1, "a", false)},
			Streams: []manifest.NewStream{{Parent: -1, First: 10}}, Ranges: []manifest.Range{{Spans: []manifest.Span{{Offsets: 90, Gap: true}}}},
			LogStarts: []manifest.LogStart{{Offset: 5}},
		},
		{LogStarts: []manifest.LogStart{{Offset: 60}}},
		{Streams: []manifest.NewStream{{Parent: 0, First: 80}}, LogStarts: []manifest.LogStart{{Stream: 1, Offset: 60}}},
		{Streams: []manifest.NewStream{{Parent: 1, First: 80}}, LogStarts: []manifest.LogStart{{Stream: 2, Offset: 20}}},
	} {
		if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return e, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.State().Lowered; !slices.Equal(got, []manifest.Lowered{{Stream: 2, Entry: 4}}) {
		t.Errorf("got %v", got)
	}
}
