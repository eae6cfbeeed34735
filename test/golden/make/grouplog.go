package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/test/golden"
)

const groupLogTopic = "__consumer_offsets"

// twoLogs keeps the log of groups small.
var twoLogs = map[string]string{"offsets.topic.num.partitions": "2"}

// grouplog has the log of groups, with groups of all kinds that commit plainly and in transactions. At its second point the log ends
// behind the cut; of the transactions that commit offsets one is open, one is decided, one is undone, and one belongs to the point although
// its marker lies behind the cut. No broker makes such a moment on demand: some markers are written by hand, and what has to
// happen while the point is made happens between two requests of backupd.
func grouplog(s *source) {
	s.create(payments, 2, map[string]string{"min.insync.replicas": "1"})
	s.produce(s.client, payments, 0, textRecords("plain", 6)...)
	s.produce(s.client, payments, 1, textRecords("plain", 9)...)
	s.commit("only-commits", at(payments, 0, 1, -1, "Grüße ☃"), at(payments, 1, 8, 0, ""))
	s.commit("short-lived", at(payments, 0, 3, -1, ""))
	s.commit("still-there", at(payments, 1, 2, -1, ""))
	s.commit("open", at(payments, 0, 2, -1, "before the transaction"))
	s.member("classic", "classic", payments, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	s.member("next-generation", "consumer", payments, kgo.ServerSideBalancer())
	s.share("sharers", at(payments, 0, 4, 0, ""), at(payments, 1, 5, 0, ""))
	tx := s.begin("tx", kgo.NoCompression())
	tx.write(0, 1)
	tx.commit(at(payments, 0, 3, -1, "in a transaction"))
	tx.end(kgo.TryCommit)
	s.settled("tx")
	s.note("tx", "classic", "", at(payments, 0, 3, -1, "in a transaction"))
	s.quietPoint()

	s.commit("only-commits", at(payments, 0, 4, -1, "moved"))
	tx.restart()
	tx.write(1, 1)
	tx.commit(at(payments, 0, 5, -1, "never"))
	tx.end(kgo.TryAbort)
	s.settled("tx")
	s.moment()
	s.removeGroup("short-lived")
	s.uncommit("only-commits", payments, 1)
	tx.restart()
	tx.write(1, 1)
	tx.commit(at(payments, 0, 6, -1, ""), at(payments, 1, 1, -1, ""))
	tx.end(kgo.TryCommit)
	s.settled("tx")
	s.note("tx", "classic", "", at(payments, 0, 6, -1, ""), at(payments, 1, 1, -1, ""))
	s.moment()
	second, open := s.busyPoint()

	s.moment()
	s.markByHand(s.hanging, groupLogTopic, logPartition(s.hanging.name))
	open.end(kgo.TryAbort)
	s.settled("open")
	s.commit("next-generation", at(payments, 1, 9, 0, "left"))
	s.note("next-generation", "consumer", "consumer", at(payments, 1, 9, 0, "left"))
	s.upgrade("classic")
	third := s.quietPoint()
	if s.err == nil {
		second.want.Records = upTo(third.want.Records, second.ends, "undone")
	}
	s.writeMoments()
}

// busyPoint makes a point while groups commit. It returns the point, and a transaction that is open at it.
func (s *source) busyPoint() (*point, *transaction) {
	open, undone := s.begin("open", kgo.NoCompression()), s.begin("undone", kgo.NoCompression())
	decided, inside := s.begin("decided", kgo.NoCompression()), s.begin("inside", kgo.NoCompression())
	for i, x := range []*transaction{open, undone, decided, inside} {
		x.write(0, 1)
		x.commit(at(payments, 0, int64(i), -1, x.name))
	}
	s.markByHand(decided, payments, 0)
	s.markByHand(inside, payments, 0)
	s.hanging = decided

	meanwhile := maps.Clone(s.groups)
	s.note("decided", "classic", "", at(payments, 0, 2, -1, "decided"))
	s.note("inside", "classic", "", at(payments, 0, 3, -1, "inside"))
	s.meanwhile(func() { // the end of the log has been read, the other ends have not
		s.groups = meanwhile
		s.commit("only-commits", at(payments, 0, 6, -1, "behind the cut"))
		s.removeGroup("still-there")
		undone.end(kgo.TryCommit)
		s.settled("undone")
		s.note("undone", "classic", "", at(payments, 0, 1, -1, "undone"))
		s.markByHand(inside, groupLogTopic, logPartition("inside"))
		s.settled("inside")
		s.note("inside", "classic", "", at(payments, 0, 3, -1, "inside"))
		s.moment()
	})
	p := s.point()
	s.note("decided", "classic", "", at(payments, 0, 2, -1, "decided")) // since the point
	return p, open
}

// meanwhile lets fn run while the next point is made: when the end of the log of groups has been read, before the positions are that
// capture has to reach. The point has the groups as they are now.
func (s *source) meanwhile(fn func()) {
	if s.err != nil {
		return
	}
	const listOffsets = 2
	earliest := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}
	var marked, done bool
	b, err := standBetween(s.bed.Bootstrap()[0], func(key int16, body []byte) {
		if key != listOffsets || done || bytes.Contains(body, earliest) {
			return
		}
		if !bytes.Contains(body, []byte(payments)) {
			marked = true
		} else if marked {
			done = true
			fn()
		}
	})
	s.fail("stand between backupd and the broker", err)
	s.through = b
}

// commit commits offsets of the group that is called like the transaction.
func (x *transaction) commit(offsets ...golden.Offset) {
	s := x.source
	if s.err != nil {
		return
	}
	id, epoch, err := x.client.ProducerID(s.ctx)
	s.fail("producer id", err)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.Group, add.ProducerID, add.ProducerEpoch = x.name, x.name, id, epoch
	added, err := add.RequestWith(s.ctx, x.client)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	s.fail("add offsets to "+x.name, err)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.Generation, req.ProducerID, req.ProducerEpoch = x.name, x.name, -1, id, epoch
	for _, o := range offsets {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = o.Partition, o.Offset, o.Epoch, &o.Metadata
		req.Topics = append(req.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: o.Topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}})
	}
	resp, err := req.RequestWith(s.ctx, x.client)
	s.fail("commit offsets in "+x.name, err)
	for i := 0; s.err == nil && i < len(resp.Topics); i++ {
		s.fail("commit offsets in "+x.name, kerr.ErrorForCode(resp.Topics[i].Partitions[0].ErrorCode))
	}
}

// settled waits until no offset of the group waits for the end of a transaction.
func (s *source) settled(group string) {
	for s.err == nil {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.RequireStable = true
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group}}
		resp, err := req.RequestWith(s.ctx, s.client)
		s.fail("fetch offsets of "+group, err)
		if err == nil && !slices.ContainsFunc(resp.Groups[0].Topics, func(t kmsg.OffsetFetchResponseGroupTopic) bool {
			return slices.ContainsFunc(t.Partitions, func(p kmsg.OffsetFetchResponseGroupTopicPartition) bool { return p.ErrorCode != 0 })
		}) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// markByHand writes the commit marker of an open transaction into one partition, which its coordinator is not asked for.
func (s *source) markByHand(x *transaction, topic string, partition int32) {
	if s.err != nil {
		return
	}
	id, epoch, err := x.client.ProducerID(s.ctx)
	s.fail("producer id", err)
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
		ProducerID: id, ProducerEpoch: epoch + 1, Committed: true, TransactionVersion: 2,
		Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{partition}}},
	}}
	resp, err := req.RequestWith(s.ctx, s.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Markers[0].Topics[0].Partitions[0].ErrorCode)
	}
	s.fail(fmt.Sprintf("write a marker of %s to %s-%d", x.name, topic, partition), err)
}

// logPartition returns where the log of groups has a group.
func logPartition(group string) int32 {
	var hash uint32
	for _, c := range group {
		hash = 31*hash + uint32(c)
	}
	return int32(hash & 0x7fffffff % 2)
}

// upgrade lets a member of the new protocol into a group that has none, which makes it a group of another type.
func (s *source) upgrade(group string) {
	client, err := s.newClient(kgo.ConsumerGroup(group), kgo.ConsumeTopics(payments), kgo.DisableAutoCommit(), kgo.ServerSideBalancer())
	if err != nil {
		s.fail("connect", err)
		return
	}
	defer client.Close()
	s.fail("consume as a member of "+group, client.PollFetches(s.ctx).Err())
	s.note(group, "consumer", "consumer", s.groups[group]...)
}

// share sets the start offsets of a share group.
func (s *source) share(group string, offsets ...golden.Offset) {
	if s.err != nil {
		return
	}
	all := make(kadm.Offsets)
	for _, o := range offsets {
		all.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset})
	}
	answers, err := s.admin.AlterShareGroupOffsets(s.ctx, group, all)
	if err == nil {
		err = answers.Error()
	}
	s.fail("set start offsets of "+group, err)
	s.note(group, "share", "share", offsets...)
}

// moment notes what groups have committed now.
func (s *source) moment() {
	if s.err != nil {
		return
	}
	const apart = 20 * time.Millisecond // from what was committed before and will be
	time.Sleep(apart)
	if s.moments == nil {
		s.moments = make(map[int64][]golden.Offset)
	}
	s.moments[time.Now().UnixMilli()] = s.committed()
	time.Sleep(apart)
}

func (s *source) writeMoments() {
	for at, offsets := range s.moments {
		content := golden.Content{Offsets: offsets}
		lines, err := content.Encode()
		s.fail("encode", err)
		s.fail("write", os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("groups-%d.jsonl", at)), lines, 0o644))
	}
}

// bootstrap returns where backupd finds the cluster.
func (s *source) bootstrap() string {
	if s.through != nil {
		return s.through.addr()
	}
	return strings.Join(s.bed.Bootstrap(), ",")
}
