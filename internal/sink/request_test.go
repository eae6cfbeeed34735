package sink

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Everything that was written before a point is asked for is inside, whatever
// is under way at the time.
func TestPointIsAskedFor(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 2)
	p.Requests = NewRequests()
	p.Config.PointEvery = time.Hour
	p.run()
	for i, name := range []string{"first", "second", "third"} {
		p.produce("t", 0, 2)
		p.produce("t", 1, 1)
		point, err := p.Requests.Point(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		state, err := p.Repository.Read(t.Context(), point.Sequence, nil)
		if err != nil {
			t.Fatal(err)
		}
		last := state.Points[len(state.Points)-1]
		if last != point || last.Name != name || state.Streams[0].Records+state.Streams[1].Records != int64(3*(i+1)) {
			t.Errorf("point %+v with %+v, asked for %+v", last, state.Streams, point)
		}
	}
	if _, err := p.Requests.Point(t.Context(), "second"); !errors.Is(err, manifest.ErrNameTaken) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := p.Requests.Point(t.Context(), "12"); !errors.Is(err, manifest.ErrPointName) {
		t.Errorf("a name that cannot be: %v", err)
	}
}

// Each of many that ask at once gets a point of their own; of two that want one
// name, one.
func TestManyAskForPoints(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.Requests = NewRequests()
	p.run()
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := make(map[uint64]bool)
	taken := 0
	for _, name := range []string{"a", "b", "c", "d", "d"} {
		wg.Go(func() {
			point, err := p.Requests.Point(t.Context(), name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, manifest.ErrNameTaken):
				taken++
			case err != nil:
				t.Error(err)
			default:
				ids[point.Sequence] = true
			}
		})
	}
	wg.Wait()
	if len(ids) != 4 || taken != 1 {
		t.Errorf("%d points, %d refused", len(ids), taken)
	}
}

// outage is a store that takes nothing until down is closed.
type outage struct {
	store.Store
	down chan struct{}
}

func (o *outage) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	select {
	case <-o.down:
		return o.Store.Put(ctx, key, r, opts)
	default:
		return store.Info{}, store.ErrFull
	}
}

// A request outlives a capture that is interrupted, and its author may give up.
func TestPointIsAskedForDuringAnOutage(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 1)
	gate := &outage{Store: p.Repository.Store(), down: make(chan struct{})}
	repo, err := manifest.Open(t.Context(), gate)
	if err != nil {
		t.Fatal(err)
	}
	p.Repository = repo
	p.Requests = NewRequests()
	p.run()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Requests.Point(short, "given-up"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while the store is down: %v", err)
	}
	answer := make(chan error)
	go func() {
		_, err := p.Requests.Point(t.Context(), "late")
		answer <- err
	}()
	time.Sleep(50 * time.Millisecond)
	close(gate.down)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	_, _, state := p.held()
	if _, ok := state.PointNamed("late"); !ok {
		t.Errorf("points are %+v", state.Points)
	}
}

// What others do to points does not disturb a capture.
func TestRunGoesOnBesidePointChanges(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.Config.PointEvery = time.Hour
	p.Requests = NewRequests()
	p.run()
	first, err := p.Requests.Point(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	find := func(s *manifest.State) (manifest.PointRef, error) {
		found, ok := s.PointNamed("first")
		if !ok {
			return found, errors.New("no such point")
		}
		return found, nil
	}
	other, err := p.Repository.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, pinned := range []bool{true, false} {
			if point, err := other.PinPoint(t.Context(), find, pinned); err != nil || point.Sequence != first.Sequence {
				t.Fatal(point, err)
			}
			p.produce("t", 0, 1)
		}
	}
	if _, err := other.DeletePoint(t.Context(), find); err != nil {
		t.Fatal(err)
	}
	again, err := p.Requests.Point(t.Context(), "first") // the name is free
	if err != nil || again.Sequence <= first.Sequence {
		t.Fatal(again, err)
	}
	p.await("all records", p.complete)
	for range 3 { // while there is nothing else to commit
		if other, err = p.Repository.OpenLog(t.Context(), time.Now); err != nil {
			t.Fatal(err)
		}
		if _, err := other.DeletePoint(t.Context(), find); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Requests.Point(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOncePoint(t *testing.T) {
	p := newPlant(t, 1)
	p.create("t", 1)
	p.produce("t", 0, 3)
	point, err := p.OncePoint(t.Context(), "before-the-upgrade")
	if err != nil || !p.complete() {
		t.Fatal(point, err)
	}
	_, _, state := p.held()
	if found, ok := state.PointNamed("before-the-upgrade"); !ok || found != point {
		t.Errorf("got %+v, the log says %+v", point, found)
	}
	for _, name := range []string{"before-the-upgrade", "latest"} {
		if _, err := p.OncePoint(t.Context(), name); !errors.Is(err, manifest.ErrNameTaken) && !errors.Is(err, manifest.ErrPointName) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, after := p.held(); after.Sequence != state.Sequence {
		t.Errorf("what was refused has left %d entries", after.Sequence-state.Sequence)
	}
}

// Who captures beside a Run for no name's sake is warned, and goes on: the Run may have ended.
func TestOnceBesideARunWarns(t *testing.T) {
	r := newRivals(t, "*")
	var said strings.Builder
	r.a.Log = slog.New(slog.NewTextHandler(&said, nil))
	warned := func() int {
		t.Helper()
		if _, err := r.a.openFor(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return strings.Count(said.String(), "level=WARN")
	}
	if n := warned(); n > 0 {
		t.Errorf("before there is one: %s", &said)
	}
	r.tick(r.a)
	if n := warned(); n != 1 || !strings.Contains(said.String(), ErrRunning.Error()) {
		t.Errorf("beside one: %s", &said)
	}
	if _, err := r.a.openFor(t.Context(), newRequest(t.Context(), "nightly")); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "--alone") {
		t.Errorf("for a name: %v", err)
	}
}
