package merge

import (
	"errors"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// What was read before it was removed, and deleted, is not brought back by a merge that was paused meanwhile.
func TestNoEntryForWhatWasDeleted(t *testing.T) {
	in := &input{name: manifest.SegmentName{Writer: manifest.NewID(), Counter: 3}}
	one := &step{in: in, blocks: []segment.Block{{Summary: segment.Summary{Start: 5, Next: 9, Records: 4}}}}
	m := &Merger{inv: newInventory(), now: time.Now}
	state := &manifest.State{Segments: make(manifest.SegmentSet)}
	for what, emptied := range map[string][]*input{"a part of it": nil, "all of it": {in}} {
		if e, err := m.entry(state, &output{steps: []*step{one}}, segment.Ref{}, emptied); !errors.Is(err, errStale) {
			t.Errorf("%s: %+v, %v", what, e, err)
		}
	}
	state.Segments.Add(in.name.Writer, in.name.Counter)
	if e, err := m.entry(state, &output{steps: []*step{one}}, segment.Ref{}, []*input{in}); err != nil || len(e.Moves.List) != 1 || !e.Removed.Segments.Has(in.name.Writer, in.name.Counter) {
		t.Errorf("while it is there: %+v, %v", e, err)
	}
}
