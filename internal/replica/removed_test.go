package replica_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// first returns the first segment that the log of a repository names.
func first(t *testing.T, st store.Store) (key string, lot *manifest.SegmentLot) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		if lot == nil && len(e.Segments) > 0 {
			lot = &manifest.SegmentLot{Segments: make(manifest.SegmentSet), Bytes: e.Segments[0].Size}
			lot.Segments.Add(e.Writer, e.Segments[0].Counter)
			key = manifest.SegmentKey(e.Writer, e.Segments[0].Counter)
		}
		return nil
	}); err != nil || lot == nil {
		t.Fatalf("no segment: %v", err)
	}
	return key, lot
}

func points(t *testing.T, st store.Store) []manifest.PointRef {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	state, err := repo.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return state.Points
}

func appendEntry(t *testing.T, st store.Store, e manifest.Entry) {
	t.Helper()
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &e, nil }); err != nil {
		t.Fatal(err)
	}
}

// A segment that is removed is copied as long as it is there, since the copy needs it
// until it knows that. What is deleted is deleted in the copy, too.
func TestRemoved(t *testing.T) {
	from, early, late, last := golden(t), mem.New(), mem.New(), mem.New()
	key, lot := first(t, from)
	if _, err := copyAll(t.Context(), from, early); err != nil {
		t.Fatal(err)
	}
	appendEntry(t, from, manifest.Entry{Removed: lot})
	if done, err := copyAll(t.Context(), from, late); err != nil || done.Skipped != 0 {
		t.Fatalf("copied %+v, %v", done, err)
	}
	requireEqual(t, from, late)
	if _, err := copyAll(t.Context(), from, early); err != nil {
		t.Fatal(err)
	}
	requireEqual(t, from, early)
	if err := from.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if done, err := copyAll(t.Context(), from, last); err != nil || done.Skipped != 1 {
		t.Fatalf("copied %+v, %v", done, err)
	}
	requireEqual(t, from, last)
	appendEntry(t, from, manifest.Entry{Deleted: lot})
	for _, to := range []*mem.Store{early, late, last, mem.New()} {
		if _, err := copyAll(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		requireEqual(t, from, to)
	}
}

// vanishing is a store in which something happens just before a segment is read.
type vanishing struct {
	store.Store
	key  string
	once sync.Once
	then func()
}

func (v *vanishing) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if key == v.key {
		v.once.Do(v.then)
	}
	return v.Store.Get(ctx, key, off, n)
}

// A segment that is removed and deleted while it is about to be copied is no damage.
// One that has vanished without a word is.
func TestVanished(t *testing.T) {
	for _, said := range []bool{true, false} {
		from, to := golden(t), mem.New()
		key, lot := first(t, from)
		v := &vanishing{Store: from, key: key, then: func() {
			if said {
				appendEntry(t, from, manifest.Entry{Removed: lot})
				appendEntry(t, from, manifest.Entry{Deleted: lot})
			}
			if err := from.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
		}}
		_, err := copyAll(t.Context(), v, to)
		if !said {
			if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), key) {
				t.Errorf("vanished without a word: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := copyAll(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		requireEqual(t, from, to)
	}
}

// Reports of restores are in the copy, too.
func TestReportsAreCopied(t *testing.T) {
	from, to := golden(t), mem.New()
	repo, err := manifest.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for range 2 {
		key, err := repo.PutReport(t.Context(), map[string]int{"records": 1}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
		if _, err := copyAll(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		requireEqual(t, from, to)
	}
	if keys[0] == keys[1] {
		t.Errorf("two reports are called %s", keys[0])
	}
}
