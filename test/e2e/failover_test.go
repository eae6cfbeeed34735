//go:build e2e

package e2e_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// threeBrokers replicate everything, and acknowledge nothing that only one of them has.
func threeBrokers() cluster.Options {
	return cluster.Options{Brokers: 3, Properties: map[string]string{"min.insync.replicas": "2"}}
}

// Leaders die again and again while backupd runs, and come back. It goes on without help and loses nothing.
func TestFailoverDuringBackup(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source := cluster.Start(t, threeBrokers())
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run", "--log-level", "debug"}, smallSeals...)...)
	k := &leaderKiller{t: t, cluster: source, rng: rng}
	for range count(t, "OFFSITE_TEST_BACKUP_FAILOVERS", 6) {
		k.killOne(plainTopic, func() bool { return false })
		before := r.objects("log")
		eventually(t, "commits after a failover", func() bool {
			if daemon.ended() {
				t.Fatalf("backupd ended by itself with %d", daemon.outcome(t).code)
			}
			return r.objects("log") > before
		})
	}
	load.stop()
	daemon.stop(t)
	t.Logf("%d records, %d transactions aborted, brokers killed: %v", load.records.Load(), load.aborted.Load(), k.killed)

	r.backup(source)
	r.run("restored", nil, "verify")
	target := cluster.Start(t, cluster.Options{})
	r.restore(target, "--replication-factor", "1")
	requireTraffic(t, source, target)
}

// Leaders die again and again while restored fills a cluster of three brokers.
func TestFailoverDuringRestore(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	w := newWarehouse(t, source)
	r := newRepository(t)
	r.backup(source)

	target := cluster.Start(t, threeBrokers())
	slowDown(t, target, 1<<20)
	p := r.start("restored", target, "run", "--yes", "-o", "json", "--replication-factor", "3", "--log-level", "debug")
	eventually(t, "topics", func() bool {
		a := admin(t, target)
		defer a.Close()
		topics, err := a.ListTopics(t.Context(), w.topics...)
		return err == nil && topics.Error() == nil
	})
	k := &leaderKiller{t: t, cluster: target, rng: rng}
	for kills := count(t, "OFFSITE_TEST_RESTORE_FAILOVERS", 5); len(k.killed) < kills && !p.ended(); {
		k.killOne(w.topics[rng.IntN(len(w.topics))], p.ended)
	}
	k.startAll()
	slowDown(t, target, 1<<30)
	if o := p.wait(t); o.code != exitOK {
		t.Fatalf("restored ended with %d:\n%s", o.code, tail(o.stderr))
	}
	t.Logf("brokers killed: %v", k.killed)
	if len(k.killed) < 3 {
		t.Errorf("only %d leaders were killed before the restore was complete: it tested too little", len(k.killed))
	}
	w.requireIn(target)
}

// slowDown lets each broker take so many bytes in a second.
func slowDown(t testing.TB, c *cluster.Cluster, bytes float64) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	answers, err := a.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id"}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: bytes}},
	}})
	must(t, err)
	for _, answer := range answers {
		must(t, answer.Err)
	}
}

// leaderKiller kills leaders and starts them again.
type leaderKiller struct {
	t       testing.TB
	cluster *cluster.Cluster
	rng     *rand.Rand
	killed  []int
}

// killOne kills the leader of a partition of a topic, once all replicas are in sync, and starts it again. It does
// nothing if enough says so before.
func (k *leaderKiller) killOne(topic string, enough func() bool) {
	k.t.Helper()
	a := watcher(k.t, k.cluster)
	defer a.Close()
	leader := -1
	eventually(k.t, "all replicas in sync", func() bool {
		leader = k.leader(a, topic)
		return leader >= 0 || enough()
	})
	if enough() {
		return
	}
	time.Sleep(upTo(k.rng, time.Second))
	must(k.t, k.cluster.Kill(leader))
	k.killed = append(k.killed, leader)
	time.Sleep(time.Second + upTo(k.rng, 3*time.Second))
	must(k.t, k.cluster.Start(leader))
	must(k.t, k.cluster.WaitReady(k.t.Context()))
}

// leader returns who leads a random partition, or -1 while a replica of any topic is not in sync.
func (k *leaderKiller) leader(a *kadm.Client, topic string) int {
	ctx, cancel := context.WithTimeout(k.t.Context(), 5*time.Second)
	defer cancel()
	topics, err := a.ListTopicsWithInternal(ctx)
	if err != nil || !topics.Has(topic) {
		return -1
	}
	for _, d := range topics {
		for _, p := range d.Partitions {
			if p.Err != nil || p.Leader < 0 || len(p.ISR) < k.cluster.Size() {
				return -1
			}
		}
	}
	parts := topics[topic].Partitions.Sorted()
	return int(parts[k.rng.IntN(len(parts))].Leader)
}

// startAll starts what is down.
func (k *leaderKiller) startAll() {
	k.t.Helper()
	for id := range k.cluster.Size() {
		if k.cluster.PID(id) == 0 {
			must(k.t, k.cluster.Start(id))
		}
	}
	must(k.t, k.cluster.WaitReady(k.t.Context()))
}
