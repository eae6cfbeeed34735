//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// Topics come back with the configs that they had, and with no others: also where the target has the topic already, with configs of its
// own, and where it would not take the records under the real ones.
func TestConfigsComeBack(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	sets := map[string]configs{
		"plain": {},
		"table": {"cleanup.policy": "compact", "segment.ms": "3600000", "min.compaction.lag.ms": "1000", "compression.type": "zstd"},
		"tight": {"message.timestamp.before.max.ms": "3600000", "message.timestamp.after.max.ms": "1000", "max.message.bytes": "500", "compression.type": "lz4", "retention.ms": "-1"},
		"clock": {"message.timestamp.type": "LogAppendTime", "retention.bytes": "100000000", "min.insync.replicas": "1"},
	}
	for topic, cfg := range sets {
		createTopic(t, source, topic, 1, nil)
		p := newRawProducer(t, source, topic)
		for i, codec := range codecs {
			records := numbered(fmt.Sprint("under the defaults ", i, strings.Repeat("x", 100)), 20)
			for j := range records {
				records[j].at -= 2 * time.Hour.Milliseconds()
			}
			p.send(0, codec, records...)
		}
		alterTopic(t, source, topic, cfg)
	}
	createTopic(t, target, "plain", 1, configs{"retention.ms": "60000", "max.message.bytes": "100"})
	createTopic(t, target, "tight", 1, configs{"cleanup.policy": "compact", "index.interval.bytes": "1234"})

	r := newRepository(t)
	r.backup(source)
	r.restore(target)
	for topic, want := range sets {
		requireSame(t, readTopic(t, source, topic), readTopic(t, target, topic))
		got := topicConfigs(t, target, topic)
		if topic == "tight" { // what the target's owner has set beside, stays
			delete(got, "index.interval.bytes")
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has %v, want %v", topic, got, want)
		}
	}
}

// A topic of 2023 with a retention of a week: the plan says how many records would be gone at once, and --hold-retention keeps
// them. A broker that deletes as soon as it may shows that both are true.
func TestHoldRetention(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{Properties: eager})
	week := fmt.Sprint(7 * 24 * time.Hour.Milliseconds())
	createTopic(t, source, "archive", 1, configs{"retention.ms": "-1"})
	p := newRawProducer(t, source, "archive")
	old := time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for i := range 10 {
		records := numbered(fmt.Sprint("batch ", i), 100)
		for j := range records {
			records[j].at = old + int64(i)
		}
		p.send(0, batch.LZ4, records...)
	}
	alterTopic(t, source, "archive", configs{"retention.ms": week}) // the broker has not got round to it
	want := readTopic(t, source, "archive")
	r := newRepository(t)
	r.backup(source)

	plan := r.plan(target)
	if got := plan.Topics[0].RecordsBeyondRetention; got != 1000 {
		t.Errorf("the plan says that %d records will expire, want 1000", got)
	}
	if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, "2023-03-01") || !strings.Contains(notes, "--hold-retention") {
		t.Errorf("the notes do not name the records and the remedy: %s", notes)
	}
	held := r.restore(target, "--hold-retention", "1h", "--rename", "archive=held")
	r.restore(target, "--rename", "archive=dropped")
	eventually(t, "the retention of the topic that is not held", func() bool { return logStart(t, target, "dropped", 0) == 1000 })
	requireSame(t, want, readTopic(t, target, "held"))
	if cfg := topicConfigs(t, target, "dropped"); !maps.Equal(cfg, configs{"retention.ms": week}) {
		t.Errorf("the topic that is not held has %v", cfg)
	}
	lift := held.Topics[0]
	if lift.LiftAfter == nil || time.Until(*lift.LiftAfter) > time.Hour || !strings.Contains(lift.LiftRetention, "--add-config retention.ms="+week) {
		t.Errorf("when and how to lift it: %v, %q", lift.LiftAfter, lift.LiftRetention)
	}
}

// letters are records of which zstd makes half, and other codecs do not.
func letters(rng *rand.Rand, n, size int) []stamped {
	records := make([]stamped, n)
	for i := range records {
		value := make([]byte, size)
		for j := range value {
			value[j] = 'a' + byte(rng.Uint32()>>28)
		}
		records[i] = stamped{time.Now().UnixMilli(), batch.NewRecord([]byte(fmt.Sprint("key ", i)), value)}
	}
	return records
}

// A target that holds records is refused, unless they may be appended to; then they stay, and offsets count from behind them. It keeps its limit,
// too: batches that are larger come in smaller ones. A record that is larger ends the restore until the limit is higher, and
// then it goes on as it has begun, although a merge has re-encoded what is left.
func TestTargetNotEmpty(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 2, configs{"retention.ms": "-1"})
	createTopic(t, target, "orders", 2, configs{"max.message.bytes": "20000"})
	fill := newRawProducer(t, source, "orders")
	fill.send(0, batch.LZ4, numbered("from the backup", 100)...)
	rng := rand.New(rand.NewPCG(7, 7))
	for _, codec := range codecs {
		fill.send(0, codec, letters(rng, 40, 2000)...)
		fill.send(1, codec, letters(rng, 50, 1000)...)
		if codec == batch.LZ4 {
			fill.send(1, codec, letters(rng, 1, 60000)...)
		}
	}
	newRawProducer(t, target, "orders").send(0, batch.None, numbered("there before", 7)...)
	before, want := readTopic(t, target, "orders"), readTopic(t, source, "orders")
	r := newRepository(t)
	r.backup(source)

	for _, command := range [][]string{{"plan"}, {"run", "--yes"}} {
		if o := r.expect(exitRefused, "restored", target, command...); !strings.Contains(o.stdout+o.stderr, "orders") || !strings.Contains(o.stdout+o.stderr, "--if-exists append") {
			t.Errorf("restored %s says %s", command[0], o.stderr)
		}
	}
	requireSame(t, before, readTopic(t, target, "orders"))

	wantError(t, r.try("restored", target, "run", "--yes", "--if-exists", "append"), exitFailed, "orders-1", "the record at offset ", "topic orders takes 20000", "max.message.bytes", "run again to go on")
	if m := r.merge("--recompress"); m.Reencoded == 0 {
		t.Errorf("nothing was re-encoded: %+v", m)
	}
	higher := configs{"max.message.bytes": "70000"}
	alterTopic(t, target, "orders", higher)
	r.restore(target, "--if-exists", "append")
	after := readTopic(t, target, "orders")
	requireSame(t, before, after.Before(before.Ends()))
	requireSame(t, want, oracle.History{0: after[0].From(before[0].End), 1: after[1].From(before[1].End)})
	answer := decodeJSON[translations](t, r.run("restored", target, "offsets", "--format", "json", "--offset", "orders:0:42"))
	if got := answer.Offsets[0].TargetOffset; got != 49 {
		t.Errorf("offset 42 became %d behind 7 records", got)
	}
	if cfg := topicConfigs(t, target, "orders"); !maps.Equal(cfg, higher) {
		t.Errorf("the configs were changed to %v", cfg)
	}
	second := r.restore(target, "--if-exists", "append")
	if second.Topics[0].Action != "none" {
		t.Errorf("the second run did %+v", second.Topics)
	}
	requireSame(t, after, readTopic(t, target, "orders"))
}

// A second run says that there is nothing to do and changes nothing, also when the topic and its groups have gone on since.
func TestSecondRun(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 2, configs{"retention.ms": "86400000"})
	fill := newRawProducer(t, source, "orders")
	fill.send(0, batch.LZ4, numbered("order", 100)...)
	r := newRepository(t)
	r.backup(source)
	first := r.restore(target)
	requireSame(t, readTopic(t, source, "orders"), readTopic(t, target, "orders"))

	alterTopic(t, target, "orders", configs{"retention.ms": "172800000"})
	p := producer(t, target)
	produce(t, p, &kgo.Record{Topic: "orders", Partition: 1, Value: []byte("life goes on")})
	before := readTopic(t, target, "orders")
	if plan := r.plan(target); plan.Topics[0].Action != "none" {
		t.Errorf("the plan is to %s", plan.Topics[0].Action)
	}
	second := r.restore(target)
	if second.Point != first.Point || second.Topics[0].Action != "none" || !second.Complete {
		t.Errorf("the second run did %+v", second)
	}
	if text := r.run("restored", target, "run", "--yes").stdout; !strings.Contains(text, "nothing to do") {
		t.Errorf("the second run says:\n%s", text)
	}
	requireSame(t, before, readTopic(t, target, "orders"))
	if cfg := topicConfigs(t, target, "orders"); cfg["retention.ms"] != "172800000" {
		t.Errorf("the configs were changed to %v", cfg)
	}

	r.backup(source) // a newer point is another restore: it must not be mixed into this one
	newest := r.listPoints().Points[0].ID
	if text := r.run("restored", target, "run", "--yes").stdout; !strings.Contains(text, "nothing to do") || !strings.Contains(text, fmt.Sprintf("the latest is %d", newest)) {
		t.Errorf("with a newer point, the run says:\n%s", text)
	}
	o := r.expect(exitRefused, "restored", target, "run", "--yes", "--at", fmt.Sprint(newest))
	if !strings.Contains(o.stderr, fmt.Sprintf("--at %d", first.Point)) {
		t.Errorf("a newer point is refused with %s", o.stderr)
	}
	requireSame(t, before, readTopic(t, target, "orders"))
}
