package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
)

// shop is a repository with two points: orders, with a group in it.
func shop(t testing.TB) *author {
	a := newAuthor(t)
	ms := "86400000"
	orders := topicNamed(0, "orders", false, 2)
	orders.Configs = []manifest.Config{{Name: "follower.replication.throttled.replicas", Value: &ms}, {Name: "retention.bytes"}, {Name: "retention.ms", Value: &ms}}
	a.commit(manifest.Entry{
		Topics: []manifest.TopicChange{orders}, Streams: []manifest.NewStream{{Parent: -1}, {Partition: 1, Parent: -1}},
		Groups: []manifest.GroupChange{{ID: "readers", Type: "classic", Offsets: []manifest.OffsetChange{
			{Topic: "orders", Committed: true, Offset: 2, Epoch: -1}, {Topic: "orders", Partition: 1, Committed: true, Offset: 99, Epoch: -1},
		}}}, Point: point(),
	}, written{0, 0, []spec{{last: 3}}}, written{1, 0, []spec{{last: 1}}})
	a.commit(manifest.Entry{Point: point()}, written{0, 4, []spec{{base: 4, last: 3, size: rawFrom}}})
	return a
}

// fill puts n records into partition 0 of a topic.
func fill(t testing.TB, f *kfake.Cluster, topic string, n int) {
	t.Helper()
	cl := client(t, f)
	for range n {
		if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("there before")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func createTopic(t testing.TB, f *kfake.Cluster, name string, partitions int32, configs map[string]string) {
	t.Helper()
	if err := f.CreateTopic(name, partitions, configs); err != nil {
		t.Fatal(err)
	}
}

// run restores a point; it wants no refusals.
func (a *author) run(f *kfake.Cluster, req Request) *Result {
	a.t.Helper()
	cluster := connect(a.t, f)
	plan, err := Prepare(context.Background(), a.repo, cluster, req, now)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := (&Runner{Cluster: cluster, Log: quiet}).Run(context.Background(), plan)
	if err != nil {
		a.t.Fatal(err)
	}
	return res
}

// TestPlanAgainstTarget: what is there decides what is done, or refused with
// what to do about it.
func TestPlanAgainstTarget(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, a *author, f *kfake.Cluster)
		req     Request
		action  Action
		refusal string // "" for none
	}{
		{"nothing there", nil, Request{}, ActionCreate, ""},
		{"an empty topic", func(t *testing.T, _ *author, f *kfake.Cluster) { createTopic(t, f, "orders", 2, nil) }, Request{}, ActionFill, ""},
		{"an emptied topic", func(t *testing.T, _ *author, f *kfake.Cluster) {
			createTopic(t, f, "orders", 2, nil)
			fill(t, f, "orders", 3)
			if err := f.DeleteRecords("orders", 0, -1); err != nil {
				t.Fatal(err)
			}
		}, Request{}, ActionFill, ""},
		{"a topic with records", func(t *testing.T, _ *author, f *kfake.Cluster) {
			createTopic(t, f, "orders", 2, nil)
			fill(t, f, "orders", 3)
		}, Request{}, ActionAppend, "topic orders exists and holds 3 records"},
		{"a topic with records, to be added to", func(t *testing.T, _ *author, f *kfake.Cluster) {
			createTopic(t, f, "orders", 2, nil)
			fill(t, f, "orders", 3)
		}, Request{Append: true}, ActionAppend, ""},
		{"somebody's records in what a run has created", func(t *testing.T, _ *author, f *kfake.Cluster) {
			configs := make(map[string]string)
			for _, c := range safeConfigs() {
				configs[c.Name] = *c.Value
			}
			createTopic(t, f, "orders", 2, configs)
			fill(t, f, "orders", 3)
		}, Request{}, ActionAppend, "created by a restore that has not come to its first record, and holds 3 records of somebody else"},
		{"fewer partitions", func(t *testing.T, _ *author, f *kfake.Cluster) { createTopic(t, f, "orders", 1, nil) }, Request{}, "", "exists with 1 partition, the backup has 2: use --rename orders=NEW, or delete it"},
		{"more partitions", func(t *testing.T, _ *author, f *kfake.Cluster) { createTopic(t, f, "orders", 3, nil) }, Request{Append: true}, "", "exists with 3 partitions"},
		{"an internal topic", nil, Request{Rename: map[string]string{"orders": "__consumer_offsets"}}, ActionCreate, "internal to Kafka"},
		{"no name", nil, Request{Rename: map[string]string{"orders": "a b"}}, ActionCreate, "cannot be"},
		{"too few brokers", nil, Request{ReplicationFactor: 3}, ActionCreate, "replication factor 3 needs as many brokers, the cluster has 1"},
		{"another name", func(t *testing.T, _ *author, f *kfake.Cluster) { createTopic(t, f, "orders", 7, nil) }, Request{Rename: map[string]string{"orders": "copy"}}, ActionCreate, ""},
		{"another name by the incarnation", nil, Request{Rename: map[string]string{"orders@1": "copy"}}, ActionCreate, ""},
		{"done before", func(_ *testing.T, a *author, f *kfake.Cluster) { a.run(f, Request{}) }, Request{}, ActionNone, ""},
		{"another point, complete, and the latest is asked for", func(_ *testing.T, a *author, f *kfake.Cluster) { a.run(f, Request{At: "1"}) }, Request{}, ActionNone, ""},
		{"another point before", func(_ *testing.T, a *author, f *kfake.Cluster) { a.run(f, Request{At: "1"}) }, Request{At: "2"}, "", "holds the restore (done) of another recovery point, 1"},
		{"deleted after it was restored", func(t *testing.T, a *author, f *kfake.Cluster) {
			a.run(f, Request{At: "1"})
			if err := f.DeleteTopic("orders"); err != nil {
				t.Fatal(err)
			}
		}, Request{}, ActionCreate, ""},
		{"half of a state", func(t *testing.T, a *author, f *kfake.Cluster) {
			createTopic(t, f, "orders", 2, nil)
			info := f.TopicInfo("orders")
			s := topicState{point: 2, source: kafka.TopicID{1}, target: kafka.TopicID(info.TopicID), phase: phaseRunning}
			a.saveState(f, kafka.GroupOffset{Topic: "orders", Partition: 1, Metadata: s.metadata()})
		}, Request{}, "", "the state of its earlier restore is incomplete"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, f := shop(t), fake(t)
			if tc.prepare != nil {
				tc.prepare(t, a, f)
			}
			cluster := connect(t, f)
			plan, err := Prepare(t.Context(), a.repo, cluster, tc.req, now)
			if err != nil {
				t.Fatal(err)
			}
			if tc.refusal == "" && len(plan.Refusals) > 0 || tc.refusal != "" && (len(plan.Refusals) == 0 || !strings.Contains(plan.Refusals[0], tc.refusal)) {
				t.Errorf("refusals are %q, want %q", plan.Refusals, tc.refusal)
			}
			if plan.Topics[0].Action != tc.action {
				t.Errorf("action is %s, want %s", plan.Topics[0].Action, tc.action)
			}
			if tc.refusal != "" {
				wantNothingDone(t, f, cluster, plan)
			}
		})
	}
}

// Another incarnation is no other point, which --at could choose.
func TestTargetOfAnotherIncarnation(t *testing.T) {
	a, f := incarnations(t), fake(t)
	a.run(f, Request{Topics: []string{"orders@2"}, Rename: map[string]string{"orders@2": "twice"}})
	plan, err := Prepare(t.Context(), a.repo, connect(t, f), Request{Topics: []string{"orders@1"}, Rename: map[string]string{"orders@1": "twice"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0], "of another topic, orders@2 of point") || !strings.Contains(plan.Refusals[0], "--rename orders@1=NEW") {
		t.Errorf("refusals are %q", plan.Refusals)
	}
}

// All rights on groups that are missing are told at once.
func TestPlanNamesAllMissingRights(t *testing.T) {
	a, f := shop(t), fake(t)
	f.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, asked := range req.(*kmsg.OffsetFetchRequest).Groups {
			g := kmsg.NewOffsetFetchResponseGroup()
			g.Group, g.ErrorCode = asked.Group, 30 // GROUP_AUTHORIZATION_FAILED
			resp.Groups = append(resp.Groups, g)
		}
		return resp, nil, true
	})
	plan, err := Prepare(t.Context(), a.repo, connect(t, f), Request{ReplicationFactor: 3}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{StateGroup(a.repo.ID), `Describe on Group "readers" (see Rights`, "replication factor"} {
		if len(plan.Refusals) != 3 || !slices.ContainsFunc(plan.Refusals, func(r string) bool { return strings.Contains(r, want) }) {
			t.Errorf("no refusal says %q: %q", want, plan.Refusals)
		}
	}
}

// saveState commits offsets of the restore's state by hand.
func (a *author) saveState(f *kfake.Cluster, o kafka.GroupOffset) {
	a.t.Helper()
	if err := connect(a.t, f).CommitOffsets(context.Background(), StateGroup(a.repo.ID), []kafka.GroupOffset{o}); err != nil {
		a.t.Fatal(err)
	}
}

// wantNothingDone runs a plan that has refusals.
func wantNothingDone(t *testing.T, f *kfake.Cluster, cluster *kafka.Cluster, plan *Plan) {
	t.Helper()
	topics := func() (list []string) {
		all, err := cluster.Topics(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range all {
			for _, p := range f.PartitionInfos(topic.Name) {
				list = append(list, fmt.Sprint(topic.Name, p.Partition, p.HighWatermark))
			}
		}
		return list
	}
	before := topics()
	if _, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), plan.Refusals[0]) {
		t.Errorf("run says %v", err)
	}
	if after := topics(); !slices.Equal(before, after) {
		t.Errorf("there was %v, and is %v", before, after)
	}
}

func TestPlanFails(t *testing.T) {
	a, f := shop(t), fake(t)
	for name, tc := range map[string]struct {
		req  Request
		want error
	}{
		"nothing selected":       {Request{Topics: []string{"x*"}}, ErrNothing},
		"no such topic":          {Request{Topics: []string{"x"}}, ErrNothing},
		"no such point":          {Request{At: "7"}, ErrNoPoint},
		"a rename of nothing":    {Request{Rename: map[string]string{"x": "y"}}, ErrRefused},
		"a rename of the second": {Request{Rename: map[string]string{"orders@2": "y"}}, ErrRefused},
	} {
		if _, err := Prepare(t.Context(), a.repo, connect(t, f), tc.req, now); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// A group of that name that is not a restore's must not be overwritten.
func TestForeignState(t *testing.T) {
	a, f := shop(t), fake(t)
	createTopic(t, f, "orders", 2, nil)
	a.saveState(f, kafka.GroupOffset{Topic: "orders", Metadata: "somebody's"})
	if _, err := Prepare(t.Context(), a.repo, connect(t, f), Request{}, now); !errors.Is(err, errForeignState) || !strings.Contains(err.Error(), StateGroup(a.repo.ID)) {
		t.Errorf("got %v", err)
	}
	s := topicState{point: 2, phase: phaseRunning}
	a.saveState(f, kafka.GroupOffset{Topic: "orders", Metadata: s.metadata()})
	s.point = 1
	a.saveState(f, kafka.GroupOffset{Topic: "orders", Partition: 1, Metadata: s.metadata()})
	if _, err := Prepare(t.Context(), a.repo, connect(t, f), Request{}, now); err == nil || !strings.Contains(err.Error(), "contradict") {
		t.Errorf("partitions of two restores: got %v", err)
	}
}

func TestNotes(t *testing.T) {
	a, f := shop(t), fake(t)
	createTopic(t, f, "other", 1, nil)
	fill(t, f, "other", 1)
	member := client(t, f, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("other"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if fetches := member.PollFetches(t.Context()); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	cluster := connect(t, f)
	plan, err := Prepare(t.Context(), a.repo, cluster, Request{}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"config follower.replication.throttled.replicas is not restored", "config retention.bytes was not readable",
		"group readers: its offsets will not be restored: it has active members", "its retention will delete at least 10 of the restored records",
	} {
		if !slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no note says %q: %q", want, plan.Notes)
		}
	}
	res, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan)
	if err != nil || res.Complete() || res.Groups[0].Committed != 0 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// TestRun restores, looks at what has become of everything, and runs again.
func TestRun(t *testing.T) {
	a, f := shop(t), fake(t)
	res := a.run(f, Request{HoldRetention: 24 * time.Hour})
	top := res.Topics[0]
	if top.Kept != 10 || top.Rebuilt != 6 || top.Aborted != 0 || top.Action != ActionCreate {
		t.Errorf("got %+v", top)
	}
	if want := "kafka-configs.sh --bootstrap-server … --alter --topic orders --add-config retention.ms=86400000 --delete-config retention.bytes"; top.LiftRetention != want || !top.LiftAfter.Equal(now.Add(24*time.Hour)) {
		t.Errorf("lift is %q after %s", top.LiftRetention, top.LiftAfter)
	}
	if g := res.Groups[0]; g.Committed != 2 || len(g.Problems) != 1 || !strings.Contains(g.Problems[0], "beyond the end of the backup at offset 2; set to the end") {
		t.Errorf("got %+v", g)
	}
	again := a.run(f, Request{})
	if top := again.Topics[0]; top.Action != ActionNone || top.Kept != 10 || len(again.Groups) != 0 {
		t.Errorf("the second run: %+v", again)
	}
	for p, want := range []int64{8, 2} {
		if got := f.PartitionInfo("orders", int32(p)).HighWatermark; got != want {
			t.Errorf("partition %d ends at %d, want %d", p, got, want)
		}
	}
}

// TestAppendGoesOn: a target that was added to keeps its own configs, also when
// the restore was interrupted and goes on.
func TestAppendGoesOn(t *testing.T) {
	a, f := shop(t), fake(t)
	createTopic(t, f, "orders", 2, map[string]string{"retention.ms": "-1", "max.message.bytes": "2000000"})
	fill(t, f, "orders", 3)
	counted := faulty.New(a.repo.Store())
	req := Request{Append: true}
	interrupted := false
	for call := 1; !interrupted; call++ {
		st := faulty.New(counted, faulty.Rule{Op: faulty.Get, Call: call, Fault: faulty.ErrorBefore})
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			continue
		}
		cluster := connect(t, f)
		plan, err := Prepare(t.Context(), repo, cluster, req, now)
		if err != nil {
			continue
		}
		if _, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan); err == nil {
			t.Fatal("it was never interrupted")
		}
		interrupted = true
	}
	a.run(f, req)
	configs, err := connect(t, f).TopicConfigs(t.Context(), []string{"orders"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, c := range configs["orders"] {
		got[c.Name] = *c.Value
	}
	if len(got) != 2 || got["retention.ms"] != "-1" || got["max.message.bytes"] != "2000000" {
		t.Errorf("configs are %v", got)
	}
	if got := f.PartitionInfo("orders", 0).HighWatermark; got != 11 {
		t.Errorf("partition 0 ends at %d, want 3 and 8", got)
	}
}

// TestOffsets translates without a cluster.
func TestOffsets(t *testing.T) {
	a := shop(t)
	snap, err := Load(t.Context(), a.repo, "latest", now)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{Rename: map[string]string{"orders": "copy"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	list, err := plan.Offsets(t.Context(), []Extra{{"orders", 0, 6}, {"orders@1", 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tr := range list {
		got = append(got, fmt.Sprintf("%s %s-%d %d -> %s %d %s", tr.Group, tr.Topic, tr.Partition, tr.Source, tr.Target, tr.Offset, tr.Note))
	}
	want := []string{
		"readers orders-0 2 -> copy 2 ", "readers orders-1 99 -> copy 2 beyond the end of the backup at offset 2; set to the end",
		" orders-0 6 -> copy 6 ", " orders-1 1 -> copy 1 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := plan.Offsets(t.Context(), []Extra{{"bills", 0, 1}}); !errors.Is(err, ErrNothing) {
		t.Errorf("an offset of no topic: %v", err)
	}
	if _, err := plan.Offsets(t.Context(), []Extra{{"orders", 5, 1}}); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "2 partitions, and no partition 5") {
		t.Errorf("an offset of no partition: %v", err)
	}
}

// What lies before the log start of the point is set to it, and a time that is yet
// to come means the newest point; both are said.
func TestNotesOfWhatIsAskedFor(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1)}, Streams: []manifest.NewStream{{Parent: -1}}}, written{0, 0, []spec{{last: 9}}})
	a.commit(manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 0, Offset: 4}}, Point: point()})
	for at, want := range map[string]bool{"latest": false, now.Add(time.Hour).Format(time.RFC3339): true, now.Format(time.RFC3339): false} {
		snap, err := Load(t.Context(), a.repo, at, now)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := snap.Plan(t.Context(), nil, Request{At: at}, now)
		if err != nil {
			t.Fatal(err)
		}
		if said := slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "yet to come") }); said != want {
			t.Errorf("--at %s: notes are %q", at, plan.Notes)
		}
		list, err := plan.Offsets(t.Context(), []Extra{{"orders", 0, 3}, {"orders", 0, 4}})
		if err != nil || list[0].Offset != 0 || list[0].Note != "before the first offset that comes back, 4; set to that" || list[1].Note != "" {
			t.Errorf("got %+v, %v", list, err)
		}
	}
}

// A pattern that matches nothing beside others that do is said, but not those of the defaults.
func TestNotesOfPatternsWithoutAMatch(t *testing.T) {
	a := newAuthor(t)
	a.commit(manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "old", true, 1)}, Streams: []manifest.NewStream{{Parent: -1}}, Point: point()})
	for _, test := range []struct {
		patterns []string
		want     []string
	}{
		{[]string{"orders", "ordres-*", "ol?", "!late", "!__*"}, []string{"--topics: ordres-* matches", "--topics: ol? matches", "--topics: !late matches"}},
		{[]string{"*", "!__*"}, nil}, {nil, nil}, {[]string{"orders@1"}, nil},
	} {
		plan, err := Prepare(t.Context(), a.repo, nil, Request{Topics: test.patterns}, now)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, n := range plan.Notes {
			if before, _, ok := strings.Cut(n, " no topic of the point"); ok {
				said = append(said, before)
			}
		}
		if !slices.Equal(said, test.want) {
			t.Errorf("%q: notes are %q", test.patterns, plan.Notes)
		}
	}
}

// What expires after an append is up to the target's own configs, inherited ones
// included: the backup's are not applied.
func TestAppendExpiresByTheTargetsRetention(t *testing.T) {
	for name, tc := range map[string]struct {
		configs map[string]string
		want    int64
	}{
		"forever":    {map[string]string{"retention.ms": "-1"}, 0},
		"compacted":  {map[string]string{"cleanup.policy": "compact"}, 0},
		"a day":      {map[string]string{"retention.ms": "86400000"}, 10},
		"by default": {nil, 10}, // 7 days
	} {
		t.Run(name, func(t *testing.T) {
			a, f := shop(t), fake(t)
			createTopic(t, f, "orders", 2, tc.configs)
			fill(t, f, "orders", 1)
			plan, err := Prepare(t.Context(), a.repo, connect(t, f), Request{Append: true, HoldRetention: time.Hour}, now)
			if err != nil {
				t.Fatal(err)
			}
			top := plan.Topics[0]
			if top.Expiring != tc.want || top.Held != nil || len(top.Configs) != 0 {
				t.Errorf("%d records expire, held %v, configs %v, want %d, and nothing to be set", top.Expiring, top.Held, top.Configs, tc.want)
			}
			if noted := slices.ContainsFunc(plan.Notes, func(n string) bool { return strings.Contains(n, "add to a topic with a longer one") }); noted != (tc.want > 0) {
				t.Errorf("notes are %q", plan.Notes)
			}
		})
	}
}

// An empty topic that exists keeps what is set on it and neither the backup nor
// the restore has a word about; the plan shows it, also when it is resumed.
func TestPlanShowsKeptConfigs(t *testing.T) {
	a, f := shop(t), fake(t)
	createTopic(t, f, "orders", 2, map[string]string{"min.insync.replicas": "1", "retention.ms": "5", "segment.bytes": "1048576"})
	cluster := connect(t, f)
	for _, want := range []Action{ActionFill, ActionResume} {
		plan, err := Prepare(t.Context(), a.repo, cluster, Request{}, now)
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, c := range plan.Topics[0].Kept {
			kept = append(kept, c.Name+"="+*c.Value)
		}
		if !slices.Equal(kept, []string{"min.insync.replicas=1", "segment.bytes=1048576"}) || plan.Topics[0].Action != want {
			t.Errorf("%s: kept are %q", plan.Topics[0].Action, kept)
		}
		if err := (&Runner{Cluster: cluster, Log: quiet}).prepare(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
	}
}
