package grouplog_test

import (
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/grouplog"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// someRecords are records about two groups, in the order of the log.
func someRecords(rng *rand.Rand, n int) []grouplog.Record {
	list := make([]grouplog.Record, n)
	for i := range list {
		r := &list[i]
		r.At, r.Group, r.Gone = int64(i), string(rune('a'+rng.IntN(2))), rng.IntN(3) == 0
		if rng.IntN(3) == 0 {
			r.Type = []string{"classic", "consumer"}[rng.IntN(2)]
			r.ProtocolType = string(rune('p' + rng.IntN(3)))
			continue
		}
		r.Commit = kafka.GroupOffset{Topic: "t", Partition: int32(rng.IntN(2)), Offset: int64(i)}
	}
	return list
}

// naive is what the records say, one after the other.
func naive(list []grouplog.Record) map[string]*manifest.Group {
	kinds, commits := make(map[string]map[string]string), make(map[string]map[manifest.OffsetKey]manifest.CommittedOffset)
	for _, id := range []string{"a", "b"} {
		kinds[id], commits[id] = make(map[string]string), make(map[manifest.OffsetKey]manifest.CommittedOffset)
	}
	for _, r := range list {
		key := manifest.OffsetKey{Topic: r.Commit.Topic, Partition: r.Commit.Partition}
		switch {
		case r.Commit.Topic == "" && r.Gone:
			delete(kinds[r.Group], r.Type)
		case r.Commit.Topic == "":
			kinds[r.Group][r.Type] = r.ProtocolType
		case r.Gone:
			delete(commits[r.Group], key)
		default:
			commits[r.Group][key] = manifest.CommittedOffset{Offset: r.Commit.Offset}
		}
	}
	groups := make(map[string]*manifest.Group)
	for _, id := range []string{"a", "b"} {
		if len(kinds[id]) > 1 { // Kafka says that a group is gone as what it was
			return nil
		}
		if len(kinds[id])+len(commits[id]) > 0 {
			groups[id] = &manifest.Group{ID: id, Type: "classic", Offsets: commits[id]}
			for kind, protocol := range kinds[id] {
				groups[id].Type, groups[id].ProtocolType = kind, protocol
			}
		}
	}
	return groups
}

// Records count by their place in the log, in whatever order they are put in, and however often.
func TestTableGoesByTheLog(t *testing.T) {
	compared := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		list := someRecords(rng, 1+rng.IntN(20))
		want := naive(list)
		if want == nil {
			continue
		}
		compared++
		order := slices.Concat(list, list[:rng.IntN(len(list))])
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		table := grouplog.NewTable()
		for i := range order {
			table.Put(&order[i])
		}
		if got := table.All(nil); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %v, want %v", seed, got, want)
		}
	}
	if compared < 1000 {
		t.Errorf("only %d of the logs could be compared", compared)
	}
}

// Changes are told once.
func TestTableTellsChanges(t *testing.T) {
	table := grouplog.NewTable()
	put := func(group string, at, offset int64, gone bool) {
		table.Put(&grouplog.Record{At: at, GroupRecord: kafka.GroupRecord{Group: group, Gone: gone, Commit: kafka.GroupOffset{Topic: "t", Offset: offset}}})
	}
	put("a", 1, 5, false)
	put("b", 2, 6, false)
	put(manifest.RestoreGroups+"x", 3, 7, false)
	if got := slices.Sorted(maps.Keys(table.Changes(nil))); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("changed: %v", got)
	}
	put("b", 4, 0, true)
	got := table.Changes(nil)
	if g, ok := got["b"]; len(got) != 1 || !ok || g != nil {
		t.Errorf("b has nothing any more, but changed: %v", got)
	}
	table.Forget()
	put("b", 5, 9, false)
	if got := table.Changes(nil); len(got) != 1 || got["b"].Offsets[manifest.OffsetKey{Topic: "t"}].Offset != 9 {
		t.Errorf("changed: %v", got)
	}
	if got := table.Changes(nil); len(got) != 0 {
		t.Errorf("nothing changed, but: %v", got)
	}
}

// What was known before the log is in force until the log says something else.
func TestTableBegins(t *testing.T) {
	key := manifest.OffsetKey{Topic: "t"}
	table := grouplog.NewTable()
	table.Begin(map[string]*manifest.Group{
		"a": {ID: "a", Type: "consumer", ProtocolType: "consumer", Offsets: map[manifest.OffsetKey]manifest.CommittedOffset{key: {Offset: 3}}},
		"b": {ID: "b", Type: "share", Offsets: map[manifest.OffsetKey]manifest.CommittedOffset{key: {Offset: 4}}},
	})
	table.Put(&grouplog.Record{At: 0, GroupRecord: kafka.GroupRecord{Group: "a", Commit: kafka.GroupOffset{Topic: "t", Offset: 8, Metadata: "m"}}})
	all := table.All(nil)
	if a, b := all["a"], all["b"]; a.Type != "consumer" || a.Offsets[key] != (manifest.CommittedOffset{Offset: 8, Metadata: "m"}) || b.Type != "share" || b.Offsets[key].Offset != 4 {
		t.Errorf("groups %+v, %+v", a, b)
	}
}
