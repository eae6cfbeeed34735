//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

const (
	timesTopic = "times"
	timesParts = 4
	timesMost  = 1000 // records of a partition, and no group commits more
)

// diary is what the test knows of one group: what it had committed for each partition, and since when.
type diary struct {
	mu      sync.Mutex
	changes [timesParts][]change
}

// change is a commit that came into force at some moment in [from, to], in ms since 1970. Without an offset, gone, it is -1.
type change struct {
	from, to, offset int64
}

func (d *diary) note(from time.Time, partition int32, offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Kafka counts in whole milliseconds.
	d.changes[partition] = append(d.changes[partition], change{from.UnixMilli(), time.Now().UnixMilli() + 1, offset})
}

// possible returns what can have been in force at some moment in [from, to].
func (d *diary) possible(partition int32, from, to int64) []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []int64{-1}
	for _, c := range d.changes[partition] {
		switch {
		case c.from > to:
			return list
		case c.to < from:
			list = []int64{c.offset}
		default:
			list = append(list, c.offset)
		}
	}
	return list
}

// committer commits the offsets of one group, one after the other.
type committer interface {
	// commit returns whether the offset of the partition counts from now on.
	commit(ctx context.Context, partition int32, offset int64) (bool, error)
}

// plainCommitter commits without transactions.
type plainCommitter struct {
	admin *kadm.Client
	group string
}

func (c *plainCommitter) commit(ctx context.Context, partition int32, offset int64) (bool, error) {
	var offsets kadm.Offsets
	offsets.AddOffset(timesTopic, partition, offset, -1)
	return true, c.admin.CommitAllOffsets(ctx, c.group, offsets)
}

// txnCommitter commits each offset in a transaction, a third of which it aborts.
type txnCommitter struct {
	client *kgo.Client
	admin  *kadm.Client
	group  string
	rng    *rand.Rand
	id     int64
	epoch  int16
}

func (c *txnCommitter) begin(ctx context.Context) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr(c.group), 60000
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil {
		c.id, c.epoch, err = resp.ProducerID, resp.ProducerEpoch, kerr.ErrorForCode(resp.ErrorCode)
	}
	return err
}

func (c *txnCommitter) commit(ctx context.Context, partition int32, offset int64) (bool, error) {
	if err := c.add(ctx); err != nil {
		return false, fmt.Errorf("add offsets: %w", err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.Generation, req.ProducerID, req.ProducerEpoch = c.group, c.group, -1, c.id, c.epoch
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset = partition, offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: timesTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}}}
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return false, fmt.Errorf("commit in a transaction: %w", err)
	}
	commits := c.rng.IntN(3) > 0
	if err := c.end(ctx, commits); err != nil {
		return false, fmt.Errorf("end transaction: %w", err)
	}
	return commits, c.awaitMarker(ctx)
}

// add takes the group into the transaction. The one before may still be ending.
func (c *txnCommitter) add(ctx context.Context) error {
	for {
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = c.group, c.group, c.id, c.epoch
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return err
		}
		if err = kerr.ErrorForCode(resp.ErrorCode); !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *txnCommitter) end(ctx context.Context, commits bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = c.group, c.id, c.epoch, commits
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return err
	}
	if resp.Version >= 5 {
		c.id, c.epoch = resp.ProducerID, resp.ProducerEpoch
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// awaitMarker waits until no offset of the group waits for the end of a transaction.
func (c *txnCommitter) awaitMarker(ctx context.Context) error {
	for {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.RequireStable = true
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: c.group}}
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return err
		}
		stable := true
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				stable = stable && p.ErrorCode == 0
			}
		}
		if stable {
			return nil
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// write keeps a group busy and its diary.
func (d *diary) write(t *testing.T, ctx context.Context, c committer, rng *rand.Rand, drop func(context.Context) error) {
	for ctx.Err() == nil {
		from, partition, offset := time.Now(), int32(rng.IntN(timesParts)), rng.Int64N(timesMost)
		counts, err := c.commit(context.Background(), partition, offset)
		if err != nil {
			t.Errorf("commit: %v", err)
			return
		}
		if counts {
			d.note(from, partition, offset)
		}
		if drop != nil && rng.IntN(40) == 0 {
			from := time.Now()
			if err := drop(context.Background()); err != nil {
				t.Errorf("delete group: %v", err)
				return
			}
			for p := range int32(timesParts) {
				d.note(from, p, -1)
			}
		}
		pause(ctx, upTo(rng, 60*time.Millisecond))
	}
}

// groupsThen is what restored groups says.
type groupsThen struct {
	AsOf   time.Time `json:"asOf"`
	Exact  bool      `json:"exact"`
	Groups []struct {
		Group   string `json:"group"`
		Offsets []struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
		} `json:"offsets"`
	} `json:"groups"`
}

func (g *groupsThen) offset(group string, partition int32) int64 {
	for _, x := range g.Groups {
		for _, o := range x.Offsets {
			if x.Group == group && o.Partition == partition {
				return o.Offset
			}
		}
	}
	return -1
}

// What groups had committed at random moments, against diaries that the test kept itself: with the log of groups, exactly;
// where they are polled, what was in force at some moment since the last poll, and never later. Groups commit with and
// without transactions, of both kinds of producers, and one is deleted now and then; the daemons die in between.
func TestGroupTimes(t *testing.T) {
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	createTopic(t, source, timesTopic, timesParts, nil)
	p := producer(t, source)
	for k := range timesParts * timesMost {
		p.Produce(t.Context(), &kgo.Record{Topic: timesTopic, Partition: int32(k % timesParts), Value: fmt.Appendf(nil, "%d", k)}, nil)
	}
	must(t, p.Flush(t.Context()))
	diaries := make(map[string]*diary)
	ctx, stop := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer stop()
	begin := func(name string, c committer, drop func(context.Context) error) {
		d, own := &diary{}, rand.New(rand.NewPCG(rng.Uint64(), 1))
		diaries[name] = d
		busy.Go(func() { d.write(t, ctx, c, own, drop) })
	}
	a := admin(t, source)
	defer a.Close()
	begin("plain", &plainCommitter{a, "plain"}, nil)
	begin("deleted", &plainCommitter{a, "deleted"}, func(ctx context.Context) error {
		_, err := a.DeleteGroup(ctx, "deleted")
		return err
	})
	for name, opts := range map[string][]kgo.Opt{"txn": nil, "txn-old": {kgo.MaxVersions(kversion.V3_7_0())}} {
		c := &txnCommitter{client: source.Client(t, opts...), admin: a, group: name, rng: rand.New(rand.NewPCG(rng.Uint64(), 2))}
		defer c.client.Close()
		must(t, c.begin(t.Context()))
		begin(name, c, nil)
	}
	modes := map[string]*repository{"log": newRepository(t), "poll": newRepository(t)}
	for range 3 {
		var daemons []*process
		for mode, r := range modes {
			daemons = append(daemons, r.start("backupd", source, append([]string{"run", "-X", "groups.capture=" + mode}, smallSeals...)...))
		}
		pause(t.Context(), 4*time.Second+upTo(rng, time.Second))
		for i, p := range daemons {
			if i == 0 {
				must(t, p.Kill())
			} else {
				p.stop(t)
			}
		}
	}
	stop()
	busy.Wait()
	for mode, r := range modes {
		t.Run(mode, func(t *testing.T) { askTimes(t, r.in(t), rng, mode == "log", diaries) })
	}
	t.Run("restored", func(t *testing.T) { restoreTimes(t, modes["log"].in(t), rng, diaries) })
}

// restoreTimes restores up to a moment: groups have what they had then.
func restoreTimes(t *testing.T, r *repository, rng *rand.Rand, diaries map[string]*diary) {
	list := r.listPoints().Points
	first, last := list[len(list)-1].Time, list[0].Time
	target := cluster.Start(t, cluster.Options{})
	at := first.Add(time.Second + upTo(rng, last.Sub(first)-2*time.Second)).Truncate(time.Millisecond)
	r.restore(target, "--until-timestamp", at.UTC().Format(time.RFC3339Nano))
	for name, d := range diaries {
		offsets := committed(t, target, name)
		for p := range int32(timesParts) {
			got := int64(-1)
			if o, ok := offsets.Lookup(timesTopic, p); ok {
				got = o.At
			}
			if can := d.possible(p, at.UnixMilli(), at.UnixMilli()); !slices.Contains(can, got) {
				t.Errorf("group %s, partition %d up to %s: %d, but it was %v", name, p, at.Format(time.StampMilli), got, can)
			}
		}
	}
}

// askTimes asks what groups had committed.
func askTimes(t *testing.T, r *repository, rng *rand.Rand, exact bool, diaries map[string]*diary) {
	list := r.listPoints().Points
	slices.Reverse(list)
	first, last := list[0].Time, list[len(list)-1].Time
	questions, clear := 0, 0
	for questions < count(t, "OFFSITE_TEST_GROUP_QUESTIONS", 1000) {
		at := first.Add(time.Second + time.Duration(rng.Int64N(int64(last.Sub(first)-time.Second)))).Truncate(time.Millisecond)
		var then groupsThen
		o := r.run("restored", nil, "groups", "-o", "json", "--at", at.UTC().Format(time.RFC3339Nano))
		must(t, json.Unmarshal([]byte(o.stdout), &then))
		if then.Exact != exact || exact && !then.AsOf.Equal(at) || then.AsOf.After(at) {
			t.Fatalf("groups --at %s: as of %s, exact: %v", at, then.AsOf, then.Exact)
		}
		between := 0
		for _, p := range list {
			if p.Time.After(then.AsOf) && !p.Time.After(at) {
				between++
			}
		}
		if !exact && between > 1 {
			t.Errorf("groups --at %s: as of %s, with %d points between", at, then.AsOf, between)
		}
		for name, d := range diaries {
			for p := range int32(timesParts) {
				questions++
				can := d.possible(p, then.AsOf.UnixMilli(), at.UnixMilli())
				if len(can) == 1 {
					clear++
				}
				if got := then.offset(name, p); !slices.Contains(can, got) {
					t.Errorf("group %s, partition %d at %s: %d, but it was %v", name, p, at.Format(time.StampMilli), got, can)
				}
			}
		}
	}
	t.Logf("%d questions, %d of them with one possible answer", questions, clear)
	if exact && clear < questions*3/4 {
		t.Error("too few of the questions have one possible answer only")
	}
}
