//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// smallSeals makes backupd commit about once a second.
var smallSeals = []string{"-X", "segment.maxAge=1s", "-X", "points.every=1s", "-X", "segment.maxBytes=1MiB"}

// backupd is killed again and again while producers write; each run starts as soon as the one before is dead.
func TestKillBackupd(t *testing.T) {
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	ends := make(map[string]int)
	for range count(t, "OFFSITE_TEST_BACKUPD_KILLS", 100) {
		p := r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
		ends[endBackupd(t, p, rng)]++
	}
	load.stop()
	t.Logf("runs ended by %v; %d records, %d transactions aborted", ends, load.records.Load(), load.aborted.Load())

	r.backup(source)
	r.run("restored", nil, "verify")
	named, orphans := r.segments()
	t.Logf("%d segments, %d orphans", named, orphans)
	if orphans == 0 && ends["SIGKILL"] >= 50 {
		t.Error("no run was killed between a segment and its entry: the test tested too little")
	}
	target := cluster.Start(t, cluster.Options{})
	r.restore(target)
	requireTraffic(t, source, target)
}

// endBackupd ends a run at a random moment in a random way, and says in which.
func endBackupd(t *testing.T, p *process, rng *rand.Rand) string {
	t.Helper()
	time.Sleep(upTo(rng, 2*time.Second))
	select {
	case <-p.Done():
		o := p.outcome(t)
		t.Fatalf("backupd ended by itself with %d:\n%s", o.code, tail(o.stderr))
	default:
	}
	switch n := rng.IntN(100); {
	case n < 15:
		must(t, p.Signal(syscall.SIGTERM))
		o := p.wait(t)
		if o.code != exitOK && o.code != exitCancelled && o.code != exitKilled {
			t.Fatalf("backupd ended with %d after SIGTERM:\n%s", o.code, tail(o.stderr))
		}
		return fmt.Sprintf("SIGTERM, exit code %d", o.code)
	case n < 30:
		must(t, p.Signal(syscall.SIGSTOP))
		time.Sleep(upTo(rng, time.Second))
		must(t, p.Signal(syscall.SIGCONT))
		time.Sleep(upTo(rng, 500*time.Millisecond))
		must(t, p.Kill())
		return "SIGSTOP, SIGCONT, SIGKILL"
	}
	must(t, p.Kill())
	return "SIGKILL"
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// segments counts the segments that the log of a repository in a directory names, and those that it does not.
func (r *repository) segments() (named, orphans int) {
	r.t.Helper()
	st, err := dir.New(r.url)
	must(r.t, err)
	repo, err := manifest.Open(r.t.Context(), st)
	must(r.t, err)
	known := make(map[string]bool)
	_, err = repo.Read(r.t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		for _, s := range e.Segments {
			known[manifest.SegmentKey(e.Writer, s.Counter)] = true
		}
		return nil
	})
	must(r.t, err)
	must(r.t, st.List(r.t.Context(), "data/", func(info store.Info) error {
		if !known[info.Key] {
			orphans++
		}
		return nil
	}))
	return len(known), orphans
}

// restored is killed again and again until it completes, in several rounds: into no topics, and into topics of which
// it has made some.
func TestKillRestored(t *testing.T) {
	rng := random(t)
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	w := newWarehouse(t, source)
	r := newRepository(t)
	r.backup(source)

	began := time.Now()
	r.restore(target)
	whole := time.Since(began)
	w.requireIn(target)
	w.removeFrom(target)

	kills, rounds, ends := count(t, "OFFSITE_TEST_RESTORED_KILLS", 50), 0, make(map[string]int)
	for killed := 0; killed < kills; rounds++ {
		for {
			how, done := w.attempt(r.start("restored", target, "run", "--yes", "-o", "json"), target, rng, whole)
			if done {
				break
			}
			ends[how]++
			killed++
		}
		w.requireIn(target)
		for _, topic := range r.restore(target).Topics {
			if topic.Action != "none" {
				t.Fatalf("a further run would %s %s", topic.Action, topic.Target)
			}
		}
		w.requireIn(target)
		w.removeFrom(target)
	}
	t.Logf("%d rounds, a whole restore takes %s, runs killed: %v", rounds, whole, ends)
}

// warehouse is a source with many small batches in several topics, with configs and groups.
type warehouse struct {
	t       testing.TB
	source  *cluster.Cluster
	topics  []string
	groups  []string
	history map[string]int // records by topic
}

// What a warehouse has.
const (
	warehouseTopics     = 6
	warehousePartitions = 2
	warehouseGroups     = 20
	warehouseRecords    = 16000 // in each partition
	warehouseValue      = 500   // bytes
)

func newWarehouse(t testing.TB, source *cluster.Cluster) *warehouse {
	t.Helper()
	w := &warehouse{t: t, source: source}
	client := producer(t, source, kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerBatchMaxBytes(4<<10),
		kgo.MaxBufferedRecords(20000))
	for i := range warehouseTopics {
		topic := fmt.Sprintf("stock-%d", i)
		createTopic(t, source, topic, warehousePartitions, configs{"retention.ms": ms(int64(i+1) * 1e9), "cleanup.policy": "delete", "max.message.bytes": ms(1<<20 + int64(i))})
		w.topics = append(w.topics, topic)
	}
	text := strings.Repeat("0123456789 bottles of beer on the wall, ", warehouseValue/40)
	for n := range warehouseRecords * warehousePartitions {
		for _, topic := range w.topics {
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: int32(n % warehousePartitions), Key: fmt.Append(nil, n), Value: fmt.Append(nil, n, text)},
				func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("produce: %v", err)
					}
				})
		}
	}
	must(t, client.Flush(t.Context()))
	w.commitGroups()
	return w
}

// commitGroups gives each group an offset in every partition.
func (w *warehouse) commitGroups() {
	w.t.Helper()
	a := admin(w.t, w.source)
	defer a.Close()
	for g := range warehouseGroups {
		group := fmt.Sprintf("pickers-%d", g)
		w.groups = append(w.groups, group)
		offsets := make(kadm.Offsets)
		for _, topic := range w.topics {
			for p := range int32(warehousePartitions) {
				at := int64(g) * warehouseRecords / (warehouseGroups - 1)
				offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1, Metadata: group})
			}
		}
		must(w.t, a.CommitAllOffsets(w.t.Context(), group, offsets))
	}
}

// attempt lets a restore run for a while and kills it. It says how, and whether the restore was complete before.
func (w *warehouse) attempt(p *process, target *cluster.Cluster, rng *rand.Rand, whole time.Duration) (how string, done bool) {
	w.t.Helper()
	how, moment := w.moment(target, rng, whole)
	for !moment() {
		select {
		case <-p.Done():
			if o := p.outcome(w.t); o.code != exitOK {
				w.t.Fatalf("restored ended with %d:\n%s", o.code, tail(o.stderr))
			}
			return how, true
		case <-time.After(2 * time.Millisecond):
		}
	}
	if rng.IntN(5) == 0 { // what is in flight arrives, the answers do not
		must(w.t, p.Signal(syscall.SIGSTOP))
		time.Sleep(upTo(rng, 300*time.Millisecond))
	}
	must(w.t, p.Kill())
	return how, p.outcome(w.t).code == exitOK
}

// moment draws when to kill: at a random time, or at the first sight of something that the restore does.
func (w *warehouse) moment(target *cluster.Cluster, rng *rand.Rand, whole time.Duration) (how string, come func() bool) {
	a := admin(w.t, target)
	w.t.Cleanup(a.Close)
	switch rng.IntN(8) {
	case 0:
		return "topics", func() bool {
			topics, err := a.ListTopics(w.t.Context())
			return err == nil && topics.Has(w.topics[rng.IntN(len(w.topics))])
		}
	case 1:
		topic := w.topics[rng.IntN(len(w.topics))]
		return "configs", func() bool {
			all, err := a.DescribeTopicConfigs(w.t.Context(), topic)
			return err == nil && len(all) == 1 && slices.ContainsFunc(all[0].Configs, func(c kadm.Config) bool {
				return c.Key == "retention.ms" && len(c.MaybeValue()) > 9 && c.MaybeValue()[0] != '-'
			})
		}
	case 2:
		group := w.groups[rng.IntN(len(w.groups))]
		return "groups", func() bool {
			offsets, err := a.FetchOffsets(w.t.Context(), group)
			return err == nil && len(offsets) > 0
		}
	}
	at := time.Now().Add(upTo(rng, whole))
	return "time", func() bool { return time.Now().After(at) }
}

// requireIn fails the test unless the target has the records, configs and offsets of the source.
func (w *warehouse) requireIn(target *cluster.Cluster) {
	w.t.Helper()
	for _, topic := range w.topics {
		requireSame(w.t, readTopic(w.t, w.source, topic), readTopic(w.t, target, topic))
		want, got := topicConfigs(w.t, w.source, topic), topicConfigs(w.t, target, topic)
		if fmt.Sprint(want) != fmt.Sprint(got) {
			w.t.Fatalf("configs of %s are %v, want %v", topic, got, want)
		}
	}
	from, to := admin(w.t, w.source), admin(w.t, target)
	defer from.Close()
	defer to.Close()
	for _, group := range w.groups {
		want, err := from.FetchOffsets(w.t.Context(), group)
		must(w.t, err)
		got, err := to.FetchOffsets(w.t.Context(), group)
		must(w.t, err)
		want.Each(func(o kadm.OffsetResponse) { // without holes, offsets stay the same
			if g, ok := got.Lookup(o.Topic, o.Partition); !ok || g.At != o.At || g.Metadata != o.Metadata {
				w.t.Fatalf("group %s is at %+v in %s-%d, want %+v", group, g.Offset, o.Topic, o.Partition, o.Offset)
			}
		})
	}
}

// removeFrom deletes the topics, and with them the groups' offsets and the state of the restore.
func (w *warehouse) removeFrom(target *cluster.Cluster) {
	w.t.Helper()
	a := admin(w.t, target)
	defer a.Close()
	for _, topic := range w.topics {
		deleteTopic(w.t, target, topic)
	}
	eventually(w.t, "topics are gone", func() bool {
		topics, err := a.ListTopics(w.t.Context())
		return err == nil && !slices.ContainsFunc(w.topics, topics.Has)
	})
}
