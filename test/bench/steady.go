package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// The steady load: one topic per codec, transactions on another one, and groups
// that commit.
const (
	steadyParts  = 8
	steadyBeat   = 100 * time.Millisecond
	steadyGroups = 30 // each commits all partitions of a topic every second

	transactors        = 4
	transactEvery      = 250 * time.Millisecond
	transactionRecords = 50

	// lagLimit is how late a beat may be before the machine is too slow for the load.
	lagLimit = 20 * time.Second
)

var steadyCodecs = []string{"none", "lz4", "zstd"}

// steady is a load at a fixed rate that goes on until it is stopped.
type steady struct {
	ctx    context.Context // ends with it
	cancel context.CancelFunc
	load   *errgroup.Group
	c      *kafka.Cluster
}

// startLoad begins the load of b.rate records per second.
func (b *bench) startLoad(ctx context.Context, addr string) (*steady, error) {
	c, err := connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &steady{cancel: cancel, c: c}
	s.load, ctx = errgroup.WithContext(ctx)
	s.ctx = ctx
	for _, name := range steadyCodecs {
		t, err := create(ctx, c, "steady-"+name, steadyParts)
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		list, _, err := batches(batch.Codec(slices.Index(codecs, name)), 400, recordsPerBatch)
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		perBeat := float64(b.rate) / float64(len(steadyCodecs)) / recordsPerBatch * steadyBeat.Seconds()
		s.load.Go(func() error { return s.flow(ctx, t, list, perBeat) })
	}
	t, err := create(ctx, c, "steady-transactions", steadyParts)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	for i := range transactors {
		s.load.Go(func() error { return transact(ctx, addr, t, fmt.Sprintf("transactor-%d", i)) })
	}
	s.load.Go(func() error { return s.commit(ctx) })
	return s, nil
}

// stop ends the load and says whether it was one: it must not have ended early.
func (s *steady) stop() error {
	s.cancel()
	err := s.load.Wait()
	s.c.Close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("the load: %w", err)
}

// beats calls fn at fixed times, from the end of the first call on, for which
// coordinators have to be found. What is late is made up for, so that the rate
// stays the same; too late is an error.
func beats(ctx context.Context, every time.Duration, fn func(n int) error) error {
	if err := fn(0); err != nil {
		return err
	}
	start := time.Now()
	for n := 1; ; n++ {
		due := start.Add(time.Duration(n) * every)
		if late := time.Since(due); late > lagLimit {
			return fmt.Errorf("%s behind: the machine is too slow for it", late)
		}
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := fn(n); err != nil {
			return err
		}
	}
}

// flow sends so many batches to the partitions in turn, one request a beat.
func (s *steady) flow(ctx context.Context, t *kafka.Topic, list [][]byte, perBeat float64) error {
	p, err := s.c.NewProducer()
	if err != nil {
		return err
	}
	defer p.Close()
	sent := 0
	return beats(ctx, steadyBeat, func(n int) error {
		for upTo := int(float64(n+1) * perBeat); sent < upTo; {
			var parts []kafka.ProducePartition
			for ; sent < upTo && len(parts) < steadyParts; sent++ {
				parts = append(parts, kafka.ProducePartition{Topic: t.Name, TopicID: t.ID, Partition: int32(sent % steadyParts), Batch: list[sent%len(list)]})
			}
			if err := produceAll(ctx, p, t.Partitions[0].Leader, parts); err != nil {
				return err
			}
		}
		return nil
	})
}

// commit lets the groups commit what they might have read, a few at a time.
func (s *steady) commit(ctx context.Context) error {
	return beats(ctx, time.Second/steadyGroups, func(n int) error {
		var offsets []kafka.GroupOffset
		for p := range int32(steadyParts) {
			offsets = append(offsets, kafka.GroupOffset{Topic: "steady-none", Partition: p, Offset: int64(n)})
		}
		for {
			err := s.c.CommitOffsets(ctx, fmt.Sprintf("steady-%d", n%steadyGroups), offsets)
			if !errors.Is(err, kafka.ErrRetriable) {
				return err
			}
			pause(ctx, steadyBeat) // the coordinators are on their way
		}
	})
}

// transact writes and commits offsets of a group in transactions.
func transact(ctx context.Context, addr string, t *kafka.Topic, name string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	return beats(ctx, transactEvery, func(n int) error {
		if err := c.BeginTransaction(); err != nil {
			return err
		}
		var records []*kgo.Record
		for i := range transactionRecords {
			records = append(records, &kgo.Record{Topic: t.Name, Partition: int32((n + i) % steadyParts), Value: fmt.Appendf(nil, "transaction %d of %s, record %d", n, name, i)})
		}
		if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		if err := commitIn(ctx, c, name, t.Name, int64(n)); err != nil {
			return err
		}
		return c.EndTransaction(ctx, kgo.TryCommit)
	})
}

// commitIn commits an offset in the transaction that has been begun.
func commitIn(ctx context.Context, c *kgo.Client, name, topic string, offset int64) error {
	id, epoch, err := c.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.Group, add.ProducerID, add.ProducerEpoch = name, name, id, epoch
	added, err := add.RequestWith(ctx, c)
	if err == nil {
		err = kerr.ErrorForCode(added.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("add offsets: %w", err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.Generation, req.ProducerID, req.ProducerEpoch = name, name, -1, id, epoch
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Offset = offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{part}}}
	resp, err := req.RequestWith(ctx, c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("commit in a transaction: %w", err)
	}
	return nil
}
