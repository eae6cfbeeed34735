package source

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// windowOf makes a window of records that are told by their letters.
func windowOf(text string, ends bool, total int64) window {
	w := window{ends: ends, total: total}
	for i, c := range text {
		w.records = append(w.records, sighting{offset: int64(100 + i), value: uint64(c)})
	}
	return w
}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		ref, live string
		what      string
		equal     int64
	}{
		{"abcdef", "abcdef", MismatchUnsteady, 6},
		{"abcdef", "abdef", MismatchMissing, 2},
		{"abcdef", "adef", MismatchMissing, 1},
		{"abcdef", "abcde", MismatchMissing, 5},
		{"abcdef", "", MismatchMissing, 0},
		{"abcdef", "abXcdef", MismatchAdditional, 2},
		{"abcdef", "abcdefX", MismatchAdditional, 6},
		{"", "X", MismatchAdditional, 0},
		{"abcdef", "abccdef", MismatchAdditional, 3},
		{"aaaaaa", "aaaaaaa", MismatchAdditional, 6},
		{"aaaaaa", "aaaa", MismatchMissing, 4},
		{"abcdef", "abXdef", MismatchChanged, 2},
		{"abcdef", "abcdeX", MismatchChanged, 5},
		{"abcdef", "ABCDEF", MismatchChanged, 0},
		{"abcdef", "Xbcaaa", MismatchChanged, 0},
		{"abcdef", "abdcef", MismatchOrder, 2},
		{"abcdef", "fabcde", MismatchOrder, 0},
		{"ab", "ba", MismatchOrder, 0},
	} {
		m := explain(windowOf(tc.ref, true, int64(len(tc.ref))), windowOf(tc.live, true, int64(len(tc.live))))
		if m.What != tc.what || m.Equal != tc.equal {
			t.Errorf("%s and %s: %s after %d, want %s after %d", tc.ref, tc.live, m.What, m.Equal, tc.what, tc.equal)
		}
		for _, side := range []struct {
			text   string
			offset *int64
		}{{tc.ref, m.Reference}, {tc.live, m.Cluster}} {
			if (side.offset == nil) != (int(tc.equal) == len(side.text)) || side.offset != nil && *side.offset != 100+tc.equal {
				t.Errorf("%s and %s: offset %v of %s", tc.ref, tc.live, side.offset, side.text)
			}
		}
	}
}

// What comes behind a window is not known, and contradicts nothing.
func TestExplainWithoutTheEnd(t *testing.T) {
	if m := explain(windowOf("abcdefgh", false, 50), windowOf("bcdefghi", false, 49)); m.What != MismatchMissing {
		t.Errorf("%+v", m)
	}
	if m := explain(windowOf("bcdefghi", false, 49), windowOf("abcdefgh", false, 50)); m.What != MismatchAdditional {
		t.Errorf("%+v", m)
	}
}

// held is a side in memory. Its offsets have holes.
type held struct{ parts [][]*batch.Record }

func (h *held) sections() (list []section) {
	for i, p := range h.parts {
		s := section{place: i, from: 5}
		if s.to = s.from; len(p) > 0 {
			s.to = p[len(p)-1].Offset + 3
		}
		list = append(list, s)
	}
	return list
}

func (h *held) digest(ctx context.Context, digests []*digest, progress func(int64)) error {
	return h.read(ctx, h.sections(), func(i int) func(*batch.Record) error { return digests[i].add }, progress)
}

func (h *held) read(_ context.Context, sections []section, each func(int) func(*batch.Record) error, _ func(int64)) error {
	for i, s := range sections {
		fn := each(i)
		for _, r := range h.parts[s.place] {
			if r.Offset >= s.from && r.Offset < s.to {
				if err := fn(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (h *held) positions([]*digest) map[commitPlace]position { return nil }

func (h *held) add(stride int64, values []string) {
	var list []*batch.Record
	for i, v := range values {
		r := batch.NewRecord([]byte("k"), []byte(v))
		r.Offset, r.Timestamp = 5+int64(i)*stride, 1
		list = append(list, r)
	}
	h.parts = append(h.parts, list)
}

// The first difference is found wherever it is, with few marks and many records,
// in many partitions at once; and nothing is found where there is none.
func TestFirstDifferenceIsFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ref, cluster := &held{}, &held{}
	var want []string
	for n := range 60 {
		size := 1 + random.IntN(20_000)
		values := make([]string, size)
		for i := range values {
			values[i] = fmt.Sprint(i)
		}
		at, changed := random.IntN(size), slices.Clone(values)
		what := []string{"", MismatchMissing, MismatchAdditional, MismatchChanged, MismatchOrder}[n%5]
		switch what {
		case MismatchMissing:
			changed = slices.Delete(changed, at, at+1)
		case MismatchAdditional:
			changed = slices.Insert(changed, at, "new")
		case MismatchChanged:
			changed[at] = "other"
			changed[random.IntN(size-at)+at] += "too"
		case MismatchOrder:
			if at+1 == size {
				what = ""
			} else {
				changed[at], changed[at+1] = changed[at+1], changed[at]
			}
		}
		ref.add(2, values)
		cluster.add(1, changed)
		want = append(want, fmt.Sprint(what, " after ", at))
		if what == "" {
			want[n] = "equal"
		}
	}
	for _, most := range []int{16, 1024} {
		refs, lives := make([]*digest, 60), make([]*digest, 60)
		for i := range refs {
			refs[i], lives[i] = newDigest(leastInterval, most), newDigest(leastInterval, most)
		}
		must(t, ref.digest(t.Context(), refs, nil))
		must(t, cluster.digest(t.Context(), lives, nil))
		got := make([]string, 60)
		var disputes []*dispute
		for i := range refs {
			if len(refs[i].marks) > most {
				t.Errorf("%d marks", len(refs[i].marks))
			}
			if got[i] = "equal"; !refs[i].equal(lives[i]) {
				disputes = append(disputes, newDispute(i, ref.sections()[i], cluster.sections()[i], refs[i], lives[i]))
			}
		}
		must(t, settleDisputes(t.Context(), ref, cluster, disputes))
		for _, d := range disputes {
			got[d.place] = fmt.Sprint(d.mismatch.What, " after ", d.mismatch.Equal)
			if r := d.mismatch.Reference; r != nil && *r != 5+2*d.mismatch.Equal {
				t.Errorf("after %d records comes offset %d", d.mismatch.Equal, *r)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %d marks, got\n%s\nwant\n%s", most, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// All that a consumer can tell counts, and nothing else.
func TestDigestOfRecords(t *testing.T) {
	h := func(key string, value []byte) batch.RecordHeader {
		return batch.RecordHeader{Key: []byte(key), Value: value}
	}
	records := map[string]*batch.Record{
		"plain":           batch.NewRecord([]byte("k"), []byte("v")),
		"null key":        batch.NewRecord(nil, []byte("v")),
		"empty key":       batch.NewRecord([]byte{}, []byte("v")),
		"null value":      batch.NewRecord([]byte("k"), nil),
		"empty value":     batch.NewRecord([]byte("k"), []byte{}),
		"moved byte":      batch.NewRecord([]byte("kv"), []byte{}),
		"header":          batch.NewRecord([]byte("k"), []byte("v"), h("a", []byte("1")), h("b", nil)),
		"header order":    batch.NewRecord([]byte("k"), []byte("v"), h("b", nil), h("a", []byte("1"))),
		"header twice":    batch.NewRecord([]byte("k"), []byte("v"), h("a", []byte("1")), h("b", nil), h("b", nil)),
		"empty header":    batch.NewRecord([]byte("k"), []byte("v"), h("a", []byte("1")), h("b", []byte{})),
		"header of a key": batch.NewRecord([]byte("k"), []byte("v"), h("a1", []byte{}), h("b", nil)),
	}
	late := batch.NewRecord([]byte("k"), []byte("v"))
	late.Timestamp = 1
	records["later"] = late
	seen := make(map[string]string)
	for name, r := range records {
		d, moved := newDigest(leastInterval, 16), newDigest(leastInterval, 16)
		must(t, d.add(r))
		sum := string(d.sum.Sum(nil))
		if other, ok := seen[sum]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[sum] = name
		r.Offset = 77
		must(t, moved.add(r))
		if !d.equal(moved) {
			t.Errorf("%s: the offset counts", name)
		}
	}
}

func TestRecordsBefore(t *testing.T) {
	d := newDigest(leastInterval, 16)
	d.wanted = []int64{0, 10, 11, 12, 15, 20, 40}
	for _, offset := range []int64{10, 11, 14, 20} {
		r := batch.NewRecord(nil, nil)
		r.Offset = offset
		must(t, d.add(r))
	}
	for offset, want := range map[int64]int64{0: 0, 10: 0, 11: 1, 12: 2, 15: 3, 20: 3, 40: 4} {
		if got := d.recordsBefore(offset); got != want {
			t.Errorf("%d records before %d, want %d", got, offset, want)
		}
	}
}
