package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// changes is a repository with three points, an hour apart. At the first, orders
// has [0,4), ledger [0,6) with a transaction that the point decides and one that
// is open, calm [0,3). At the second, orders begins at 2 and goes on to 6, and
// ledger's transactions are done. At the third, ledger is gone, orders has been
// created anew, calm was rewritten from 1 on, and a transaction in
// ledger does not count any more.
func changes(t testing.TB) *author {
	a := newAuthor(t)
	ms, policy := "86400000", "compact"
	at := func(hour int) *manifest.Point {
		return &manifest.Point{Time: now.Add(time.Duration(hour) * time.Hour).UnixMilli()}
	}
	group := func(id string, offsets ...manifest.OffsetChange) manifest.GroupChange {
		return manifest.GroupChange{ID: id, Type: "classic", Offsets: offsets}
	}
	committed := func(topic string, offset int64) manifest.OffsetChange {
		return manifest.OffsetChange{Topic: topic, Committed: true, Offset: offset, Epoch: -1}
	}
	orders, gone, again := topicNamed(0, "orders", false, 1), topicNamed(0, "orders", true, 1), topicNamed(3, "orders", false, 1)
	orders.Configs = []manifest.Config{{Name: "cleanup.policy", Value: &policy}, {Name: "retention.ms", Value: &ms}}
	gone.Configs = orders.Configs
	a.commit(manifest.Entry{
		Topics:  []manifest.TopicChange{orders, topicNamed(1, "ledger", false, 1), topicNamed(2, "calm", false, 1)},
		Streams: []manifest.NewStream{{Parent: -1}, {Topic: 1, Parent: -1}, {Topic: 2, Parent: -1}},
		Groups:  []manifest.GroupChange{group("early", committed("orders", 1)), group("readers", committed("calm", 1), committed("ledger", 4), committed("orders", 3))},
		Transactions: []manifest.Transaction{
			{Stream: 1, Kind: manifest.TxnDecided, ProducerID: 7, Epoch: 3, Offset: 2}, {Stream: 1, Kind: manifest.TxnOpen, ProducerID: 8, Epoch: 3, Offset: 4},
		},
		Point: at(-3),
	}, written{0, 0, []spec{{last: 3}}}, written{1, 0, []spec{{last: 1}, {base: 2, last: 1, producer: 7}, {base: 4, last: 1, producer: 8}}}, written{2, 0, []spec{{last: 2}}})
	a.commit(manifest.Entry{
		Groups: []manifest.GroupChange{{ID: "early", Gone: true}, group("readers", committed("ledger", 8), committed("orders", 5))}, Point: at(-2),
		LogStarts: []manifest.LogStart{{Stream: 0, Offset: 2}},
	}, written{0, 4, []spec{{base: 4, last: 1}}}, written{1, 6, []spec{{base: 6, producer: 7, marker: true, commit: true}, {base: 7, producer: 8, marker: true, commit: true}}})
	a.commit(manifest.Entry{
		Topics: []manifest.TopicChange{gone, topicNamed(1, "ledger", true, 1), again}, Streams: []manifest.NewStream{{Topic: 2, Parent: 2, First: 1}, {Topic: 3, Parent: -1}},
		Groups: []manifest.GroupChange{group("readers", manifest.OffsetChange{Topic: "ledger"}, committed("orders", 1))}, Point: at(-1),
		Transactions: []manifest.Transaction{{Stream: 1, Kind: manifest.TxnUndone, ProducerID: 7, Epoch: 3, Offset: 6}},
	}, written{3, 1, []spec{{base: 1}}}, written{4, 0, []spec{{last: 1}}})
	return a
}

func TestOverrides(t *testing.T) {
	a := changes(t)
	a.sound()
	until := firstTime.UnixMilli() // of offset 0
	for name, tc := range map[string]struct {
		req  Request
		want map[string][]int64
		note string
	}{
		"none": {Request{}, map[string][]int64{"orders-0": {0, 1}, "calm-0": {0, 1}, "readers orders-0": {1}, "readers calm-0": {1}}, ""},
		"an overwritten topic as it was": {
			Request{Overrides: []Override{{Topics: []string{"orders"}, At: "2"}}},
			map[string][]int64{"orders-0": {2, 3, 4, 5}, "calm-0": {0, 1}, "readers orders-0": {3}, "readers calm-0": {1}},
			"orders@1: as of point 2 of 2026-11-22T10:00:00.000Z, not 3: transactions",
		},
		"at a time": {
			Request{Topics: []string{"orders"}, Overrides: []Override{{Topics: []string{"orders"}, At: "-150m"}}},
			map[string][]int64{"orders-0": {0, 1, 2, 3}, "readers orders-0": {3}, "early orders-0": {1}}, "as of point 1",
		},
		"a deleted topic": {
			Request{Overrides: []Override{{Topics: []string{"ledger"}, At: "2"}}},
			map[string][]int64{"orders-0": {0, 1}, "calm-0": {0, 1}, "ledger-0": {0, 1, 2, 3, 4, 5}, "readers orders-0": {1}, "readers calm-0": {1}, "readers ledger-0": {6}}, "",
		},
		"a deleted topic alone": {
			Request{Topics: []string{"ledger"}, Overrides: []Override{{Topics: []string{"ledger"}, At: "2"}}},
			map[string][]int64{"ledger-0": {0, 1, 2, 3, 4, 5}, "readers ledger-0": {6}}, "",
		},
		"with the verdicts of its point": {
			Request{Topics: []string{"ledger"}, Overrides: []Override{{Topics: []string{"ledger"}, At: "1"}}},
			map[string][]int64{"ledger-0": {0, 1, 2, 3}, "readers ledger-0": {4}}, "1 transaction was open",
		},
		"before the rest": {
			Request{At: "1", Topics: []string{"*", "!orders"}, Overrides: []Override{{Topics: []string{"calm"}, At: "latest"}}},
			map[string][]int64{"ledger-0": {0, 1, 2, 3}, "calm-0": {0, 1}, "readers ledger-0": {4}, "readers calm-0": {1}}, "calm@1: as of point 3",
		},
		"with markers behind the rest": {
			Request{At: "1", Topics: []string{"ledger"}, Overrides: []Override{{Topics: []string{"ledger"}, At: "2"}}},
			map[string][]int64{"ledger-0": {0, 1, 2, 3, 4, 5}, "readers ledger-0": {6}}, "",
		},
		"on another branch": {
			Request{Topics: []string{"calm"}, Overrides: []Override{{Topics: []string{"calm"}, At: "2"}}},
			map[string][]int64{"calm-0": {0, 1, 2}, "readers calm-0": {1}}, "",
		},
		"an older one beside the current one": {
			Request{Topics: []string{"orders"}, Overrides: []Override{{Topics: []string{"orders@1"}, At: "2", Rename: map[string]string{"orders@1": "before"}}}},
			map[string][]int64{"orders-0": {0, 1}, "before-0": {2, 3, 4, 5}, "readers orders-0": {1}, "readers before-0": {3}}, "",
		},
		"the first one counts": {
			Request{Topics: []string{"orders", "calm"}, Overrides: []Override{
				{Topics: []string{"calm"}, Rename: map[string]string{"calm": "quiet"}}, {Topics: []string{"orders@2"}}, {Topics: []string{"*"}, At: "1"},
			}, Rename: map[string]string{"orders@1": "before", "calm": "silent"}},
			map[string][]int64{"quiet-0": {0, 1}, "before-0": {0, 1, 2, 3}, "orders-0": {0, 1}, "readers quiet-0": {1}, "readers before-0": {3}, "early before-0": {1}, "readers orders-0": {1}}, "",
		},
		"up to a time": {
			Request{Overrides: []Override{{Topics: []string{"calm"}, Until: &until}}},
			map[string][]int64{"orders-0": {0, 1}, "calm-0": {0}, "readers orders-0": {1}, "readers calm-0": {1}}, "calm: records with a timestamp after",
		},
		"not selected": {
			Request{Topics: []string{"calm"}, Overrides: []Override{{Topics: []string{"ledger"}, At: "2"}}},
			map[string][]int64{"calm-0": {0, 1}, "readers calm-0": {1}}, "",
		},
		"not there then": {
			Request{Overrides: []Override{{Topics: []string{"c*"}, Until: &until}, {Topics: []string{"*", "!ledger"}, At: "2"}}, Topics: []string{"*", "!orders"}},
			map[string][]int64{"calm-0": {0}, "readers calm-0": {1}}, "what groups had committed at",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, plan, err := a.comesBack(tc.req)
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

// What a pattern matches that is not there at the override's point is left out, and the plan says so.
func TestTopicsThatAreNotThereThen(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "a-old", false, 1)}, Point: point()})
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(1, "a-new", false, 1)}, Point: point()})
	_, plan, err := a.comesBack(Request{Overrides: []Override{{Topics: []string{"a-*"}, At: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Topics) != 1 || plan.Topics[0].Target != "a-old" || !strings.Contains(strings.Join(plan.Notes, "\n"), "a-new@1 is not restored: the override of a-* counts for it, and at point 1 there was no such topic") {
		t.Errorf("%d topics, notes %q", len(plan.Topics), plan.Notes)
	}
}

func TestWrongOverrides(t *testing.T) {
	a := changes(t)
	over := func(o ...Override) Request { return Request{Overrides: o} }
	for name, tc := range map[string]struct {
		req  Request
		is   error
		want []string
	}{
		"no such topic":       {over(Override{Topics: []string{"ordres"}, At: "1"}), ErrNothing, []string{"the override of ordres", "no topic ordres", "did you mean orders?"}},
		"gone at the point":   {over(Override{Topics: []string{"ledger"}}), ErrNothing, []string{"the override of ledger", "was gone", "ledger@1"}},
		"no such incarnation": {over(Override{Topics: []string{"orders@2"}, At: "1"}), ErrNothing, []string{"no incarnation orders@2"}},
		"matches nothing":     {over(Override{Topics: []string{"x*", "y*"}, At: "1"}), ErrNothing, []string{"the override of x*, y* counts for no topic at point 1"}},
		"hidden":              {over(Override{Topics: []string{"*"}, At: "1"}, Override{Topics: []string{"calm"}, At: "2"}), ErrNothing, []string{"the override of calm", "earlier"}},
		"no such point":       {over(Override{Topics: []string{"calm"}, At: "nightly"}), ErrNoPoint, []string{"the override of calm", "nightly"}},
		"before the first":    {over(Override{Topics: []string{"calm"}, At: "-9h"}), ErrNoPoint, []string{"the override of calm", "before the first"}},
		"a bad pattern":       {over(Override{Topics: []string{"["}}), nil, []string{"the override of ["}},
		"a strange rename":    {over(Override{Topics: []string{"calm"}, Rename: map[string]string{"orders": "x"}}), ErrRefused, []string{"the override of calm", "rename orders=x"}},
		"offsets, too":        {Request{Vector: Vector{{"calm", 0}: 1}, Overrides: []Override{{Topics: []string{"calm"}, At: "2"}}}, ErrRefused, []string{"--at-offsets: calm-0", "the override of calm has a point of its own, \"2\""}},
		"asked for and gone":  {Request{Topics: []string{"ledger"}, Overrides: []Override{{Topics: []string{"calm"}, At: "2"}}}, ErrNothing, []string{"topic ledger was gone"}},
		"twice":               {Request{Topics: []string{"orders", "orders@1"}, Overrides: []Override{{Topics: []string{"orders"}, At: "2"}}}, ErrRefused, []string{"orders@1 is selected as of point 3 and as of point 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := a.comesBack(tc.req)
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) {
				t.Fatalf("got %v", err)
			}
			for _, word := range tc.want {
				if strings.Count(err.Error(), word) != 1 {
					t.Errorf("%q is not once in %v", word, err)
				}
			}
		})
	}
	for name, req := range map[string]Request{
		"offsets of a topic at the point of the rest":   {Vector: Vector{{"calm", 0}: 1}, Overrides: []Override{{Topics: []string{"calm"}, At: "latest"}, {Topics: []string{"ledger"}, At: "1"}}},
		"offsets of one that has a point and a branch":  {Vector: Vector{{"orders", 0}: 1}, Overrides: []Override{{Topics: []string{"orders@1"}, At: "2", Rename: map[string]string{"orders": "x"}}}},
		"offsets of one whose override is not selected": {Topics: []string{"calm"}, Vector: Vector{{"calm", 0}: 1}, Overrides: []Override{{Topics: []string{"ledger"}, At: "2"}}},
	} {
		if _, _, err := a.comesBack(req); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Gaps behind the time of an override count for its topics, and times that are yet to come are told.
func TestOverrideInsideAGap(t *testing.T) {
	a := gapStory(t)
	for _, tc := range []struct {
		at, topics string
		lost       int
		note       string
	}{{"-150m", "orders", 1, ""}, {"-150m", "calm", 0, ""}, {"1", "orders", 0, ""}, {"2027-01-01", "bills", 0, "bills@1: the time in the override is yet to come"}} {
		_, plan, err := a.comesBack(Request{Overrides: []Override{{Topics: []string{tc.topics}, At: tc.at}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Lost) != tc.lost || len(plan.Refusals) != tc.lost || !strings.Contains(strings.Join(plan.Notes, "\n"), tc.note) {
			t.Errorf("%s at %s: lost %+v, refusals %q, notes %q", tc.topics, tc.at, plan.Lost, plan.Refusals, plan.Notes)
		}
	}
	if _, plan, err := a.comesBack(Request{At: "-150m", Overrides: []Override{{Topics: []string{"orders", "bills"}, At: "1"}}}); err != nil || len(plan.Lost) != 0 {
		t.Errorf("what is at a point of its own lost %+v, %v", plan.Lost, err)
	}
}

func TestOverriddenConfigs(t *testing.T) {
	a, f := changes(t), fake(t)
	day, none := "1000", (*string)(nil)
	configs := map[string]*string{"retention.ms": none, "retention.bytes": &day, "follower.replication.throttled.replicas": &day}
	req := Request{Topics: []string{"orders"}, Overrides: []Override{{Topics: []string{"orders"}, At: "1", Configs: configs, ReplicationFactor: 1}}, ReplicationFactor: 3}
	createTopic(t, f, "orders", 1, map[string]string{"retention.ms": "77", "segment.bytes": "1000000"})
	plan, err := Prepare(t.Context(), a.repo, connect(t, f), req, now)
	if err != nil {
		t.Fatal(err)
	}
	topic := plan.Topics[0]
	if len(plan.Refusals) > 0 || topic.ReplicationFactor != 1 {
		t.Errorf("refusals %q, replication factor %d", plan.Refusals, topic.ReplicationFactor)
	}
	if got := configsInWords(topic.Configs); got != "cleanup.policy=compact follower.replication.throttled.replicas=1000 retention.bytes=1000" {
		t.Errorf("configs are %s", got)
	}
	if got := configsInWords(topic.Kept); got != "segment.bytes=1000000" {
		t.Errorf("kept are %s", got)
	}
	if ms, bytes := topic.retention(brokerDefaults{policy: "compact", ms: 5, bytes: 6}); ms != -1 || bytes != -1 {
		t.Errorf("retention %d ms, %d bytes of a compacted topic", ms, bytes)
	}
	topic.Configs = topic.Configs[1:]
	if ms, bytes := topic.retention(brokerDefaults{policy: "delete", ms: 5, bytes: 6}); ms != 5 || bytes != 1000 {
		t.Errorf("retention %d ms, %d bytes, want the broker's and the override's", ms, bytes)
	}
	req.Overrides[0].Configs = map[string]*string{"retention.ms": none, "retention.bytes": &day}
	if res := a.run(f, req); !res.Complete() {
		t.Errorf("got %+v", res)
	}
	now, err := connect(t, f).TopicConfigs(t.Context(), []string{"orders"})
	if err != nil || configsInWords(now["orders"]) != "cleanup.policy=compact retention.bytes=1000 segment.bytes=1000000" {
		t.Errorf("the target has %s, %v", configsInWords(now["orders"]), err)
	}
}

// configsInWords is a list of configs in one line.
func configsInWords(list []kafka.ConfigEntry) string {
	var words []string
	for _, c := range list {
		words = append(words, c.Name+"="+*c.Value)
	}
	return strings.Join(words, " ")
}

// Without the configs of the backup, those of an override are set all the same; a topic that held records keeps its own.
func TestOverriddenConfigsAlone(t *testing.T) {
	a, f := changes(t), fake(t)
	all := "-1"
	req := Request{Topics: []string{"orders"}, Parts: []string{PartTopics}, Append: true, Overrides: []Override{{Topics: []string{"orders"}, At: "1", Configs: map[string]*string{"retention.ms": &all}}}}
	plan, err := Prepare(t.Context(), a.repo, connect(t, f), req, now)
	if err != nil || configsInWords(plan.Topics[0].Configs) != "retention.ms=-1" {
		t.Fatalf("configs %s, %v", configsInWords(plan.Topics[0].Configs), err)
	}
	createTopic(t, f, "orders", 1, nil)
	fill(t, f, "orders", 1)
	plan, err = Prepare(t.Context(), a.repo, connect(t, f), req, now)
	if err != nil || len(plan.Topics[0].Configs) > 0 || !strings.Contains(strings.Join(plan.Notes, "\n"), "configs of its override are not set") {
		t.Errorf("configs %s, notes %q, %v", configsInWords(plan.Topics[0].Configs), plan.Notes, err)
	}
}

// A restore with overrides is resumed with the same ones only.
func TestOverridesBelongToARestore(t *testing.T) {
	a, f := changes(t), fake(t)
	until := firstTime.UnixMilli()
	begun := Request{Topics: []string{"orders", "calm"}, Overrides: []Override{{Topics: []string{"orders"}, At: "1", Until: &until}}}
	if res := a.run(f, begun); !res.Complete() || res.Topics[0].Kept != 2 || res.Topics[1].Kept != 1 || res.Topics[1].Later != 3 {
		t.Fatalf("got %+v", res)
	}
	cluster := connect(t, f)
	for name, tc := range map[string]struct {
		with []Override
		want string // of the only refusal, "" for none
	}{
		"the same":         {begun.Overrides, ""},
		"the same in time": {[]Override{{Topics: []string{"calm"}, At: "latest"}, {Topics: []string{"*"}, At: "-3h", Until: &until}}, ""},
		"none":             {nil, "of another topic, orders@1 of point 1"},
		"another point":    {[]Override{{Topics: []string{"orders"}, At: "2", Until: &until}}, `point, 1: choose it with "at: 1" in its override`},
		"no time":          {[]Override{{Topics: []string{"orders"}, At: "1"}}, "with --until-timestamp 1700000000000"},
		"one more":         {[]Override{begun.Overrides[0], {Topics: []string{"calm"}, At: "2"}}, `point, 3: choose it with "at: 3" in its override`},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Prepare(t.Context(), a.repo, cluster, Request{Topics: begun.Topics, Overrides: tc.with}, now)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == "" {
				if len(plan.Refusals) > 0 || plan.Topics[0].Action != ActionNone || plan.Topics[1].Action != ActionNone {
					t.Errorf("refusals %q, actions %s and %s", plan.Refusals, plan.Topics[0].Action, plan.Topics[1].Action)
				}
			} else if len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], tc.want) {
				t.Errorf("refusals are %q, want %q", plan.Refusals, tc.want)
			}
		})
	}
}

// The point of an interrupted restore counts as long as latest is asked for, for the topics of overrides by themselves.
func TestResumeWithOverrides(t *testing.T) {
	a, f := changes(t), fake(t)
	createTopic(t, f, "orders", 1, nil)
	createTopic(t, f, "calm", 1, nil)
	begin := func(topic string, id byte, point uint64) {
		info := f.TopicInfo(topic)
		s := topicState{point: point, source: kafka.TopicID{id}, target: kafka.TopicID(info.TopicID), phase: phaseRunning}
		a.saveState(f, kafka.GroupOffset{Topic: topic, Metadata: s.metadata()})
	}
	begin("orders", 1, 1)
	begin("calm", 3, 2)
	prepare := func(req Request) (*Plan, error) {
		return Prepare(context.Background(), a.repo, connect(t, f), req, now)
	}
	for name, req := range map[string]Request{
		"the rest is the latest":     {Topics: []string{"orders", "calm"}, Overrides: []Override{{Topics: []string{"orders"}, At: "1"}}},
		"the override is the latest": {At: "1", Topics: []string{"orders", "calm"}, Overrides: []Override{{Topics: []string{"calm"}, At: "latest"}}},
	} {
		plan, err := prepare(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, point := range []uint64{2, 1} {
			if got := plan.Topics[i]; got.Action != ActionResume || got.From.Point.Sequence != point {
				t.Errorf("%s: %s %s to point %d, want point %d; refusals %q", name, got.Action, got.Target, got.From.Point.Sequence, point, plan.Refusals)
			}
		}
	}
	if _, err := prepare(Request{Topics: []string{"orders", "calm"}}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "with the overrides that they had") {
		t.Errorf("without overrides: %v", err)
	}
}

// A restore with overrides that dies at one of its requests goes on like any other, exactly once.
func TestRestoreWithOverridesDies(t *testing.T) {
	s, st := newSource(t), mem.New()
	s.firstDay(t)
	if err := backUp(t.Context(), connect(t, s.fake), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Load(t.Context(), repo, "latest", now)
	if err != nil {
		t.Fatal(err)
	}
	truth := maps.Clone(s.truth)
	maps.DeleteFunc(truth, func(place string, _ []string) bool { return !strings.HasPrefix(place, "ledger") })
	s.secondDay(t)
	s.largeBatches(t)
	if err := backUp(t.Context(), connect(t, s.fake), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	for place, list := range s.truth {
		switch then, ok := truth[place]; {
		case !ok:
			truth[place] = list
		case len(then) == 0 || len(then) == len(list):
			t.Fatalf("%s has %d records, and had %d", place, len(list), len(then))
		}
	}
	req := Request{Overrides: []Override{{Topics: []string{"ledger"}, At: fmt.Sprint(first.Point.Sequence)}}}
	run := func(ctx context.Context, c *kafka.Cluster) error {
		plan, err := Prepare(ctx, repo, c, req, now)
		if err == nil {
			_, err = (&Runner{Cluster: c, Log: quiet}).Run(ctx, plan)
		}
		return err
	}
	died := 0
	for at := 3; at < 60; at += 4 {
		target := fake(t)
		g := over(target)
		ctx, cancel := context.WithCancel(t.Context())
		g.set(at, cancel)
		if c, err := kafka.Connect(ctx, kafka.Config{BootstrapServers: target.ListenAddrs()}, quiet); err == nil {
			if err = run(ctx, c); err != nil {
				died++
			}
			c.Close()
		}
		g.set(0, nil)
		cancel()
		if err := run(t.Context(), connect(t, target)); err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		if err := compareRecords(consumed(t, target, ""), truth, false); err != nil {
			t.Fatalf("after a death at request %d: %v", at, err)
		}
		target.Close()
	}
	if died < 5 {
		t.Errorf("%d deaths", died)
	}
}
