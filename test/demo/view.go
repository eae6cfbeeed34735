package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// view is what consumers see of a cluster: the orders that are committed, and where billing goes on.
type view struct {
	records  int
	checksum string
	group    map[int32]position
}

// position is where a group goes on in a partition.
type position struct {
	offset int64
	next   string // the record there, or "" at the end
}

// look reads the cluster as a new consumer would, and then as billing would.
func look(ctx context.Context, c *kfake.Cluster) (*view, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, ordersTopic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	starts := make(map[int32]kgo.Offset)
	for p := range ends[ordersTopic] {
		starts[p] = kgo.NewOffset().AtStart()
	}
	all, err := read(ctx, c, starts, ends[ordersTopic])
	if err != nil {
		return nil, err
	}
	v := &view{group: make(map[int32]position)}
	v.records, v.checksum = digest(all)
	return v, v.addGroup(ctx, c, admin, ends[ordersTopic])
}

// addGroup reads on where the group has committed.
func (v *view) addGroup(ctx context.Context, c *kfake.Cluster, admin *kadm.Client, ends map[int32]kadm.ListedOffset) error {
	committed, err := admin.FetchOffsets(ctx, billingGroup)
	if err != nil {
		return fmt.Errorf("fetch offsets of group %s: %w", billingGroup, err)
	}
	at := make(map[int32]kgo.Offset)
	for p, o := range committed[ordersTopic] {
		at[p] = kgo.NewOffset().At(o.At)
	}
	rest, err := read(ctx, c, at, ends)
	if err != nil {
		return err
	}
	for p, o := range committed[ordersTopic] {
		pos := position{offset: o.At}
		if list := rest[p]; len(list) > 0 {
			_, pos.next = digest(map[int32][]*kgo.Record{p: list[:1]})
			pos.next = string(list[0].Key) + " " + pos.next
		}
		v.group[p] = pos
	}
	return nil
}

// read returns the committed records of the partitions in starts, from there to the ends.
func read(ctx context.Context, c *kfake.Cluster, starts map[int32]kgo.Offset, ends map[int32]kadm.ListedOffset) (map[int32][]*kgo.Record, error) {
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(c.ListenAddrs()...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{ordersTopic: starts}),
	)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	open := make(map[int32]bool)
	for p := range starts {
		open[p] = ends[p].Offset > 0
	}
	records := make(map[int32][]*kgo.Record)
	for remaining(open) {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("consume %s: %w", ordersTopic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records[r.Partition] = append(records[r.Partition], r)
			}
			open[r.Partition] = open[r.Partition] && r.Offset+1 < ends[r.Partition].Offset
		})
	}
	return records, nil
}

func remaining(open map[int32]bool) bool {
	for _, is := range open {
		if is {
			return true
		}
	}
	return false
}

// digest counts the records and sums up all that consumers see of them, in order, their offsets left out.
func digest(records map[int32][]*kgo.Record) (count int, checksum string) {
	h := sha256.New()
	field := func(b []byte) { // null is not the same as empty
		length := int64(len(b))
		if b == nil {
			length = -1
		}
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(length)))
		h.Write(b)
	}
	for p := range int32(partitions) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(records[p]))))
		for _, r := range records[p] {
			count++
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.Timestamp.UnixMilli())))
			field(r.Key)
			field(r.Value)
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(r.Headers))))
			for _, header := range r.Headers {
				field([]byte(header.Key))
				field(header.Value)
			}
		}
	}
	return count, hex.EncodeToString(h.Sum(nil))[:12]
}
