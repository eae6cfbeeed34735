//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// sendAtRandomTimes fills a topic with batches, large and small, of records whose timestamps are in no order, and
// returns the timestamps by partition and offset.
func sendAtRandomTimes(t *testing.T, c *cluster.Cluster, topic string, partitions int32, rng *rand.Rand) map[int32]map[int64]int64 {
	t.Helper()
	p := newRawProducer(t, c, topic)
	stamps := make(map[int32]map[int64]int64)
	now := time.Now().UnixMilli()
	for n := range 200 {
		partition := int32(n) % partitions
		if stamps[partition] == nil {
			stamps[partition] = make(map[int64]int64)
		}
		var list []stamped
		for i := range 1 + rng.IntN(30) {
			at := now + rng.Int64N(2_000_000) - 1_000_000 // some in the future
			switch rng.IntN(20) {
			case 0:
				at = rng.Int64N(1000) // 1970
			case 1:
				at = now + 1000*24*3600*1000
			}
			value := fmt.Appendf(nil, "record %d of batch %d %s", i, n, strings.Repeat(fmt.Sprint(rng.Uint64()), rng.IntN(60)))
			list = append(list, stamped{at, batch.NewRecord([]byte(fmt.Sprint(n)), value)})
		}
		if n%3 == 0 { // whole batches on one side
			for i := range list {
				list[i].at = list[0].at + int64(i%2)
			}
		}
		base := p.send(partition, batch.Codec(rng.IntN(5)), list...)
		for i, r := range list {
			stamps[partition][base+int64(i)] = r.at
		}
	}
	return stamps
}

// sendByTheClock fills a topic in which the broker's clock decides. What the producers say is in no order. It returns the time of a record.
func sendByTheClock(t *testing.T, c *cluster.Cluster, topic string, rng *rand.Rand) int64 {
	t.Helper()
	p := newRawProducer(t, c, topic)
	for n := range 60 {
		list := numbered(fmt.Sprintf("batch %d %s", n, strings.Repeat("x", rng.IntN(100))), 1+rng.IntN(30))
		for i := range list {
			list[i].at += rng.Int64N(2_000_000) - 1_000_000
		}
		p.send(int32(n%2), batch.Codec(rng.IntN(5)), list...)
		time.Sleep(upTo(rng, 8*time.Millisecond))
	}
	times := appendTimes(t, c, topic)[0]
	return times[int64(len(times)/2)]
}

// appendTimes returns the timestamps of the records of a topic by partition and offset, as the client library's consumer sees them.
func appendTimes(t *testing.T, c *cluster.Cluster, topic string) map[int32]map[int64]int64 {
	t.Helper()
	ends := readTopic(t, c, topic).Ends()
	cl := c.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	times, missing := make(map[int32]map[int64]int64), int64(0)
	for p, end := range ends {
		times[p] = make(map[int64]int64)
		missing += end
	}
	for missing > 0 {
		fetches := cl.PollFetches(t.Context())
		for _, e := range fetches.Errors() {
			must(t, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			times[r.Partition][r.Offset] = r.Timestamp.UnixMilli()
			missing--
		})
	}
	return times
}

// notAfter leaves out what is later than a time.
func notAfter(h oracle.History, stamps map[int32]map[int64]int64, until int64) oracle.History {
	out := make(oracle.History)
	for p, l := range h {
		l.Records = slices.DeleteFunc(slices.Clone(l.Records), func(r oracle.Record) bool { return stamps[p][r.Offset] > until })
		out[p] = l
	}
	return out
}

// Exactly the records with a timestamp up to the given one come back, whatever order they are in, and the groups go on behind them.
func TestUntilTimestamp(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	createTopic(t, source, "events", 3, configs{"message.timestamp.after.max.ms": "9223372036854775807", "message.timestamp.before.max.ms": "9223372036854775807"})
	createTopic(t, source, "clocked", 2, configs{"message.timestamp.type": "LogAppendTime"})
	stamps := sendAtRandomTimes(t, source, "events", 3, rng)
	between := sendByTheClock(t, source, "clocked", rng)
	events, clock := readTopic(t, source, "events"), readTopic(t, source, "clocked")
	groups := commitEverywhere(t, source, map[string]oracle.History{"events": events})
	r := newRepository(t)
	r.backup(source)

	for i, until := range []int64{between, stamps[1][rng.Int64N(events[1].End)], between - rng.Int64N(1_000_000), between + rng.Int64N(1_000_000), 500, -1} {
		name := fmt.Sprintf("events-%d", i)
		args := []string{"--topics", "events", "--rename", "events=" + name, fmt.Sprintf("--until-timestamp=%s", time.UnixMilli(until).UTC().Format(time.RFC3339Nano))}
		result := r.restore(target, args...)
		want := map[string]oracle.History{"events": notAfter(events, stamps, until)}
		got := map[string]oracle.History{"events": readTopic(t, target, name)}
		requireSame(t, want["events"], got["events"])
		if kept := int64(want["events"].Len()); result.Topics[0].Records != kept || result.Topics[0].RecordsAfterUntil != int64(events.Len())-kept {
			t.Errorf("until %d: %d records, the result says %+v", until, kept, result.Topics[0])
		}
		if i == 0 {
			for group, offsets := range groups {
				checkCommitted(t, target, group, offsets, map[string]string{"events": name}, want, got)
			}
			r.run("restored", target, append([]string{"run", "--yes"}, args...)...) // nothing to do
			args[len(args)-1] = fmt.Sprintf("--until-timestamp=%s", time.UnixMilli(until+1).UTC().Format(time.RFC3339Nano))
			wantError(t, r.try("restored", target, append([]string{"run", "--yes"}, args...)...), exitRefused, name, fmt.Sprintf("--until-timestamp %d", until))
		}
	}
	times := appendTimes(t, source, "clocked")
	for i, until := range []int64{between, between - 1, times[0][rng.Int64N(clock[0].End)], times[1][rng.Int64N(clock[1].End)] - 1, times[0][0] - 1} {
		name := fmt.Sprintf("clocked-%d", i)
		r.restore(target, "--topics", "clocked", "--rename", "clocked="+name, "--until-timestamp", fmt.Sprint(until))
		want := notAfter(clock, times, until)
		requireSame(t, want, readTopic(t, target, name))
		t.Logf("until %d: %d of %d records by the clock", until, want.Len(), clock.Len())
	}
	wantError(t, r.try("restored", target, "plan", "--until-timestamp", "tomorrow"), exitUsage, "--until-timestamp", "tomorrow", "RFC 3339")
}

// Partitions end at offsets of one's own: transactions that are open there are left out, and groups are set back.
func TestOffsetsOfOnesOwn(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "ledger", 3, nil)
	cl := producer(t, source, kgo.TransactionalID("ledger"))
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	for n := range 40 {
		must(t, cl.BeginTransaction())
		for i := range 2 + rng.IntN(8) {
			produce(t, cl, &kgo.Record{Topic: "ledger", Partition: rng.Int32N(3), Value: fmt.Appendf(nil, "%d/%d", n, i)})
		}
		must(t, cl.EndTransaction(t.Context(), kgo.TransactionEndTry(n%4 > 0)))
	}
	whole := readTopic(t, source, "ledger")
	groups := commitEverywhere(t, source, map[string]oracle.History{"ledger": whole})
	r := newRepository(t)
	r.backup(source)

	ends := make(map[int32]int64)
	args := []string{"offsets"}
	for p, l := range whole {
		ends[p] = l.End/3 + rng.Int64N(l.End/3)
		args = append(args, "--offset", fmt.Sprintf("ledger:%d:%d", p, ends[p]))
	}
	for i, format := range []string{"csv", "json"} {
		printed := r.run("restored", nil, append(args, "--format", format)...).stdout
		file := writeFile(t, "vector."+format, printed)
		name := "ledger-" + format
		want := map[string]oracle.History{"ledger": whole.Before(ends)}
		result := r.restore(target, "--at-offsets", file, "--rename", "ledger="+name)
		got := map[string]oracle.History{"ledger": readTopic(t, target, name)}
		requireSame(t, want["ledger"], got["ledger"])
		clamped := 0
		for _, g := range result.Groups {
			clamped += g.Clamped
		}
		if !result.Complete || clamped == 0 {
			t.Errorf("complete %v, %d offsets set back", result.Complete, clamped)
		}
		if i == 0 {
			for group, offsets := range groups {
				checkCommitted(t, target, group, offsets, map[string]string{"ledger": name}, want, got)
			}
			notes := strings.Join(r.plan(target, "--at-offsets", file, "--rename", "ledger=other").Notes, "\n")
			if !strings.Contains(notes, "in part") || !strings.Contains(notes, "group group-1") {
				t.Errorf("notes are %s", notes)
			}
			wantError(t, r.try("restored", target, "run", "--yes", "--rename", "ledger="+name), exitRefused, name, "--at-offsets")
		}
	}
	beyond := func(rows string) []string {
		return []string{"--at-offsets", writeFile(t, "beyond.csv", "topic,partition,offset\n"+rows), "--rename", "ledger=beyond"}
	}
	r.wantRefusal(t, target, beyond(fmt.Sprintf("ledger,1,%d\n", whole[1].End+1)), "ledger-1", fmt.Sprintf("offset %d", whole[1].End+1), fmt.Sprintf("[0,%d)", whole[1].End))
	r.wantRefusal(t, target, beyond("ledger,7,0\n"), "ledger-7", "3 partitions")
	r.wantRefusal(t, target, beyond("nowhere,0,0\n"), "no topic nowhere")
	wantError(t, r.try("restored", target, append([]string{"plan"}, beyond("ledger,0,x\n")...)...), exitUsage, "beyond.csv", "row 2")
	wantError(t, r.try("restored", target, append([]string{"plan"}, beyond("ledger,0,1\nledger,0,2\n")...)...), exitUsage, "ledger-0", "1 and with 2")
	wantError(t, r.try("restored", target, "plan", "--at-offsets", filepath.Join(t.TempDir(), "none")), exitUsage, "--at-offsets", "no such file")
}

// A time at which records were there that were deleted before they were captured is refused, unless that is accepted.
func TestTimeInsideAGap(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "fleeting", 1, nil)
	p := newRawProducer(t, source, "fleeting")
	p.send(0, batch.Zstd, numbered("captured", 10)...)
	r := newRepository(t)
	r.backup(source)
	want := readTopic(t, source, "fleeting")
	p.send(0, batch.Zstd, numbered("never captured", 10)...)
	inside := time.Now().UTC().Format(time.RFC3339Nano)
	deleteRecords(t, source, "fleeting", 0, 20)
	p.send(0, batch.Zstd, numbered("afterwards", 10)...)
	r.backup(source)

	r.wantRefusal(t, target, []string{"--at", inside}, "fleeting-0", "[10,20)", "--accept-gap")
	plan := r.plan(target, "--at", inside, "--accept-gap")
	result := r.restore(target, "--at", inside, "--accept-gap")
	for what, missing := range map[string][]missingRange{"plan": plan.Missing, "result": result.Missing} {
		if len(missing) != 1 || missing[0].Topic != "fleeting" || missing[0].From != 10 || missing[0].To != 20 {
			t.Errorf("the %s says that %+v is missing", what, missing)
		}
	}
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "accepted") {
		t.Errorf("notes are %q", plan.Notes)
	}
	requireSame(t, want, readTopic(t, target, "fleeting"))
	if state := restoreStates(t, target); len(state) != 1 || !strings.Contains(state[0], " accepted=0:10-20 ") {
		t.Errorf("what was accepted is not in the state of the restore: %q", state)
	}
	byID := fmt.Sprint(r.points()[1])
	if notes := strings.Join(r.plan(target, "--at", byID).Notes, "\n"); !strings.Contains(notes, "as an earlier run has accepted: 0:10-20") {
		t.Errorf("the plan of the same point by its id does not say what has been accepted: %s", notes)
	}
	r.restore(target, "--at", byID)
	if state := restoreStates(t, target); len(state) != 1 || !strings.Contains(state[0], " accepted=0:10-20 ") {
		t.Errorf("a second run has forgotten what was accepted: %q", state)
	}
	r.restore(target, "--rename", "fleeting=latest") // a point is what it is
	r.restore(target, "--at", byID, "--rename", "fleeting=first")
	for _, state := range restoreStates(t, target) {
		if accepted := strings.Contains(state, " accepted="); accepted != strings.HasPrefix(state, "fleeting:") {
			t.Errorf("the state is %s", state)
		}
	}
}

// restoreStates returns what a target remembers of restores, by topic and partition.
func restoreStates(t *testing.T, c *cluster.Cluster) (list []string) {
	t.Helper()
	a := admin(t, c)
	defer a.Close()
	groups, err := a.ListGroups(t.Context())
	must(t, err)
	for _, name := range groups.Groups() {
		if !strings.HasPrefix(name, "offsite-restore-") {
			continue
		}
		offsets, err := a.FetchOffsets(t.Context(), name)
		must(t, err)
		for _, o := range offsets.Sorted() {
			list = append(list, fmt.Sprintf("%s:%d:%s", o.Topic, o.Partition, o.Metadata))
		}
	}
	return list
}
