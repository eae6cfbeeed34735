package source

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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
