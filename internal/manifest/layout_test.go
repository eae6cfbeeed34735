package manifest_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// pieces are what a layout says, as text.
func pieces(l *manifest.Layout) (list []string) {
	l.Pieces(func(p *manifest.Piece) {
		list = append(list, fmt.Sprintf("%d [%d,%d) %+v in %+v", p.Stream, p.Start, p.Next(), p.Span, *p.In))
	})
	slices.Sort(list)
	return list
}

// entriesRead counts the entries of the log that are read.
type entriesRead struct {
	store.Store
	count int
}

func (c *entriesRead) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(key, "log/") {
		c.count++
	}
	return c.Store.Get(ctx, key, off, n)
}

// Where data is, is the same by the whole log and by a snapshot and the entries that moved data, of which there are fewer.
func TestLayoutFromSnapshot(t *testing.T) {
	all, moved, fewer := func(int) bool { return true }, 0, 0
	for seed := range uint64(20) {
		const entries = 60
		st := &entriesRead{Store: mem.New()}
		randomLog(t, st, seed, entries, func(n uint64) bool { return n == 10 || n == 40+seed%10 })
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		want := manifest.NewLayout(all)
		state, err := repo.Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error { return want.Add(e) })
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		st.count = 0
		got, err := repo.ReadLayout(t.Context(), all)
		if err != nil || !slices.Equal(pieces(got), pieces(want)) {
			t.Fatalf("seed %d: %v\n%s\nwant\n%s", seed, err, pieces(got), pieces(want))
		}
		if err := got.Knows(state.Sequence); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		moved += len(pieces(got))
		if st.count < int(state.Sequence) {
			fewer++
		}
	}
	if moved < 20 || fewer < 15 {
		t.Errorf("%d pieces, and of %d of 20 logs fewer entries were read", moved, fewer)
	}
}

// An entry that moved data and cannot be read is damage, snapshot or not.
func TestLayoutOfDamagedLog(t *testing.T) {
	st := mem.New()
	randomLog(t, st, 3, 60, func(n uint64) bool { return n == 50 })
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	var moves []uint64
	if _, err := repo.Read(t.Context(), 40, func(_ *manifest.State, e *manifest.Entry) error {
		if e.Moves != nil {
			moves = append(moves, e.Sequence)
		}
		return nil
	}); err != nil || len(moves) == 0 {
		t.Fatalf("%v, %v", moves, err)
	}
	if err := st.Delete(t.Context(), manifest.LogKey(moves[0])); err != nil {
		t.Fatal(err)
	}
	l, err := repo.ReadLayout(t.Context(), func(int) bool { return true })
	if err == nil {
		err = l.Knows(60)
	}
	if err == nil || !strings.Contains(err.Error(), manifest.LogKey(moves[0])) {
		t.Errorf("%v without %s", err, manifest.LogKey(moves[0]))
	}
}
