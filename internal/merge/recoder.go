package merge

import (
	"log/slog"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// recoder re-encodes blocks: the records of their batches are stored uncompressed, in
// blocks of zstd. What it makes has been proven to have the same records.
type recoder struct {
	enc    *segment.Encoder
	dec    *segment.Decoder
	open   func(dst, raw []byte, most int) []byte // as batch.Opener does
	prover batch.Prover
	log    *slog.Logger
	result *Result
	room   []byte
	back   []byte
}

const (
	// worthFrom is the size in bytes, uncompressed, from which blocks are re-encoded.
	worthFrom = 512
	// worthwhile is how large a re-encoded block may be, in percent of what it replaces.
	worthwhile = 96
)

func newRecoder(log *slog.Logger, r *Result) (*recoder, error) {
	enc, err := segment.NewEncoder(segment.ReencodeLevel)
	if err != nil {
		return nil, err
	}
	dec, err := segment.NewDecoder()
	return &recoder{enc: enc, dec: dec, open: new(batch.Opener).Append, log: log, result: r}, err
}

// opened returns the batches of a block re-encoded, valid until the next call, or nil
// if that changes nothing, or cannot be done.
func (c *recoder) opened(raw []byte) []byte {
	c.room = c.room[:0]
	changed := false
	for len(raw) > 0 {
		h, one, rest, err := batch.Next(raw)
		if err != nil {
			return nil
		}
		at := len(c.room)
		c.room = c.open(c.room, one, batch.MaxOpened-at-len(raw))
		changed = changed || batch.Codec(c.room[at]) != batch.None && h.Count > 0
		raw = rest
	}
	if !changed || len(c.room) < worthFrom || len(c.room) > batch.MaxOpened {
		return nil
	}
	return c.room
}

// encode makes a re-encoded block of what waits. It is not ok where that is not
// worth it, or cannot be proven to be the same.
func (c *recoder) encode(j *joiner) (k segment.Block, stored []byte, ok bool) {
	k = segment.Block{Summary: j.sum, Served: int64(len(j.raw))}
	stored, err := c.enc.Encode(&k, j.opened, true)
	if err == nil && int64(len(stored))*100 > j.size*worthwhile {
		return k, nil, false
	}
	if err == nil {
		err = c.prove(&k, stored, j.raw)
	}
	if err != nil {
		c.log.Error("a block is left as it was: that re-encoding it changes nothing could not be proven", "start", k.Start, "next", k.Next, "error", err)
		c.result.Unproven++
		return k, nil, false
	}
	c.result.Reencoded += j.size
	return k, stored, true
}

// prove reads back what is going to be stored, and compares it with the batches that
// it is to replace.
func (c *recoder) prove(k *segment.Block, stored, raw []byte) (err error) {
	if c.back, err = c.dec.Decode(k, stored, c.back); err != nil {
		return err
	}
	return c.prover.Prove(c.back, raw)
}
