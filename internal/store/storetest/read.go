package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

func testRanges(t *testing.T, s store.Store) {
	for _, size := range []int64{0, 1, 1000, PartSize + 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			key, data := fmt.Sprint("range/", size), Bytes(uint64(size), int(size))
			put(t, s, key, data)
			for _, off := range []int64{0, 1, 500, size / 2, size - 1, size} {
				for _, n := range []int64{-1, 0, 1, 499, size - off, size - off + 1, 1 << 40} {
					if 0 <= off && off <= size {
						wantRange(t, s, key, data, off, n)
					}
				}
			}
			for _, off := range []int64{size + 1, size + 1000, 1 << 40} {
				for _, n := range []int64{-1, 0, 1, 1000} {
					if got, err := get(s, key, off, n); !errors.Is(err, store.ErrRange) {
						t.Errorf("Get(%d, %d) of %d bytes = %d bytes, %v, want ErrRange", off, n, size, len(got), err)
					}
				}
			}
		})
	}
	for _, off := range []int64{0, 10} {
		for _, n := range []int64{-1, 0, 10} {
			if _, err := get(s, "absent", off, n); !errors.Is(err, store.ErrNotExist) {
				t.Errorf("Get(%d, %d) of an absent object = %v, want ErrNotExist", off, n, err)
			}
		}
	}
}

func wantRange(t *testing.T, s store.Store, key string, data []byte, off, n int64) {
	t.Helper()
	want := data[off:]
	if n >= 0 && n < int64(len(want)) {
		want = want[:n]
	}
	got, err := get(s, key, off, n)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%d, %d) of %d bytes = %d bytes, %v, want %d bytes", off, n, len(data), len(got), err, len(want))
	}
}

// The names are such that a walk in the order of names would get them wrong.
func testList(t *testing.T, s store.Store) {
	keys := []string{
		"a-b", "a.b", "a/b", "a/b-c", "a/b.d/e", "a0", "a_/b", "aa", "b-/x", "b-a", "b.", "b/-", "b/x/y", "b/x-y",
		"log/00/0001", "log/00/0002", "log/01/0001", "z", "0", "-", "_x", "repository.json",
	}
	for i, key := range keys {
		put(t, s, key, Bytes(0, i))
	}
	sizes := map[string]int64{}
	for i, key := range keys {
		sizes[key] = int64(i)
	}
	slices.Sort(keys)
	prefixes := []string{"", "a", "a-", "a/", "a/b", "a/b-", "a/b.d/", "a/b.d/e", "a_", "b", "b-", "b/x", "log/", "log/00/", "log/00/0001", "z", "zz", "no/such", "0/"}
	for _, prefix := range prefixes {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, prefix) })
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%q)\n got %q\nwant %q", prefix, got, want)
		}
	}
	err := s.List(t.Context(), "", func(info store.Info) error {
		if info.Size != sizes[info.Key] || info.Modified.IsZero() {
			t.Errorf("List shows %+v, want %d bytes and a time", info, sizes[info.Key])
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// One key more than S3 lists at once.
func testListPages(t *testing.T, s store.Store) {
	keys := make([]string, 1001)
	for i := range keys {
		keys[i] = fmt.Sprintf("page/%02d/%04d", i%7, i)
	}
	putAll(t, s, keys)
	put(t, s, "pagf", nil)
	slices.Sort(keys)
	if got := list(t, s, "page/"); !slices.Equal(got, keys) {
		t.Errorf("List = %d keys, want the %d put, in order", len(got), len(keys))
	}
	if got := list(t, s, "page"); len(got) != len(keys) {
		t.Errorf("List = %d keys, want %d", len(got), len(keys))
	}
}

func putAll(t *testing.T, s store.Store, keys []string) {
	t.Helper()
	next := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for key := range next {
				if t.Failed() {
					continue
				}
				if _, err := s.Put(t.Context(), key, strings.NewReader(key), store.PutOptions{}); err != nil {
					t.Errorf("Put(%q) = %v", key, err)
				}
			}
		})
	}
	for _, key := range keys {
		next <- key
	}
	close(next)
	wg.Wait()
}

func testListStops(t *testing.T, s store.Store) {
	for _, key := range []string{"a", "b/a", "b/b", "c"} {
		put(t, s, key, nil)
	}
	stop := errors.New("enough")
	var got []string
	err := s.List(t.Context(), "", func(info store.Info) error {
		got = append(got, info.Key)
		if len(got) == 2 {
			return stop
		}
		return nil
	})
	if err != stop {
		t.Errorf("List = %v, want the error of fn itself", err)
	}
	if want := []string{"a", "b/a"}; !slices.Equal(got, want) {
		t.Errorf("List called fn for %q, want %q", got, want)
	}
}

func testDelete(t *testing.T, s store.Store) {
	for _, key := range []string{"a", "d/a", "d/b"} {
		put(t, s, key, []byte(key))
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("Delete of nothing = %v", err)
	}
	if err := s.Delete(t.Context(), "d/a"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	wantAbsent(t, s, "d/a")
	wantObject(t, s, "d/b", []byte("d/b"))
	if err := s.Delete(t.Context(), "d/a"); err != nil {
		t.Errorf("Delete of an absent object = %v", err)
	}
	if err := s.Delete(t.Context(), "d"); err != nil {
		t.Errorf("Delete of what is no object = %v", err)
	}
	if err := s.Delete(t.Context(), "absent", "a", "d/b", "d/c"); err != nil {
		t.Errorf("Delete of some absent objects = %v", err)
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("List after Delete = %q, want nothing", got)
	}
}

// One key more than S3 deletes at once.
func testDeleteMany(t *testing.T, s store.Store) {
	keys := make([]string, 1001)
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%04d", i)
	}
	putAll(t, s, keys)
	put(t, s, "manz", nil)
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if got := list(t, s, ""); !slices.Equal(got, []string{"manz"}) {
		t.Errorf("List after Delete = %d keys, want one", len(got))
	}
}

// Keys that a file system, a URL or a server that tidies paths may take for
// something else.
func testOddKeys(t *testing.T, s store.Store) {
	element := strings.Repeat("x", store.MaxElementLen)
	keys := []string{
		"a..b", "a...", "b.", "b-", "-", "--", "-rf", "_", "__", "0", "00", "0x0", "nul", "con.txt", "index.html", "robots.txt",
		"x.tmp", "x.lock", "d.d/d.d./d..d", "p/-/-/-", "_x/_.", "a-b/a-b", "2026-01-02t03.04.05z", "b/b/o/o", "o/b/o",
		element, "e/" + element, element[1:] + "/" + element[1:], strings.Repeat("d/", store.MaxKeyLen/2-1) + "d",
	}
	for i, key := range keys {
		put(t, s, key, Bytes(uint64(i), 10+i))
	}
	for i, key := range keys {
		wantObject(t, s, key, Bytes(uint64(i), 10+i))
		if got := list(t, s, key); !slices.Contains(got, key) {
			t.Errorf("List(%.40q) = %.200q, want it among them", key, got)
		}
	}
	slices.Sort(keys)
	if got := list(t, s, ""); !slices.Equal(got, keys) {
		t.Errorf("List\n got %q\nwant %q", got, keys)
	}
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("List after Delete = %q, want nothing", got)
	}
}

// Many read one object at once, each another part of it.
func testConcurrentReaders(t *testing.T, s store.Store) {
	const readers, gets = 16, 4
	data := Bytes(1, PartSize+1000)
	put(t, s, "k", data)
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for g := range gets {
				off := int64((r*gets + g) * len(data) / (readers * gets))
				want := data[off:min(off+200_000, int64(len(data)))]
				if got, err := get(s, "k", off, 200_000); err != nil || !bytes.Equal(got, want) {
					t.Errorf("Get(%d, 200000) = %d bytes, %v, want %d", off, len(got), err, len(want))
				}
				if info, err := s.Stat(t.Context(), "k"); err != nil || info.Size != int64(len(data)) {
					t.Errorf("Stat = %+v, %v", info, err)
				}
			}
			if got, err := get(s, "k", 0, -1); err != nil || !bytes.Equal(got, data) {
				t.Errorf("Get = %d bytes, %v, want %d", len(got), err, len(data))
			}
		})
	}
	wg.Wait()
}

func testInvalid(t *testing.T, s store.Store) {
	for _, key := range []string{
		"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "./a", ".tmp/a", "A", "a\x00", "a b", "a\\b", "é",
		strings.Repeat("x", store.MaxKeyLen+1), strings.Repeat("x", store.MaxElementLen+1),
	} {
		wantInvalid(t, s, key)
	}
	for _, prefix := range []string{"/", "../", "..", "A", "a//"} {
		if err := s.List(t.Context(), prefix, func(store.Info) error { return nil }); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("List(%q) = %v, want ErrInvalid", prefix, err)
		}
	}
	put(t, s, "k", []byte("x"))
	if _, err := s.Get(t.Context(), "k", -1, 1); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("Get at -1 = %v, want ErrInvalid", err)
	}
	element := strings.Repeat("x", store.MaxElementLen)
	put(t, s, element+"/"+element, []byte("x")) // the longest there is
	wantObject(t, s, element+"/"+element, []byte("x"))
}

func wantInvalid(t *testing.T, s store.Store, key string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, bytes.NewReader(nil), store.PutOptions{}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("Put(%.20q) = %v, want ErrInvalid", key, err)
	}
	if body, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("Get(%.20q) = %v, want ErrInvalid", key, err)
		if err == nil {
			io.Copy(io.Discard, body)
			body.Close()
		}
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("Stat(%.20q) = %v, want ErrInvalid", key, err)
	}
	if err := s.Delete(t.Context(), "fine", key); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("Delete(%.20q) = %v, want ErrInvalid", key, err)
	}
}
