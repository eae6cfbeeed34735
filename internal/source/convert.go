package source

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// What the converter makes is deterministic: a restore that was killed goes on
// only because the same stream gives the same batches again. Whoever changes
// one of these, or the rules below, changes engineVersion too.
const (
	engineVersion = 1
	// rawFrom is the size in bytes from which a clean batch goes out as it is.
	// Smaller ones are joined: a request carries one batch per partition.
	rawFrom = 8 << 10
	// buildTo is the uncompressed size at which a joined batch is closed.
	buildTo = 256 << 10
)

// abortedTxn is a range [first, last) of offsets in which the transactional
// batches of a producer are not to come back: aborted, or still open at the cut.
type abortedTxn struct {
	producer    int64
	first, last int64
}

// txnIndex finds the aborted transactions of one track from the events in the
// footers, which come in offset order.
type txnIndex struct {
	open    map[int64]int64 // producer id -> first offset
	aborted map[int64][]abortedTxn
	// What the point says of producers, by id:
	decided map[int64]bool  // their open transaction is committed
	undone  map[int64]int64 // commit markers from this offset on do not count
}

func newTxnIndex() *txnIndex {
	return &txnIndex{
		open: make(map[int64]int64), aborted: make(map[int64][]abortedTxn), decided: make(map[int64]bool), undone: make(map[int64]int64),
	}
}

// heed takes over what the point says of a transaction.
func (x *txnIndex) heed(t manifest.Transaction) {
	switch t.Kind {
	case manifest.TxnDecided:
		x.decided[t.ProducerID] = true
	case manifest.TxnUndone:
		x.undone[t.ProducerID] = t.Offset
	}
}

func (x *txnIndex) add(e segment.TxnEvent) {
	first, open := x.open[e.ProducerID]
	if from, ok := x.undone[e.ProducerID]; ok && e.Kind == segment.TxnCommit && e.Offset >= from {
		e.Kind = segment.TxnAbort
	}
	switch {
	case e.Kind == segment.TxnData && !open:
		x.open[e.ProducerID] = e.Offset
	case e.Kind == segment.TxnAbort && open:
		x.aborted[e.ProducerID] = append(x.aborted[e.ProducerID], abortedTxn{e.ProducerID, first, e.Offset})
	}
	if e.Kind != segment.TxnData {
		delete(x.open, e.ProducerID)
	}
}

// close declares what is open at the cut aborted, unless it is decided.
func (x *txnIndex) close() (openTxns int) {
	for id, first := range x.open {
		if x.decided[id] {
			continue
		}
		openTxns++
		x.aborted[id] = append(x.aborted[id], abortedTxn{id, first, math.MaxInt64})
	}
	clear(x.open)
	return openTxns
}

// drops says whether the transactional batch of a producer that ends at next
// is part of an aborted transaction.
func (x *txnIndex) drops(producer, next int64) bool {
	list := x.aborted[producer]
	i, _ := slices.BinarySearchFunc(list, next, func(a abortedTxn, next int64) int {
		if a.last < next {
			return -1
		}
		return 1
	})
	return i < len(list) && list[i].first < next
}

// counts is what became of the records of a track.
type counts struct {
	Kept    int64 // produced again
	Later   int64 // beyond the time up to which records come back
	Aborted int64 // of transactions that were aborted, or open at the cut
	Holes   int64 // offsets without a record: compacted, markers, gaps
	Rebuilt int64 // of the kept: not in their original batches
	Bytes   int64 // of the captured batches that were looked at
}

// converter turns the batches of one track, in order, into batches to produce.
type converter struct {
	track   *track
	txns    *txnIndex
	wanted  []int64 // offsets to translate, ascending
	mapped  []int64 // their targets, as far as known, relative to the first target offset
	emit    emit
	from    *buffer // that holds the block at hand
	kept    int64   // = the next relative target offset
	counts  counts
	at      int64  // next source offset
	tools   *tools // of the worker that drives it
	builder *batch.Builder
	codec   batch.Codec
	// Source offsets of the first and the last record of the batch being built.
	first, last int64
	buildTo     int
	fit         int    // size in bytes that batches are made to fit, 0 for any
	until       *int64 // records with a later timestamp are left out; nil for none
	// only, if set, is called with each record, at its source offset and with the
	// timestamp that consumers saw; nothing is built then, nor emitted.
	only func(*batch.Record) error
}

// tools are what a worker lends to its converters: thousands of them could not
// have codecs of their own.
type tools struct {
	decoder  *batch.Decoder
	splitter *batch.Decoder // a batch may have to be split while another one is decoded
	packer   *batch.Packer
}

func newTools() *tools { return &tools{batch.NewDecoder(), batch.NewDecoder(), batch.NewPacker()} }

// emit takes a batch to produce. Header and CRC are not final: the engine puts
// its producer id and sequence in. With from, raw lies in that buffer, and to
// keep it is to use the buffer; without, raw belongs to emit.
type emit func(raw []byte, records int32, from *buffer) error

// newConverters returns a converter for each track of the plan.
func (p *Plan) newConverters(emitter func(*track) emit) map[*track]*converter {
	wanted := p.wanted()
	converters := make(map[*track]*converter, len(p.tracks))
	for _, t := range p.tracks {
		converters[t] = &converter{
			track: t, txns: p.txns[t], wanted: wanted[place{t.topic, t.partition}], emit: emitter(t), at: t.lo, buildTo: p.Topics[t.topic].buildTo, fit: p.Topics[t.topic].fit, until: p.Topics[t.topic].Until,
		}
	}
	return converters
}

// take converts the batches of a block that lie in [lo, hi). from is the buffer
// in which raw lies, or nil if raw is the converter's from now on. What it finds wrong is damage: the block had the right digest, so
// that whoever wrote it was wrong.
func (c *converter) take(raw []byte, from *buffer, k *segment.Block, lo, hi int64) error {
	c.from = from
	if lo < c.at {
		return fmt.Errorf("%w: offset %d comes after %d", segment.ErrCorrupt, lo, c.at)
	}
	c.hole(lo)
	last := int64(-1)
	batches, records := int64(0), int64(0)
	for rest := raw; len(rest) > 0; {
		h, one, after, origin, err := nextIn(k, rest)
		if err != nil {
			return fmt.Errorf("%w: block at byte %d: %w", segment.ErrCorrupt, k.Position, err)
		}
		if h.BaseOffset < last || h.NextOffset() > k.Next || h.NextOffset() <= k.Start {
			return fmt.Errorf("%w: block at byte %d: batch [%d,%d) after offset %d in a block of [%d,%d)",
				segment.ErrCorrupt, k.Position, h.BaseOffset, h.NextOffset(), last, k.Start, k.Next)
		}
		last = h.NextOffset()
		batches++
		if !h.IsControl() {
			records += int64(h.Count)
		}
		if h.NextOffset() > lo && h.BaseOffset < hi {
			if err := c.takeBatch(&h, one[:len(one):len(one)], origin, lo, hi); err != nil {
				return err
			}
		}
		rest = after
	}
	if batches != k.Batches || records != k.Records {
		return fmt.Errorf("%w: block at byte %d: %d batches and %d records instead of %d and %d", segment.ErrCorrupt, k.Position, batches, records, k.Batches, k.Records)
	}
	c.hole(hi)
	return nil
}

// hole moves on to a source offset without a record between.
func (c *converter) hole(to int64) {
	if to > c.at {
		c.counts.Holes += to - c.at
		c.at = to
	}
}

func (c *converter) takeBatch(h *batch.Header, raw []byte, origin batch.Origin, lo, hi int64) error {
	c.counts.Bytes += int64(origin.Size())
	c.hole(min(max(h.BaseOffset, lo), hi))
	whole := h.BaseOffset >= lo && h.NextOffset() <= hi
	end := min(h.NextOffset(), hi)
	switch {
	case h.IsControl() || h.Count == 0:
		c.hole(end)
		return nil
	case h.IsTransactional() && c.txns.drops(h.ProducerID, h.NextOffset()):
		c.counts.Aborted += int64(h.Count)
		c.at = end
		return nil
	case h.IsLogAppendTime() && c.later(h.MaxTimestamp):
		c.counts.Later += int64(h.Count)
		c.at = end
		return nil
	case c.only != nil:
		return c.decode(h, raw, lo, hi, c.only)
	case whole && h.IsDense() && !h.IsLogAppendTime() && origin.Size() >= rawFrom && !c.later(h.MaxTimestamp):
		return c.pass(h, raw, origin)
	}
	return c.rebuild(h, raw, origin.Codec, lo, hi)
}

// later says whether records of a timestamp are left out. Of a batch, only the
// maximum of its timestamps tells something: the other one in its header is that of
// its first record.
func (c *converter) later(timestamp int64) bool { return c.until != nil && timestamp > *c.until }

// pass hands on a clean batch as it is.
func (c *converter) pass(h *batch.Header, raw []byte, origin batch.Origin) error {
	if err := c.flush(); err != nil {
		return err
	}
	for len(c.mapped) < len(c.wanted) && c.wanted[len(c.mapped)] < h.NextOffset() {
		w := c.wanted[len(c.mapped)]
		c.mapped = append(c.mapped, c.kept+max(0, w-h.BaseOffset))
	}
	c.kept += int64(h.Count)
	c.counts.Kept += int64(h.Count)
	c.at = h.NextOffset()
	return c.emitWhole(h, raw, origin)
}

// rebuild takes a batch apart and adds its records to the batch being built,
// with the timestamps that consumers saw.
func (c *converter) rebuild(h *batch.Header, raw []byte, codec batch.Codec, lo, hi int64) error {
	if c.builder != nil && c.codec != codec {
		if err := c.flush(); err != nil {
			return err
		}
		c.builder = nil
	}
	if c.builder == nil {
		b, err := c.tools.packer.Builder(codec)
		if err != nil {
			return err
		}
		c.builder, c.codec = b, codec
	}
	return c.decode(h, raw, lo, hi, func(r *batch.Record) error {
		c.counts.Rebuilt++
		if c.builder.Len() > 0 && !c.fits(c.builder.Size()+len(r.Body())+batch.MaxRecordOverhead) {
			if err := c.flush(); err != nil {
				return err
			}
		}
		if c.builder.Len() == 0 {
			c.first = r.Offset
		}
		c.last = r.Offset
		c.builder.Append(r.Timestamp, r)
		if c.builder.Size() >= c.buildTo {
			return c.flush()
		}
		return nil
	})
}

// decode hands on the records of a batch that come back, and maps the offsets.
func (c *converter) decode(h *batch.Header, raw []byte, lo, hi int64, fn func(*batch.Record) error) error {
	err := c.tools.decoder.Decode(raw, func(r *batch.Record) error {
		if r.Offset < lo || r.Offset >= hi {
			return nil
		}
		if c.later(r.Timestamp) {
			c.hole(r.Offset)
			c.at = r.Offset + 1
			c.counts.Later++
			return nil
		}
		for len(c.mapped) < len(c.wanted) && c.wanted[len(c.mapped)] <= r.Offset {
			c.mapped = append(c.mapped, c.kept)
		}
		c.hole(r.Offset)
		c.at = r.Offset + 1
		c.kept++
		c.counts.Kept++
		return fn(r)
	})
	if err != nil {
		return corrupt(err)
	}
	c.hole(min(h.NextOffset(), hi))
	return nil
}

// corrupt makes damage of the error of a batch that cannot be decoded, and returns any other as it is.
func corrupt(err error) error {
	var bad *batch.CorruptError
	if errors.As(err, &bad) {
		return fmt.Errorf("%w: %w", segment.ErrCorrupt, err)
	}
	return err
}

// flush closes the batch that is being built.
func (c *converter) flush() error {
	if c.builder == nil || c.builder.Len() == 0 {
		return nil
	}
	raw, h, err := c.builder.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
	if err != nil {
		return err
	}
	b := batchAt{slices.Clone(raw), h.Count, c.codec, c.first, c.last + 1, false}
	if h.Count > 1 && !c.fits(len(b.raw)) { // what cannot be compressed becomes larger by it
		return c.split(b)
	}
	return c.send(b, nil)
}

// finish ends the track: offsets at or beyond its last record map to its end.
func (c *converter) finish() error {
	if err := c.flush(); err != nil {
		return err
	}
	c.hole(c.track.hi)
	for len(c.mapped) < len(c.wanted) {
		c.mapped = append(c.mapped, c.kept)
	}
	return nil
}
