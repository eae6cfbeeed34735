package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

func testEmpty(t *testing.T, s store.Store) {
	wantAbsent(t, s, "a")
	wantAbsent(t, s, "a/b/c")
	for _, prefix := range []string{"", "a", "a/", "a/b"} {
		if got := list(t, s, prefix); len(got) != 0 {
			t.Errorf("List(%q) = %q, want nothing", prefix, got)
		}
	}
	if err := s.Delete(t.Context(), "a", "a/b"); err != nil {
		t.Errorf("Delete of absent objects = %v", err)
	}
}

func testSizes(t *testing.T, s store.Store) {
	for _, size := range []int{0, 1, PartSize - 1, PartSize, PartSize + 1, 3*PartSize + 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			key, data := fmt.Sprint("size/", size), Bytes(uint64(size), size)
			put(t, s, key, data)
			wantObject(t, s, key, data)
		})
	}
}

func testReplace(t *testing.T, s store.Store) {
	for _, size := range []int{100, 10, PartSize + 10, 0} {
		put(t, s, "k", Bytes(uint64(size), size))
		wantObject(t, s, "k", Bytes(uint64(size), size))
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("List = %q, want one object", got)
	}
}

// A reader that yields its bytes in odd pieces, and one that writes them.
func testReaders(t *testing.T, s store.Store) {
	data := Bytes(1, 2*PartSize+100)
	readers := map[string]io.Reader{
		"pieces":       &pieces{data: data, piece: 70_001},
		"eof-with-end": &pieces{data: data, piece: 1 << 20, eofWithEnd: true},
		"writer-to":    &writerTo{data: data, piece: 100_003},
		"one-write":    &writerTo{data: data, piece: len(data)},
	}
	for name, r := range readers {
		info, err := s.Put(t.Context(), name, r, store.PutOptions{})
		if err != nil || info.Size != int64(len(data)) {
			t.Errorf("Put(%q) = %+v, %v", name, info, err)
			continue
		}
		wantObject(t, s, name, data)
	}
}

// pieces is a plain io.Reader.
type pieces struct {
	data       []byte
	piece      int
	eofWithEnd bool
}

func (r *pieces) Read(p []byte) (int, error) {
	n := copy(p, r.data[:min(r.piece, len(r.data))])
	r.data = r.data[n:]
	if len(r.data) == 0 && (n == 0 || r.eofWithEnd) {
		return n, io.EOF
	}
	return n, nil
}

// writerTo can only be read by its WriteTo. It fails with err at its end.
type writerTo struct {
	data  []byte
	piece int
	err   error
}

func (w *writerTo) Read([]byte) (int, error) { return 0, errors.New("Read called, not WriteTo") }

func (w *writerTo) WriteTo(dst io.Writer) (written int64, err error) {
	for piece := range slices.Chunk(w.data, w.piece) {
		// A copy that is spoiled afterwards: the store may not keep it.
		buf := bytes.Clone(piece)
		n, err := dst.Write(buf)
		clear(buf)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, w.err
}

func testFailingReaders(t *testing.T, s store.Store) {
	boom := errors.New("boom")
	for _, size := range []int{0, 10, PartSize, 2*PartSize + 1} {
		for _, ifAbsent := range []bool{false, true} {
			name := fmt.Sprintf("%d-%t", size, ifAbsent)
			readers := map[string]io.Reader{
				"read-" + name:  onlyReader{io.MultiReader(bytes.NewReader(Bytes(1, size)), failingReader{boom})},
				"write-" + name: &writerTo{data: Bytes(1, size), piece: 1 << 20, err: boom},
			}
			for key, r := range readers {
				_, err := s.Put(t.Context(), key, r, store.PutOptions{IfAbsent: ifAbsent})
				if !errors.Is(err, boom) {
					t.Errorf("Put(%q) = %v, want the error of the reader", key, err)
				}
				wantAbsent(t, s, key)
			}
		}
	}
	put(t, s, "kept", []byte("old"))
	_, err := s.Put(t.Context(), "kept", io.MultiReader(bytes.NewReader([]byte("new")), failingReader{boom}), store.PutOptions{})
	if !errors.Is(err, boom) {
		t.Errorf("Put = %v, want the error of the reader", err)
	}
	wantObject(t, s, "kept", []byte("old"))
}

// onlyReader hides the WriteTo of io.MultiReader.
type onlyReader struct{ io.Reader }

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// cancellingReader cancels a context on the way.
type cancellingReader struct{ cancel context.CancelFunc }

func (c cancellingReader) Read([]byte) (int, error) {
	c.cancel()
	return 0, io.EOF
}

func testCancelledPut(t *testing.T, s store.Store) {
	for _, before := range []int{0, 10, PartSize, 2*PartSize + 1} {
		for _, after := range []int{10, PartSize + 1} {
			key := fmt.Sprintf("cancelled/%d-%d", before, after)
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(bytes.NewReader(Bytes(1, before)), cancellingReader{cancel}, bytes.NewReader(Bytes(2, after)))
			_, err := s.Put(ctx, key, onlyReader{r}, store.PutOptions{IfAbsent: before == 10})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Put(%q) = %v, want context.Canceled", key, err)
			}
			wantAbsent(t, s, key)
			cancel()
		}
	}
}

// Stores that have no way to a server on which content could be altered have none
// to try it, either.
func testWrongChecksum(t *testing.T, s store.Store) {
	c, ok := s.(store.Corrupter)
	if !ok {
		t.Skip("content does not travel")
	}
	for _, size := range []int{1, 10_000} {
		if taken, err := c.PutCorrupt(t.Context(), "k", Bytes(1, size)); taken || err != nil {
			t.Errorf("PutCorrupt of %d bytes = %t, %v, want it refused", size, taken, err)
		}
		wantAbsent(t, s, "k")
	}
}

func testEndedContext(t *testing.T, s store.Store) {
	put(t, s, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func() error{
		"Put": func() error {
			_, err := s.Put(ctx, "new", bytes.NewReader(nil), store.PutOptions{})
			return err
		},
		"Get": func() error {
			body, err := s.Get(ctx, "there", 0, -1)
			if err == nil {
				body.Close()
			}
			return err
		},
		"Stat":   func() error { _, err := s.Stat(ctx, "there"); return err },
		"List":   func() error { return s.List(ctx, "", func(store.Info) error { return nil }) },
		"Delete": func() error { return s.Delete(ctx, "there") },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context = %v, want context.Canceled", name, err)
		}
	}
	wantAbsent(t, s, "new")
	wantObject(t, s, "there", []byte("x"))
}

func testIfAbsent(t *testing.T, s store.Store) {
	ifAbsent := store.PutOptions{IfAbsent: true}
	first, second := []byte("first"), []byte("second")
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(first), ifAbsent); err != nil {
		t.Fatalf("first Put = %v", err)
	}
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(second), ifAbsent); !errors.Is(err, store.ErrExists) {
		t.Errorf("second Put = %v, want ErrExists", err)
	}
	wantObject(t, s, "k", first)
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatalf("Delete = %v", err)
	}
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(second), ifAbsent); err != nil {
		t.Errorf("Put after Delete = %v", err)
	}
	wantObject(t, s, "k", second)
}

func testIfAbsentLarge(t *testing.T, s store.Store) {
	ifAbsent := store.PutOptions{IfAbsent: true}
	data := Bytes(1, 2*PartSize+1)
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(data), ifAbsent); err != nil {
		t.Fatalf("first Put = %v", err)
	}
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(Bytes(2, PartSize+1)), ifAbsent); !errors.Is(err, store.ErrExists) {
		t.Errorf("second Put = %v, want ErrExists", err)
	}
	wantObject(t, s, "k", data)
}

func testRacers(t *testing.T, s store.Store) {
	for round := range 3 {
		race(t, s, fmt.Sprint("race/", round), 32, 1000)
	}
	race(t, s, "race/parts", 4, PartSize+1)
}

// race has one winner, and its bytes are the object.
func race(t *testing.T, s store.Store, key string, racers, size int) {
	data := func(i int) []byte { return Bytes(uint64(i), size+i) }
	var wg sync.WaitGroup
	errs := make([]error, racers)
	start := make(chan struct{})
	for i := range racers {
		r := bytes.NewReader(data(i))
		wg.Go(func() {
			<-start
			_, errs[i] = s.Put(t.Context(), key, r, store.PutOptions{IfAbsent: true})
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%s: racers %d and %d both won", key, winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, store.ErrExists):
			t.Errorf("%s: racer %d: %v, want ErrExists", key, i, err)
		}
	}
	if winner < 0 {
		t.Fatalf("%s: nobody won", key)
	}
	wantObject(t, s, key, data(winner))
}

// Readers see whole objects, old or new, while writers replace them.
func testConcurrent(t *testing.T, s store.Store) {
	const writers, puts = 4, 10
	version := func(w, i int) []byte { return Bytes(uint64(w*puts+i), 50_000+1000*i) }
	for w := range writers {
		put(t, s, fmt.Sprint("c/", w), version(w, 0))
	}
	var wg sync.WaitGroup
	for w := range writers {
		key := fmt.Sprint("c/", w)
		wg.Go(func() {
			for i := range puts {
				if _, err := s.Put(t.Context(), key, bytes.NewReader(version(w, i)), store.PutOptions{}); err != nil {
					t.Errorf("Put(%q) = %v", key, err)
				}
			}
		})
		wg.Go(func() {
			for range puts {
				got, err := get(s, key, 0, -1)
				i := (len(got) - 50_000) / 1000
				if err != nil || i < 0 || i >= puts || !bytes.Equal(got, version(w, i)) {
					t.Errorf("Get(%q) = %d bytes, %v, want one of the versions put", key, len(got), err)
				}
				n := 0
				if err := s.List(t.Context(), "c/", func(store.Info) error { n++; return nil }); err != nil || n != writers {
					t.Errorf("List showed %d objects, %v, want %d", n, err, writers)
				}
			}
		})
	}
	wg.Wait()
}
