package oracle_test

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// list makes records at offsets from 0, one for each letter.
func list(letters string) []oracle.Record {
	var records []oracle.Record
	for i, c := range letters {
		records = append(records, oracle.Record{Offset: int64(i), Identity: oracle.Identity{byte(c)}})
	}
	return records
}

func TestCompare(t *testing.T) {
	for name, test := range map[string]struct {
		source, aborted, copied string
		want                    map[oracle.Class]int
	}{
		"equal":            {"abcab", "x", "abcab", nil},
		"empty":            {"", "", "", nil},
		"lost":             {"abcd", "", "abd", map[oracle.Class]int{oracle.Lost: 1}},
		"lost at the end":  {"abcd", "", "ab", map[oracle.Class]int{oracle.Lost: 2}},
		"everything lost":  {"ab", "", "", map[oracle.Class]int{oracle.Lost: 2}},
		"one of two lost":  {"aba", "", "ab", map[oracle.Class]int{oracle.Lost: 1}},
		"duplicate":        {"abc", "", "abbc", map[oracle.Class]int{oracle.Duplicate: 1}},
		"duplicate run":    {"abc", "", "abcabc", map[oracle.Class]int{oracle.Duplicate: 3}},
		"swapped":          {"abc", "", "acb", map[oracle.Class]int{oracle.Reordered: 1}},
		"moved to front":   {"abcd", "", "dabc", map[oracle.Class]int{oracle.Reordered: 1}},
		"altered":          {"abc", "", "azc", map[oracle.Class]int{oracle.Altered: 1}},
		"altered twice":    {"abcd", "", "ayzd", map[oracle.Class]int{oracle.Altered: 2}},
		"altered last":     {"abc", "", "abz", map[oracle.Class]int{oracle.Altered: 1}},
		"foreign":          {"abc", "", "abzc", map[oracle.Class]int{oracle.Foreign: 1}},
		"aborted read":     {"abc", "x", "abxc", map[oracle.Class]int{oracle.AbortedRead: 1}},
		"lost and foreign": {"abc", "", "bcz", map[oracle.Class]int{oracle.Lost: 1, oracle.Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			source := oracle.Log{Records: list(test.source), Aborted: list(test.aborted)}
			faults := oracle.CompareLogs(source, oracle.Log{Records: list(test.copied)})
			if got := faults.Count(); !maps.Equal(got, test.want) {
				t.Fatalf("%s -> %s: %v, want %v\n%v", test.source, test.copied, got, test.want, faults)
			}
		})
	}
}

// A partition that only one side has is compared with an empty one.
func TestComparePartitions(t *testing.T) {
	a := oracle.History{0: {Records: list("a")}, 1: {Records: list("bc")}}
	b := oracle.History{0: {Records: list("a")}, 2: {Records: list("d")}}
	got := oracle.Compare(a, b).Count()
	if want := map[oracle.Class]int{oracle.Lost: 2, oracle.Foreign: 1}; !maps.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
}

// No difference goes unnoticed, and what is the same has no faults.
func TestCompareFindsEveryDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 8, -1)
		a, b := letters.Draw(t, "source"), letters.Draw(t, "copy")
		faults := oracle.CompareLogs(oracle.Log{Records: list(a)}, oracle.Log{Records: list(b)})
		if (len(faults) == 0) != (a == b) {
			t.Fatalf("%q -> %q: %v", a, b, faults)
		}
	})
}

// Records that differ in anything have different identities.
func TestIdentity(t *testing.T) {
	header := func(k, v string) batch.RecordHeader { return batch.RecordHeader{Key: []byte(k), Value: []byte(v)} }
	records := map[string]*batch.Record{
		"null":           batch.NewRecord(nil, nil),
		"empty key":      batch.NewRecord([]byte{}, nil),
		"empty value":    batch.NewRecord(nil, []byte{}),
		"key":            batch.NewRecord([]byte("a"), nil),
		"value":          batch.NewRecord(nil, []byte("a")),
		"key and value":  batch.NewRecord([]byte("a"), []byte("b")),
		"joined key":     batch.NewRecord([]byte("ab"), []byte{}),
		"header":         batch.NewRecord(nil, nil, header("k", "v")),
		"header null":    batch.NewRecord(nil, nil, batch.RecordHeader{Key: []byte("k")}),
		"header empty":   batch.NewRecord(nil, nil, header("k", "")),
		"two headers":    batch.NewRecord(nil, nil, header("k", "v"), header("l", "w")),
		"other order":    batch.NewRecord(nil, nil, header("l", "w"), header("k", "v")),
		"header twice":   batch.NewRecord(nil, nil, header("k", "v"), header("k", "v")),
		"joined headers": batch.NewRecord(nil, nil, header("kv", "lw")),
	}
	seen := make(map[oracle.Identity]string)
	for name, r := range records {
		for _, timestamp := range []int64{-1, 0, 1} {
			id := oracle.Identify(timestamp, r)
			if other, ok := seen[id]; ok {
				t.Errorf("%s at %d has the identity of %s", name, timestamp, other)
			}
			seen[id] = name
			if id != oracle.Identify(timestamp, r) {
				t.Errorf("%s has two identities", name)
			}
		}
	}
}

func TestLog(t *testing.T) {
	l := oracle.Log{Start: 0, End: 6, Records: list("abcdef"), Aborted: list("xyz")}
	if b := l.Before(2); b.End != 2 || len(b.Records) != 2 || len(b.Aborted) != 2 {
		t.Errorf("before 2: %+v", b)
	}
	l.Records[1].Marker = 4
	if b := l.Before(4); len(b.Records) != 3 || len(b.Aborted) != 4 || b.Aborted[2].Offset != 1 {
		t.Errorf("before 4, with a transaction that was open: %+v", b)
	}
	if b := l.Before(5); len(b.Records) != 5 || len(b.Aborted) != 3 {
		t.Errorf("before 5, with a transaction that has ended: %+v", b)
	}
	if f := l.From(4); f.Start != 4 || len(f.Records) != 2 || len(f.Aborted) != 0 {
		t.Errorf("from 4: %+v", f)
	}
	if r, ok := l.Next(3); !ok || r.Offset != 3 {
		t.Errorf("next of 3: %+v, %v", r, ok)
	}
	if _, ok := l.Next(6); ok {
		t.Error("there is a record after the end")
	}
}
