//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// endingBackoff is how long to wait for the end of the transaction before.
const endingBackoff = 20 * time.Millisecond

// teller serves the orders of a partition that nobody else serves, so that it needs no rebalances.
type teller struct {
	bank      *bank
	name      string
	partition int32
	rng       *rand.Rand
	client    *kgo.Client
}

// old says whether it is a client from before Kafka 4, which keeps its epoch.
func (t *teller) old() bool { return t.partition%2 == 0 }

// serve goes on where the group is, until the bank closes or something fails.
func (t *teller) serve() error {
	opts := []kgo.Opt{
		kgo.SeedBrokers(t.bank.cluster.Bootstrap()...), kgo.TransactionalID(t.name), kgo.TransactionTimeout(20 * time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		// What is refused because the transaction before is still ending waits for metadata, and would for seconds.
		kgo.RetryBackoffFn(func(tries int) time.Duration { return time.Duration(min(tries, 20)) * endingBackoff }), kgo.MetadataMinAge(endingBackoff),
	}
	if t.old() {
		opts = append(opts, kgo.MaxVersions(kversion.V3_7_0()))
	}
	var err error
	if t.client, err = kgo.NewClient(opts...); err != nil {
		return err
	}
	defer t.client.Close()
	for err = t.resume(); err == nil && t.bank.ctx.Err() == nil; {
		err = t.work()
	}
	return err
}

// resume ends what an earlier teller of this name left open and reads on from the group's offset.
func (t *teller) resume() error {
	ctx := kadm.RequireStable(context.Background())
	if _, _, err := t.client.ProducerID(ctx); err != nil {
		return err
	}
	offsets, err := kadm.NewClient(t.client).FetchOffsets(ctx, bankGroup)
	if err != nil {
		return err
	}
	from := kgo.NewOffset().AtStart()
	if o, ok := offsets.Lookup(ordersTopic, t.partition); ok {
		if o.Err != nil {
			return o.Err
		}
		from = kgo.NewOffset().At(o.At)
	}
	t.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{ordersTopic: {t.partition: from}})
	return nil
}

// work serves a few orders, as often as it takes.
func (t *teller) work() error {
	fetches := t.client.PollRecords(t.bank.ctx, 1+t.rng.IntN(transfers))
	if err := fetches.Err0(); err != nil || t.bank.ctx.Err() != nil {
		return err
	}
	orders := fetches.Records()
	for committed := len(orders) == 0; !committed; {
		var err error
		if committed, err = t.transact(orders); err != nil {
			return err
		}
	}
	return nil
}

// transact serves orders in one transaction and says whether it was committed.
func (t *teller) transact(orders []*kgo.Record) (committed bool, err error) {
	ctx := context.Background()
	if err := t.client.BeginTransaction(); err != nil {
		return false, err
	}
	// The offset is first: one request waits for the end of the transaction before, instead of one for each broker.
	if err := t.commitOffset(ctx, orders[len(orders)-1].Offset+1); err != nil {
		return false, err
	}
	var list []*kgo.Record
	on := someAccounts(t.rng)
	for _, o := range orders {
		list = append(list, postings(o, on, t.rng)...)
	}
	if err := t.client.ProduceSync(ctx, list...).FirstErr(); err != nil {
		return false, fmt.Errorf("produce: %w", err)
	}
	if t.rng.IntN(4) == 0 {
		time.Sleep(upTo(t.rng, 30*time.Millisecond))
	}
	committed = t.rng.IntN(10) >= 3
	if err := t.client.EndTransaction(ctx, kgo.TransactionEndTry(committed)); err != nil {
		return false, fmt.Errorf("end transaction: %w", err)
	}
	if committed {
		t.bank.committed.Add(1)
		t.bank.served.Add(int64(len(orders)))
	} else {
		t.bank.aborted.Add(1)
	}
	return committed, nil
}

// commitOffset commits the group's offset in the transaction.
func (t *teller) commitOffset(ctx context.Context, offset int64) error {
	id, epoch, err := t.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	if t.old() { // newer brokers and clients leave that to the commit
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.Group, add.ProducerID, add.ProducerEpoch = t.name, bankGroup, id, epoch
		err := whileEnding(func() (int16, error) {
			resp, err := add.RequestWith(ctx, t.client)
			if err != nil {
				return 0, err
			}
			return resp.ErrorCode, nil
		})
		if err != nil {
			return fmt.Errorf("add offsets: %w", err)
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.Generation, req.ProducerID, req.ProducerEpoch = t.name, bankGroup, -1, id, epoch
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset = t.partition, offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: ordersTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}}}
	err = whileEnding(func() (int16, error) {
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return 0, err
		}
		return resp.Topics[0].Partitions[0].ErrorCode, nil
	})
	if err != nil {
		return fmt.Errorf("commit offset: %w", err)
	}
	return nil
}

// whileEnding repeats a request as long as the transaction before is still ending.
func whileEnding(request func() (code int16, err error)) error {
	for {
		code, err := request()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		time.Sleep(endingBackoff)
	}
}
