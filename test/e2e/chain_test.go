//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// A group that reads committed records is nowhere behind a transaction that the point leaves out, however restless the
// producers are.
func TestChainOfApplications(t *testing.T) {
	t.Parallel()
	modes := []string{"log", "poll"}[:count(t, "OFFSITE_TEST_CHAIN_MODES", 1)]
	for _, mode := range modes {
		t.Run(mode+"-old", func(t *testing.T) { chain(t, mode, kgo.MaxVersions(kversion.V3_7_0())) })
		t.Run(mode+"-new", func(t *testing.T) { chain(t, mode, kgo.MaxVersions(kversion.Stable())) })
	}
}

func chain(t *testing.T, mode string, old kgo.Opt) {
	from := cluster.Start(t, cluster.Options{})
	createTopic(t, from, "first", 1, nil)
	createTopic(t, from, "second", 1, nil)
	createTopic(t, from, "busy", 4, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	loop := func(id, topic string, parts int32, pause time.Duration) {
		p := producer(t, from, kgo.TransactionalID(id), old, kgo.ProducerLinger(0))
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if p.BeginTransaction() != nil {
					return
				}
				p.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: int32(n) % parts, Value: []byte(strconv.Itoa(n))})
				if p.EndTransaction(context.Background(), kgo.TryCommit) != nil {
					return
				}
				time.Sleep(pause)
			}
		})
	}
	loop("maker", "first", 1, 30*time.Millisecond)
	for n := range 4 {
		loop(fmt.Sprintf("busy-%d", n), "busy", 4, 0)
	}
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(from.Bootstrap()...), kgo.TransactionalID("taker"), kgo.ConsumerGroup("takers"), kgo.ConsumeTopics("first"), old,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	must(t, err)
	t.Cleanup(s.Close)
	all.Go(func() {
		for ctx.Err() == nil {
			list := s.PollRecords(ctx, 1).Records()
			if len(list) == 0 {
				continue
			}
			if s.Begin() != nil {
				return
			}
			s.Produce(ctx, &kgo.Record{Topic: "second", Value: list[0].Value}, nil)
			if _, err := s.End(context.Background(), kgo.TryCommit); err != nil {
				return
			}
		}
	})
	plain, err := kgo.NewClient(kgo.SeedBrokers(from.Bootstrap()...), kgo.ConsumerGroup("plain"), kgo.ConsumeTopics("first"), kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	t.Cleanup(plain.Close)
	all.Go(func() {
		for ctx.Err() == nil {
			if list := plain.PollRecords(ctx, 10).Records(); len(list) > 0 {
				if plain.CommitRecords(context.Background(), list...) != nil {
					return
				}
			}
		}
	})
	time.Sleep(2 * time.Second)
	r := newRepository(t)
	daemon := r.start("backupd", from, append([]string{"run", "-X", "groups.capture=" + mode}, smallSeals...)...)
	eventually(t, "the log", func() bool { return r.objects("log") > 2 })
	eventually(t, "points", func() bool { return len(r.listPoints().Points) >= 14 })
	cancel()
	all.Wait()
	out := daemon.stop(t)
	for _, line := range strings.Split(out.stderr, "\n") {
		if strings.Contains(line, "transactions closed") || strings.Contains(line, "split") {
			t.Log(line)
		}
	}
	st, err := dir.Open(r.url)
	must(t, err)
	repo, err := manifest.Open(t.Context(), st)
	must(t, err)
	_, err = repo.Read(t.Context(), 0, func(state *manifest.State, e *manifest.Entry) error {
		if e.Point == nil {
			return nil
		}
		g := state.Groups["plain"]
		if g == nil {
			return nil
		}
		at := g.Offsets[manifest.OffsetKey{Topic: "first"}].Offset
		for _, x := range state.Transactions {
			topic := state.Topics[state.Streams[x.Stream].Topic].Name
			if topic == "first" && x.Kind == manifest.TxnUndone && x.Offset < at {
				t.Errorf("point %d: the group is at %d, and transactions that end at %d and behind are left out; closing %+v", e.Sequence, at, x.Offset, e.Closing)
			}
		}
		return nil
	})
	must(t, err)
}
