package source

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// A topic takes batches up to a size. One that a restore has created, or found empty, takes all that the source took while
// records come in, whatever its own limit is. One that held records keeps its limit, and a batch that is larger comes
// in smaller ones. How is decided by the limit as of the begin of the restore, so that a restore that
// was killed goes on with the same ones.

// errTooLarge: the target takes no batch of that size.
var errTooLarge = errors.New("too large")

// takesUpTo returns the size in bytes of the largest batch that a topic with these configs takes, 0 if they do not say.
func takesUpTo(configs map[string]string) (most int) {
	for _, name := range []string{"max.message.bytes", "segment.bytes"} {
		if n, err := strconv.Atoi(configs[name]); err == nil && n > 0 && (most == 0 || n < most) {
			most = n
		}
	}
	return most
}

// setFit notes what the target takes, and to what batches are made to fit unless an earlier run has begun with something else.
func (t *TopicPlan) setFit(now map[string]string) {
	configs := map[string]string{"segment.bytes": now["segment.bytes"]}
	for _, c := range safeConfigs() {
		configs[c.Name] = *c.Value
	}
	if t.append {
		configs = now
	}
	t.takes = takesUpTo(configs)
	if t.producer.id < 0 {
		t.fit = t.takes
	}
}

// addOversized counts the batches that will not come back as they were, and refuses the record that cannot come
// back at all, if the footer tells: one that is alone in its block.
func (p *Plan) addOversized(part *part) {
	k, t := part.block, p.Topics[part.track.topic]
	if !t.append || t.fit == 0 || k.Batches != 1 || k.ServedLength() <= int64(t.fit) {
		return
	}
	if k.Records > 1 {
		t.oversizedBatches++
		return
	}
	certain := t.Action == ActionAppend && k.Codec != segment.Reencoded && len(k.Events) == 0 && (t.Until == nil || k.MaxTimestamp <= *t.Until)
	if k.Records == 1 && certain && part.lo <= k.Start && k.Next <= part.hi {
		p.refuse("%s-%d: the record at offset %d has a batch of %d bytes, and topic %s takes %d at most: set its max.message.bytes (and segment.bytes) to %[4]d or more, or use --rename %[7]s=NEW",
			t.Source.Name, part.track.partition, k.Start, k.ServedLength(), t.Target, t.fit, t.called())
	}
}

func (t *TopicPlan) noteOversized(p *Plan) {
	if t.oversizedBatches > 0 && t.Action != ActionNone {
		p.note("%s: at least %s larger than the %d bytes that the topic takes (max.message.bytes): the records come back in smaller ones",
			t.Target, english.Plural(t.oversizedBatches, "batch is", "batches are"), t.fit)
	}
}

// checkSize refuses what the target would refuse. Until then everything before it is sent.
func (t *TopicPlan) checkSize(raw []byte, records int32) error {
	switch size := len(raw); {
	case t.takes == 0 || size <= t.takes:
		return nil
	case records == 1:
		return fmt.Errorf("%w: %d bytes, and topic %s takes %d at most: set its max.message.bytes (and segment.bytes) to %[2]d or more, and run again to go on", errTooLarge, size, t.Target, t.takes)
	case t.fit == 0: // what it took is not known, such as from a version that did not note it
		return fmt.Errorf("%w: a batch of %d bytes, and topic %s takes %d at most, and this restore has begun without making batches fit: set its max.message.bytes (and segment.bytes) to %[2]d or more, and run again to go on", errTooLarge, size, t.Target, t.takes)
	default:
		return fmt.Errorf("%w: a batch of %d bytes, and topic %s takes %d at most, less than when this restore began: set its max.message.bytes (and segment.bytes) to %[2]d or more, and run again to go on", errTooLarge, size, t.Target, t.takes)
	}
}

// fits says whether the target takes a batch of a size.
func (c *converter) fits(size int) bool { return c.fit == 0 || size <= c.fit }

// batchAt is a whole batch with records of the source offsets [lo, hi).
type batchAt struct {
	raw    []byte
	count  int32
	codec  batch.Codec // in which it comes back
	lo, hi int64
	dense  bool // one record for each offset
}

// send emits a batch as it is.
func (c *converter) send(b batchAt, from *buffer) error {
	err := c.emit(b.raw, b.count, from)
	if !errors.Is(err, errTooLarge) {
		return err
	}
	if b.hi-b.lo == 1 {
		return fmt.Errorf("the record at offset %d is %w", b.lo, err)
	}
	return fmt.Errorf("offsets [%d,%d): %w", b.lo, b.hi, err)
}

// split emits the records of a batch in halves, and those that do not fit in halves again. A single record comes alone, if it
// fits or not.
func (c *converter) split(b batchAt) error {
	mid := b.count / 2
	for _, half := range [][2]int32{{0, mid}, {mid, b.count}} {
		one, err := c.cut(b, half[0], half[1])
		if err != nil {
			return err
		}
		if one.count > 1 && !c.fits(len(one.raw)) {
			err = c.split(one)
		} else {
			err = c.send(one, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut builds a batch of some of the records of another one.
func (c *converter) cut(b batchAt, from, to int32) (batchAt, error) {
	builder, err := c.tools.packer.Builder(b.codec)
	if err != nil {
		return batchAt{}, err
	}
	i := int32(0)
	err = c.tools.splitter.Decode(b.raw, func(r *batch.Record) error {
		if i >= from && i < to {
			builder.Append(r.Timestamp, r)
		}
		i++
		return nil
	})
	if err != nil {
		return batchAt{}, corrupt(err)
	}
	raw, h, err := builder.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
	if err != nil {
		return batchAt{}, err
	}
	one := batchAt{slices.Clone(raw), h.Count, b.codec, b.lo, b.hi, b.dense}
	if b.dense {
		one.lo, one.hi = b.lo+int64(from), b.lo+int64(to)
	}
	return one, nil
}
