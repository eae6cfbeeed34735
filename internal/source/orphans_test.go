package source

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Segments that no entry names are listed and are no damage, and objects that
// are no segments are nobody's business.
func TestVerifyListsOrphans(t *testing.T) {
	a := shop(t)
	a.sound()
	writer := a.log.Writer()
	other := manifest.NewID()
	want := []string{manifest.SegmentKey(writer, 3), manifest.SegmentKey(writer, 100), manifest.SegmentKey(other, 1)}
	slices.Sort(want)
	for _, key := range append([]string{"data/readme", "data/" + other.String() + "/1"}, want...) {
		if _, err := a.repo.Store().Put(t.Context(), key, bytes.NewReader([]byte("12345")), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Verify(t.Context(), a.repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages) > 0 || len(report.Orphans) != len(want) {
		t.Fatalf("got %+v, %v", report, err)
	}
	for i, o := range report.Orphans {
		if o != (Orphan{want[i], 5, true}) {
			t.Errorf("got %+v, want %s, newer than the log", o, want[i])
		}
	}
	// Once an entry comes after them, they are what a killed daemon has left.
	a.counter += 200
	a.commit(manifest.Entry{Point: point()}, written{1, 2, []spec{{base: 2, last: 1}}})
	report, err = Verify(t.Context(), a.repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Orphans) != len(want) || slices.ContainsFunc(report.Orphans, func(o Orphan) bool { return o.Newer }) {
		t.Errorf("after another entry: %+v, %v", report, err)
	}
}

// The end of a log that was removed shows by what it named, to a process that has
// never seen it.
func TestVerifyHintsAtRemovedEntries(t *testing.T) {
	a := shop(t)
	if err := a.repo.Store().Delete(t.Context(), manifest.LogKey(2)); err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), a.repo.Store())
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages) > 0 || len(report.Orphans) != 1 || !report.Orphans[0].Newer {
		t.Errorf("got %+v, %v", report, err)
	}
}

// listed does something before the segments are listed.
type listed struct {
	store.Store
	before func()
}

func (l *listed) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if prefix == manifest.SegmentPrefix {
		l.before()
	}
	return l.Store.List(ctx, prefix, fn)
}

// A daemon that goes on during a verification makes no orphans.
func TestWhatIsCommittedMeanwhileIsNoOrphan(t *testing.T) {
	a := shop(t)
	st := &listed{a.repo.Store(), func() { a.commit(manifest.Entry{Point: point()}, written{1, 2, []spec{{base: 2, last: 1}}}) }}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || report.Entries != 3 || len(report.Orphans) > 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}
