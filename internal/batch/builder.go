package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MaxRecordOverhead is the most that Append adds to a record's Body in the uncompressed batch: length, attributes,
// timestamp delta and offset delta.
const MaxRecordOverhead = maxVarint32 + 1 + binary.MaxVarintLen64 + maxVarint32

// ErrEmpty is returned by Finish when nothing has been appended: a broker takes no batch without records.
var ErrEmpty = errors.New("batch: no records to build from")

// Packer holds the compressors of any number of Builders, which then cost no more than the records they hold. It is for
// one goroutine at a time, and so are all of its Builders together.
type Packer struct {
	deflaters [Zstd + 1]*deflater
}

// NewPacker returns a Packer. Codecs get their memory when the first Builder needs them.
func NewPacker() *Packer { return new(Packer) }

// Builder returns a Builder whose batches are compressed with c, at the codec's default level; zstd at its fastest.
func (p *Packer) Builder(c Codec) (*Builder, error) {
	if c > Zstd {
		return nil, fmt.Errorf("batch: unknown codec %d", c)
	}
	if p.deflaters[c] == nil {
		d, err := newDeflater(c)
		if err != nil {
			return nil, err
		}
		p.deflaters[c] = &d
	}
	return &Builder{deflater: p.deflaters[c], plain: make([]byte, HeaderSize), max: noTimestamp}, nil
}

// Builder makes dense batches out of records, one batch after another. It is for one goroutine at a time. It holds the
// uncompressed batch; when to finish is up to the caller, who knows the target's limits.
type Builder struct {
	deflater *deflater
	plain    []byte // room for a header, then the encoded records
	count    int
	base     int64 // timestamp of the first record
	max      int64
}

// NewBuilder returns a Builder with a Packer of its own.
func NewBuilder(c Codec) (*Builder, error) { return NewPacker().Builder(c) }

// Append adds r as the next record, with the given timestamp in ms. Key, value, headers and attributes are copied
// verbatim; r.Offset and r.Timestamp are ignored.
func (b *Builder) Append(timestamp int64, r *Record) {
	if b.count == 0 {
		b.base, b.max = timestamp, noTimestamp
	}
	b.max = max(b.max, timestamp)
	delta, offset := timestamp-b.base, int64(b.count)
	size := 1 + varintLen(delta) + varintLen(offset) + len(r.body)
	p := binary.AppendVarint(b.plain, int64(size))
	p = append(p, byte(r.Attributes))
	p = binary.AppendVarint(p, delta)
	p = binary.AppendVarint(p, offset)
	b.plain = append(p, r.body...)
	b.count++
}

// Len returns the number of records appended since the last Finish.
func (b *Builder) Len() int { return b.count }

// Size returns the exact size of the uncompressed batch so far, header included. Compression may, if the data is
// random, make the batch a little larger than that.
func (b *Builder) Size() int { return len(b.plain) }

// Finish returns the records appended so far as one batch that is ready to be produced with id: create time, base
// offset 0, no leader epoch, offset deltas 0 to n-1, valid maximum timestamp and checksum. raw belongs to the Builder
// and is valid until its next Append or the next Finish of any Builder of the same Packer. After Finish, with or without an error, the Builder is empty.
func (b *Builder) Finish(id ProducerIdentity) (raw []byte, h Header, err error) {
	if b.count == 0 {
		return nil, Header{}, ErrEmpty
	}
	raw, err = b.pack()
	count := b.count
	b.plain, b.count = b.plain[:HeaderSize], 0
	if err != nil {
		return nil, Header{}, fmt.Errorf("build batch of %d records: %w", count, err)
	}
	h = Header{
		Length:          int32(len(raw) - lengthBase),
		LeaderEpoch:     noLeaderEpoch,
		Magic:           magicV2,
		Attributes:      int16(b.deflater.codec),
		LastOffsetDelta: int32(count - 1),
		BaseTimestamp:   b.base,
		MaxTimestamp:    b.max,
		ProducerID:      id.ID,
		ProducerEpoch:   id.Epoch,
		BaseSequence:    id.Sequence,
		Count:           int32(count),
	}
	h.put(raw)
	return raw, h, nil
}

// pack returns the batch with its header still to be written. Both forms have to fit the length field: the plain one
// because it bounds the count too.
func (b *Builder) pack() (raw []byte, err error) {
	raw = b.plain
	if b.deflater.codec != None {
		raw, err = b.deflater.appendTo(append(b.deflater.packed[:0], b.plain[:HeaderSize]...), b.plain[HeaderSize:])
		if err != nil {
			return nil, fmt.Errorf("compress with %s: %w", b.deflater.codec, err)
		}
		b.deflater.packed = raw
	}
	if max(len(raw), len(b.plain)) > math.MaxInt32 {
		return nil, ErrTooLarge
	}
	return raw, nil
}

// varintLen returns the length of v as a zigzag varint.
func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
