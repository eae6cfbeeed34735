package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// goldens returns the golden repositories, in memory, by name.
func goldens(t testing.TB) map[string]*mem.Store {
	t.Helper()
	folders, err := filepath.Glob("../../test/golden/v1/*/repository")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no golden repositories: %v", err)
	}
	all := make(map[string]*mem.Store)
	for _, folder := range folders {
		d, err := dir.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		st := mem.New()
		put(t, st, objects(t, d))
		all[filepath.Base(filepath.Dir(folder))] = st
	}
	return all
}

// golden returns one whose log and segments are few enough for sweeps.
func golden(t testing.TB) *mem.Store { return goldens(t)["points"] }

func objects(t testing.TB, st store.Store) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	if err := st.List(context.Background(), "", func(i store.Info) error {
		body, err := st.Get(context.Background(), i.Key, 0, -1)
		if err != nil {
			return err
		}
		all[i.Key], err = io.ReadAll(body)
		return errors.Join(err, body.Close())
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func put(t testing.TB, st store.Store, all map[string][]byte) {
	t.Helper()
	for key, b := range all {
		if _, err := st.Put(context.Background(), key, bytes.NewReader(b), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func copier(ctx context.Context, from, to store.Store) (*replica.Copier, error) {
	repo, err := manifest.Open(ctx, from)
	return &replica.Copier{From: repo, To: to, Log: slog.New(slog.DiscardHandler), Parallel: 1}, err
}

func copyAll(ctx context.Context, from, to store.Store) (replica.Result, error) {
	c, err := copier(ctx, from, to)
	if err != nil {
		return replica.Result{}, err
	}
	return c.Copy(ctx)
}

// requireEqual makes sure that a copy has all objects of a repository, and besides
// them nothing but the mark that it is one.
func requireEqual(t testing.TB, from, to store.Store) {
	t.Helper()
	want, got := objects(t, from), objects(t, to)
	if got[manifest.ReplicaKey] == nil {
		t.Fatal("the copy is not marked")
	}
	delete(want, manifest.ReplicaKey)
	delete(got, manifest.ReplicaKey)
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("the copy has %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// requireSound makes sure that what there is of a copy is a repository as of an
// earlier entry, without any object that the other one has not.
func requireSound(t testing.TB, from, to store.Store) {
	t.Helper()
	want := objects(t, from)
	there := objects(t, to)
	for key, b := range there {
		if key != manifest.ReplicaKey && !bytes.Equal(b, want[key]) {
			t.Fatalf("the copy has another %s", key)
		}
	}
	if there[manifest.RepositoryKey] == nil {
		return
	}
	repo, err := manifest.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	report, err := source.Verify(t.Context(), repo, source.Scope{Level: manifest.LevelDecode}, func(int64, int64) {})
	if err != nil || len(report.Damages) > 0 {
		t.Fatalf("the copy is damaged: %v, %v", err, report)
	}
}

func TestCopy(t *testing.T) {
	for name, from := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			to := mem.New()
			c, err := copier(t.Context(), from, to)
			if err != nil {
				t.Fatal(err)
			}
			todo, err := c.Survey(t.Context())
			if err != nil || len(objects(t, to)) > 0 {
				t.Fatalf("looking has put %v, %v", objects(t, to), err)
			}
			done, err := c.Copy(t.Context())
			// What is removed is not copied.
			if err != nil || done.Entries != todo.Entries || done.Segments+done.Skipped != todo.Segments || done.Entries == 0 {
				t.Fatalf("copied %+v, %v, want %+v", done, err, todo)
			}
			if done.Skipped == 0 {
				requireEqual(t, from, to)
			}
			requireSound(t, from, to)
			if again, err := copyAll(t.Context(), from, to); err != nil || again != (replica.Result{}) {
				t.Errorf("copied again: %+v, %v", again, err)
			}
			if c.Head() != c.Source() || c.Head().Sequence != uint64(done.Entries) {
				t.Errorf("the copy is at %s, the repository at %s", c.Head(), c.Source())
			}
		})
	}
}

// What is appended while a copier exists is copied by its next call, and so is what
// another one has copied already.
func TestCopyGoesOn(t *testing.T) {
	whole := objects(t, golden(t))
	from, to := mem.New(), mem.New()
	early := maps.Clone(whole)
	maps.DeleteFunc(early, func(key string, _ []byte) bool { return key > manifest.LogKey(4) && strings.HasPrefix(key, "log/") })
	put(t, from, early)
	c, err := copier(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := c.Copy(t.Context()); err != nil || done.Entries != 4 {
		t.Fatalf("copied %+v, %v", done, err)
	}
	put(t, from, whole)
	if _, err := copyAll(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Copy(t.Context()); err != nil || c.Head() != c.Source() {
		t.Errorf("%v, at %s of %s", err, c.Head(), c.Source())
	}
	requireEqual(t, from, to)
}

// mortal is a store of a process that ends before or after the k-th call.
type mortal struct {
	store.Store
	calls *atomic.Int64
	die   int64 // the call that is its last, or 0
	after bool  // it takes effect
	end   context.CancelFunc
}

func (m *mortal) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (info store.Info, err error) {
	err = m.call(ctx, func() error { info, err = m.Store.Put(ctx, key, r, opts); return err })
	return info, err
}

func (m *mortal) Get(ctx context.Context, key string, off, n int64) (body io.ReadCloser, err error) {
	err = m.call(ctx, func() error { body, err = m.Store.Get(ctx, key, off, n); return err })
	return body, err
}

func (m *mortal) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = m.call(ctx, func() error { info, err = m.Store.Stat(ctx, key); return err })
	return info, err
}

func (m *mortal) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return m.call(ctx, func() error { return m.Store.List(ctx, prefix, fn) })
}

func (m *mortal) call(ctx context.Context, do func() error) error {
	n := m.calls.Add(1)
	if n == m.die && m.after {
		_ = do()
	}
	if n == m.die {
		m.end()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return do()
}

// A copier that is killed at any call of either store leaves a sound copy, also where
// that does not know yet what was removed, and the next one completes it.
func TestKilled(t *testing.T) {
	from := golden(t)
	_, lot := first(t, from)
	all := points(t, from)
	archived := manifest.Entry{Removed: lot, Promotion: &manifest.Promotion{Archive: true}}
	for i := range all { // so that none needs what is removed
		archived.PointChanges = append(archived.PointChanges, manifest.PointChange{Point: all[i].Sequence, Deleted: true})
	}
	appendEntry(t, from, archived)
	total := 0
	for k := int64(1); ; k++ {
		ended := false
		for _, after := range []bool{false, true} {
			to := mem.New()
			ctx, end := context.WithCancel(t.Context())
			calls := new(atomic.Int64)
			_, err := copyAll(ctx, &mortal{from, calls, k, after, end}, &mortal{to, calls, k, after, end})
			end()
			ended = calls.Load() < k
			if !ended && err == nil {
				t.Fatalf("call %d: killed, and done all the same", k)
			}
			requireSound(t, from, to)
			if _, err := copyAll(t.Context(), from, to); err != nil {
				t.Fatalf("call %d: %v", k, err)
			}
			requireEqual(t, from, to)
		}
		if ended {
			break
		}
		total++
	}
	if total < 50 {
		t.Errorf("only %d calls", total)
	}
}

// Each call of either store fails once in each way: either that is overcome, or the
// copy is sound and the next copier completes it.
func TestFaults(t *testing.T) {
	from := golden(t)
	a, b := faulty.New(from), faulty.New(mem.New())
	if _, err := copyAll(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	overcome, failed := 0, 0
	for side, calls := range []int{a.Calls(faulty.Any), b.Calls(faulty.Any)} {
		for call := 1; call <= calls; call++ {
			for _, fault := range faulty.Faults() {
				if fault == faulty.Hang {
					continue // until ctx ends, see TestKilled
				}
				synctest.Test(t, func(t *testing.T) {
					to := mem.New()
					stores := []*faulty.Store{faulty.New(from), faulty.New(to)}
					stores[side] = faulty.New([]store.Store{from, to}[side], faulty.Rule{Call: call, Fault: fault})
					_, err := copyAll(t.Context(), stores[0], stores[1])
					stores[side].Settle()
					if stores[side].Fired() == 0 {
						return
					}
					requireSound(t, from, to)
					if err == nil {
						overcome++
						requireEqual(t, from, to)
						return
					}
					failed++
					if _, err := copyAll(t.Context(), from, to); err != nil {
						t.Fatalf("side %d, call %d, %v: %v", side, call, fault, err)
					}
					requireEqual(t, from, to)
				})
			}
		}
	}
	t.Logf("%d faults were overcome, %d ended the copier", overcome, failed)
	if overcome == 0 || failed == 0 {
		t.Error("not a sweep")
	}
}

// Whatever byte of whatever object is altered, cut off or added at the source: the
// copy never has it.
func TestAlteredSource(t *testing.T) {
	whole := objects(t, golden(t))
	for key, b := range whole {
		step := max(1, len(b)/150)
		for at := -1; at <= len(b); at += step {
			altered := slices.Clone(b)
			switch at {
			case -1:
				altered = altered[:len(altered)-1]
			case len(b):
				altered = append(altered, 0)
			default:
				altered[at] ^= 0x41
			}
			from, to := mem.New(), mem.New()
			put(t, from, whole)
			put(t, from, map[string][]byte{key: altered})
			_, err := copyAll(t.Context(), from, to)
			if err == nil || !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrVersion) {
				t.Fatalf("%s altered at %d: %v", key, at, err)
			}
			if strings.HasPrefix(key, "data/") && !strings.Contains(err.Error(), key) {
				t.Errorf("%s altered at %d: the error does not name it: %v", key, at, err)
			}
			good := mem.New()
			put(t, good, whole)
			requireSound(t, good, to)
		}
	}
}

func TestDiverged(t *testing.T) {
	whole := objects(t, golden(t))
	other := objects(t, goldens(t)["groups"])
	without := func(all map[string][]byte, from uint64) map[string][]byte {
		all = maps.Clone(all)
		maps.DeleteFunc(all, func(key string, _ []byte) bool { return strings.HasPrefix(key, "log/") && key >= manifest.LogKey(from) })
		return all
	}
	altered := maps.Clone(whole)
	altered[manifest.LogKey(3)] = anotherEntry(whole[manifest.LogKey(3)])
	appended := without(whole, 6)
	beyondAltered := maps.Clone(whole)
	beyondAltered[manifest.LogKey(6)] = whole[manifest.LogKey(7)]
	for _, tc := range []struct {
		name     string
		from, to map[string][]byte
		says     string
	}{
		{"another repository", whole, other, "the repository there is"},
		{"an altered entry", whole, altered, "entry 3 is the first that differs"},
		{"more entries than the source, of another log", appended, beyondAltered, "it has an entry 6, the repository ends with 5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			from, to := mem.New(), mem.New()
			put(t, from, tc.from)
			put(t, to, tc.to)
			_, err := copyAll(t.Context(), from, to)
			if !errors.Is(err, manifest.ErrDiverged) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("got %v, want it to say %q", err, tc.says)
			}
			if got := objects(t, to); !maps.EqualFunc(got, tc.to, bytes.Equal) {
				t.Error("what is there has been changed")
			}
		})
	}
}

// An object in the copy that no entry names yet, and which is not the right one, is
// not taken for it, but replaced.
func TestAlteredCopy(t *testing.T) {
	whole := objects(t, golden(t))
	for key, b := range whole {
		if !strings.HasPrefix(key, "data/") {
			continue
		}
		for _, wrong := range [][]byte{nil, b[:len(b)-1], append(slices.Clone(b), 0), append([]byte{b[0] ^ 1}, b[1:]...)} {
			from, to := mem.New(), mem.New()
			put(t, from, whole)
			put(t, to, map[string][]byte{manifest.RepositoryKey: whole[manifest.RepositoryKey], key: wrong})
			if done, err := copyAll(t.Context(), from, to); err != nil || done.Damaged != 1 {
				t.Errorf("%d bytes instead of %d: %+v, %v", len(wrong), len(b), done, err)
			}
			requireEqual(t, from, to)
		}
	}
}

func TestCopiersAtOnce(t *testing.T) {
	from, to := golden(t), mem.New()
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := copyAll(t.Context(), from, to)
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	requireEqual(t, from, to)
}
