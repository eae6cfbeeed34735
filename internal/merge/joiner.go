package merge

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// joiner makes larger blocks of small ones of one stream, so that footers stay
// small and zstd finds more that is alike.
type joiner struct {
	enc   *segment.Encoder
	dec   *segment.Decoder
	write func(segment.Block, []byte) error

	// What waits:
	parts  int
	block  segment.Block // of one part alone, as it is
	stored []byte        // likewise
	sum    segment.Summary
	raw    []byte
	packed int // bytes of raw that zstd had packed
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
	if k.RawLength >= joinFrom || k.Key != nil { // what is sealed is copied as it is: nobody may be able to open it
		if err := j.flush(); err != nil {
			return err
		}
		return j.write(k, stored)
	}
	raw, err := j.dec.Decode(&k, stored, j.room)
	if err != nil {
		return err
	}
	if k.Codec != segment.Stored {
		j.room = raw[:0]
	}
	if j.parts > 0 && (j.sum.Next != k.Start || beginsBefore(raw, k.Start) || len(j.raw)+len(raw) > joinTo) {
		if err := j.flush(); err != nil {
			return err
		}
	}
	if j.parts++; j.parts == 1 {
		j.block, j.stored, j.sum, j.raw, j.packed = k, stored, k.Summary, j.raw[:0], 0
		j.sum.Events = slices.Clone(k.Events)
	} else {
		j.sum.Join(k.Summary)
	}
	j.raw = append(j.raw, raw...)
	if k.Codec != segment.Stored {
		j.packed += len(raw)
	}
	return nil
}

// beginsBefore says whether the first batch of a block has records below its
// start, which a reader leaves out at the beginning of a block only.
func beginsBefore(raw []byte, start int64) bool {
	return len(raw) < 8 || int64(binary.BigEndian.Uint64(raw)) < start
}

// flush writes what waits. Blocks that zstd had not packed are not packed now:
// their producers did, or it did not pay.
func (j *joiner) flush() error {
	parts := j.parts
	j.parts = 0
	switch parts {
	case 0:
		return nil
	case 1:
		return j.write(j.block, j.stored)
	}
	k := segment.Block{Summary: j.sum}
	stored, err := j.enc.Encode(&k, j.raw, 2*j.packed >= len(j.raw))
	if err != nil {
		return err
	}
	return j.write(k, stored)
}
