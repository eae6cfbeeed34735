package source

import (
	"errors"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// committedReader turns what a broker serves into what a read_committed consumer
// gets of it.
type committedReader struct {
	decoder *batch.Decoder
	to      int64 // the first offset that is not read
	fn      func(*batch.Record) error
}

// take hands on the records of an answer that lie at or behind the offset at,
// and returns the offset to go on with.
func (c *committedReader) take(fp *kafka.FetchedPartition, at int64) (next int64, err error) {
	aborted := newAbortedList(fp.Aborted)
	for rest := fp.Records; ; {
		h, raw, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrCut) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
		if rest = after; h.BaseOffset >= c.to {
			return c.to, nil
		}
		drop, err := aborted.drops(&h, raw)
		if err != nil {
			return at, err
		}
		if h.NextOffset() <= at {
			continue
		}
		if !drop {
			if err := c.decode(raw, at); err != nil {
				return at, err
			}
		}
		at = h.NextOffset()
	}
}

func (c *committedReader) decode(raw []byte, at int64) error {
	return c.decoder.Decode(raw, func(r *batch.Record) error {
		if r.Offset < at || r.Offset >= c.to {
			return nil
		}
		return c.fn(r)
	})
}

// abortedList says which batches of one answer belong to aborted transactions.
type abortedList struct {
	coming []kafka.AbortedTransaction // by first offset
	open   map[int64]bool             // by producer
}

func newAbortedList(list []kafka.AbortedTransaction) *abortedList {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b kafka.AbortedTransaction) int { return int(min(1, max(-1, a.FirstOffset-b.FirstOffset))) })
	return &abortedList{list, make(map[int64]bool)}
}

// drops says whether consumers do not get the records of the next batch, which
// those of a marker are, too.
func (a *abortedList) drops(h *batch.Header, raw []byte) (bool, error) {
	for len(a.coming) > 0 && a.coming[0].FirstOffset < h.NextOffset() {
		a.open[a.coming[0].ProducerID] = true
		a.coming = a.coming[1:]
	}
	if !h.IsControl() {
		return h.IsTransactional() && a.open[h.ProducerID], nil
	}
	m, err := batch.Marker(raw)
	if err == nil && m.Type == batch.Abort {
		delete(a.open, h.ProducerID)
	}
	if errors.Is(err, batch.ErrNoMarker) {
		err = nil
	}
	return true, err
}
