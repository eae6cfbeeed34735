package source

import (
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// recount sums up the batches of a block anew, to compare with what its footer
// says. What a footer says of transactions decides which records come back.
type recount struct {
	block  *segment.Block
	sum    segment.Summary
	events []segment.TxnEvent // of the footer, those that have not been met
	open   map[int64]bool     // producers with data since their last marker in the block
}

func newRecount(k *segment.Block) *recount {
	return &recount{block: k, sum: segment.Summary{Next: k.Start, Plain: true}, events: k.Events, open: make(map[int64]bool)}
}

// add takes the next batch.
func (c *recount) add(h *batch.Header, raw []byte) error {
	addHeader(&c.sum, h)
	if h.IsTransactional() {
		return c.event(h, raw)
	}
	return nil
}

// addHeader sums up a batch that follows. What sum has must end where it is dense.
func addHeader(sum *segment.Summary, h *batch.Header) {
	sum.Batches++
	sum.LeaderEpoch = h.LeaderEpoch
	sum.Plain = sum.Plain && h.IsDense() && !h.IsControl() && !h.IsTransactional() && !h.IsLogAppendTime() && h.BaseOffset == sum.Next
	sum.Next = h.NextOffset()
	if h.IsControl() || h.Count == 0 {
		return
	}
	least := min(h.BaseTimestamp, h.MaxTimestamp)
	if h.IsLogAppendTime() || h.HasDeleteHorizon() {
		least = h.MaxTimestamp
	}
	if sum.Records == 0 {
		sum.MinTimestamp, sum.MaxTimestamp = least, h.MaxTimestamp
	}
	sum.Records += int64(h.Count)
	sum.MinTimestamp, sum.MaxTimestamp = min(sum.MinTimestamp, least), max(sum.MaxTimestamp, h.MaxTimestamp)
}

// eventOf returns what a transactional batch of a block says of its producer's
// transaction, if it says anything.
func eventOf(h *batch.Header, raw []byte, start int64) (e segment.TxnEvent, ok bool, err error) {
	e = segment.TxnEvent{Offset: max(h.BaseOffset, start), ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch}
	if !h.IsControl() {
		return e, h.Count > 0, nil
	}
	m, err := batch.Marker(raw)
	if errors.Is(err, batch.ErrNoMarker) || err == nil && m.Type != batch.Commit && m.Type != batch.Abort {
		return e, false, nil
	}
	if e.Kind = segment.TxnAbort; m.Type == batch.Commit {
		e.Kind = segment.TxnCommit
	}
	return e, err == nil, err
}

// event looks for a transactional batch in the footer's list. A producer's later
// data may be left out.
func (c *recount) event(h *batch.Header, raw []byte) error {
	e, ok, err := eventOf(h, raw, c.block.Start)
	if err != nil || !ok {
		return err
	}
	switch {
	case len(c.events) > 0 && c.events[0] == e:
		c.events = c.events[1:]
	case e.Kind != segment.TxnData || !c.open[e.ProducerID]:
		return fmt.Errorf("the footer leaves out what producer %d did in a transaction at offset %d", e.ProducerID, e.Offset)
	}
	c.open[e.ProducerID] = e.Kind == segment.TxnData
	return nil
}

// compare says where the footer is wrong.
func (c *recount) compare() error {
	k, s := &c.block.Summary, &c.sum
	s.Plain = s.Plain && s.Next == k.Next
	switch {
	case s.Batches != k.Batches || s.Records != k.Records:
		return fmt.Errorf("%d batches and %d records, the footer says %d and %d", s.Batches, s.Records, k.Batches, k.Records)
	case len(c.events) > 0:
		return fmt.Errorf("the footer names a transaction of producer %d at offset %d that is not there", c.events[0].ProducerID, c.events[0].Offset)
	case s.Records > 0 && (s.MinTimestamp != k.MinTimestamp || s.MaxTimestamp != k.MaxTimestamp):
		return fmt.Errorf("timestamps from %d to %d, the footer says %d to %d", s.MinTimestamp, s.MaxTimestamp, k.MinTimestamp, k.MaxTimestamp)
	case s.LeaderEpoch != k.LeaderEpoch || s.Plain != k.Plain:
		return fmt.Errorf("leader epoch %d, plain %t, the footer says %d, %t", s.LeaderEpoch, s.Plain, k.LeaderEpoch, k.Plain)
	}
	return nil
}
