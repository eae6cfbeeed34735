//go:build e2e

package e2e_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
	"github.com/offsite-kafka/offsite/test/oracle"
)

// smallSeals makes backupd commit about once a second.
var smallSeals = []string{"-X", "segment.maxAge=1s", "-X", "points.every=1s", "-X", "segment.maxBytes=1MiB"}

// backupd is killed again and again while producers write; each run starts as soon as the one before is dead.
func TestKillBackupd(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	ends := make(map[string]int)
	for range count(t, "OFFSITE_TEST_BACKUPD_KILLS", 100) {
		p := r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
		ends[r.endBackupd(t, p, rng)]++
	}
	load.stop()
	t.Logf("runs ended by %v; %d records, %d transactions aborted", ends, load.records.Load(), load.aborted.Load())

	r.backup(source)
	r.run("restored", nil, "verify")
	named, orphans := r.segments()
	t.Logf("%d segments, %d orphans", named, orphans)
	target := cluster.Start(t, cluster.Options{})
	r.restore(target)
	requireTraffic(t, source, target)
}

// endBackupd ends a run at a random moment in a random way, and says in which.
func (r *repository) endBackupd(t *testing.T, p *process, rng *rand.Rand) string {
	t.Helper()
	before := r.objects("data")
	time.Sleep(upTo(rng, 2*time.Second))
	if p.ended() {
		o := p.outcome(t)
		t.Fatalf("backupd ended by itself with %d:\n%s", o.code, tail(o.stderr))
	}
	switch n := rng.IntN(100); {
	case n >= 85: // its entry is not there yet
		for deadline := time.Now().Add(patience); r.objects("data") == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no segment after %s", patience)
			}
		}
		must(t, p.Kill())
		return "SIGKILL after a segment"
	case n < 15:
		must(t, p.Signal(syscall.SIGTERM))
		o := p.wait(t)
		if o.code != exitOK && o.code != exitInterrupted && o.code != exitKilled {
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

// objects counts the objects in a folder of a repository in a directory.
func (r *repository) objects(folder string) int {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.url, folder, "*", "*"))
	must(r.t, err)
	return len(names)
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
	st, err := dir.Open(r.url)
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

// restored is killed again and again until it completes, in several rounds, each into topics that do not exist.
func TestKillRestored(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	w := newWarehouse(t, source)
	r := newRepository(t)
	r.backup(source)

	kills, rounds, ends := count(t, "OFFSITE_TEST_RESTORED_KILLS", 50), 0, make(map[string]int)
	for killed := 0; killed < kills; rounds++ {
		for {
			how, done := w.attempt(r, target, rng)
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
	t.Logf("%d rounds, runs killed: %v", rounds, ends)
}

// warehouse is a source with many small batches in several topics, with configs and groups.
type warehouse struct {
	t       testing.TB
	source  *cluster.Cluster
	topics  []string
	groups  []string
	records map[string]oracle.History
}

// What a warehouse has.
const (
	warehouseTopics     = 6
	warehousePartitions = 2
	warehouseGroups     = 20
	warehouseRecords    = 8000 // in each partition
	warehouseValue      = 512  // bytes
)

func newWarehouse(t testing.TB, source *cluster.Cluster) *warehouse {
	t.Helper()
	w := &warehouse{t: t, source: source, records: make(map[string]oracle.History)}
	client := producer(t, source, kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerBatchMaxBytes(4<<10),
		kgo.MaxBufferedRecords(20000))
	for i := range warehouseTopics {
		topic := fmt.Sprintf("stock-%d", i)
		createTopic(t, source, topic, warehousePartitions, configs{"retention.ms": w.retention(topic), "max.message.bytes": ms(1<<20 + int64(i))})
		w.topics = append(w.topics, topic)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range warehouseRecords * warehousePartitions {
		for _, topic := range w.topics {
			value := make([]byte, warehouseValue)
			for i := 0; i < len(value); i += 8 {
				binary.LittleEndian.PutUint64(value[i:], rng.Uint64())
			}
			client.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: int32(n % warehousePartitions), Key: fmt.Append(nil, n), Value: value},
				func(_ *kgo.Record, err error) {
					if err != nil {
						t.Errorf("produce: %v", err)
					}
				})
		}
	}
	must(t, client.Flush(t.Context()))
	for _, topic := range w.topics {
		w.records[topic] = readTopic(t, source, topic)
	}
	w.commitGroups()
	return w
}

// retention is the value of retention.ms that only this topic has.
func (w *warehouse) retention(topic string) string {
	return "10" + strings.TrimPrefix(topic, "stock-") + "0000000"
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

// attempt lets a restore run until a random moment and kills it. It says when, and whether the restore was complete
// before.
func (w *warehouse) attempt(r *repository, target *cluster.Cluster, rng *rand.Rand) (when string, done bool) {
	w.t.Helper()
	a := watcher(w.t, target)
	defer a.Close()
	when, come := w.moment(a, rng)
	p := r.start("restored", target, "run", "--yes", "-o", "json")
	for ; !come(); time.Sleep(2 * time.Millisecond) {
		if p.ended() {
			if o := p.outcome(w.t); o.code != exitOK {
				w.t.Fatalf("restored ended with %d:\n%s", o.code, tail(o.stderr))
			}
			return when, true
		}
	}
	if rng.IntN(5) == 0 { // what is in flight arrives, the answers do not
		must(w.t, p.Signal(syscall.SIGSTOP))
		time.Sleep(upTo(rng, 300*time.Millisecond))
	}
	must(w.t, p.Kill())
	return when, p.outcome(w.t).code == exitOK
}

// moment draws when to kill: soon after the start, or at the first sight of something that the restore does, unless an
// earlier attempt has done it.
func (w *warehouse) moment(a *kadm.Client, rng *rand.Rand) (when string, come func() bool) {
	topic, group := w.topics[rng.IntN(len(w.topics))], w.groups[rng.IntN(len(w.groups))]
	began, limit := time.Now(), upTo(rng, 400*time.Millisecond)
	before := w.arrived(a)
	share := before + 1 + rng.Int64N(max(1, warehouseTopics*warehousePartitions*warehouseRecords-before))
	moments := []struct {
		when string
		come func() bool
	}{
		{"start", func() bool { return time.Since(began) > limit }},
		{"topics", func() bool {
			topics, err := a.ListTopics(w.t.Context())
			return err == nil && topics.Has(topic)
		}},
		{"records", func() bool { return w.arrived(a) >= share }},
		{"records", func() bool { return w.arrived(a) >= share }},
		{"configs", func() bool {
			all, err := a.DescribeTopicConfigs(w.t.Context(), topic)
			return err == nil && len(all) == 1 && slices.ContainsFunc(all[0].Configs, func(c kadm.Config) bool {
				return c.Key == "retention.ms" && c.MaybeValue() == w.retention(topic)
			})
		}},
		{"groups", func() bool {
			offsets, err := a.FetchOffsets(w.t.Context(), group)
			return err == nil && len(offsets) > 0
		}},
	}
	m := moments[rng.IntN(len(moments))]
	if m.come() {
		m = moments[0]
	}
	return m.when, m.come
}

// arrived returns how many records are there.
func (w *warehouse) arrived(a *kadm.Client) (n int64) {
	ends, err := a.ListEndOffsets(w.t.Context(), w.topics...)
	if err != nil {
		return 0
	}
	ends.Each(func(o kadm.ListedOffset) { n += max(0, o.Offset) })
	return n
}

// requireIn fails the test unless the target has the records, configs and offsets of the source.
func (w *warehouse) requireIn(target *cluster.Cluster) {
	w.t.Helper()
	for _, topic := range w.topics {
		requireSame(w.t, w.records[topic], readTopic(w.t, target, topic))
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
	a := watcher(w.t, target)
	defer a.Close()
	for _, topic := range w.topics {
		deleteTopic(w.t, target, topic)
	}
	eventually(w.t, "topics are gone", func() bool {
		topics, err := a.ListTopics(w.t.Context())
		return err == nil && !slices.ContainsFunc(w.topics, topics.Has)
	})
}
