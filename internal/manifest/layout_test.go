package manifest_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// spans knows which stretches of streams may be moved: the data spans of a log, and
// the ranges in the place of which moves and losses have put them.
type spans map[int][][2]int64

func (u spans) add(s *manifest.State, e *manifest.Entry) {
	for i := range e.Ranges {
		r := &e.Ranges[i]
		at := s.Start(r)
		for _, sp := range r.Spans {
			if !sp.Gap {
				u[r.Stream] = append(u[r.Stream], [2]int64{at, at + sp.Offsets})
			}
			at += sp.Offsets
		}
	}
}

// some draws a stretch of a stream, the bounds of what it is in place of, or nothing.
func (u spans) some(c chance, stream int) (from, to int) {
	list := u[stream]
	if len(list) == 0 {
		return 0, 0
	}
	from = c.IntN(len(list))
	to = from + 1
	for to < len(list) && list[to][0] == list[to-1][1] && !c.oneIn(3) {
		to++
	}
	return from, to
}

// move makes the entry one that moves data, or gives some up, of what was there before.
func (u spans) move(c chance, s *manifest.State, e *manifest.Entry) {
	e.Moves, e.Losses = &manifest.Moves{After: s.Moved}, &manifest.Losses{After: s.Moved}
	var in manifest.SegmentName
	for writer, runs := range s.Segments {
		if n := runs[0].First; s.Readable(writer, n) && (e.Removed == nil || !e.Removed.Segments.Has(writer, n)) {
			in = manifest.SegmentName{Writer: writer, Counter: n}
		}
	}
	for n := range s.Streams {
		from, to := u.some(c, n)
		if from == to || c.oneIn(2) {
			continue
		}
		start, next := u[n][from][0], u[n][to-1][1]
		if c.oneIn(5) && in.Writer != (manifest.ID{}) {
			e.Losses.List = append(e.Losses.List, manifest.Loss{Stream: n, Start: start, Offsets: next - start, Records: 1, MinTimestamp: 5, MaxTimestamp: 7, Epoch: -1, In: in, Reason: "gone"})
			u[n] = slices.Replace(u[n], from, to, [2]int64{start, next})
			continue
		}
		parts := [][2]int64{{start, next}}
		if c.oneIn(3) && next-start > 1 { // in the place of one, several
			parts = [][2]int64{{start, start + 1}, {start + 1, next}}
		}
		for _, p := range parts {
			sp := manifest.Span{Segment: c.IntN(len(e.Segments)), Offsets: p[1] - p[0], Records: 2, MinTimestamp: 3, MaxTimestamp: 9}
			e.Moves.List = append(e.Moves.List, manifest.Move{Stream: n, Start: p[0], Span: sp})
		}
		u[n] = slices.Replace(u[n], from, to, parts...)
	}
	if len(e.Moves.List) == 0 {
		e.Moves = nil
	}
	if len(e.Losses.List) == 0 {
		e.Losses = nil
	}
}

// movingLog appends entries that move data in ways that fit together, and has a snapshot
// stated for each entry that is named.
func movingLog(t testing.TB, st store.Store, seed uint64, entries int, snapshot func(uint64) bool) {
	t.Helper()
	c, l, u := dice(seed), openLog(t, create(t, st)), make(spans)
	for range entries {
		var ref *manifest.SnapshotRef
		if seq := l.State().Sequence; seq > 0 && snapshot(seq) {
			if c.oneIn(3) { // another process goes on
				l = openLog(t, open(t, st))
			}
			var err error
			if ref, err = l.PutSnapshot(t.Context()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		e, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			e := c.entry(s)
			e.Snapshot, e.Moves, e.Losses = ref, nil, nil
			if c.oneIn(2) {
				u.move(c, s, e)
			}
			return e, nil
		})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		u.add(l.State(), e)
	}
}

// laid is a layout in words.
func laid(l *manifest.Layout) string {
	var list []string
	l.Pieces(func(p *manifest.Piece) {
		list = append(list, fmt.Sprintf("%08d %08d %+v lost %v in %d %s %+v %d", p.Stream, p.Start, [...]int64{p.Span.Offsets, p.Span.Records, p.Span.MinTimestamp, p.Span.MaxTimestamp}, p.Lost, p.In.Entry, p.In.Key, p.In.Ref, p.In.Streams))
	})
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// fromLog is the layout that the log alone yields.
func fromLog(t testing.TB, r *manifest.Repository, upTo uint64, wanted func(int) bool) string {
	t.Helper()
	l := manifest.NewLayout(wanted)
	if _, err := r.Read(t.Context(), upTo, func(_ *manifest.State, e *manifest.Entry) error { return l.Add(e) }); err != nil {
		t.Fatal(err)
	}
	return laid(l)
}

// asked counts what is read, by the first folder.
type asked struct {
	store.Store
	mu   sync.Mutex
	gets map[string]int
}

func counting(st store.Store) *asked { return &asked{Store: st, gets: make(map[string]int)} }

func (a *asked) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	folder, _, _ := strings.Cut(key, "/")
	a.mu.Lock()
	a.gets[folder]++
	a.mu.Unlock()
	return a.Store.Get(ctx, key, off, n)
}

// TestLayoutFromSnapshots: where data is, snapshots say as the log does.
func TestLayoutFromSnapshots(t *testing.T) {
	used := 0
	for seed := range uint64(16) {
		st := mem.New()
		const entries = 36
		movingLog(t, st, seed, entries, func(n uint64) bool { return n%5 == seed%5 })
		for _, wanted := range []func(int) bool{func(int) bool { return true }, func(n int) bool { return n%3 == 1 }} {
			for n := uint64(1); n <= entries; n += 1 + seed%3 {
				a := counting(st)
				r := open(t, a)
				s, err := r.State(t.Context(), n)
				if err != nil {
					t.Fatal(err)
				}
				l, err := r.LayoutAt(t.Context(), s, wanted)
				if err != nil {
					t.Fatalf("seed %d, entry %d: %v", seed, n, err)
				}
				if got, want := laid(l), fromLog(t, r, n, wanted); got != want {
					t.Fatalf("seed %d, entry %d: the snapshot yields\n%s\nwant\n%s", seed, n, got, want)
				}
				if err := l.Knows(n); err != nil {
					t.Error(err)
				}
				used += a.gets["layout"]
			}
		}
		checkSnapshots(t, st, nil)
	}
	if used < 200 {
		t.Errorf("only %d layouts were read", used)
	}
}

// TestLayoutOfNoUse: one that is missing, or another one, costs time only.
func TestLayoutOfNoUse(t *testing.T) {
	st := mem.New()
	movingLog(t, st, 7, 30, func(n uint64) bool { return n == 20 })
	all := func(int) bool { return true }
	want := fromLog(t, open(t, st), 30, all)
	key := ""
	if err := st.List(t.Context(), manifest.LayoutPrefix, func(i store.Info) error { key = i.Key; return nil }); err != nil || key == "" {
		t.Fatalf("no layout: %v", err)
	}
	good := read(t, st, key)
	other := mem.New()
	movingLog(t, other, 8, 30, func(n uint64) bool { return n == 20 })
	damaged := [][]byte{nil, {}, good[:len(good)-1], []byte("OFLAYT\x00\x01")}
	if err := other.List(t.Context(), manifest.LayoutPrefix, func(i store.Info) error {
		damaged = append(damaged, read(t, other, i.Key))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 3 {
		b := slices.Clone(good)
		b[i] ^= 1 << (i / 3 % 8)
		damaged = append(damaged, b, seal(slices.Clone(b[:len(b)-32])))
	}
	for i, b := range damaged {
		if b == nil {
			if err := st.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, st, key, b)
		}
		a := counting(st)
		l, err := open(t, a).ReadLayout(t.Context(), all)
		if err != nil || laid(l) != want {
			t.Fatalf("damage %d: %v, or another layout", i, err)
		}
		if i < 5 {
			if a.gets["log"] < 30 {
				t.Errorf("damage %d: the log was not read", i)
			}
			checkSnapshots(t, st, func(list []*manifest.Damage) bool { return (len(list) == 1 && list[0].Key == key) == (b != nil) })
		}
	}
	put(t, st, key, good)
	a := counting(st)
	if _, err := open(t, a).ReadLayout(t.Context(), all); err != nil || a.gets["log"] > 12 {
		t.Errorf("a sound one: %d log entries were read, %v", a.gets["log"], err)
	}
}

// TestEarlySnapshot: one without layout and growths does as before.
func TestEarlySnapshot(t *testing.T) {
	st := mem.New()
	movingLog(t, st, 7, 20, func(uint64) bool { return false })
	l := openLog(t, open(t, st))
	l.State().ForgetParts()
	ref, err := l.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
		t.Fatal(err)
	}
	a := counting(st)
	r := open(t, a)
	s, err := r.State(t.Context(), 0)
	if err != nil || a.gets["log"] > 3 {
		t.Fatalf("%v, %d entries read", err, a.gets["log"])
	}
	all := func(int) bool { return true }
	got, err := r.LayoutAt(t.Context(), s, all)
	if err != nil || laid(got) != fromLog(t, r, 21, all) {
		t.Errorf("another layout, or %v", err)
	}
	checkSnapshots(t, st, nil)
}

// checkSnapshots wants a verification to find what it should, nothing by default.
func checkSnapshots(t testing.TB, st store.Store, ok func([]*manifest.Damage) bool) {
	t.Helper()
	r := open(t, st)
	c, err := r.NewSnapshotCheck(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), 0, func(s *manifest.State, e *manifest.Entry) error { return c.Entry(t.Context(), s, e) }); err != nil {
		t.Fatal(err)
	}
	if ok == nil && len(c.Damages) > 0 || ok != nil && !ok(c.Damages) {
		t.Errorf("found %v", c.Damages)
	}
}
