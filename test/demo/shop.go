package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	ordersTopic   = "orders"
	billingGroup  = "billing"
	partitions    = 3
	firstOrders   = 1000
	transactional = 60 // orders in each of the two transactions
)

// shop is an application: it writes orders, and a group of consumers reads them.
type shop struct {
	cluster *kfake.Cluster
	till    *kgo.Client
	sold    int
}

func openShop(ctx context.Context, c *kfake.Cluster) (*shop, error) {
	till, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return nil, err
	}
	forever := "-1"
	_, err = kadm.NewClient(till).CreateTopic(ctx, partitions, 3, map[string]*string{"retention.ms": &forever}, ordersTopic)
	if err != nil {
		till.Close()
		return nil, fmt.Errorf("create topic %s: %w", ordersTopic, err)
	}
	return &shop{cluster: c, till: till}, nil
}

func (s *shop) close() { s.till.Close() }

// open makes the history that the backup finds when it begins.
func (s *shop) open(ctx context.Context) error {
	if err := s.sell(ctx, firstOrders/4); err != nil {
		return err
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := s.transact(ctx, end); err != nil {
			return err
		}
	}
	if err := s.sell(ctx, firstOrders/4); err != nil {
		return err
	}
	if err := s.bill(ctx, firstOrders/2+transactional); err != nil {
		return err
	}
	return s.sell(ctx, firstOrders/2)
}

// sell writes n orders and waits for the acknowledgements.
func (s *shop) sell(ctx context.Context, n int) error {
	if err := s.till.ProduceSync(ctx, s.orders(n)...).FirstErr(); err != nil {
		return fmt.Errorf("produce orders: %w", err)
	}
	return nil
}

func (s *shop) orders(n int) []*kgo.Record {
	list := make([]*kgo.Record, n)
	for i := range list {
		s.sold++
		list[i] = &kgo.Record{
			Topic: ordersTopic,
			Key:   fmt.Appendf(nil, "customer-%03d", s.sold*7%101),
			Value: fmt.Appendf(nil, `{"order":%d,"item":"item-%d","quantity":%d}`, s.sold, s.sold%13, 1+s.sold%5),
			Headers: []kgo.RecordHeader{
				{Key: "trace", Value: fmt.Appendf(nil, "%08x", s.sold)}, {Key: "tag", Value: []byte("web")},
				{Key: "tag", Value: []byte("gift")}, {Key: "coupon", Value: nil},
			},
		}
	}
	return list
}

// transact writes orders in one transaction and ends it.
func (s *shop) transact(ctx context.Context, end kgo.TransactionEndTry) error {
	till, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.TransactionalID("till-1"))
	if err != nil {
		return err
	}
	defer till.Close()
	if err := till.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := till.ProduceSync(ctx, s.orders(transactional)...).FirstErr(); err != nil {
		return fmt.Errorf("produce in a transaction: %w", err)
	}
	if err := till.EndTransaction(ctx, end); err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	return nil
}

// bill lets the group read at least n orders, commit, and leave.
func (s *shop) bill(ctx context.Context, n int) error {
	member, err := kgo.NewClient(
		kgo.SeedBrokers(s.cluster.ListenAddrs()...), kgo.ConsumerGroup(billingGroup), kgo.ConsumeTopics(ordersTopic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer member.Close()
	for read := 0; read < n; {
		fetches := member.PollRecords(ctx, n-read)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("consume in group %s: %w", billingGroup, err)
		}
		read += fetches.NumRecords()
	}
	if err := member.CommitUncommittedOffsets(ctx); err != nil {
		return fmt.Errorf("commit offsets of group %s: %w", billingGroup, err)
	}
	return nil
}
