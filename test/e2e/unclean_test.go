//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// rewrittenTopics are those of TestUncleanElection, each with how many records take the place of the lost ones.
var rewrittenTopics = map[string]int{"same": lostRecords, "shorter": 20, "longer": 90, "nothing": 0, "ledger": 90, straddling: 0}

// straddling is a topic with transactions that begin before the offsets that are rewritten, and whose markers are among those that are lost.
const straddling = "straddling"

// lostRecords is how many records of each topic an unclean election loses.
const lostRecords = 50

// uncleanCluster is one whose brokers 1 and 2 replicate the topics. Broker 0 is there for the quorum of the controllers.
type uncleanCluster struct {
	t *testing.T
	*cluster.Cluster
	rounds     int
	straddling *kgo.Client
}

func startUnclean(t *testing.T) *uncleanCluster {
	t.Helper()
	c := &uncleanCluster{t: t, Cluster: cluster.Start(t, cluster.Options{Brokers: 3})}
	req := kmsg.NewPtrCreateTopicsRequest()
	for topic := range rewrittenTopics {
		x := kmsg.NewCreateTopicsRequestTopic()
		x.Topic, x.NumPartitions, x.ReplicationFactor = topic, -1, -1
		for p := range int32(2) {
			x.ReplicaAssignment = append(x.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: p, Replicas: []int32{1, 2}})
		}
		yes, one := "true", "1"
		x.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "unclean.leader.election.enable", Value: &yes}, {Name: "min.insync.replicas", Value: &one}}
		req.Topics = append(req.Topics, x)
	}
	for _, x := range request[*kmsg.CreateTopicsResponse](t, c.Client(t), req).Topics {
		if x.ErrorCode != 0 {
			t.Fatalf("create %s: %d %s", x.Topic, x.ErrorCode, *x.ErrorMessage)
		}
	}
	c.straddling = producer(t, c.Cluster, kgo.TransactionalID(straddling))
	return c
}

// await waits until each partition of the topics has the leader, and so many replicas in sync.
func (c *uncleanCluster) await(leader int32, inSync int) {
	c.t.Helper()
	a := watcher(c.t, c.Cluster)
	defer a.Close()
	eventually(c.t, fmt.Sprintf("leader %d with %d replicas in sync", leader, inSync), func() bool {
		topics, err := a.ListTopics(c.t.Context(), c.topics()...)
		if err != nil {
			return false
		}
		n := 0
		for _, d := range topics {
			for _, p := range d.Partitions {
				if p.Err == nil && p.Leader == leader && len(p.ISR) == inSync {
					n++
				}
			}
		}
		return n == 2*len(rewrittenTopics)
	})
}

func (c *uncleanCluster) topics() []string {
	var names []string
	for topic := range rewrittenTopics {
		names = append(names, topic)
	}
	slices.Sort(names)
	return names
}

// fill appends records to partition 0 of each topic, and to partition 1 if both is set.
func (c *uncleanCluster) fill(text string, records func(topic string) int, both bool) {
	c.t.Helper()
	for _, topic := range c.topics() {
		n := records(topic)
		switch {
		case topic == straddling, n == 0:
		case topic == "ledger":
			c.transact(text, n)
		default:
			p := newRawProducer(c.t, c.Cluster, topic)
			for i := 0; i < n; i += 10 {
				p.send(0, codecs[i%len(codecs)], numbered(fmt.Sprint(text, i), 10)...)
			}
			if both {
				p.send(1, codecs[1], numbered(text, n)...)
			}
		}
	}
}

// transact appends records to the ledger, in transactions of ten, of which each third is aborted.
func (c *uncleanCluster) transact(text string, records int) {
	c.t.Helper()
	cl := producer(c.t, c.Cluster, kgo.TransactionalID(text))
	defer cl.Close()
	for i := 0; i < records; i += 10 {
		must(c.t, cl.BeginTransaction())
		for j := range 10 {
			produce(c.t, cl, &kgo.Record{Topic: "ledger", Value: fmt.Appendf(nil, "%s %d/%d", text, i, j)})
		}
		must(c.t, cl.EndTransaction(c.t.Context(), kgo.TransactionEndTry(i%30 != 0)))
	}
}

// open begins a transaction that is open when it returns. Some records of it are there.
func (c *uncleanCluster) open(text string) {
	c.t.Helper()
	must(c.t, c.straddling.BeginTransaction())
	c.send(text)
}

// send appends records to the open transaction.
func (c *uncleanCluster) send(text string) {
	c.t.Helper()
	for i := range 10 {
		produce(c.t, c.straddling, &kgo.Record{Topic: straddling, Value: fmt.Appendf(nil, "%s %d", text, i)})
	}
}

// end commits the open transaction.
func (c *uncleanCluster) end() {
	c.t.Helper()
	must(c.t, c.straddling.EndTransaction(c.t.Context(), kgo.TryCommit))
}

// read returns what consumers see of the topics.
func (c *uncleanCluster) read() map[string]oracle.History {
	c.t.Helper()
	all := make(map[string]oracle.History)
	for _, topic := range c.topics() {
		all[topic] = readTopic(c.t, c.Cluster, topic)
	}
	return all
}

// rewrite loses what is written while only the leader is up, and writes something else at the same offsets: the other replica, which has
// never seen it, becomes the leader in an unclean election. captured is called when what is going to be lost has been written.
func (c *uncleanCluster) rewrite(leader, stale int, captured func()) {
	c.t.Helper()
	c.rounds++
	must(c.t, c.Kill(stale))
	c.await(int32(leader), 1)
	c.send("lost")
	c.end()
	c.fill(fmt.Sprint("lost ", c.rounds), func(string) int { return lostRecords }, false)
	captured()
	must(c.t, c.Kill(leader))
	must(c.t, c.Start(stale))
	c.await(int32(stale), 1)
	c.open("instead")
	c.end()
	c.open("open again")
	c.fill(fmt.Sprint("instead ", c.rounds), func(topic string) int { return rewrittenTopics[topic] }, false)
	must(c.t, c.Start(leader))
	must(c.t, c.WaitReady(c.t.Context()))
	c.await(int32(stale), 2)
}

// Unclean elections replace records that have been captured, once while backupd runs and once while it does not. Both sides come back:
// the old one from the points before, the new one from those after. What is said of it is where and when it was, and where the old one is.
func TestUncleanElection(t *testing.T) {
	t.Parallel()
	source := startUnclean(t)
	source.await(1, 2)
	source.open("common")
	source.fill("common", func(string) int { return 100 }, true)
	r := newRepository(t)
	points := make(map[string]uint64)
	want := make(map[string]map[string]oracle.History)
	made := func(name string) {
		want[name] = source.read()
		settled := maps.Clone(want[name])
		delete(settled, straddling) // a point goes on beyond the last stable offset
		points[name] = r.pointWith(t, settled)
	}
	daemon := r.start("backupd", source.Cluster, append([]string{"run"}, smallSegments...)...)
	made("common")
	source.rewrite(1, 2, func() { made("lost-1") })
	made("instead-1")
	source.rewrite(2, 1, func() {
		made("lost-2")
		daemon.stop(t)
	})
	r.backup(source.Cluster)
	made("instead-2")
	// Without its lost marker a transaction stays open, and the marker of the producer's next one ends both.
	for name, records := range map[string]int{"common": 0, "lost-1": 20, "instead-1": 20, "lost-2": 40, "instead-2": 40} {
		if got := want[name][straddling].Len(); got != records {
			t.Errorf("%s at %s: consumers see %d records, want %d", straddling, name, got, records)
		}
	}

	target := cluster.Start(t, cluster.Options{})
	for name := range want {
		args := []string{"--at", fmt.Sprint(points[name]), "--replication-factor", "1"}
		for topic := range rewrittenTopics {
			args = append(args, "--rename", topic+"="+topic+"-"+name)
		}
		r.restore(target, args...)
		for topic := range rewrittenTopics {
			if faults := oracle.Compare(want[name][topic], readTopic(t, target, topic+"-"+name)); len(faults) > 0 {
				t.Errorf("%s at %s: the copy differs in %d records: %v", topic, name, len(faults), faults)
			}
		}
	}
	source.requireTold(r, target, points, want)
	r.run("restored", nil, "verify")
}

// requireTold fails the test unless events and plans name exactly the offsets that were rewritten.
func (c *uncleanCluster) requireTold(r *repository, target *cluster.Cluster, points map[string]uint64, want map[string]map[string]oracle.History) {
	c.t.Helper()
	var told []string
	for _, e := range r.events("rewritten") {
		if e.Topic == straddling {
			continue // readTopic does not know where it ends
		}
		told = append(told, fmt.Sprintf("%s-%d [%d,%d)", e.Topic, e.Partition, e.From, e.To))
	}
	var expected []string
	for round, common := range map[int]string{1: "common", 2: "instead-1"} {
		for topic := range rewrittenTopics {
			if topic == straddling {
				continue
			}
			expected = append(expected, fmt.Sprintf("%s-0 [%d,%d)", topic, want[common][topic][0].End, want[fmt.Sprint("lost-", round)][topic][0].End))
		}
	}
	slices.Sort(told)
	slices.Sort(expected)
	if !slices.Equal(told, expected) {
		c.t.Errorf("events tell of %q, want %q", told, expected)
	}
	notes := func(name string) []string {
		return r.plan(target, "--at", fmt.Sprint(points[name]), "--topics", "longer", "--rename", "longer=other", "--replication-factor", "1").Notes
	}
	for _, name := range []string{"common", "lost-1"} {
		if list := notes(name); len(list) > 0 {
			c.t.Errorf("the plan of %s, before everything, says %q", name, list)
		}
	}
	for name, parts := range map[string][]string{
		"instead-1": {"longer-0: offsets [100,150) were rewritten", fmt.Sprintf("--at %d", points["lost-1"])},
		"lost-2":    {"longer-0: offsets [100,150) were rewritten", fmt.Sprintf("--at %d", points["lost-1"])},
		"instead-2": {"longer-0: offsets [100,150) were rewritten", fmt.Sprintf("--at %d", points["lost-1"]), "longer-0: offsets [190,240) were rewritten", fmt.Sprintf("--at %d", points["lost-2"])},
	} {
		list := notes(name)
		for _, part := range parts {
			if !strings.Contains(strings.Join(list, "\n"), part) || len(list) != len(parts)/2 {
				c.t.Errorf("the plan of %s does not say %q, or says more: %q", name, part, list)
			}
		}
	}
}
