package replica_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// reported is golden with a report of a restore.
func reported(t *testing.T) *mem.Store {
	t.Helper()
	from := golden(t)
	repo, err := manifest.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.PutReport(t.Context(), map[string]int{"records": 1}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return from
}

func copyVerified(ctx context.Context, from, to store.Store) (replica.Result, error) {
	c, err := copier(ctx, from, to)
	if err != nil {
		return replica.Result{}, err
	}
	c.Verify = true
	return c.Copy(ctx)
}

// Whatever object a copy has lost, or has in another size, the next copier sends
// again, and says so. One with other bytes of the same size it finds where it reads
// them: with Verify, all.
func TestHeal(t *testing.T) {
	from := reported(t)
	whole := objects(t, from)
	repo, err := manifest.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	last := manifest.LogKey(read(t, repo).Sequence)
	for key, b := range whole {
		for name, tc := range map[string]struct {
			there  []byte // nil: nothing
			verify bool
			want   replica.Result
		}{
			"missing":     {nil, false, replica.Result{Missing: 1}},
			"cut":         {b[:len(b)-1], false, replica.Result{Damaged: 1}},
			"empty":       {[]byte{}, false, replica.Result{Damaged: 1}},
			"longer":      {append(slices.Clone(b), 0), false, replica.Result{Damaged: 1}},
			"other bytes": {append(slices.Clone(b[:len(b)-1]), b[len(b)-1]^1), true, replica.Result{Damaged: 1}},
		} {
			to := mem.New()
			put(t, to, whole)
			if err := to.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if tc.there != nil {
				put(t, to, map[string][]byte{key: tc.there})
			}
			if strings.HasPrefix(key, manifest.ReportPrefix) && tc.there == nil {
				tc.want = replica.Result{} // it may be a new one
			} else if key == last && tc.there == nil {
				tc.want = replica.Result{Entries: 1} // so is this
			}
			copyOf := copyAll
			if tc.verify {
				copyOf = copyVerified
			}
			done, err := copyOf(t.Context(), from, to)
			if done.Verified > 0 != tc.verify {
				t.Errorf("%s, %s: %d objects were read back", key, name, done.Verified)
			}
			if done.Verified = 0; err != nil || done != tc.want {
				t.Errorf("%s, %s: %+v, %v, want %+v", key, name, done, err, tc.want)
			}
			requireEqual(t, from, to)
		}
	}
}

// To look writes nothing, and finds the same.
func TestSurveyOfWhatIsLost(t *testing.T) {
	from, to := golden(t), mem.New()
	harmed := objects(t, from)
	keys := slices.Sorted(maps.Keys(harmed))
	keys = slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, "data/") })
	delete(harmed, keys[0])
	delete(harmed, manifest.LogKey(2))
	harmed[keys[1]] = append(bytes.Clone(harmed[keys[1]]), 0)
	flipped := bytes.Clone(harmed[keys[2]])
	flipped[20] ^= 1
	harmed[keys[2]] = flipped
	put(t, to, harmed)
	for verify, want := range map[bool]replica.Result{false: {Missing: 2, Damaged: 1}, true: {Missing: 2, Damaged: 2}} {
		c, err := copier(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		c.Verify = verify
		todo, err := c.Survey(t.Context())
		if todo.Verified > 0 != verify {
			t.Errorf("%d objects were read back", todo.Verified)
		}
		if todo.Verified = 0; err != nil || todo != want {
			t.Errorf("verify %t: %+v, %v, want %+v", verify, todo, err, want)
		}
	}
	if got := objects(t, to); !maps.EqualFunc(got, harmed, bytes.Equal) {
		t.Error("looking has changed what is there")
	}
}

// What neither side has any more keeps nothing else from being copied, and is an
// error each time.
func TestUnhealed(t *testing.T) {
	whole := objects(t, golden(t))
	from, to := mem.New(), mem.New()
	early := maps.Clone(whole)
	maps.DeleteFunc(early, func(key string, _ []byte) bool { return key > manifest.LogKey(4) && strings.HasPrefix(key, "log/") })
	put(t, from, early)
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	key, _ := first(t, from)
	put(t, from, whole)
	for _, st := range []store.Store{from, to} {
		if err := st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	c, err := copier(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		done, err := c.Copy(t.Context())
		var unhealed *replica.UnhealedError
		if !errors.As(err, &unhealed) || unhealed.Objects != 1 || !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), key) {
			t.Errorf("copied %+v, %v", done, err)
		}
		requireEqual(t, from, to)
	}
	put(t, from, whole)
	if done, err := c.Copy(t.Context()); err != nil || done.Missing != 1 {
		t.Errorf("once it is there again: %+v, %v", done, err)
	}
	requireEqual(t, from, to)
}

// A report that is another one on both sides, and sound, is left alone.
func TestReportsThatDiffer(t *testing.T) {
	from, to := reported(t), mem.New()
	there := objects(t, from)
	put(t, to, there)
	repo, err := manifest.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	key, err := repo.PutReport(t.Context(), map[string]int{"records": 2}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other := map[string][]byte{key: there[report(t, to)]}
	put(t, to, other)
	_, err = copyAll(t.Context(), from, to)
	if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), key) || !bytes.Equal(objects(t, to)[key], other[key]) {
		t.Errorf("another report: %v", err)
	}
}

// report returns the key of the first report.
func report(t *testing.T, st store.Store) string {
	t.Helper()
	keys := slices.Sorted(maps.Keys(objects(t, st)))
	return keys[slices.IndexFunc(keys, func(key string) bool { return strings.HasPrefix(key, manifest.ReportPrefix) })]
}

// A follower looks after what it has copied, and says what was wrong.
func TestFollowerHeals(t *testing.T) {
	from, to := golden(t), mem.New()
	synctest.Test(t, func(t *testing.T) {
		c, err := copier(t.Context(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		out := &journal{}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go (&replica.Follower{Copier: c, Every: time.Minute, Log: slog.New(slog.NewTextHandler(out, nil))}).Run(ctx)
		time.Sleep(time.Hour)
		key, _ := first(t, from)
		if err := to.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		requireEqual(t, from, to)
		if text := out.String(); strings.Count(text, "the replica had lost objects") != 1 || !strings.Contains(text, "missing=1") {
			t.Errorf("it says:\n%s", text)
		}
	})
}
