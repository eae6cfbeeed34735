package sink

import (
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// coverages counts how often all was said to be in the newest point.
type coverages struct {
	noMeter
	n int
}

func (c *coverages) Covered(time.Time) { c.n++ }

// tick lets one of them complete a recovery point for which the cluster has nothing
// new.
func (r *rivals) tick(ses *session) *manifest.State {
	r.t.Helper()
	c := newCovered()
	c.topics, c.cut = []manifest.Topic{r.topic}, &cut{time: time.Now()}
	if err := ses.committer.commit(r.t.Context(), sealedSegment{covered: c}); err != nil {
		r.t.Fatal(err)
	}
	return ses.log.State()
}

// What was sealed by age between two points is in neither: that the cluster has
// nothing newer spares no point, nor may it be said that all is covered.
func TestPointOfWhatWasSealedByAge(t *testing.T) {
	r := newRivals(t, "*")
	told := &coverages{}
	r.a.Meter = told
	r.tick(r.a)
	if n := len(r.tick(r.a).Points); n != 1 || told.n != 2 {
		t.Fatalf("with nothing new: %d points, covered %d times, want 1 and 2", n, told.n)
	}
	if err := r.commit(r.a, 0, 0, 10); err != nil || told.n != 2 {
		t.Fatalf("%v, covered %d times, want 2", err, told.n)
	}
	state := r.tick(r.a)
	if n := len(state.Points); n != 2 || state.Points[n-1].Sequence != state.Sequence {
		t.Errorf("after a segment without a point: %d points, want 2", n)
	}
	if n := len(r.tick(r.a).Points); n != 2 || told.n != 4 {
		t.Errorf("with nothing new again: %d points, covered %d times, want 2 and 4", n, told.n)
	}
}

// The same goes for what was committed before a restart.
func TestPointAfterRestart(t *testing.T) {
	r := newRivals(t, "*")
	r.tick(r.a)
	if err := r.commit(r.a, 0, 0, 10); err != nil {
		t.Fatal(err)
	}
	next := openSession(t, r.a.Sink)
	if n := len(r.tick(next).Points); n != 2 {
		t.Errorf("%d points, want 2", n)
	}
	if n := len(r.tick(next).Points); n != 2 {
		t.Errorf("with nothing new: %d points, want 2", n)
	}
}
