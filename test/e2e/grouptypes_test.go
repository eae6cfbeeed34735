//go:build e2e

package e2e_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// groupTypes are the groups of this test, each called like what it is, and the type that Kafka gives them.
var groupTypes = map[string]string{
	"simple": "classic", "classic": "classic", "connect": "classic", "consumer": "consumer", "streams": "streams", "share": "share",
}

// membership is how a member of a group joins it by the client library. Nobody joins a simple group, and streams groups are joined by hand.
var membership = map[string][]kgo.Opt{
	"classic":  {kgo.ConsumerGroup("classic")},
	"connect":  {kgo.ConsumerGroup("connect"), kgo.GroupProtocol("connect")},
	"consumer": {kgo.ConsumerGroup("consumer"), kgo.ServerSideBalancer()},
}

// A group of every type that Kafka has comes back, and a member of it goes on with the record that it would have read next.
func TestGroupTypes(t *testing.T) {
	t.Parallel()
	soon := cluster.Options{Properties: map[string]string{"group.streams.initial.rebalance.delay.ms": "0"}}
	source, target := cluster.Start(t, soon), cluster.Start(t, soon)
	createTopic(t, source, "orders", 2, nil)
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 100)...)
	good, bad := beginTransaction(t, source, "good"), beginTransaction(t, source, "bad")
	for range 10 {
		bad.write(t, "orders", 1, 40)
		good.write(t, "orders", 1, 40)
	}
	good.end(t, kgo.TryCommit)
	bad.end(t, kgo.TryAbort)
	want := map[string]oracle.History{"orders": readTopic(t, source, "orders")}
	groups := fillGroups(t, source, want["orders"])

	r := newRepository(t)
	r.backup(source)
	checkCapturedGroups(t, r, groups)
	renamed := map[string]string{"orders": "copy"}
	plan := r.plan(target, "--rename", "orders=copy")
	if !slices.ContainsFunc(plan.Notes, func(n string) bool {
		return strings.Contains(n, "start offsets only") && strings.HasSuffix(n, ": share")
	}) {
		t.Errorf("the plan does not say what comes back of the share group: %q", plan.Notes)
	}
	result := r.restore(target, "--rename", "orders=copy")
	if !result.Complete || len(result.Groups) != len(groupTypes) {
		t.Errorf("the result says %+v", result.Groups)
	}
	for _, g := range result.Groups {
		if g.Type != groupTypes[g.Group] || g.Committed != 2 {
			t.Errorf("the result says %+v", g)
		}
	}
	checkAgain(t, r, target, "--rename", "orders=copy")
	r.run("restored", target, "compare", "--rename", "orders=copy", "--parts", "records,groups")
	got := map[string]oracle.History{"orders": readTopic(t, target, "copy")}
	requireSame(t, want["orders"], got["orders"])
	checkStartOffsets(t, target, groups["share"], renamed, want, got)
	for group, offsets := range groups {
		if group != "share" {
			checkCommitted(t, target, group, offsets, renamed, want, got)
		}
		client := memberOf(t, target, group, "copy")
		checkReadsOn(t, client, group, nextRecords(offsets, renamed, want), false)
		client.Close()
	}
}

// fillGroups lets a member of each group commit an offset in each partition, that of an aborted record among them.
func fillGroups(t *testing.T, c *cluster.Cluster, topic oracle.History) map[string]kadm.Offsets {
	t.Helper()
	groups := make(map[string]kadm.Offsets)
	for n, group := range []string{"simple", "classic", "connect", "consumer", "streams"} {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: int64(10 + n), LeaderEpoch: -1})
		offsets.Add(kadm.Offset{Topic: "orders", Partition: 1, At: topic[1].Aborted[10+n].Offset, LeaderEpoch: -1})
		switch group {
		case "simple":
			commit(t, c, group, offsets)
		case "streams":
			m := joinStreams(t, c, group, "orders")
			m.commit(t, offsets)
			m.leave(t)
		default:
			commitAsMember(t, c, group, offsets)
		}
		groups[group] = committed(t, c, group) // with the metadata of its member
		offsets.Each(func(o kadm.Offset) {
			if there, ok := groups[group].Lookup(o.Topic, o.Partition); !ok || there.At != o.At {
				t.Fatalf("%s is at %+v, want %d", group, there, o.At)
			}
		})
	}
	groups["share"] = shareRecords(t, c, "share", "orders")
	return groups
}

// commitAsMember joins the group and commits the offsets as its member.
func commitAsMember(t *testing.T, c *cluster.Cluster, group string, offsets kadm.Offsets) {
	t.Helper()
	options := append([]kgo.Opt{kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit()}, membership[group]...)
	client := c.Client(t, options...)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := client.PollFetches(ctx).Err(); err != nil { // it is a member now
		t.Fatalf("%s: %v", group, err)
	}
	at := make(map[string]map[int32]kgo.EpochOffset)
	offsets.Each(func(o kadm.Offset) {
		if at[o.Topic] == nil {
			at[o.Topic] = make(map[int32]kgo.EpochOffset)
		}
		at[o.Topic][o.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.At}
	})
	client.CommitOffsetsSync(ctx, at, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			t.Fatalf("%s: %v", group, err)
		}
		for _, p := range resp.Topics[0].Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				t.Errorf("%s: commit for partition %d: %v", group, p.Partition, err)
			}
		}
	})
}

// shareRecords lets a share group acknowledge the first records of each partition, except for one: that is its start offset, and what it has
// acknowledged behind it is delivered again after a restore.
func shareRecords(t *testing.T, c *cluster.Cluster, group, topic string) kadm.Offsets {
	t.Helper()
	setConfigs(t, c, ofGroups, group, configs{"share.auto.offset.reset": "earliest"})
	client := c.Client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	count := make(map[int32]int)
	starts := kadm.Offsets{}
	for len(starts[topic]) < 2 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %v", group, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			count[r.Partition]++
			if count[r.Partition] == 6 {
				starts.Add(kadm.Offset{Topic: topic, Partition: r.Partition, At: r.Offset})
				r.Ack(kgo.AckRelease)
				return
			}
			r.Ack(kgo.AckAccept)
		})
		if err := client.FlushAcks(ctx); err != nil {
			t.Fatalf("%s: %v", group, err)
		}
	}
	return starts
}

// checkCapturedGroups compares what the backup says of the groups.
func checkCapturedGroups(t *testing.T, r *repository, groups map[string]kadm.Offsets) {
	t.Helper()
	types := make(map[string]string)
	for _, g := range r.content().Groups {
		types[g.Group] = g.Type
		captured := kadm.Offsets{}
		for _, o := range g.Offsets {
			captured.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset})
		}
		for _, p := range []int32{0, 1} {
			own, _ := captured.Lookup("orders", p)
			if at, ok := groups[g.Group].Lookup("orders", p); !ok || own.At != at.At || len(g.Offsets) != 2 {
				t.Errorf("group %s is captured as %+v, want %+v", g.Group, g.Offsets, groups[g.Group])
			}
		}
	}
	if !maps.Equal(types, groupTypes) {
		t.Errorf("types of the groups: %v, want %v", types, groupTypes)
	}
	for _, o := range decodeJSON[translations](t, r.run("restored", nil, "offsets", "--format", "json")).Offsets {
		if o.Type != groupTypes[o.Group] {
			t.Errorf("restored offsets has group %s as %q", o.Group, o.Type)
		}
	}
}

// checkStartOffsets compares the start offsets of a share group on the target with what they must be.
func checkStartOffsets(t *testing.T, target *cluster.Cluster, offsets kadm.Offsets, renamed map[string]string, want, got map[string]oracle.History) {
	t.Helper()
	there, err := admin(t, target).DescribeShareGroupOffsets(t.Context(), "share")
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.Offset) {
		expected := translate(want[o.Topic][o.Partition], got[o.Topic][o.Partition], o.At)
		if now, ok := there["share"].Offsets.Lookup(renamed[o.Topic], o.Partition); !ok || now.StartOffset != expected {
			t.Errorf("share, %s-%d: started at %d at the source, %+v at the target, want %d", o.Topic, o.Partition, o.At, now, expected)
		}
	})
}

// memberOf returns a client that reads a topic on as a member of the group does.
func memberOf(t *testing.T, c *cluster.Cluster, group, topic string) *kgo.Client {
	t.Helper()
	switch group {
	case "share":
		return c.Client(t, kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
	case "simple":
		return readerFrom(t, c, committed(t, c, group))
	case "streams":
		m := joinStreams(t, c, group, topic)
		offsets := m.committed(t)
		m.leave(t)
		return readerFrom(t, c, offsets)
	}
	return c.Client(t, append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.DisableAutoCommit()}, membership[group]...)...)
}

// readerFrom returns a client that reads from the offsets on.
func readerFrom(t *testing.T, c *cluster.Cluster, offsets kadm.Offsets) *kgo.Client {
	t.Helper()
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range offsets {
		from[topic] = make(map[int32]kgo.Offset)
		for p, o := range partitions {
			from[topic][p] = kgo.NewOffset().At(o.At)
		}
	}
	return c.Client(t, kgo.ConsumePartitions(from))
}

// streamsMember is a member of a streams group (KIP-1071). The client library has none.
type streamsMember struct {
	client    *kgo.Client
	group, id string
	epoch     int32
}

// joinStreams joins a group whose only subtopology reads a topic, and returns when both its partitions have been assigned.
func joinStreams(t *testing.T, c *cluster.Cluster, group, topic string) *streamsMember {
	t.Helper()
	versions := kversion.Stable() // by topic name, and not by id
	versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	versions.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	m := &streamsMember{client: c.Client(t, kgo.MaxVersions(versions)), group: group, id: "member"}
	process := "process"
	req := m.heartbeat()
	req.RebalanceTimeoutMillis, req.ProcessID = 60000, &process
	req.Topology = &kmsg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []kmsg.StreamsGroupHeartbeatRequestTopologySubtopology{
		{SubtopologyID: "0", SourceTopics: []string{topic}},
	}}
	req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = []kmsg.TaskIDs{}, []kmsg.TaskIDs{}, []kmsg.TaskIDs{}
	assigned := func() bool {
		resp := m.send(t, req)
		m.epoch, req = resp.MemberEpoch, m.heartbeat()
		req.MemberEpoch = m.epoch
		return len(resp.ActiveTasks) > 0 && len(resp.ActiveTasks[0].Partitions) == 2
	}
	eventually(t, "tasks of the streams group", assigned)
	return m
}

func (m *streamsMember) heartbeat() *kmsg.StreamsGroupHeartbeatRequest {
	req := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	req.Group, req.MemberID = m.group, m.id
	return req
}

// send sends a heartbeat to the only broker: the client library does not look up the coordinator for it.
func (m *streamsMember) send(t *testing.T, req *kmsg.StreamsGroupHeartbeatRequest) *kmsg.StreamsGroupHeartbeatResponse {
	t.Helper()
	raw, err := m.client.Broker(0).Request(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: heartbeat: %v", m.group, err)
	}
	resp := raw.(*kmsg.StreamsGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatalf("%s: heartbeat: %v: %s", m.group, err, *resp.ErrorMessage)
	}
	return resp
}

func (m *streamsMember) commit(t *testing.T, offsets kadm.Offsets) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.epoch
	for topic, partitions := range offsets {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = topic
		for p, o := range partitions {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset = p, o.At
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	for _, topic := range request[*kmsg.OffsetCommitResponse](t, m.client, req).Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				t.Fatalf("%s: commit for %s-%d: %v", m.group, topic.Topic, p.Partition, err)
			}
		}
	}
}

// committed returns the group's offsets as a member sees them.
func (m *streamsMember) committed(t *testing.T) kadm.Offsets {
	t.Helper()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberID, g.MemberEpoch, g.Topics = m.group, &m.id, m.epoch, nil
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Groups = append(req.Groups, g)
	offsets := kadm.Offsets{}
	for _, topic := range request[*kmsg.OffsetFetchResponse](t, m.client, req).Groups[0].Topics {
		for _, p := range topic.Partitions {
			offsets.Add(kadm.Offset{Topic: topic.Topic, Partition: p.Partition, At: p.Offset})
		}
	}
	return offsets
}

func (m *streamsMember) leave(t *testing.T) {
	t.Helper()
	req := m.heartbeat()
	req.MemberEpoch = -1
	m.send(t, req)
	m.client.Close()
}

// A target that cannot have share groups gets everything else. Before and after it is said what is missing.
func TestShareGroupWhereThereAreNone(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{Version: cluster.Kafka39})
	createTopic(t, source, "orders", 1, nil)
	newRawProducer(t, source, "orders").send(0, batch.LZ4, numbered("order", 10)...)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "orders", At: 4, LeaderEpoch: -1})
	commit(t, source, "readers", offsets)
	if answers, err := admin(t, source).AlterShareGroupOffsets(t.Context(), "sharers", offsets); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	r := newRepository(t)
	r.backup(source)
	const reason = "cannot have share groups"
	for _, g := range r.plan(target).Groups {
		if strings.Contains(g.Problem, reason) != (g.Group == "sharers") {
			t.Errorf("the plan says of group %s: %q", g.Group, g.Problem)
		}
	}
	for range 2 {
		result := decodeJSON[restoreResult](t, r.expect(exitIncomplete, "restored", target, "run", "--yes", "-o", "json"))
		for _, g := range result.Groups {
			if strings.Contains(strings.Join(g.Problems, ""), reason) != (g.Group == "sharers") {
				t.Errorf("the result says of group %s: %v", g.Group, g.Problems)
			}
		}
	}
	requireSame(t, readTopic(t, source, "orders"), readTopic(t, target, "orders"))
	if o, ok := committed(t, target, "readers").Lookup("orders", 0); !ok || o.At != 4 {
		t.Errorf("readers are at %+v on the target", o)
	}

	none := newRepository(t) // a source without share groups is no trouble either
	none.backup(target)
	if c := none.content(); len(c.Groups) != 1 || c.Groups[0].Group != "readers" {
		t.Errorf("captured groups %+v", c.Groups)
	}
}
