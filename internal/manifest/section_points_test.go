package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

func TestPointChangesBounds(t *testing.T) {
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"none", section(10, uv(0)), false},
		{"pinned", section(10, uv(1, 5), []byte{1}), true},
		{"unpinned", section(10, uv(1, 5), []byte{0}), true},
		{"deleted", section(10, uv(1, math.MaxUint64), []byte{2}), true},
		{"pinned and deleted", section(10, uv(1, 5), []byte{3}), false},
		{"held", section(10, uv(1, 5), []byte{4}), true},
		{"pinned and held", section(10, uv(1, 5), []byte{5}), true},
		{"deleted and held", section(10, uv(1, 5), []byte{6}), false},
		{"all of them", section(10, uv(1, 5), []byte{7}), false},
		{"unknown flag", section(10, uv(1, 5), []byte{8}), false},
		{"two", section(10, uv(2, 5), []byte{1}, uv(6), []byte{1}), true},
		{"twice", section(10, uv(2, 5), []byte{1}, uv(5), []byte{0}), false},
		{"out of order", section(10, uv(2, 5), []byte{1}, uv(4), []byte{1}), false},
		{"cut short", section(10, uv(1, 5)), false},
		{"left over", section(10, uv(1, 5), []byte{1, 0}), false},
	} {
		_, err := manifest.DecodeEntry(plain(tc.body))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// pointed is a state with the points 1 (a), 2 (b, pinned) and 4 (unnamed); c was 3 and is deleted.
func pointed(t testing.TB) *manifest.State {
	s := manifest.NewState()
	for _, name := range []string{"a", "b", "c", ""} {
		follow(t, s, manifest.Entry{Point: &manifest.Point{Name: name}})
	}
	follow(t, s, manifest.Entry{PointChanges: []manifest.PointChange{{Point: 2, Pinned: true}, {Point: 3, Deleted: true}}})
	return s
}

func TestCheckPointChanges(t *testing.T) {
	change := func(id uint64, pinned, deleted bool) manifest.Entry {
		return manifest.Entry{PointChanges: []manifest.PointChange{{Point: id, Pinned: pinned, Deleted: deleted}}}
	}
	named := func(name string) manifest.Entry { return manifest.Entry{Point: &manifest.Point{Name: name}} }
	both := named("new")
	both.PointChanges = []manifest.PointChange{{Point: 6, Pinned: true}}
	swap := named("a")
	swap.PointChanges = []manifest.PointChange{{Point: 1, Deleted: true}}
	for _, tc := range []struct {
		name  string
		entry manifest.Entry
		want  string // "" if it is allowed
	}{
		{"pin", change(1, true, false), ""},
		{"pin an unnamed one", change(4, true, false), ""},
		{"unpin", change(2, false, false), ""},
		{"delete", change(1, false, true), ""},
		{"pin again", change(2, true, false), "changes nothing"},
		{"unpin again", change(1, false, false), "changes nothing"},
		{"delete a pinned one", change(2, false, true), "pinned"},
		{"delete again", change(3, false, true), "entry 3, which is no recovery point"},
		{"pin a deleted one", change(3, true, false), "entry 3, which is no recovery point"},
		{"an entry without a point", change(5, true, false), "entry 5, which is no recovery point"},
		{"the entry itself", both, "entry 6, which is no recovery point"},
		{"an entry to come", change(7, true, false), "entry 7, which is no recovery point"},
		{"a new name", named("d"), ""},
		{"the name of a deleted one", named("c"), ""},
		{"no name again", named(""), ""},
		{"a name that is taken", named("b"), "another recovery point has this name: b is point 2"},
		{"a name that the same entry frees", swap, "a is point 1"},
		{"digits", named("12"), "not a name"},
		{"latest", named("latest"), "not a name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := pointed(t)
			tc.entry.Sequence, tc.entry.Previous = s.Sequence+1, s.Head
			err := s.Check(&tc.entry)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
			if !reflect.DeepEqual(s, pointed(t)) {
				t.Error("check has changed the state")
			}
		})
	}
}

func TestApplyPointChanges(t *testing.T) {
	s := pointed(t)
	want := []manifest.PointRef{{Sequence: 1, Name: "a"}, {Sequence: 2, Name: "b", Pinned: true}, {Sequence: 4}}
	if !reflect.DeepEqual(s.Points, want) {
		t.Errorf("points are %+v", s.Points)
	}
	follow(t, s, manifest.Entry{PointChanges: []manifest.PointChange{{Point: 2}, {Point: 4, Deleted: true}}, Point: &manifest.Point{Name: "c"}})
	want = []manifest.PointRef{{Sequence: 1, Name: "a"}, {Sequence: 2, Name: "b"}, {Sequence: 6, Name: "c"}}
	if !reflect.DeepEqual(s.Points, want) {
		t.Errorf("points are %+v", s.Points)
	}
	if p, ok := s.PointNamed("c"); !ok || p.Sequence != 6 {
		t.Errorf("c is %+v, %v", p, ok)
	}
	if _, ok := s.PointNamed(""); ok {
		t.Error("no name is the name of a point")
	}
}

func TestCheckPointName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "nightly-2026.11_22": true, "0x": true, "-": true, ".": true, strings.Repeat("x", 128): true, "Latest": true,
		"": false, "1": false, "007": false, "latest": false, "a b": false, "a/b": false, "ä": false, strings.Repeat("x", 129): false, "a\n": false,
	} {
		if err := manifest.CheckPointName(name); (err == nil) != ok || err != nil && !errors.Is(err, manifest.ErrPointName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func byID(id uint64) manifest.FindPoint {
	return func(s *manifest.State) (manifest.PointRef, error) {
		for _, p := range s.Points {
			if p.Sequence == id {
				return p, nil
			}
		}
		return manifest.PointRef{}, fmt.Errorf("no point %d", id)
	}
}

func openIn(t *testing.T, st store.Store) *manifest.Log {
	t.Helper()
	repo, err := manifest.OpenOrCreate(t.Context(), st, "cluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestPinAndDeletePoint(t *testing.T) {
	st := mem.New()
	log := openIn(t, st)
	if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Point: &manifest.Point{}}, nil }); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if p, err := log.PinPoint(t.Context(), byID(1), true); err != nil || !p.Pinned || log.State().Sequence != 2 {
			t.Fatalf("pin: %+v, %v, entry %d", p, err, log.State().Sequence)
		}
	}
	if _, err := log.DeletePoint(t.Context(), byID(1)); !errors.Is(err, manifest.ErrPinned) || log.State().Sequence != 2 {
		t.Fatalf("delete of a pinned point: %v", err)
	}
	if p, err := log.PinPoint(t.Context(), byID(1), false); err != nil || p.Pinned {
		t.Fatalf("unpin: %+v, %v", p, err)
	}
	if p, err := log.DeletePoint(t.Context(), byID(1)); err != nil || p.Sequence != 1 {
		t.Fatalf("delete: %+v, %v", p, err)
	}
	if _, err := log.PinPoint(t.Context(), byID(1), true); err == nil {
		t.Error("a deleted point is pinned")
	}
	if s := openIn(t, st).State(); s.Sequence != 4 || len(s.Points) != 0 {
		t.Errorf("the log says %+v", s)
	}
}

// Whoever loses the race for an entry looks again: everybody's change is made,
// and one of two that want the same has nothing to do.
func TestPointChangesRace(t *testing.T) {
	const points = 6
	st := mem.New()
	log := openIn(t, st)
	for range points {
		if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Point: &manifest.Point{}}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for id := uint64(1); id <= points; id++ {
		for range 2 {
			own := openIn(t, st)
			wg.Go(func() {
				if _, err := own.PinPoint(context.Background(), byID(id), true); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	s := openIn(t, st).State()
	if s.Sequence != 2*points {
		t.Errorf("%d entries, want %d", s.Sequence, 2*points)
	}
	for _, p := range s.Points {
		if !p.Pinned {
			t.Errorf("point %d is not pinned", p.Sequence)
		}
	}
}
