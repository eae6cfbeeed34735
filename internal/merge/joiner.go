package merge

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// joiner makes larger blocks of small ones of one stream, so that footers stay
// small and zstd finds more that is alike.
type joiner struct {
	enc     *segment.Encoder
	dec     *segment.Decoder
	recoder *recoder // nil without Config.Recompress
	write   func(segment.Block, []byte) error

	// What waits:
	parts  int
	block  segment.Block // of one part alone, as it is
	stored []byte        // likewise
	sum    segment.Summary
	raw    []byte
	opened []byte // raw re-encoded, if that is wanted
	packed int    // bytes of raw that zstd had packed
	size   int64  // stored bytes of all parts
	served int64  // of parts that are re-encoded already: see segment.Block
	room   []byte
}

func newJoiner() (*joiner, error) {
	enc, err := segment.NewEncoder(zstd.SpeedDefault)
	if err != nil {
		return nil, err
	}
	dec, err := segment.NewDecoder()
	return &joiner{enc: enc, dec: dec}, err
}

// add takes the next block of the stream. What it keeps of stored does not change.
func (j *joiner) add(k segment.Block, stored []byte) error {
	recode := j.recoder != nil && k.Codec != segment.Reencoded && k.RawLength <= batch.MaxOpened
	if k.RawLength >= joinFrom && !recode || k.Key != nil { // what is sealed is copied as it is: nobody may be able to open it
		return j.pass(k, stored)
	}
	raw, err := j.dec.Decode(&k, stored, j.room)
	if err != nil {
		return err
	}
	if k.Codec != segment.Stored {
		j.room = raw[:0]
	}
	var opened []byte
	if recode {
		opened = j.recoder.opened(raw)
	}
	if k.RawLength >= joinFrom && opened == nil {
		return j.pass(k, stored)
	}
	if j.parts > 0 && !j.takes(&k, raw, opened) {
		if err := j.flush(); err != nil {
			return err
		}
	}
	j.take(k, stored, raw, opened)
	return nil
}

// pass writes a block as it is.
func (j *joiner) pass(k segment.Block, stored []byte) error {
	if err := j.flush(); err != nil {
		return err
	}
	return j.write(k, stored)
}

// takes says whether a block can be joined with what waits.
func (j *joiner) takes(k *segment.Block, raw, opened []byte) bool {
	return j.sum.Next == k.Start && !beginsBefore(k, raw) &&
		(len(j.opened) > 0) == (opened != nil) && (j.served > 0) == (k.Served > 0) &&
		max(len(j.raw)+len(raw), len(j.opened)+len(opened)) <= joinTo
}

// take makes a block wait.
func (j *joiner) take(k segment.Block, stored, raw, opened []byte) {
	if j.parts++; j.parts == 1 {
		j.block, j.stored, j.sum = k, stored, k.Summary
		j.raw, j.opened, j.packed, j.size, j.served = j.raw[:0], j.opened[:0], 0, 0, 0
		j.sum.Events = slices.Clone(k.Events)
	} else {
		j.sum.Join(k.Summary)
	}
	j.raw = append(j.raw, raw...)
	j.opened = append(j.opened, opened...)
	if k.Codec != segment.Stored {
		j.packed += len(raw)
	}
	j.size += k.StoredLength
	j.served += k.Served
}

// beginsBefore says whether the first batch of a block has records below its
// start, which a reader leaves out at the beginning of a block only.
func beginsBefore(k *segment.Block, raw []byte) bool {
	if k.Codec == segment.Reencoded {
		h, _, _, _, err := batch.NextReencoded(raw)
		return err != nil || h.BaseOffset < k.Start
	}
	return len(raw) < 8 || int64(binary.BigEndian.Uint64(raw)) < k.Start
}

// flush writes what waits. Blocks that zstd had not packed are not packed now:
// their producers did, or it did not pay.
func (j *joiner) flush() error {
	parts := j.parts
	if j.parts = 0; parts == 0 {
		return nil
	}
	if len(j.opened) > 0 {
		if k, stored, ok := j.recoder.encode(j); ok {
			return j.write(k, stored)
		}
	}
	if parts == 1 {
		return j.write(j.block, j.stored)
	}
	k := segment.Block{Summary: j.sum, Served: j.served}
	stored, err := j.enc.Encode(&k, j.raw, 2*j.packed >= len(j.raw))
	if err != nil {
		return err
	}
	return j.write(k, stored)
}
