package source

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// nextIn takes the next batch of a block, and tells how the broker served it.
func nextIn(k *segment.Block, b []byte) (h batch.Header, raw, rest []byte, origin batch.Origin, err error) {
	if k.Codec == segment.Reencoded {
		return batch.NextReencoded(b)
	}
	h, raw, rest, err = batch.Next(b)
	return h, raw, rest, h.Origin(), err
}

// bare returns the batches of a decoded block, for whom it does not matter how they were served.
func bare(k *segment.Block, raw []byte) ([]byte, error) {
	if k.Codec == segment.Reencoded {
		return batch.Bare(raw)
	}
	return raw, nil
}

// emitWhole emits a batch as it was served: compressed, if it is stored re-encoded. What the target does not take is
// split. Whether, the size as served decides, too: a merge may have re-encoded it since this restore was killed.
func (c *converter) emitWhole(h *batch.Header, raw []byte, origin batch.Origin) error {
	b := batchAt{raw, h.Count, origin.Codec, h.BaseOffset, h.NextOffset(), true}
	if !c.fits(origin.Size()) && h.Count > 1 {
		c.counts.Rebuilt += int64(h.Count)
		return c.split(b)
	}
	if origin.Codec == h.Codec() {
		return c.send(b, c.from)
	}
	packed, _, err := c.tools.packer.Compress(raw, origin.Codec)
	if err != nil {
		return err
	}
	if !c.fits(len(packed)) && h.Count > 1 {
		c.counts.Rebuilt += int64(h.Count)
		return c.split(b)
	}
	b.raw = slices.Clone(packed)
	return c.send(b, nil)
}

// noteReencoded says which topics are stored otherwise than they were served.
func (p *Plan) noteReencoded() {
	for _, t := range p.Topics {
		if t.Reencoded > 0 {
			p.note("%s: %s of %s are stored re-encoded (merge.recompress): the records and their batches are the same, and are compressed anew by the codecs that they had",
				t.Source.Label(), humanize.IBytes(uint64(t.Reencoded)), humanize.IBytes(uint64(t.Bytes)))
		}
	}
}

// opened returns raw as a re-encoded block has it.
func opened(raw []byte) ([]byte, error) {
	opener, list := batch.Opener{}, []byte(nil)
	for len(raw) > 0 {
		_, one, rest, err := batch.Next(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errOtherBytes, err)
		}
		list, raw = opener.Append(list, one, batch.MaxOpened), rest
	}
	return list, nil
}
