package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/golden"
)

const payments = "payments"

// transactions has committed, aborted and open ones, interleaved with each other and with plain records, some of them over two
// recovery points. Records are named after their transaction.
func transactions(s *source) {
	s.create(payments, 2, map[string]string{"min.insync.replicas": "1"})
	early, lost := s.begin("early", kgo.NoCompression()), s.begin("lost", kgo.Lz4Compression())
	late, doomed := s.begin("late", kgo.ZstdCompression()), s.begin("doomed", kgo.NoCompression())
	for i := range 6 {
		for _, x := range []*transaction{early, lost, late, doomed} {
			x.write(int32(i%2), 1+i%3)
		}
		s.produce(s.client, payments, int32(i%2), textRecords("plain", 2)...)
		if i == 2 || i == 4 {
			early.end(kgo.TryCommit)
			lost.end(kgo.TryAbort)
			early.restart()
			lost.restart()
		}
	}
	early.end(kgo.TryCommit)
	lost.end(kgo.TryAbort)
	s.trim(payments, 1, 5) // inside a batch of late
	first := s.point()

	late.write(0, 2)
	open := s.begin("open", kgo.NoCompression())
	open.write(0, 3)
	open.write(1, 1)
	late.end(kgo.TryCommit)
	doomed.end(kgo.TryAbort)
	s.produce(s.client, payments, 1, textRecords("plain", 1)...)
	second := s.point()

	open.end(kgo.TryAbort) // what is open at a point is dropped
	seen := s.consume(s.ends())
	if s.err != nil {
		return
	}
	first.want.Records = upTo(seen, first.ends, "late")
	second.want.Records = upTo(seen, second.ends, "")
	for _, x := range []*transaction{early, lost, late, doomed, open} {
		x.client.Close()
	}
}

// upTo returns the records below the ends, without those of a transaction that was open there.
func upTo(list []golden.Record, ends kadm.ListedOffsets, open string) []golden.Record {
	return slices.DeleteFunc(slices.Clone(list), func(r golden.Record) bool {
		end, _ := ends.Lookup(r.Topic, r.Partition)
		return r.Offset >= end.Offset || open != "" && strings.HasPrefix(string(r.Key), open)
	})
}

// transaction is one that is under way, and the producer of those that follow it.
type transaction struct {
	source  *source
	client  *kgo.Client
	name    string
	touched map[int32]bool // partitions
}

func (s *source) begin(name string, codec kgo.CompressionCodec) *transaction {
	x := &transaction{source: s, name: name}
	if s.err != nil {
		return x
	}
	var err error
	x.client, err = s.newClient(kgo.TransactionalID(name), kgo.TransactionTimeout(5*time.Minute), kgo.ProducerBatchCompression(codec))
	s.fail("connect", err)
	x.restart()
	return x
}

func (x *transaction) restart() {
	if x.source.err == nil {
		x.touched = make(map[int32]bool)
		x.source.fail("begin "+x.name, x.client.BeginTransaction())
	}
}

func (x *transaction) write(partition int32, records int) {
	if x.source.err == nil {
		x.touched[partition] = true
		x.source.produce(x.client, payments, partition, textRecords(x.name, records)...)
	}
}

// end ends the transaction and waits for its markers, which nobody else's records may follow meanwhile.
func (x *transaction) end(how kgo.TransactionEndTry) {
	s := x.source
	before := s.ends()
	if s.err != nil {
		return
	}
	s.fail("end "+x.name, x.client.EndTransaction(s.ctx, how))
	for deadline := time.Now().Add(time.Minute); s.err == nil && !x.marked(before, s.ends()); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.fail("end "+x.name, errors.New("no marker"))
		}
	}
}

func (x *transaction) marked(before, now kadm.ListedOffsets) bool {
	for p := range x.touched {
		was, _ := before.Lookup(payments, p)
		is, _ := now.Lookup(payments, p)
		if is.Offset <= was.Offset {
			return false
		}
	}
	return true
}
