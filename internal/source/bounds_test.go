package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

func TestParseVector(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want string // "" for an error
	}{
		"csv":                {"topic,partition,offset\norders,0,5\norders,1,0\n", "orders-0:5 orders-1:0"},
		"csv in any order":   {"offset,topic,partition\n5,orders,0\n", "orders-0:5"},
		"csv of offsets":     {"group,type,topic,partition,source_offset,target_topic,target_offset,note\nbilling,classic,orders,0,100,orders,90,\n,,orders,1,77,orders,77,\n", "orders-0:100 orders-1:77"},
		"json":               {`{"offsets":[{"topic":"orders","partition":0,"offset":5}]}`, "orders-0:5"},
		"json list":          {` [{"topic":"orders@1","partition":3,"offset":0}]`, "orders@1-3:0"},
		"json of offsets":    {`{"schemaVersion":1,"offsets":[{"group":"billing","topic":"orders","partition":0,"sourceOffset":100,"targetTopic":"orders","targetOffset":90,"note":"x"}]}`, "orders-0:100"},
		"the same twice":     {"topic,partition,offset\norders,0,5\norders,0,5\n", "orders-0:5"},
		"two offsets":        {"topic,partition,offset\norders,0,5\norders,0,6\n", ""},
		"nothing":            {"", ""},
		"no rows":            {"topic,partition,offset\n", ""},
		"no header":          {"orders,0,5\n", ""},
		"a column missing":   {"topic,partition\norders,0\n", ""},
		"a short row":        {"topic,partition,offset\norders,0\n", ""},
		"no topic":           {"topic,partition,offset\n,0,5\n", ""},
		"negative offset":    {"topic,partition,offset\norders,0,-1\n", ""},
		"negative partition": {"topic,partition,offset\norders,-1,1\n", ""},
		"no number":          {"topic,partition,offset\norders,0,x\n", ""},
		"too large":          {"topic,partition,offset\norders,4294967296,1\n", ""},
		"json misspelt":      {`[{"topic":"orders","partition":0,"ofset":5}]`, ""},
		"json without one":   {`[{"topic":"orders","offset":5}]`, ""},
		"json with both":     {`[{"topic":"orders","partition":0,"offset":5,"sourceOffset":5}]`, ""},
		"json and more":      {`[{"topic":"orders","partition":0,"offset":5}] x`, ""},
		"json cut short":     {`[{"topic":"orders"`, ""},
		"empty json":         {`{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := ParseVector([]byte(tc.text))
			var got []string
			for _, p := range v.places() {
				got = append(got, fmt.Sprintf("%s:%d", p, v[p]))
			}
			if text := strings.Join(got, " "); text != tc.want || (err == nil) != (tc.want != "") || err != nil && !errors.Is(err, ErrVector) {
				t.Errorf("got %q, %v, want %q", text, err, tc.want)
			}
		})
	}
}

// vectored is a repository with one point: orders with offsets [2,10) and a
// committed transaction over both partitions, bills with [0,4) and an empty one.
func vectored(t testing.TB) *author {
	a := newAuthor(t)
	a.commit(manifest.Entry{
		Topics:  []manifest.TopicChange{topicNamed(0, "orders", false, 2), topicNamed(1, "bills", false, 2), topicNamed(2, "old", true, 1)},
		Streams: []manifest.NewStream{{First: 2, Parent: -1}, {Partition: 1, Parent: -1}, {Topic: 1, Parent: -1}, {Topic: 2, Parent: -1}},
		Groups: []manifest.GroupChange{{ID: "readers", Type: "classic", Offsets: []manifest.OffsetChange{
			{Topic: "bills", Committed: true, Offset: 4, Epoch: -1}, {Topic: "orders", Committed: true, Offset: 9, Epoch: -1},
		}}}, Point: point(),
	},
		written{0, 2, []spec{{base: 2, last: 1}, {base: 4, last: 1, producer: 7}, {base: 6, producer: 7, marker: true, commit: true}, {base: 7, last: 2}}},
		written{1, 0, []spec{{last: 1, producer: 7}, {base: 2, producer: 7, marker: true, commit: true}}},
		written{2, 0, []spec{{last: 3}}}, written{3, 0, []spec{{last: 1}}})
	return a
}

// offsets plans with a vector and returns the source offsets that come back.
func (a *author) offsets(v Vector, topics ...string) (map[string][]int64, *Plan, error) {
	a.t.Helper()
	return a.comesBack(Request{Vector: v, Topics: topics})
}

// comesBack plans and returns the source offsets that come back, by target, and
// those that groups get.
func (a *author) comesBack(req Request) (map[string][]int64, *Plan, error) {
	a.t.Helper()
	plan, err := Prepare(a.t.Context(), a.repo, nil, req, now)
	if err != nil {
		return nil, nil, err
	}
	got := make(map[string][]int64)
	converters := plan.newConverters(func(tr *track) emit {
		return func(raw []byte, _ int32, _ *buffer) error {
			list, err := identities(raw)
			for _, id := range list {
				var offset int64
				if _, err := fmt.Sscanf(id[strings.Index(id, "key-"):], "key-%d", &offset); err != nil {
					return err
				}
				place := placeOf(plan.Topics[tr.topic].Target, tr.partition)
				got[place] = append(got[place], offset)
			}
			return err
		}
	})
	if err := plan.replay(a.t.Context(), converters); err != nil {
		a.t.Fatal(err)
	}
	for _, tr := range plan.translations(converters) {
		got[tr.Group+" "+placeOf(tr.Target, tr.Partition)] = []int64{tr.Offset}
		if (tr.Note != "") != tr.Clamped {
			a.t.Errorf("translation %+v", tr)
		}
	}
	return got, plan, nil
}

func TestVectorCuts(t *testing.T) {
	a := vectored(t)
	a.sound()
	whole := map[string][]int64{
		"orders-0": {2, 3, 4, 5, 7, 8, 9}, "orders-1": {0, 1}, "bills-0": {0, 1, 2, 3}, "readers orders-0": {6}, "readers bills-0": {4},
	}
	changed := func(with map[string][]int64) map[string][]int64 {
		m := maps.Clone(whole)
		maps.Copy(m, with)
		maps.DeleteFunc(m, func(_ string, list []int64) bool { return list == nil })
		return m
	}
	for name, tc := range map[string]struct {
		vector Vector
		want   map[string][]int64
		note   string
	}{
		"the end":           {Vector{{"orders", 0}: 10, {"orders", 1}: 3, {"bills", 0}: 4}, whole, "3 partitions end at offsets of one's own, 0 of them before"},
		"behind the marker": {Vector{{"orders", 0}: 7}, changed(map[string][]int64{"orders-0": {2, 3, 4, 5}, "readers orders-0": {4}}), "group readers: 1 offset is beyond"},
		"before the marker": {Vector{{"orders", 0}: 6}, changed(map[string][]int64{"orders-0": {2, 3}, "readers orders-0": {2}}), "2 partitions are not named"},
		"inside a batch":    {Vector{{"bills", 0}: 2}, changed(map[string][]int64{"bills-0": {0, 1}, "readers bills-0": {2}}), "may come back in part"},
		"the log start":     {Vector{{"orders", 0}: 2}, changed(map[string][]int64{"orders-0": nil, "readers orders-0": {0}}), ""},
		"nothing of it":     {Vector{{"orders", 1}: 0, {"bills", 1}: 0}, changed(map[string][]int64{"orders-1": nil}), ""},
		"not selected":      {Vector{{"old@1", 0}: 1}, whole, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, plan, err := a.offsets(tc.vector)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(got, tc.want, slices.Equal) {
				t.Errorf("got  %v\nwant %v", got, tc.want)
			}
			if !strings.Contains(strings.Join(plan.Notes, "\n"), tc.note) {
				t.Errorf("notes are %q", plan.Notes)
			}
		})
	}
}

// At most as many records come back as the bounds leave.
func TestRecordsWithinBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		part part
		want int64
	}{
		"the whole block": {part{lo: 10, hi: 20}, 8},
		"its beginning":   {part{lo: 10, hi: 13}, 3},
	} {
		tc.part.block = &segment.Block{Summary: segment.Summary{Start: 10, Next: 20, Records: 8}}
		if got := tc.part.records(); got != tc.want {
			t.Errorf("%s: %d records, want %d", name, got, tc.want)
		}
	}
}

func TestVectorBeyondTheBackup(t *testing.T) {
	a := vectored(t)
	for name, tc := range map[string]struct {
		vector Vector
		want   []string
	}{
		"beyond the end":          {Vector{{"orders", 0}: 11}, []string{"orders-0: offset 11", "holds [2,10)"}},
		"before the log start":    {Vector{{"orders", 0}: 1}, []string{"orders-0: offset 1", "holds [2,10)"}},
		"an empty partition":      {Vector{{"bills", 1}: 1}, []string{"bills-1: offset 1", "holds nothing of it"}},
		"no such partition":       {Vector{{"bills", 2}: 0}, []string{"bills-2", "2 partitions"}},
		"no such topic":           {Vector{{"nowhere", 0}: 0}, []string{"no topic nowhere"}},
		"a topic that is gone":    {Vector{{"old", 0}: 0}, []string{"no topic old"}},
		"all that is wrong of it": {Vector{{"orders", 0}: 11, {"bills", 0}: 5}, []string{"orders-0", "bills-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := a.offsets(tc.vector)
			if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNothing) {
				t.Fatalf("got %v", err)
			}
			for _, word := range tc.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in %v", word, err)
				}
			}
		})
	}
}

// A transaction that the point decides is not decided at an offset before it.
func TestVectorBeforeADecision(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{
		Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point(),
		Transactions: []manifest.Transaction{{Stream: 0, Kind: manifest.TxnDecided, ProducerID: 7, Epoch: 3, Offset: 2}},
	}, written{0, 0, []spec{{last: 1}, {base: 2, last: 1, producer: 7}}})
	for end, want := range map[int64][]int64{4: {0, 1, 2, 3}, 3: {0, 1}} {
		got, _, err := a.offsets(Vector{{"orders", 0}: end})
		if err != nil || !slices.Equal(got["orders-0"], want) {
			t.Errorf("up to %d: %v, %v, want %v", end, got, err, want)
		}
	}
}

// A restore is resumed with the bounds that it has begun with, and with no others.
func TestBoundsBelongToARestore(t *testing.T) {
	a, f := vectored(t), fake(t)
	until, later := firstTime.UnixMilli()+45, firstTime.UnixMilli()+55
	v := Vector{{"orders", 0}: 7, {"bills", 0}: 3}
	begun := Request{Until: &until, Vector: v}
	if res := a.run(f, begun); !res.Complete() || res.Topics[1].Kept != 3+2 || res.Topics[1].Later != 1 {
		t.Fatalf("got %+v", res)
	}
	cluster := connect(t, f)
	for name, tc := range map[string]struct {
		req   Request
		words []string // of a refusal of each topic
	}{
		"the same":            {begun, nil},
		"no bounds":           {Request{}, []string{"--until-timestamp"}},
		"no vector":           {Request{Until: &until}, []string{"--at-offsets FILE"}},
		"no time":             {Request{Vector: v}, []string{fmt.Sprintf("--until-timestamp %d", until)}},
		"another time":        {Request{Until: &later, Vector: v}, []string{fmt.Sprintf("--until-timestamp %d", until)}},
		"another vector":      {Request{Until: &until, Vector: Vector{{"orders", 0}: 8, {"bills", 0}: 2}}, []string{"digest"}},
		"more than its topic": {Request{Until: &until, Vector: v, Topics: []string{"orders"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Prepare(t.Context(), a.repo, cluster, tc.req, now)
			if err != nil {
				t.Fatal(err)
			}
			if tc.words == nil && (len(plan.Refusals) > 0 || plan.Topics[0].Action != ActionNone) {
				t.Errorf("refusals %q, action %s", plan.Refusals, plan.Topics[0].Action)
			}
			if tc.words != nil && len(plan.Refusals) != len(plan.Topics) {
				t.Fatalf("refusals are %q", plan.Refusals)
			}
			for i := range plan.Refusals {
				for _, word := range tc.words {
					if !strings.Contains(plan.Refusals[i], word) {
						t.Errorf("%q is not in %q", word, plan.Refusals[i])
					}
				}
			}
		})
	}
}
