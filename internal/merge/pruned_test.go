package merge

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// What a merge has written and a prune has removed is not merged again, nor is it looked
// for once it is deleted: it would be missing, as if it were damaged.
func TestPrunedSegmentsAreNotMerged(t *testing.T) {
	v, state := newInventory(), &manifest.State{}
	lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	lot.Segments.Add(manifest.ID{1}, 7)
	for i, e := range []*manifest.Entry{
		{
			Segments: []manifest.Segment{{Counter: 7, Ref: segment.Ref{Size: 100}}},
			Moves:    &manifest.Moves{List: []manifest.Move{{Span: manifest.Span{Offsets: 1}}}},
		},
		{Removed: lot},
		{Deleted: lot},
	} {
		e.Sequence, e.Writer = uint64(i+1), manifest.ID{1}
		if err := v.add(state, e); err != nil {
			t.Fatal(err)
		}
		want := 0
		if i == 0 {
			want = 1
		}
		if homes, tiers := len(v.homes()), len(v.tiers(1<<20)); homes != want || tiers != want {
			t.Errorf("after entry %d: %d segments in %d tiers, want %d", e.Sequence, homes, tiers, want)
		}
	}
}
