package manifest

import (
	"cmp"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// TxnKind says what a Transaction states.
type TxnKind uint8

// The kinds of transactions in an entry.
const (
	// TxnOpen: no marker follows up to the position. A restore leaves it out.
	TxnOpen TxnKind = 0
	// TxnDecided: like TxnOpen, but its commit marker lies inside the point in
	// another partition, so that a restore to this point yields it.
	TxnDecided TxnKind = 1
	// TxnUndone: the producer's transactions whose marker is at Offset or above
	// may be incomplete at this point, so that a restore to it leaves them out.
	TxnUndone TxnKind = 2
)

// Transaction is what an entry states about a producer's transactions in one
// stream, see section 9 of docs/format.md.
type Transaction struct {
	Stream     int
	Kind       TxnKind
	ProducerID int64
	// Epoch is that of the data, of TxnUndone that of the last marker.
	Epoch int16
	// Offset is where the data begins, of TxnUndone the first marker that does
	// not count.
	Offset int64
}

// Compare orders transactions as an entry states them.
func (t Transaction) Compare(o Transaction) int {
	return cmp.Or(cmp.Compare(t.Stream, o.Stream), cmp.Compare(t.ProducerID, o.ProducerID), cmp.Compare(t.Kind/TxnUndone, o.Kind/TxnUndone))
}

func (e *Entry) appendTransactions() (b []byte) {
	if len(e.Transactions) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Transactions)))
	before := 0
	for _, t := range e.Transactions {
		b = wire.AppendUvarint(b, uint64(t.Stream-before))
		b = append(b, byte(t.Kind))
		b = wire.AppendVarint(b, t.ProducerID)
		b = wire.AppendVarint(b, int64(t.Epoch))
		b = wire.AppendUvarint(b, uint64(t.Offset))
		before = t.Stream
	}
	return b
}

func (e *Entry) parseTransactions(r *wire.Reader) {
	e.Transactions = make([]Transaction, count(r, "transactions", 5))
	before := 0
	for i := range e.Transactions {
		t := &e.Transactions[i]
		t.Stream = before + int(r.Max("stream", maxNumber))
		before = t.Stream
		t.Kind = TxnKind(r.Byte())
		t.ProducerID = r.Varint()
		epoch := r.Varint()
		t.Epoch = int16(epoch)
		t.Offset = int64(r.Max("offset", maxOffset))
		if t.Kind > TxnUndone || int64(t.Epoch) != epoch {
			r.Failf("transaction of kind %d and epoch %d", t.Kind, epoch)
		}
		if i > 0 && e.Transactions[i-1].Compare(*t) >= 0 {
			r.Failf("transactions out of order")
		}
	}
}

// checkTransactions is given the positions after the entry.
func (s *State) checkTransactions(e *Entry, next []int64) error {
	for _, t := range e.Transactions {
		if t.Stream >= len(next) || t.Offset >= next[t.Stream] {
			return fmt.Errorf("transaction at offset %d of stream %d, which has not come so far", t.Offset, t.Stream)
		}
		if t.Kind != TxnOpen && e.Point == nil {
			return fmt.Errorf("transaction of kind %d without a point", t.Kind)
		}
	}
	return nil
}
