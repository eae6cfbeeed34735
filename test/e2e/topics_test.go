//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// eager makes a broker compact and delete as soon as it may.
var eager = map[string]string{
	"log.cleaner.backoff.ms": "100", "log.retention.check.interval.ms": "200", "log.initial.task.delay.ms": "100",
	"log.segment.delete.delay.ms": "100",
}

// numbered returns n records "TEXT 0", "TEXT 1" and so on, for newRawProducer.
func numbered(text string, n int) []stamped {
	records := make([]stamped, n)
	for i := range records {
		records[i] = stamped{time.Now().UnixMilli(), batch.NewRecord([]byte(fmt.Sprint("key ", i)), fmt.Appendf(nil, "%s %d", text, i))}
	}
	return records
}

// A compacted topic comes back with the records that compaction has left, at new offsets: the holes do not come back. What was captured
// before the compaction comes back whole.
func TestCompactedTopic(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{Properties: eager}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "table", 2, configs{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "500", "min.compaction.lag.ms": ms(time.Hour.Milliseconds()),
	})
	p := newRawProducer(t, source, "table")
	for round := range 30 {
		fillTable(p, round)
	}
	before, whole := readTopic(t, source, "table"), newRepository(t)
	whole.backup(source)

	alterTopic(t, source, "table", configs{"min.compaction.lag.ms": "0"})
	time.Sleep(time.Second) // older than segment.ms: the next record begins a new segment
	fillTable(p, 30)
	after := awaitCompaction(t, source, "table")
	if before.Len() < 2*after.Len() || after[0].End == int64(len(after[0].Records)) {
		t.Fatalf("%d records before the compaction, %d after: there are no holes to speak of", before.Len(), after.Len())
	}
	r := newRepository(t)
	r.backup(source)
	whole.backup(source) // goes on behind what it has

	r.restore(target)
	requireSame(t, after, readTopic(t, target, "table"))
	for partition := range int32(2) {
		requireVerbatim(t, r, source, "table", partition)
	}
	if want, got := topicConfigs(t, source, "table"), topicConfigs(t, target, "table"); fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("configs %v, want %v", got, want)
	}
	points := whole.points()
	whole.restore(target, "--at", fmt.Sprint(points[len(points)-1]), "--rename", "table=first")
	requireSame(t, before, readTopic(t, target, "first"))
}

// fillTable writes a round of values and tombstones, most of which replace those of earlier rounds: one large batch that
// compaction leaves a few records of, and some small ones.
func fillTable(p *rawProducer, round int) {
	for partition := range int32(2) {
		codec := codecs[round%len(codecs)]
		records := numbered(fmt.Sprintf("round %d %s", round, strings.Repeat("x", 100)), 100)
		records = append(records, stamped{time.Now().UnixMilli(), batch.NewRecord(fmt.Appendf(nil, "only in round %d", round), []byte("stays"))})
		p.send(partition, codec, records...)
		p.send(partition, codec, stamped{time.Now().UnixMilli(), batch.NewRecord(fmt.Appendf(nil, "only in round %d", round-2), nil)})
		p.send(partition, codec, stamped{time.Now().UnixMilli(), batch.NewRecord([]byte("key 7"), nil)})
	}
}

// awaitCompaction waits until the broker has compacted everything but the active segments, and returns what is left.
func awaitCompaction(t *testing.T, c *cluster.Cluster, topic string) oracle.History {
	t.Helper()
	for p := range readTopic(t, c, topic) {
		eventually(t, fmt.Sprintf("compaction of %s-%d", topic, p), func() bool {
			files := segmentFiles(t, c, topic, p)
			active := strings.TrimSuffix(filepath.Base(files[len(files)-1]), ".log")
			base, err := strconv.ParseInt(active, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return compactedTo(t, c, topic, p) >= base
		})
	}
	return readTopic(t, c, topic)
}

// compactedTo returns up to where the broker says that it has compacted a partition.
func compactedTo(t *testing.T, c *cluster.Cluster, topic string, partition int32) int64 {
	t.Helper()
	lines, err := os.ReadFile(filepath.Join(c.DataDir(0), "cleaner-offset-checkpoint"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		var name string
		var index int32
		var offset int64
		if n, _ := fmt.Sscan(line, &name, &index, &offset); n == 3 && name == topic && index == partition {
			return offset
		}
	}
	return -1
}

// A topic whose log begins inside a batch comes back from that record on, also when the log was trimmed after the capture.
func TestTrimmedTopic(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "trimmed", 2, nil)
	p := newRawProducer(t, source, "trimmed")
	for partition := range int32(2) {
		for i, codec := range codecs {
			p.send(partition, codec, numbered(fmt.Sprintf("batch %d of %d", i, partition), 100)...)
		}
	}
	whole, earlier := readTopic(t, source, "trimmed"), newRepository(t)
	earlier.backup(source)
	deleteRecords(t, source, "trimmed", 0, 150)
	deleteRecords(t, source, "trimmed", 1, 420)
	want, later := readTopic(t, source, "trimmed"), newRepository(t)
	if want[0].Start != 150 || len(want[0].Records) != 350 || len(want[1].Records) != 80 {
		t.Fatalf("the source has %d and %d records after trimming", len(want[0].Records), len(want[1].Records))
	}
	later.backup(source)
	earlier.backup(source)

	for name, r := range map[string]*repository{"trimmed before": later, "trimmed between": earlier} {
		t.Run(name, func(t *testing.T) {
			r, copied := r.in(t), strings.ReplaceAll(name, " ", "-")
			r.restore(target, "--rename", "trimmed="+copied)
			requireSame(t, want, readTopic(t, target, copied))
		})
	}
	points := earlier.points()
	earlier.restore(target, "--at", fmt.Sprint(points[len(points)-1]), "--rename", "trimmed=whole")
	requireSame(t, whole, readTopic(t, target, "whole"))
	later.run("restored", nil, "verify")
}

// Partitions and topics without records come back, too.
func TestEmptyPartitions(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "empty", 3, configs{"retention.ms": "12345678"})
	createTopic(t, source, "sparse", 4, nil)
	createTopic(t, source, "emptied", 1, nil)
	newRawProducer(t, source, "sparse").send(2, batch.None, numbered("sparse", 10)...)
	newRawProducer(t, source, "emptied").send(0, batch.None, numbered("emptied", 10)...)
	deleteRecords(t, source, "emptied", 0, 10)
	r := newRepository(t)
	r.backup(source)
	r.restore(target)
	for topic, partitions := range map[string]int{"empty": 3, "sparse": 4, "emptied": 1} {
		copied := readTopic(t, target, topic)
		if len(copied) != partitions {
			t.Errorf("%s has %d partitions, want %d", topic, len(copied), partitions)
		}
		requireSame(t, readTopic(t, source, topic), copied)
	}
	if got := topicConfigs(t, target, "empty"); fmt.Sprint(got) != fmt.Sprint(configs{"retention.ms": "12345678"}) {
		t.Errorf("configs of the empty topic: %v", got)
	}
}

// Topics and partitions that appear while backupd runs are captured from their first record on.
func TestNewTopicsAndPartitions(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "grown", 1, nil)
	newRawProducer(t, source, "grown").send(0, batch.LZ4, numbered("before", 50)...)
	r := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSegments...)...)
	r.awaitRecords(t, "grown", 1, 50)

	createTopic(t, source, "late", 2, configs{"max.message.bytes": "2000000"})
	newRawProducer(t, source, "late").send(1, batch.Zstd, numbered("late", 30)...)
	a := admin(t, source)
	if answers, err := a.UpdatePartitions(t.Context(), 3, "grown"); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	(&reader{t: t, client: source.Client(t)}).lookUp("grown")
	grown := newRawProducer(t, source, "grown")
	for partition := range int32(3) {
		grown.send(partition, batch.Snappy, numbered(fmt.Sprint("after ", partition), 20)...)
	}
	r.awaitRecords(t, "grown", 1, 110)
	r.awaitRecords(t, "late", 1, 30)
	r.pointWith(t, map[string]oracle.History{"grown": readTopic(t, source, "grown"), "late": readTopic(t, source, "late")})
	daemon.stop(t)

	r.restore(target)
	for _, topic := range []string{"grown", "late"} {
		requireSame(t, readTopic(t, source, topic), readTopic(t, target, topic))
	}
	if n := len(readTopic(t, target, "grown")); n != 3 {
		t.Errorf("the grown topic came back with %d partitions", n)
	}
	if got := topicConfigs(t, target, "late"); got["max.message.bytes"] != "2000000" || len(got) != 1 {
		t.Errorf("configs of the late topic: %v", got)
	}
}

// A topic that was deleted and created again under its name is two topics: both come back. It happens while backupd runs and while
// it does not.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	var lives []oracle.History
	live := func(partitions int32, records int) {
		if len(lives) > 0 {
			deleteTopic(t, source, "phoenix")
		}
		createTopic(t, source, "phoenix", partitions, configs{"max.message.bytes": fmt.Sprint(2_000_000 + len(lives))})
		p := newRawProducer(t, source, "phoenix")
		for i := range partitions {
			p.send(i, batch.None, numbered(fmt.Sprintf("life %d partition %d", len(lives), i), records)...)
		}
		lives = append(lives, readTopic(t, source, "phoenix"))
	}
	live(2, 100)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSegments...)...)
	r.awaitRecords(t, "phoenix", 1, 200)
	live(3, 40) // the same offsets again, while backupd runs
	r.awaitRecords(t, "phoenix", 2, 120)
	r.pointWith(t, map[string]oracle.History{"phoenix": lives[1]})
	daemon.stop(t)
	live(1, 300) // and while it does not
	r.backup(source)

	if created := texts(r.events("topic-created", "topic-gone")); created != "phoenix incarnation 1, 2 partitions\nphoenix deleted, or not selected any more\n"+
		"phoenix incarnation 2, 3 partitions\nphoenix incarnation 3, 1 partition\nphoenix deleted, or not selected any more" {
		t.Errorf("the events are\n%s", created)
	}
	if notes := strings.Join(r.plan(target).Notes, "\n"); !strings.Contains(notes, "phoenix was deleted and created again") || !strings.Contains(notes, "what it held before is phoenix@2") {
		t.Errorf("the plan does not tell the lives before:\n%s", notes)
	}
	r.restore(target, "--topics", "phoenix,phoenix@1,phoenix@2", "--rename", "phoenix@1=first", "--rename", "phoenix@2=second")
	for i, copied := range []string{"first", "second", "phoenix"} {
		got := readTopic(t, target, copied)
		requireSame(t, lives[i], got)
		if len(got) != len(lives[i]) {
			t.Errorf("%s has %d partitions, want %d", copied, len(got), len(lives[i]))
		}
		if size := topicConfigs(t, target, copied)["max.message.bytes"]; size != fmt.Sprint(2_000_000+i) {
			t.Errorf("%s has max.message.bytes=%s", copied, size)
		}
	}
	r.run("restored", nil, "verify")
}

// Retention deletes records while backupd is down: the gap is recorded and told, and the rest comes back exactly.
func TestRetentionOvertakesBackup(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{Properties: eager}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "fleeting", 2, configs{"segment.ms": "300"})
	p := newRawProducer(t, source, "fleeting")
	p.send(0, batch.Zstd, numbered("captured", 100)...)
	p.send(1, batch.Zstd, numbered("captured", 100)...)
	r := newRepository(t)
	r.backup(source)
	first := readTopic(t, source, "fleeting")

	p.send(0, batch.Zstd, numbered("never captured", 100)...)
	p.send(1, batch.Zstd, numbered("never captured", 100)...)
	deleteRecords(t, source, "fleeting", 1, 200) // nothing is left of this one
	time.Sleep(time.Second)                      // older than segment.ms
	p.send(0, batch.Zstd, numbered("begins a new segment", 50)...)
	alterTopic(t, source, "fleeting", configs{"retention.ms": "1"})
	eventually(t, "retention", func() bool { return logStart(t, source, "fleeting", 0) == 250 })
	alterTopic(t, source, "fleeting", configs{"retention.ms": "-1"})
	p.send(0, batch.Zstd, numbered("afterwards", 50)...)
	r.backup(source)

	rest := readTopic(t, source, "fleeting")
	report, notes := r.run("restored", nil, "verify").stdout, strings.Join(r.plan(target).Notes, "\n")
	for p, l := range rest {
		if !strings.Contains(report, fmt.Sprintf("gap: fleeting-%d [100,%d)", p, l.Start)) {
			t.Errorf("verify does not tell the gap of partition %d up to %d:\n%s", p, l.Start, report)
		}
		if !strings.Contains(notes, fmt.Sprintf("fleeting-%d: offsets [100,%d) are not in the backup", p, l.Start)) {
			t.Errorf("the plan does not tell the gap of partition %d up to %d:\n%s", p, l.Start, notes)
		}
	}
	r.restore(target)
	requireSame(t, rest, readTopic(t, target, "fleeting"))
	points := r.points()
	r.restore(target, "--at", fmt.Sprint(points[len(points)-1]), "--rename", "fleeting=first")
	requireSame(t, first, readTopic(t, target, "first"))
}

// A topic that a client writes to all the time is captured in the order in which it was written.
func TestContinuousCapture(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "stream", 6, nil)
	r := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSegments...)...)
	p := producer(t, source)
	const records = 5000
	for i := range records / 50 {
		batch := make([]*kgo.Record, 50)
		for j := range batch {
			batch[j] = &kgo.Record{Topic: "stream", Partition: int32((i + j) % 6), Value: fmt.Appendf(nil, "%d/%d", i, j)}
		}
		produce(t, p, batch...)
		time.Sleep(20 * time.Millisecond)
	}
	whole := readTopic(t, source, "stream")
	r.pointWith(t, map[string]oracle.History{"stream": whole})
	daemon.stop(t)
	r.restore(target)
	requireSame(t, whole, readTopic(t, target, "stream"))
	for partition := range int32(6) {
		requireVerbatim(t, r, source, "stream", partition)
	}
}
