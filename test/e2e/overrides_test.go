//go:build e2e

package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// mishap is a source to which things have happened since its first recovery point: orders was overwritten and compacted,
// ledger deleted, reborn deleted and created again; shop has only grown.
type mishap struct {
	t      *testing.T
	source *cluster.Cluster
	r      *repository
	point  string // the first
	// By topic, at the first point and at the last one.
	then, now             map[string]oracle.History
	groupsThen, groupsNow map[string]kadm.Offsets
}

func newMishap(t *testing.T) *mishap {
	m := &mishap{t: t, source: cluster.Start(t, cluster.Options{Properties: eager}), r: newRepository(t), then: make(map[string]oracle.History), now: make(map[string]oracle.History)}
	createTopic(t, m.source, "orders", 2, configs{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "500", "min.compaction.lag.ms": ms(time.Hour.Milliseconds()),
	})
	createTopic(t, m.source, "ledger", 2, configs{"retention.ms": "777000000"})
	createTopic(t, m.source, "reborn", 1, nil)
	createTopic(t, m.source, "shop", 2, configs{"retention.ms": "888000000", "max.message.bytes": "2000000"})
	orders := newRawProducer(t, m.source, "orders")
	for round := range 20 {
		fillTable(orders, round)
	}
	m.transactions()
	newRawProducer(t, m.source, "reborn").send(0, batch.LZ4, numbered("first life", 40)...)
	m.sell()
	m.groupsThen = m.capture(m.then, "orders", "ledger", "reborn", "shop")
	m.point = fmt.Sprint(m.r.points()[0])

	alterTopic(t, m.source, "orders", configs{"min.compaction.lag.ms": "0"})
	deleteTopic(t, m.source, "ledger")
	deleteTopic(t, m.source, "reborn")
	eventually(t, "topics are gone", func() bool { return topicNames(t, m.source) == "orders shop" })
	time.Sleep(time.Second) // older than segment.ms: the next record begins a new segment
	fillTable(orders, 20)
	createTopic(t, m.source, "reborn", 1, nil)
	newRawProducer(t, m.source, "reborn").send(0, batch.Zstd, numbered("second life", 25)...)
	m.sell()
	awaitCompaction(t, m.source, "orders")
	m.groupsNow = m.capture(m.now, "orders", "reborn", "shop")
	return m
}

// transactions writes to ledger, some of it in vain.
func (m *mishap) transactions() {
	m.t.Helper()
	cl := producer(m.t, m.source, kgo.TransactionalID("ledger"))
	for n := range 12 {
		must(m.t, cl.BeginTransaction())
		for i := range 6 {
			produce(m.t, cl, &kgo.Record{Topic: "ledger", Partition: int32(i % 2), Value: fmt.Appendf(nil, "%d/%d", n, i)})
		}
		must(m.t, cl.EndTransaction(m.t.Context(), kgo.TransactionEndTry(n%4 > 0)))
	}
}

// sell fills shop with many small batches.
func (m *mishap) sell() {
	m.t.Helper()
	cl := producer(m.t, m.source, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(4<<10))
	for n := range 20_000 {
		cl.Produce(m.t.Context(), &kgo.Record{Topic: "shop", Partition: int32(n % 2), Value: fmt.Appendf(nil, "%d %s", n, strings.Repeat("sold ", 60))}, nil)
	}
	must(m.t, cl.Flush(m.t.Context()))
}

// capture commits offsets of groups, backs up, and takes down what there is.
func (m *mishap) capture(into map[string]oracle.History, topics ...string) map[string]kadm.Offsets {
	m.t.Helper()
	for _, topic := range topics {
		into[topic] = readTopic(m.t, m.source, topic)
	}
	groups := commitEverywhere(m.t, m.source, into)
	m.r.backup(m.source)
	return groups
}

// file writes a restore file.
func (m *mishap) file(overrides string) []string {
	m.t.Helper()
	text := "restore:\n  rename: {shop: shop-now}\n  overrides:\n" + strings.ReplaceAll(overrides, "POINT", m.point)
	return []string{"-c", writeFile(m.t, "restore.yaml", text)}
}

// requireIn fails the test unless all topics are on the target as of their points, with configs and group offsets.
func (m *mishap) requireIn(target *cluster.Cluster) {
	m.t.Helper()
	want := map[string]oracle.History{
		"orders-restored": m.then["orders"], "ledger": m.then["ledger"], "reborn-old": m.then["reborn"], "reborn": m.now["reborn"], "shop-now": m.now["shop"],
	}
	got, same := make(map[string]oracle.History), make(map[string]string)
	for topic, h := range want {
		got[topic], same[topic] = readTopic(m.t, target, topic), topic
		requireSame(m.t, h, got[topic])
	}
	for topic, cfg := range map[string]configs{
		"orders-restored": {"min.cleanable.dirty.ratio": "0.01", "segment.ms": "500", "min.compaction.lag.ms": ms(time.Hour.Milliseconds()), "retention.ms": "-1"},
		"ledger":          {"retention.ms": "777000000"}, "reborn-old": {}, "reborn": {}, "shop-now": {"retention.ms": "999000000", "max.message.bytes": "2000000"},
	} {
		if there := topicConfigs(m.t, target, topic); !maps.Equal(there, cfg) {
			m.t.Errorf("configs of %s are %v, want %v", topic, there, cfg)
		}
	}
	for group := range m.groupsThen {
		offsets := make(kadm.Offsets)
		for name, topic := range map[string]string{"orders-restored": "orders", "ledger": "ledger", "reborn-old": "reborn"} {
			addAs(offsets, name, m.groupsThen[group], topic)
		}
		addAs(offsets, "reborn", m.groupsNow[group], "reborn")
		addAs(offsets, "shop-now", m.groupsNow[group], "shop")
		checkCommitted(m.t, target, group, offsets, same, want, got)
	}
}

// addAs adds the offsets of a topic under another name.
func addAs(to kadm.Offsets, name string, from kadm.Offsets, topic string) {
	from.Each(func(o kadm.Offset) {
		if o.Topic == topic {
			o.Topic = name
			to.Add(o)
		}
	})
}

const mishapOverrides = `
    - topics: [orders]
      at: POINT
      rename: {orders: orders-restored}
      configs: {retention.ms: "-1", cleanup.policy: null}
    - topics: [ledger, reborn@1]
      at: POINT
      rename: {reborn@1: reborn-old}
    - topics: ["s*"]
      configs: {retention.ms: 999000000}
`

// Single topics go back to another point than the rest, whatever became of them since, through kills, exactly once.
func TestOverrides(t *testing.T) {
	t.Parallel()
	m := newMishap(t)
	target := cluster.Start(t, cluster.Options{})
	args := m.file(mishapOverrides)

	plan := m.r.plan(target, args...)
	points := make(map[string]string)
	for _, topic := range plan.Topics {
		points[topic.Target] = fmt.Sprint(topic.Point)
	}
	if want := map[string]string{"orders-restored": m.point, "ledger": m.point, "reborn-old": m.point, "reborn": "0", "shop-now": "0"}; !maps.Equal(points, want) {
		t.Fatalf("points of their own are %v, want %v", points, want)
	}
	if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, fmt.Sprintf("ledger@1, orders@1, reborn@1: as of point %s of ", m.point)) {
		t.Errorf("notes are %s", notes)
	}
	text := m.r.run("restored", target, append([]string{"plan"}, args...)...).stdout
	if line := fmt.Sprintf("orders@1 (point %s)", m.point); !strings.Contains(text, line) {
		t.Errorf("%q is not in\n%s", line, text)
	}

	killed := 0
	for share := int64(4000); m.killed(target, args, share); share += 8000 {
		killed++
	}
	if killed < 2 {
		t.Errorf("killed %d times", killed)
	}
	m.requireIn(target)
	result := m.r.restore(target, args...)
	for _, topic := range result.Topics {
		if topic.Action != "none" {
			t.Errorf("a further run would %s %s", topic.Action, topic.Target)
		}
	}
	if !result.Complete || len(result.Topics) != 5 {
		t.Errorf("the further run says %+v", result)
	}
	m.requireIn(target)
	m.checkOffsets(target, args)

	elsewhere := m.file(strings.Replace(mishapOverrides, "at: POINT", fmt.Sprintf("at: %d", plan.Point), 1))
	wantError(t, m.r.try("restored", target, append([]string{"run", "--yes"}, elsewhere...)...), exitRefused, "orders-restored", fmt.Sprintf("point, %s: choose it with \"at: %s\" in its override", m.point, m.point))
}

// killed kills a restore once so many records of shop are there. It says whether there was one to kill.
func (m *mishap) killed(target *cluster.Cluster, args []string, records int64) bool {
	m.t.Helper()
	a := watcher(m.t, target)
	defer a.Close()
	p := m.r.start("restored", target, append([]string{"run", "--yes"}, args...)...)
	for ; !p.ended(); time.Sleep(time.Millisecond) {
		arrived := int64(0)
		if ends, err := a.ListEndOffsets(m.t.Context(), "shop-now"); err == nil {
			ends.Each(func(o kadm.ListedOffset) { arrived += max(0, o.Offset) })
		}
		if arrived >= records {
			must(m.t, p.Kill())
			break
		}
	}
	switch o := p.wait(m.t); o.code {
	case exitKilled:
		return true
	case exitOK:
		return false
	default:
		m.t.Fatalf("restored ended with %d:\n%s", o.code, tail(o.stderr))
		return false
	}
}

// checkOffsets wants the translations to name the point that they are of.
func (m *mishap) checkOffsets(target *cluster.Cluster, args []string) {
	m.t.Helper()
	out := m.r.run("restored", target, append([]string{"offsets", "--group", "group-1"}, args...)...).stdout
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if !strings.HasSuffix(lines[0], ",note,point") {
		m.t.Errorf("the head is %s", lines[0])
	}
	end := func(name, topic string, h oracle.History, point string) string {
		return fmt.Sprintf("group-1,classic,%s,0,%d,%s,%d,,%s", topic, h[0].End, name, len(h[0].Records), point)
	}
	for _, want := range []string{
		end("orders-restored", "orders", m.then["orders"], m.point), end("ledger", "ledger", m.then["ledger"], m.point), end("shop-now", "shop", m.now["shop"], ""),
	} {
		if !slices.Contains(lines, want) {
			m.t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

// A restore file that says what cannot be ends with one message that names it.
func TestWrongRestoreFile(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	fill(t, source, 3, "orders", "calm")
	r := newRepository(t)
	r.backup(source)
	point := r.points()[0]
	with := func(text string) []string { return []string{"-c", writeFile(t, "restore.yaml", text)} }
	r.run("backupd", source, append([]string{"once"}, with("restore: {at: nightly, overrides: [{topics: nosuch, at: never}]}\n")...)...)
	for _, tc := range []struct {
		text  string
		code  int
		words []string
	}{
		{"restore:\n  overrides:\n    - topics: [orders]\n      att: 5\n", exitUsage, []string{"restore.yaml", "line 4", `"restore.overrides[0].att"`, `did you mean "at"?`}},
		{"restore:\n  overrides:\n    - at: 5\n", exitUsage, []string{"line 3", "topics is missing"}},
		{"restore: {untilTimestamp: soon}\n", exitUsage, []string{`restore.untilTimestamp "soon"`, "RFC 3339"}},
		{"restore: {overrides: [{topics: orders, untilTimestamp: soon}]}\n", exitUsage, []string{`restore.overrides[0].untilTimestamp "soon"`}},
		{"restore: {overrides: [{topics: orders, at: soon}]}\n", exitRefused, []string{"the override of orders", `"soon" is neither a point`}},
		{"restore: {overrides: [{topics: orders, at: 2001-01-01}]}\n", exitRefused, []string{"the override of orders", "before the first one"}},
		{"restore: {overrides: [{topics: ordres}]}\n", exitRefused, []string{"the override of ordres", "no topic ordres"}},
		{"restore: {overrides: [{topics: x*}]}\n", exitRefused, []string{"the override of x*", "counts for no topic"}},
		{fmt.Sprintf("restore: {atOffsets: %s, overrides: [{topics: calm, at: %d}]}\n", writeFile(t, "ends.csv", "topic,partition,offset\ncalm,0,1\n"), point), exitRefused, []string{"--at-offsets: calm-0", "the override of calm"}},
	} {
		for _, command := range [][]string{{"plan"}, {"run", "--yes"}, {"offsets"}} {
			wantError(t, r.try("restored", target, append(command, with(tc.text)...)...), tc.code, tc.words...)
		}
	}
	text := "restore: {topics: calm, rename: {calm: quiet}}\n"
	if topics := r.plan(target, with(text)...).Topics; len(topics) != 1 || topics[0].Target != "quiet" {
		t.Errorf("the file says %+v", topics)
	}
	if topics := r.plan(target, append(with(text), "--topics", "orders", "--rename", "orders=sold")...).Topics; len(topics) != 1 || topics[0].Target != "sold" {
		t.Errorf("with flags: %+v", topics)
	}
}
