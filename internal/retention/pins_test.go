package retention_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// pinless is a store that does something else than listing or reading pins.
type pinless struct {
	store.Store
	list, get error
}

func (p *pinless) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	if strings.HasPrefix(prefix, manifest.PinPrefix) && p.list != nil {
		return p.list
	}
	return p.Store.List(ctx, prefix, fn)
}

func (p *pinless) Get(ctx context.Context, key string, off, n int64) (r io.ReadCloser, err error) {
	if strings.HasPrefix(key, manifest.PinPrefix) && p.get != nil {
		return nil, p.get
	}
	return p.Store.Get(ctx, key, off, n)
}

// removedOne is a repository of which one segment was removed, a moment ago.
func removedOne(t *testing.T, st store.Store) (*manifest.Repository, *manifest.Log) {
	t.Helper()
	repo := openRepo(t, st)
	log := openLog(t, repo)
	for counter := range uint64(2) {
		upload(t, repo, log, counter)
		if err := commit(log, counter); err != nil {
			t.Fatal(err)
		}
	}
	return repo, log
}

func removeFirst(t *testing.T, log *manifest.Log) {
	t.Helper()
	lot := &manifest.SegmentLot{Segments: make(manifest.SegmentSet), Bytes: 100}
	lot.Segments.Add(log.Writer(), 0)
	if _, err := log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Removed: lot}, nil }); err != nil {
		t.Fatal(err)
	}
}

func putPin(t *testing.T, repo *manifest.Repository) *manifest.Pin {
	t.Helper()
	pin, err := repo.NewPin(t.Context(), manifest.Agent{Program: "restored", Host: "here"}, time.Now())
	if err == nil {
		err = repo.PutPin(t.Context(), pin)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pin
}

func pruner(repo *manifest.Repository, later time.Duration, dropped ...string) *retention.Pruner {
	return &retention.Pruner{Repository: repo, MaxShare: 1, DropPins: dropped, Now: func() time.Time { return time.Now().Add(later) }}
}

// A pin keeps what was removed after it, as long as it is refreshed, and nothing else.
func TestPins(t *testing.T) {
	for name, tc := range map[string]struct {
		before  bool // it is put before the removal
		later   time.Duration
		change  func(*manifest.Repository, *manifest.Pin) error
		dropped bool
		deleted int64
		pins    int // that are left
	}{
		"before the removal":             {before: true, pins: 1},
		"before the removal, long after": {before: true, later: manifest.PinStale - time.Minute, pins: 1},
		"after the removal":              {deleted: 1, pins: 1},
		"stale":                          {before: true, later: manifest.PinStale + time.Minute, deleted: 1},
		"dropped":                        {before: true, dropped: true, deleted: 1},
		"ended, by who may not delete": {before: true, deleted: 1, change: func(r *manifest.Repository, p *manifest.Pin) error {
			p.Ended = true
			return r.PutPin(t.Context(), p)
		}},
		"ended": {before: true, deleted: 1, change: func(r *manifest.Repository, p *manifest.Pin) error { return r.DropPin(t.Context(), p) }},
		"refreshed": {before: true, pins: 1, change: func(r *manifest.Repository, p *manifest.Pin) error {
			p.Point = 7
			return r.PutPin(t.Context(), p)
		}},
		"that nobody can read": {before: true, pins: 1, change: func(r *manifest.Repository, p *manifest.Pin) error {
			_, err := r.Store().Put(t.Context(), "pins/"+p.ID+"/00000002.json", strings.NewReader("{"), store.PutOptions{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			st := mem.New()
			repo, log := removedOne(t, st)
			var pin *manifest.Pin
			if tc.before {
				pin = putPin(t, repo)
			}
			removeFirst(t, log)
			if !tc.before {
				pin = putPin(t, repo)
			}
			if tc.change != nil {
				if err := tc.change(repo, pin); err != nil {
					t.Fatal(err)
				}
			}
			st.Now = func() time.Time { return time.Now().Add(tc.later) }
			p := pruner(repo, tc.later)
			if tc.dropped {
				p.DropPins = []string{pin.ID}
			}
			r, err := p.Prune(t.Context())
			if err != nil || r.Deleted.Segments != tc.deleted || (r.Held == 1) != (tc.deleted == 0) {
				t.Fatalf("got %+v, %v", r, err)
			}
			if left, err := repo.Pins(t.Context()); err != nil || len(left) != tc.pins {
				t.Errorf("left are %+v, %v", left, err)
			}
		})
	}
}

// What cannot be listed or read may hold anything: nothing is deleted then.
func TestPinsFailClosed(t *testing.T) {
	for name, bad := range map[string]*pinless{"list": {list: errors.New("the list fails")}, "get": {get: errors.New("the get fails")}} {
		bad.Store = mem.New()
		repo, log := removedOne(t, bad)
		putPin(t, repo)
		removeFirst(t, log)
		if _, err := pruner(repo, 0).Prune(t.Context()); err == nil || !strings.Contains(err.Error(), name+" fails") || len(objects(t, repo)) != 2 {
			t.Errorf("%s: %v, and %d objects are left", name, err, len(objects(t, repo)))
		}
	}
	repo, log := removedOne(t, mem.New())
	removeFirst(t, log)
	if _, err := pruner(repo, 0, "0123").Prune(t.Context()); !errors.Is(err, retention.ErrNoPin) || len(objects(t, repo)) != 2 {
		t.Errorf("of a pin that is not there: %v", err)
	}
}

// A clock that is ahead, of whoever prunes or of the store, ends neither a grace nor a pin.
func TestClockAhead(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for name, tc := range map[string]struct {
		here, store time.Duration // how much later the clocks are when it prunes
		deleted     int64
	}{
		"both go on":           {month, month, 1},
		"that of who prunes":   {month, 0, 0},
		"that of the store":    {0, month, 0},
		"both, but not enough": {23 * time.Hour, 23 * time.Hour, 0},
	} {
		for _, pinned := range []bool{false, true} {
			st := mem.New()
			repo, log := removedOne(t, st)
			if pinned {
				putPin(t, repo)
			}
			removeFirst(t, log)
			st.Now = func() time.Time { return time.Now().Add(tc.store) }
			p := pruner(repo, tc.here)
			p.Grace = 24 * time.Hour
			if pinned {
				p.Grace = 0
			}
			r, err := p.Prune(t.Context())
			want := tc.deleted
			if pinned && name == "both, but not enough" {
				want = 1 // for a pin it is
			}
			if err != nil || r.Deleted.Segments != want {
				t.Errorf("%s, pinned %v: %+v, %v", name, pinned, r, err)
			}
			if left, _ := repo.Pins(t.Context()); pinned && (len(left) == 1) != (want == 0) {
				t.Errorf("%s: %d pins are left", name, len(left))
			}
			if err := st.List(t.Context(), "probe/", func(i store.Info) error { return errors.New(i.Key) }); err != nil {
				t.Errorf("%s is left", err)
			}
		}
	}
}
