package source

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// killAt ends a process when it saves that it has come to a phase: that
// request is not heard.
func killAt(f *kfake.Cluster, ph phase, process context.Context, kill context.CancelFunc) {
	f.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		commit := req.(*kmsg.OffsetCommitRequest)
		if process.Err() != nil || !strings.HasPrefix(commit.Group, "offsite-restore-") || !strings.HasSuffix(*commit.Topics[0].Partitions[0].Metadata, "phase="+string(ph)) {
			return nil, nil, false
		}
		kill()
		return nil, errors.New("the process is dead"), true
	})
}

// runOrders restores the topic orders.
func runOrders(ctx context.Context, t *testing.T, repo *manifest.Repository, c *kafka.Cluster) (*Result, error) {
	t.Helper()
	p := prepareOrders(t, repo, c, false)
	if len(p.Refusals) > 0 {
		t.Fatalf("refusals %q", p.Refusals)
	}
	return (&Runner{Cluster: c, Log: quiet}).Run(ctx, p)
}

// readersAt requires the group's offset in orders-0.
func readersAt(t *testing.T, c *kafka.Cluster, want int64) {
	t.Helper()
	now, err := c.GroupOffsets(t.Context(), []string{"readers"})
	if err != nil {
		t.Fatal(err)
	}
	if len(now["readers"]) != 1 || now["readers"][0].Offset != want {
		t.Errorf("the group is at %+v, want %d", now["readers"], want)
	}
}

// Once a topic has its real configs and the groups have their offsets,
// applications begin to write, also if the restore was killed before it could
// note that it is done.
func TestKilledBeforeItNotesThatItIsDone(t *testing.T) {
	repo, f := firstDayRepository(t), fake(t)
	dying, kill := context.WithCancel(t.Context())
	killAt(f, phaseDone, dying, kill)
	if _, err := runOrders(dying, t, repo, connect(t, f)); err == nil || dying.Err() == nil {
		t.Fatalf("it was not killed: %v", err)
	}
	write(t, f, 3)
	cluster := connect(t, f)
	res, err := runOrders(t.Context(), t, repo, cluster)
	if err != nil || !res.Complete() || res.Topics[0].Action != ActionResume || res.Topics[0].Kept != 6 {
		t.Fatalf("the second run: %+v, %v", res, err)
	}
	readersAt(t, cluster, 3)
	if p := prepareOrders(t, repo, cluster, false); p.Topics[0].Action != ActionNone {
		t.Errorf("a third run would %s", p.Topics[0].Action)
	}
	if end := f.PartitionInfo("orders", 0).HighWatermark; end != 5+3 {
		t.Errorf("orders-0 ends at %d, want 5 records and 3 of an application", end)
	}
}

// Between "all records are there" and the real configs nothing is lost either.
func TestKilledOnceItNotedThatItIsFilled(t *testing.T) {
	repo, f := firstDayRepository(t), fake(t)
	dying, kill := context.WithCancel(t.Context())
	f.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		if dying.Err() == nil {
			kill()
			return nil, errors.New("the process is dead"), true
		}
		return nil, nil, false
	})
	if _, err := runOrders(dying, t, repo, connect(t, f)); err == nil || dying.Err() == nil {
		t.Fatalf("it was not killed: %v", err)
	}
	write(t, f, 1)
	cluster := connect(t, f)
	if res, err := runOrders(t.Context(), t, repo, cluster); err != nil || !res.Complete() {
		t.Fatalf("the second run: %+v, %v", res, err)
	}
	readersAt(t, cluster, 3)
	configs, err := cluster.TopicConfigs(t.Context(), []string{"orders"})
	if err != nil || len(configs["orders"]) != 1 || configs["orders"][0].Name != "retention.ms" {
		t.Errorf("configs are %+v, %v, want those of the backup", configs, err)
	}
}

// An offset that could not be committed for a reason that passes is committed by
// the next run, also where the group had another one from before the restore.
func TestGroupThatFailedIsTriedAgain(t *testing.T) {
	repo, f := firstDayRepository(t), fake(t)
	if err := f.CreateTopic("orders", 2, nil); err != nil {
		t.Fatal(err)
	}
	var stale kadm.Offsets
	stale.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 0, LeaderEpoch: -1})
	if err := kadm.NewClient(client(t, f)).CommitAllOffsets(t.Context(), "readers", stale); err != nil {
		t.Fatal(err)
	}
	failing := true
	f.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		commit := req.(*kmsg.OffsetCommitRequest)
		if !failing || commit.Group != "readers" {
			return nil, nil, false
		}
		resp := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = commit.Topics[0].Topic, commit.Topics[0].TopicID
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitResponseTopicPartition{ErrorCode: kerr.RequestTimedOut.Code})
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	cluster := connect(t, f)
	if res, err := runOrders(t.Context(), t, repo, cluster); err != nil || res.Complete() {
		t.Fatalf("the first run: %+v, %v, want it not to be complete", res, err)
	}
	failing = false
	res, err := runOrders(t.Context(), t, repo, cluster)
	if err != nil || !res.Complete() || len(res.Groups) != 1 || res.Groups[0].Committed != 1 {
		t.Fatalf("the second run: %+v, %v", res, err)
	}
	readersAt(t, cluster, 3)
	if p := prepareOrders(t, repo, cluster, false); p.Topics[0].Action != ActionNone {
		t.Errorf("a third run would %s", p.Topics[0].Action)
	}
}

// A group that has its offset already is no problem when its members are back.
func TestGroupThatHasItsOffset(t *testing.T) {
	repo, f := firstDayRepository(t), fake(t)
	dying, kill := context.WithCancel(t.Context())
	killAt(f, phaseDone, dying, kill)
	if _, err := runOrders(dying, t, repo, connect(t, f)); err == nil {
		t.Fatal("it was not killed")
	}
	createTopic(t, f, "other", 1, nil)
	fill(t, f, "other", 1)
	member := client(t, f, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("other"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if fetches := member.PollFetches(t.Context()); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	res, err := runOrders(t.Context(), t, repo, connect(t, f))
	if err != nil || !res.Complete() || len(res.Groups) != 1 || res.Groups[0].Committed != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
}

// A request that saves the state is not atomic: what all partitions have come to counts.
func TestLesserPhaseCounts(t *testing.T) {
	for _, tc := range []struct{ first, second, want phase }{
		{phaseRunning, phaseFilled, phaseRunning}, {phaseFilled, phaseRunning, phaseRunning}, {phaseDone, phaseFilled, phaseFilled}, {phaseFilled, phaseDone, phaseFilled},
	} {
		a, f := shop(t), fake(t)
		createTopic(t, f, "orders", 2, nil)
		for i, ph := range []phase{tc.first, tc.second} {
			a.saveState(f, kafka.GroupOffset{Topic: "orders", Partition: int32(i), Metadata: (&topicState{point: 2, phase: ph}).metadata()})
		}
		s, err := readState(t.Context(), connect(t, f), a.repo.ID)
		if err != nil || s.topics["orders"].phase != tc.want {
			t.Errorf("%s and %s: %+v, %v, want %s", tc.first, tc.second, s, err, tc.want)
		}
	}
}

// A topic that an earlier run has begun keeps the size of its batches, which a
// resumed restore rests on; the others have that of this run.
func TestBatchSizeIsTheTopics(t *testing.T) {
	a, f := newAuthor(t), fake(t)
	a.commit(manifest.Entry{
		Topics:  []manifest.TopicChange{topicNamed(0, "orders", false, 1), topicNamed(1, "bills", false, 1)},
		Streams: []manifest.NewStream{{Parent: -1}, {Topic: 1, Parent: -1}}, Point: point(),
	}, written{0, 0, []spec{{last: 3}}}, written{1, 0, []spec{{last: 1}}})
	createTopic(t, f, "orders", 1, nil)
	begun := topicState{point: 1, source: kafka.TopicID{1}, target: kafka.TopicID(f.TopicInfo("orders").TopicID), buildTo: 4711, phase: phaseRunning}
	a.saveState(f, kafka.GroupOffset{Topic: "orders", Metadata: begun.metadata()})
	cluster := connect(t, f)
	plan, err := Prepare(t.Context(), a.repo, cluster, Request{}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"orders": 4711, "bills": buildToFor(2)}
	for tr, c := range plan.newConverters(func(*track) emit { return nil }) {
		if name := plan.Topics[tr.topic].Target; c.buildTo != want[name] {
			t.Errorf("%s is built to %d, want %d", name, c.buildTo, want[name])
		}
	}
	if _, err := (&Runner{Cluster: cluster, Log: quiet}).Run(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	for name, s := range plan.state.topics {
		if s.buildTo != want[name] {
			t.Errorf("the state of %s says %d, want %d", name, s.buildTo, want[name])
		}
	}
}
