package source

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// firstDayRepository is a backup in which orders-0 has five records.
func firstDayRepository(t *testing.T) *manifest.Repository {
	t.Helper()
	s, st := newSource(t), mem.New()
	s.firstDay(t)
	if err := backUp(t.Context(), connect(t, s.fake), st, sinkConfig()); err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func prepareOrders(t *testing.T, repo *manifest.Repository, c *kafka.Cluster, add bool) *Plan {
	t.Helper()
	p, err := Prepare(t.Context(), repo, c, Request{Topics: []string{"orders"}, Append: add}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// write is what a producer does that has been waiting for the topic.
func write(t *testing.T, f *kfake.Cluster, n int) {
	t.Helper()
	var list []*kgo.Record
	for range n {
		list = append(list, &kgo.Record{Topic: "orders", Partition: 0, Value: []byte("foreign")})
	}
	if err := client(t, f).ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// As many foreign records as the backup has must not be taken for its own.
func TestForeignRecordsAreNotTakenForOurs(t *testing.T) {
	repo := firstDayRepository(t)
	for name, held := range map[string]int{"fill": 0, "append": 2} {
		t.Run(name, func(t *testing.T) {
			f := fake(t)
			if err := f.CreateTopic("orders", 2, nil); err != nil {
				t.Fatal(err)
			}
			if held > 0 {
				write(t, f, held)
			}
			c := connect(t, f)
			p := prepareOrders(t, repo, c, true)
			write(t, f, 5)
			r := &Runner{Cluster: c, Log: quiet}
			if _, err := r.Run(t.Context(), p); err == nil {
				t.Fatal("the restore says that it is complete")
			}
			state, err := readState(t.Context(), c, repo.ID)
			if err != nil || len(state.topics) > 0 {
				t.Errorf("it has left a state to go on from: %v, %v", state, err)
			}
		})
	}
}

// A restore that was killed before its first record goes on, and finds records.
func TestResumedRestoreKnowsItsOwnRecords(t *testing.T) {
	repo := firstDayRepository(t)
	for name, c := range map[string]struct {
		foreign int
		ok      bool
	}{"own": {0, true}, "foreign": {5, false}} {
		t.Run(name, func(t *testing.T) {
			f := fake(t)
			cluster := connect(t, f)
			r := &Runner{Cluster: cluster, Log: quiet}
			p := prepareOrders(t, repo, cluster, false)
			if err := r.prepare(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if c.foreign > 0 {
				write(t, f, c.foreign)
			} else if _, err := r.replay(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			p = prepareOrders(t, repo, cluster, false)
			if len(p.Refusals) > 0 || p.Topics[0].Action != ActionResume {
				t.Fatalf("action %s, refusals %v", p.Topics[0].Action, p.Refusals)
			}
			if _, err := r.Run(t.Context(), p); (err == nil) != c.ok {
				t.Errorf("error %v, want success: %t", err, c.ok)
			}
		})
	}
}

// A topic that is only added to keeps its configs: one that replaces timestamps
// cannot take the records as they were.
func TestAppendKeepsTimestamps(t *testing.T) {
	repo := firstDayRepository(t)
	f := fake(t)
	if err := f.CreateTopic("orders", 2, map[string]string{"message.timestamp.type": "LogAppendTime"}); err != nil {
		t.Fatal(err)
	}
	write(t, f, 1)
	p := prepareOrders(t, repo, connect(t, f), true)
	if !slices.ContainsFunc(p.Refusals, func(r string) bool { return strings.Contains(r, "LogAppendTime") }) {
		t.Errorf("refusals %v, want one about LogAppendTime", p.Refusals)
	}
}

// resumed is a cluster with topics that an interrupted restore has begun, and
// that hold as many records as the backup, all of them foreign.
func resumed(t *testing.T, names ...string) (*author, *kfake.Cluster) {
	a, f := newAuthor(t), fake(t)
	entry := manifest.Entry{Point: point()}
	var data []written
	for i, name := range names {
		entry.Topics = append(entry.Topics, topicNamed(i, name, false, 1))
		entry.Streams = append(entry.Streams, manifest.NewStream{Topic: i, Parent: -1})
		data = append(data, written{i, 0, []spec{{last: 3}}})
	}
	a.commit(entry, data...)
	for i, name := range names {
		createTopic(t, f, name, 1, nil)
		begun := topicState{
			point: 1, source: kafka.TopicID{byte(i + 1)}, target: kafka.TopicID(f.TopicInfo(name).TopicID),
			producer: producerID{77, 0}, buildTo: buildTo, phase: phaseRunning,
		}
		a.saveState(f, kafka.GroupOffset{Topic: name, Metadata: begun.metadata()})
		fill(t, f, name, 4)
	}
	return a, f
}

// answerFetch lets the cluster answer each fetch from a topic with the same.
func answerFetch(f *kfake.Cluster, topic string, answer func(*kmsg.FetchResponseTopicPartition)) {
	id := f.TopicInfo(topic).TopicID
	f.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		r := req.(*kmsg.FetchRequest)
		if len(r.Topics) == 0 || r.Topics[0].TopicID != id {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		part := kmsg.NewFetchResponseTopicPartition()
		answer(&part)
		resp.Topics = []kmsg.FetchResponseTopic{{TopicID: id, Partitions: []kmsg.FetchResponseTopicPartition{part}}}
		return resp, nil, true
	})
}

// Topics that must not be read keep nobody from looking at the others.
func TestUnreadableTopicHidesNoOther(t *testing.T) {
	var secret []string
	for i := range 7 {
		secret = append(secret, fmt.Sprint("secret-", i))
	}
	a, f := resumed(t, append(secret, "orders")...)
	for _, name := range secret {
		answerFetch(f, name, func(p *kmsg.FetchResponseTopicPartition) { p.ErrorCode = kerr.TopicAuthorizationFailed.Code })
	}
	cluster := connect(t, f)
	for range 4 { // topics come in any order
		plan, err := Prepare(t.Context(), a.repo, cluster, Request{}, now)
		if err != nil || len(plan.Refusals) > 0 {
			t.Fatal(err, plan.Refusals)
		}
		var log strings.Builder
		_, err = (&Runner{Cluster: cluster, Log: slog.New(slog.NewTextHandler(&log, nil))}).Run(t.Context(), plan)
		if err == nil || !strings.Contains(err.Error(), "orders-0") {
			t.Fatalf("error %v, want one about the foreign records in orders", err)
		}
	}
}

// A leader that gives no records for a moment has not lost them.
func TestEmptyAnswerProvesNothing(t *testing.T) {
	a, f := resumed(t, "orders")
	asked := 0
	answerFetch(f, "orders", func(*kmsg.FetchResponseTopicPartition) { asked++ })
	ctx, cancel := context.WithTimeout(t.Context(), 3*retryPause)
	defer cancel()
	cluster := connect(t, f)
	plan, err := Prepare(t.Context(), a.repo, cluster, Request{}, now)
	if err != nil || len(plan.Refusals) > 0 {
		t.Fatal(err, plan.Refusals)
	}
	if _, err := (&Runner{Cluster: cluster, Log: quiet}).Run(ctx, plan); err == nil {
		t.Error("foreign records are taken for the restore's own")
	}
	if asked < 2 {
		t.Errorf("the leader was asked %d times, want until it answers", asked)
	}
}
