package sink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

const (
	// markPause is how long transactions are given between two marks.
	markPause = 20 * time.Millisecond
	// markLimit bounds the time for which marks are read until each producer was
	// found at rest or within one transaction.
	markLimit = 5 * time.Second
)

// markReader reads the marks of a recovery point, see ledger.
type markReader struct {
	list           func(context.Context) ([]kafka.Transaction, error)
	describe       func(context.Context, []string) ([]kafka.Transaction, error)
	highWatermarks func(context.Context) (marks, error)
	raises         func(producer int64) bool
	pause          func(context.Context) // between two marks

	// The transactional ids that earlier points found, with their producers: a
	// list leaves out those whose coordinator has just died.
	ids map[string]int64
}

// mark reads marks, again and again until there is one for each transactional
// producer at which none of its transactions was being committed or aborted. A
// transaction that hangs is not. Group offsets have been read before, so that
// the transactions that committed them lie below the marks.
func (m *markReader) mark(ctx context.Context, c *cut) error {
	pending := make(map[string]int64)
	if _, err := m.join(ctx, c, pending); err != nil {
		return err
	}
	for start := time.Now(); ; m.pause(ctx) {
		before, err := m.look(ctx, pending)
		if err != nil {
			return err
		}
		offsets, err := m.highWatermarks(ctx)
		if err != nil {
			return err
		}
		after, err := m.look(ctx, pending)
		if err != nil {
			return err
		}
		c.marks = append(c.marks, offsets)
		m.settle(c, pending, before, after)
		if c.closing = time.Since(start); len(pending) > 0 && c.closing <= markLimit {
			continue
		}
		// Of a producer that is not listed now, all is beyond the last mark. One that
		// has come since the first list may have done anything.
		joined, err := m.join(ctx, c, pending)
		if err != nil || joined == 0 || c.closing > markLimit {
			return err
		}
	}
}

// settle takes those for which the last mark will do from the pending ones.
func (m *markReader) settle(c *cut, pending map[string]int64, before, after map[string]kafka.Transaction) {
	last := len(c.marks) - 1
	for id, producer := range pending {
		was, is := before[id], after[id]
		if was.ID == "" {
			continue // its coordinator is moving
		}
		if was.State.Dead() {
			delete(m.ids, id)
		}
		if was.ProducerID != producer {
			c.stable[producer] = last // its id has another one: it has come to its end
		}
		switch {
		case was.State.Decided():
		case was == is:
			c.stable[was.ProducerID] = last
			delete(pending, id)
		case m.raises(was.ProducerID):
			// It is enough that what was decided before the group offsets were read has
			// got its markers.
			delete(pending, id)
		}
	}
}

// join adds the transactional ids with a producer that the point does not know
// yet to the pending ones, those that are listed and those that earlier points
// found, and says how many there are. Where the principal may not list them there
// are none.
func (m *markReader) join(ctx context.Context, c *cut, pending map[string]int64) (joined int, err error) {
	list, err := m.list(ctx)
	if errors.Is(err, kafka.ErrRetriable) || errors.Is(err, kafka.ErrUnreachable) || ctx.Err() != nil {
		return 0, err
	}
	if c.listed = err == nil; !c.listed {
		return 0, nil
	}
	for _, t := range list {
		m.ids[t.ID] = t.ProducerID
	}
	for id, producer := range m.ids {
		if !c.known[producer] {
			c.known[producer] = true
			pending[id] = producer
			joined++
		}
	}
	return joined, nil
}

// look asks the coordinators of the pending ids.
func (m *markReader) look(ctx context.Context, pending map[string]int64) (map[string]kafka.Transaction, error) {
	if len(pending) == 0 {
		return nil, nil
	}
	list, err := m.describe(ctx, slices.Sorted(maps.Keys(pending)))
	if err != nil {
		return nil, fmt.Errorf("close transactions: %w", err)
	}
	found := make(map[string]kafka.Transaction, len(list))
	for _, t := range list {
		found[t.ID] = t
	}
	return found, nil
}

// mark reads the marks of a recovery point.
func (o *observer) mark(ctx context.Context, c *cut) error {
	m := markReader{
		list: o.ses.Cluster.ListTransactions, raises: o.ses.ledger.raises, ids: o.txnIDs,
		describe: func(ctx context.Context, ids []string) ([]kafka.Transaction, error) {
			list, err := o.ses.Cluster.DescribeTransactions(ctx, ids)
			o.reportHanging(list, time.Now())
			return list, err
		},
		pause:          func(ctx context.Context) { wait(ctx, nil, markPause) },
		highWatermarks: o.highWatermarks,
	}
	return m.mark(ctx, c)
}

// hangingAfter is how long a transaction may be open before it is called
// hanging: producers abort theirs after a minute unless they are told otherwise.
const hangingAfter = time.Minute

// reportHanging says once of each transaction that it hangs. It holds up nothing
// here, but consumers that read committed records, and the compactor.
func (o *observer) reportHanging(list []kafka.Transaction, now time.Time) {
	for _, t := range list {
		age := now.Sub(time.UnixMilli(t.Started))
		if !t.State.Ongoing() || t.Started <= 0 || age < hangingAfter || o.hanging[t.ID] == t.Started {
			continue
		}
		o.hanging[t.ID] = t.Started
		o.ses.Log.Warn("a transaction hangs; its records are left out of recovery points", "transactionalId", t.ID, "producer", t.ProducerID,
			"epoch", t.ProducerEpoch, "age", age.Round(time.Second))
	}
}
