package manifest_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// states reads the whole log and returns a copy of the state after each entry, the
// first being that of no entry.
func states(t testing.TB, st store.Store, entries uint64) []*manifest.State {
	t.Helper()
	list := make([]*manifest.State, entries+1)
	for n := uint64(1); n <= entries; n++ {
		var err error
		if list[n], err = open(t, st).Read(t.Context(), n, nil); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// alike says whether two states are the same.
func alike(a, b *manifest.State) bool {
	x, y := a.WithoutMoved(), b.WithoutMoved() // for which there are tests of their own
	if len(x.Points)+len(y.Points) == 0 {
		x.Points, y.Points = nil, nil
	}
	return reflect.DeepEqual(x, y)
}

func TestSnapshotAndTail(t *testing.T) {
	for seed := range uint64(30) {
		st := mem.New()
		const entries = 40
		after := randomLog(t, st, seed, entries, func(n uint64) bool { return n%7 == seed%7 })
		want := states(t, st, entries)
		for n := uint64(1); n <= entries; n++ {
			var begun uint64
			seen := uint64(0)
			got, err := open(t, st).ReadSince(t.Context(), n, func(s *manifest.State) bool {
				if !alike(s, want[s.Sequence]) {
					t.Errorf("seed %d: the snapshot after entry %d is\n%+v, want\n%+v", seed, s.Sequence, s, want[s.Sequence])
				}
				begun = max(begun, s.Sequence)
				return true
			}, func(s *manifest.State, e *manifest.Entry) error {
				if seen == 0 {
					seen = s.Sequence - 1
				}
				if seen++; s.Sequence != seen || e.Sequence != seen {
					t.Errorf("seed %d: entry %d follows %d", seed, e.Sequence, seen-1)
				}
				return nil
			})
			if err != nil || !alike(got, want[n]) {
				t.Fatalf("seed %d, entry %d: got %v and\n%+v, want\n%+v", seed, n, err, got, want[n])
			}
			newest := uint64(0)
			for _, seq := range after {
				if seq < n {
					newest = seq
				}
			}
			if begun != newest || seen != n {
				t.Errorf("seed %d, entry %d: it is read from %d on to %d, want from %d", seed, n, begun, seen, newest)
			}
			if got, err := open(t, st).State(t.Context(), n); err != nil || !alike(got, want[n]) {
				t.Fatalf("seed %d, entry %d: State yields %v and another state", seed, n, err)
			}
		}
	}
}

// TestSnapshotHasEverything: a field of State that no random log fills in is not
// in the comparison above, so that nobody knows whether snapshots have it. Who
// adds one adds it to chance.entry, and to State.appendSnapshot.
func TestSnapshotHasEverything(t *testing.T) {
	filled := make(map[string]bool)
	for seed := range uint64(20) {
		st := mem.New()
		randomLog(t, st, seed, 40, func(n uint64) bool { return n == 20 })
		state, err := open(t, st).Read(t.Context(), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		note(filled, "State", reflect.ValueOf(*state))
	}
	note(filled, "State", reflect.ValueOf(*newSealed(t).log.State())) // those logs have no keys
	delete(filled, "State.signed")                                    // of the last entry, which is never in a snapshot
	delete(filled, "State.early")                                     // of old snapshots only
	delete(filled, "State.stretches.unknown")
	maps.DeleteFunc(filled, func(name string, _ bool) bool { return strings.HasPrefix(name, "State.moved") })
	for name, ok := range filled {
		if !ok {
			t.Errorf("%s is zero in all random logs", name)
		}
	}
	if len(filled) < 60 {
		t.Errorf("only %d fields have been looked at", len(filled))
	}
}

// note tells of every field in a value whether it was ever other than zero.
func note(filled map[string]bool, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := name + "." + v.Type().Field(i).Name
			filled[field] = filled[field] || !v.Field(i).IsZero() && !(v.Field(i).CanInt() && v.Field(i).Int() == -1)
			note(filled, field, v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			note(filled, name, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			note(filled, name, v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			note(filled, name, v.MapIndex(k))
		}
	}
}

// damages are what can be wrong with a snapshot, done to the newest one.
func damages() map[string]func(t *testing.T, st store.Store, key string) {
	replace := func(change func([]byte) []byte) func(*testing.T, store.Store, string) {
		return func(t *testing.T, st store.Store, key string) { put(t, st, key, change(read(t, st, key))) }
	}
	return map[string]func(*testing.T, store.Store, string){
		"missing": func(t *testing.T, st store.Store, key string) {
			if err := st.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		},
		"empty":           replace(func([]byte) []byte { return nil }),
		"cut short":       replace(func(b []byte) []byte { return b[:len(b)-1] }),
		"a bit":           replace(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }),
		"not stated":      replace(func(b []byte) []byte { b[70] ^= 1; return seal(b[:len(b)-32]) }), // its writer
		"of another log":  replace(func(b []byte) []byte { b[50] ^= 1; return seal(b[:len(b)-32]) }),
		"of a newer kind": replace(func(b []byte) []byte { b[7] = 2; return seal(b[:len(b)-32]) }),
		"of another entry": func(t *testing.T, st store.Store, key string) {
			put(t, st, key, read(t, st, manifest.SnapshotKey(10)))
		},
		"an entry in its place": func(t *testing.T, st store.Store, key string) {
			put(t, st, key, read(t, st, manifest.LogKey(20)))
		},
	}
}

// TestSnapshotOfNoUse: the older one is taken instead, and with none the whole
// log.
func TestSnapshotOfNoUse(t *testing.T) {
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			st := mem.New()
			randomLog(t, st, 5, 30, func(n uint64) bool { return n == 10 || n == 20 })
			want := states(t, st, 30)[30]
			for _, begin := range []uint64{10, 0} {
				damage(t, st, manifest.SnapshotKey(max(begin+10, 10)))
				began := uint64(0)
				got, err := open(t, st).ReadSince(t.Context(), 0, func(s *manifest.State) bool { began = s.Sequence; return true }, nil)
				if err != nil || !alike(got, want) {
					t.Errorf("got %v and another state", err)
				}
				if name != "of another entry" && began != begin {
					t.Errorf("it began at %d, want %d", began, begin)
				}
				if got, err := open(t, st).State(t.Context(), 0); err != nil || !alike(got, want) {
					t.Errorf("State yields %v and another state", err)
				}
			}
		})
	}
}

// TestEveryBitOfASnapshot: none of them makes a wrong state.
func TestEveryBitOfASnapshot(t *testing.T) {
	st := mem.New()
	randomLog(t, st, 3, 6, func(n uint64) bool { return n == 4 })
	want := states(t, st, 6)[6]
	key := manifest.SnapshotKey(4)
	good := read(t, st, key)
	for i := range good {
		for bit := range 8 {
			b := slices.Clone(good)
			b[i] ^= 1 << bit
			put(t, st, key, b)
			if got, err := open(t, st).State(t.Context(), 0); err != nil || got.Sequence != 6 || got.Head != want.Head || len(got.Streams) != len(want.Streams) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
		}
	}
}

// TestSnapshotSince: reading begins at the newest state that is accepted.
func TestSnapshotSince(t *testing.T) {
	st := mem.New()
	after := randomLog(t, st, 8, 200, func(n uint64) bool { return n%5 == 0 })
	for _, limit := range []uint64{0, 4, 5, 37, 100, 194, 195, 500} {
		asked, begun := 0, uint64(0)
		got, err := open(t, st).ReadSince(t.Context(), 0, func(s *manifest.State) bool {
			asked++
			if s.Sequence > limit {
				return false
			}
			begun = s.Sequence
			return true
		}, nil)
		if want := min(limit/5*5, 195); err != nil || got.Sequence != 200 || begun != want {
			t.Errorf("with states up to entry %d it begins at %d, want %d (%v)", limit, begun, want, err)
		}
		if asked > 8 {
			t.Errorf("%d of %d snapshots were read", asked, len(after))
		}
	}
}

// TestSnapshotBeforeAKill: one that was put before its writer was killed is stated
// by the next writer who puts the same.
func TestSnapshotBeforeAKill(t *testing.T) {
	st := mem.New()
	randomLog(t, st, 2, 12, func(uint64) bool { return false })
	if _, err := openLog(t, open(t, st)).PutSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, open(t, st))
	ref, err := l.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
		t.Fatal(err)
	}
	began := uint64(0)
	if _, err := open(t, st).ReadSince(t.Context(), 0, func(s *manifest.State) bool { began = s.Sequence; return true }, nil); err != nil || began != 12 {
		t.Errorf("it began at %d: %v", began, err)
	}
	put(t, st, manifest.SnapshotKey(13), []byte("something else"))
	if _, err := openLog(t, open(t, st)).PutSnapshot(t.Context()); err == nil || !strings.Contains(err.Error(), "snapshot/00000000/000000000013") {
		t.Errorf("something else in its place: %v", err)
	}
}

// TestStatedTooFar: the digest of a snapshot is stated soon behind it, or never.
func TestStatedTooFar(t *testing.T) {
	for behind, ok := range map[uint64]bool{0: false, 1: true, 16: true, 17: false} {
		s := manifest.NewState()
		for range 30 {
			follow(t, s, manifest.Entry{})
		}
		e := manifest.Entry{Sequence: s.Sequence + 1, Previous: s.Head, Snapshot: &manifest.SnapshotRef{Sequence: s.Sequence + 1 - behind}}
		if err := s.Check(&e); (err == nil) != ok {
			t.Errorf("%d entries behind it: %v", behind, err)
		}
	}
}

func TestSnapshotKeys(t *testing.T) {
	for key, want := range map[string]uint64{
		"snapshot/00000000/000000000001": 1, "snapshot/00000031/000000314159": 314159,
		"snapshot/00000030/000000314159": 0, "log/00000000/000000000001": 0, "snapshot/000000000001": 0, "snapshot/": 0,
	} {
		got, ok := manifest.ParseSnapshotKey(key)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%s: got %d, %v", key, got, ok)
		}
		if ok && manifest.SnapshotKey(got) != key {
			t.Errorf("%s is written as %s", key, manifest.SnapshotKey(got))
		}
	}
}

// TestSnapshotCheck: a verification names a snapshot that is not what the log
// says, whether the log states it or not, and no other.
func TestSnapshotCheck(t *testing.T) {
	check := func(t *testing.T, st store.Store) []*manifest.Damage {
		t.Helper()
		r := open(t, st)
		c, err := r.NewSnapshotCheck(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Read(t.Context(), 0, func(s *manifest.State, e *manifest.Entry) error { return c.Entry(t.Context(), s, e) })
		if err != nil {
			t.Fatal(err)
		}
		c.End(s.Sequence)
		return c.Damages
	}
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			st := mem.New()
			randomLog(t, st, 5, 30, func(n uint64) bool { return n == 10 || n == 20 })
			if list := check(t, st); len(list) > 0 {
				t.Errorf("a sound one: %v", list[0])
			}
			damage(t, st, manifest.SnapshotKey(20))
			list := check(t, st)
			if name == "missing" {
				if len(list) > 0 {
					t.Errorf("got %v", list[0])
				}
				return
			}
			if len(list) != 1 || list[0].Key != manifest.SnapshotKey(20) || !strings.Contains(list[0].Error(), "it can be removed") {
				t.Errorf("got %v", list)
			}
		})
	}
	t.Run("of another state, stated", func(t *testing.T) {
		st := mem.New()
		randomLog(t, st, 5, 12, func(uint64) bool { return false })
		l := openLog(t, open(t, st))
		l.State().Streams[0].LogStart++
		ref, err := l.PutSnapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l = openLog(t, open(t, st))
		if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
			t.Fatal(err)
		}
		if list := check(t, st); len(list) != 1 || !strings.Contains(list[0].Error(), "not what the log says") {
			t.Errorf("got %v", list)
		}
	})
	t.Run("behind the end of the log", func(t *testing.T) {
		st := mem.New()
		randomLog(t, st, 5, 12, func(uint64) bool { return false })
		if _, err := openLog(t, open(t, st)).PutSnapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := st.Delete(t.Context(), manifest.LogKey(12)); err != nil {
			t.Fatal(err)
		}
		if list := check(t, st); len(list) != 1 || !strings.Contains(list[0].Error(), "the log ends with entry 11") {
			t.Errorf("got %v", list)
		}
	})
}
