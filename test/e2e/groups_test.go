//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// The topics of the group tests: one with transactions, an empty and a trimmed partition, and one with the holes of compaction.
const (
	mixed = "mixed"
	table = "table"
)

// consumer is the group whose member follows the new protocol. The others are classic ones.
const consumer = "consumer"

// fillForGroups makes offsets of every kind: in small and large batches, on markers, on aborted records, in holes, below the start.
func fillForGroups(t *testing.T, source *cluster.Cluster) {
	createTopic(t, source, mixed, 4, nil)
	p := newRawProducer(t, source, mixed)
	for i := range 40 {
		p.send(0, codecs[i%len(codecs)], numbered(fmt.Sprint("small or large ", i, strings.Repeat("x", 100)), 1+(i%7)*(i%7)*3)...)
	}
	good, bad := beginTransaction(t, source, "good"), beginTransaction(t, source, "bad")
	for i := range 30 {
		good.write(t, mixed, 1, 40)
		bad.write(t, mixed, 1, 40)
		p.send(1, batch.LZ4, numbered(fmt.Sprint("between ", i), 2)...)
		if i%5 == 4 {
			good.again(t, kgo.TryCommit)
			bad.again(t, kgo.TryAbort)
		}
	}
	good.end(t, kgo.TryCommit)
	bad.end(t, kgo.TryAbort)
	p.send(2, batch.Zstd, numbered("trimmed", 300)...)
	deleteRecords(t, source, mixed, 2, 123)

	createTopic(t, source, table, 2, configs{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "300"})
	p = newRawProducer(t, source, table)
	for round := range 10 {
		fillTable(p, round)
	}
	time.Sleep(time.Second) // older than segment.ms
	fillTable(p, 10)
	awaitCompaction(t, source, table)
}

// again ends the transaction and begins another one.
func (x *transaction) again(t *testing.T, how kgo.TransactionEndTry) {
	t.Helper()
	x.end(t, how)
	if err := x.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

// Whatever offset an application keeps, "restored offsets" turns it into the one of the same next record; and the consumer of every
// group, classic or of the new protocol, goes on with the record that it would have read next.
func TestGroups(t *testing.T) {
	t.Parallel()
	source := cluster.Start(t, cluster.Options{Properties: eager})
	fillForGroups(t, source)
	want := map[string]oracle.History{mixed: readTopic(t, source, mixed), table: readTopic(t, source, table)}
	groups := commitEverywhere(t, source, want)
	commitByConsumer(t, source, mixed)
	groups[consumer] = committed(t, source, consumer)
	for name, r := range map[string]*repository{"directory": newRepository(t), "bucket": newBucket(t)} {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			r.backup(source)
			checkTypes(t, r)
			checkGroups(t, r, cluster.Start(t, cluster.Options{}), groups, want)
		})
	}
}

// checkGroups restores and compares everything about the groups.
func checkGroups(t *testing.T, r *repository, target *cluster.Cluster, groups map[string]kadm.Offsets, want map[string]oracle.History) {
	renamed := map[string]string{mixed: "mixed-again", table: table}
	args := []string{"--rename", "mixed=mixed-again"}
	result := r.restore(target, args...)
	if !result.Complete || len(result.Groups) != len(groups) {
		t.Fatalf("%d of %d groups are restored, complete: %v", len(result.Groups), len(groups), result.Complete)
	}
	got := make(map[string]oracle.History)
	for topic, copied := range renamed {
		got[topic] = readTopic(t, target, copied)
		requireSame(t, want[topic], got[topic])
	}
	checkTranslation(t, r, target, args, want, got)
	for group, offsets := range groups {
		checkCommitted(t, target, group, offsets, renamed, want, got)
	}
	for _, group := range []string{"group-0", "group-1", "group-2", "group-3", consumer} {
		checkNextRecords(t, target, group, groups[group], renamed, want)
	}
}

// commitEverywhere commits, in as many groups as it takes, the start, the end, offsets on aborted records and in holes, and random ones.
func commitEverywhere(t *testing.T, source *cluster.Cluster, topics map[string]oracle.History) map[string]kadm.Offsets {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	groups := make(map[string]kadm.Offsets)
	for n := range 40 {
		group, offsets := fmt.Sprint("group-", n), kadm.Offsets{}
		for topic, h := range topics {
			for p, l := range h {
				at := random.Int64N(l.End + 1)
				switch {
				case n == 0:
					at = l.Start
				case n == 1:
					at = l.End
				case n == 2:
					at = l.End / 2
				case n%3 == 0 && len(l.Aborted) > 0:
					at = l.Aborted[random.IntN(len(l.Aborted))].Offset
				}
				offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1, Metadata: fmt.Sprintf("%s was here: %d \u00e9", group, at)})
			}
		}
		commit(t, source, group, offsets)
		groups[group] = offsets
	}
	return groups
}

func commit(t testing.TB, c *cluster.Cluster, group string, offsets kadm.Offsets) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	if err := a.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatalf("commit offsets of %s: %v", group, err)
	}
}

// committed returns the offsets of a group.
func committed(t testing.TB, c *cluster.Cluster, group string) kadm.Offsets {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	answers, err := a.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatalf("offsets of %s: %v", group, err)
	}
	return answers.Offsets()
}

// commitByConsumer lets the member of a group of the new protocol (KIP-848) read and commit some records of a topic and leave.
func commitByConsumer(t *testing.T, c *cluster.Cluster, topic string) {
	t.Helper()
	client := c.Client(t, kgo.ConsumerGroup(consumer), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit(), kgo.ServerSideBalancer())
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fetches := client.PollRecords(ctx, 57)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.CommitRecords(ctx, fetches.Records()...); err != nil {
		t.Fatal(err)
	}
}

// translate returns where the copy has the first record at or behind a source offset: its end, if there is none.
func translate(source, copied oracle.Log, offset int64) int64 {
	n := len(source.From(offset).Records)
	if n == 0 {
		return copied.End
	}
	return copied.Records[len(copied.Records)-n].Offset
}

// checkTranslation asks for a few hundred offsets of each partition.
func checkTranslation(t *testing.T, r *repository, target *cluster.Cluster, args []string, want, got map[string]oracle.History) {
	random := rand.New(rand.NewPCG(3, 4))
	args = append([]string{"offsets", "--format", "json"}, args...)
	asked := 0
	for topic, h := range want {
		for p, l := range h {
			for range 300 {
				args = append(args, "--offset", fmt.Sprintf("%s:%d:%d", topic, p, random.Int64N(l.End+1)))
				asked++
			}
		}
	}
	answer := decodeJSON[translations](t, r.run("restored", target, args...))
	for _, o := range answer.Offsets {
		if o.Group != "" {
			continue
		}
		asked--
		if expected := translate(want[o.Topic][o.Partition], got[o.Topic][o.Partition], o.SourceOffset); o.TargetOffset != expected {
			t.Errorf("%s-%d offset %d became %d, want %d", o.Topic, o.Partition, o.SourceOffset, o.TargetOffset, expected)
		}
	}
	if asked != 0 {
		t.Errorf("%d offsets were not answered", asked)
	}
}

// checkCommitted compares what is committed on the target with what must be.
func checkCommitted(t *testing.T, target *cluster.Cluster, group string, offsets kadm.Offsets, renamed map[string]string, want, got map[string]oracle.History) {
	t.Helper()
	there := committed(t, target, group)
	count := 0
	there.Each(func(kadm.Offset) { count++ })
	offsets.Each(func(o kadm.Offset) {
		count--
		expected := translate(want[o.Topic][o.Partition], got[o.Topic][o.Partition], o.At)
		now, ok := there.Lookup(renamed[o.Topic], o.Partition)
		if !ok || now.At != expected || now.Metadata != o.Metadata || now.LeaderEpoch != -1 {
			t.Errorf("%s, %s-%d: committed %d at the source, %+v at the target, want %d", group, o.Topic, o.Partition, o.At, now, expected)
		}
	})
	if count != 0 {
		t.Errorf("%s has %d offsets too many on the target", group, count)
	}
}

// checkTypes makes sure that both kinds of group were there.
func checkTypes(t *testing.T, r *repository) {
	types := make(map[string]string)
	for _, g := range r.content().Groups {
		types[g.Group] = g.Type
	}
	if types[consumer] != "consumer" || types["group-0"] != "classic" {
		t.Errorf("types of the groups: %v", types)
	}
}

// checkNextRecords lets a member of the group read on, on the target: the first record of each partition must be the one that follows the
// committed offset at the source.
func checkNextRecords(t *testing.T, target *cluster.Cluster, group string, offsets kadm.Offsets, renamed map[string]string, want map[string]oracle.History) {
	t.Helper()
	var topics []string
	for _, topic := range renamed {
		topics = append(topics, topic)
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.DisableAutoCommit(),
	}
	if group == consumer {
		topics = nil
		offsets.Each(func(o kadm.Offset) { topics = append(topics, renamed[o.Topic]) })
		options = append(options, kgo.ConsumeTopics(topics...), kgo.ServerSideBalancer())
	}
	client := target.Client(t, options...)
	defer client.Close()
	// The consumer had not come to all partitions.
	checkReadsOn(t, client, group, nextRecords(offsets, renamed, want), group == consumer)
}

// partitionKey names a partition.
type partitionKey struct {
	topic string
	index int32
}

// nextRecords are the records that follow the offsets at the source, by their places at the target.
func nextRecords(offsets kadm.Offsets, renamed map[string]string, want map[string]oracle.History) map[partitionKey]oracle.Identity {
	expected := make(map[partitionKey]oracle.Identity)
	offsets.Each(func(o kadm.Offset) {
		if next, ok := want[o.Topic][o.Partition].Next(o.At); ok {
			expected[partitionKey{renamed[o.Topic], o.Partition}] = next.Identity
		}
	})
	return expected
}

// checkReadsOn reads until a record of each of the partitions has come. The first one must be the one that is expected, and there must be
// none of any other partition, unless others may be there.
func checkReadsOn(t *testing.T, client *kgo.Client, group string, expected map[partitionKey]oracle.Identity, others bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := make(map[partitionKey]bool)
	for len(expected) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s: nothing came of %v", group, expected)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := partitionKey{r.Topic, r.Partition}
			id, ok := expected[at]
			if seen[at] || !ok {
				if !seen[at] && !others {
					t.Errorf("%s: a record of %v, which has none left", group, at)
				}
				seen[at] = true
				return
			}
			if identify(r) != id {
				t.Errorf("%s: reads on with the wrong record of %v, at offset %d", group, at, r.Offset)
			}
			seen[at] = true
			delete(expected, at)
		})
	}
}

// identify returns the identity of a record that the client library has read.
func identify(r *kgo.Record) oracle.Identity {
	var headers []batch.RecordHeader
	for _, h := range r.Headers {
		headers = append(headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return oracle.Identify(r.Timestamp.UnixMilli(), batch.NewRecord(r.Key, r.Value, headers...))
}

// A group that is in use on the target is left alone and named, and the restore is not complete. Once its members have left, the same
// command completes it, without setting the others back.
func TestActiveGroup(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 1, nil)
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 100)...)
	for _, group := range []string{"busy", "idle"} {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", At: 42, LeaderEpoch: -1})
		commit(t, source, group, offsets)
	}
	r := newRepository(t)
	r.backup(source)

	createTopic(t, target, "other", 1, nil)
	newRawProducer(t, target, "other").send(0, batch.LZ4, numbered("other", 1)...)
	member := target.Client(t, kgo.ConsumerGroup("busy"), kgo.ConsumeTopics("other"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := member.PollFetches(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, g := range r.plan(target).Groups {
		if (g.Problem != "") != (g.Group == "busy") {
			t.Errorf("the plan says of group %s: %q", g.Group, g.Problem)
		}
	}
	result := decodeJSON[restoreResult](t, r.expect(exitIncomplete, "restored", target, "run", "--yes", "-o", "json"))
	for _, g := range result.Groups {
		if (len(g.Problems) > 0) != (g.Group == "busy") || (g.Committed == 1) != (g.Group == "idle") {
			t.Errorf("the result says %+v", g)
		}
	}
	want := readTopic(t, source, "orders")
	requireSame(t, want, readTopic(t, target, "orders"))
	member.Close()

	moved := kadm.Offsets{}
	moved.Add(kadm.Offset{Topic: "orders", At: 77, LeaderEpoch: -1})
	commit(t, target, "idle", moved) // it has gone on
	eventually(t, "the group to be empty", func() bool {
		return decodeJSON[restorePlan](t, r.try("restored", target, "plan", "-o", "json")).Groups[0].Problem == ""
	})
	r.restore(target)
	for group, at := range map[string]int64{"busy": 42, "idle": 77} {
		if o, ok := committed(t, target, group).Lookup("orders", 0); !ok || o.At != at {
			t.Errorf("group %s is at %+v on the target, want %d", group, o, at)
		}
	}
	requireSame(t, want, readTopic(t, target, "orders"))
}

// An offset beyond the end of what was captured is told and set to the end.
func TestGroupBeyondTheEnd(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 1, nil)
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 10)...)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "orders", At: 1000, LeaderEpoch: -1})
	commit(t, source, "ahead", offsets)
	r := newRepository(t)
	r.backup(source)
	result := decodeJSON[restoreResult](t, r.expect(exitIncomplete, "restored", target, "run", "--yes", "-o", "json"))
	if len(result.Groups) != 1 || len(result.Groups[0].Problems) != 1 {
		t.Errorf("the result says %+v", result.Groups)
	}
	if o, ok := committed(t, target, "ahead").Lookup("orders", 0); !ok || o.At != 10 {
		t.Errorf("the group is at %+v, want the end, 10", o)
	}
}
