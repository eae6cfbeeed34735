package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// HeaderSize is the length in bytes of a batch header, which is also the size of the smallest batch.
const HeaderSize = 61

// Byte positions of the header fields. The CRC32C at posCRC covers everything from posAttributes to the end.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// lengthBase is how many bytes come before those that the length field counts.
const lengthBase = posLeaderEpoch

// Bits of the attributes.
const (
	codecMask         = 0x07
	flagLogAppendTime = 0x08
	flagTransactional = 0x10
	flagControl       = 0x20
	flagDeleteHorizon = 0x40
)

// Values of other fields.
const (
	magicV2       = 2
	noLeaderEpoch = -1
	noTimestamp   = -1
)

// Codec is the compression of a batch's payload, with the values that Kafka gives it in the attributes.
type Codec uint8

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String returns the name that Kafka's compression.type uses.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// Header is the header of a batch, field by field as it lies in the bytes.
type Header struct {
	BaseOffset      int64 // offset of the first record the batch was written with; not covered by the CRC
	Length          int32 // bytes after this field
	LeaderEpoch     int32 // epoch of the leader that appended the batch; not covered by the CRC
	Magic           int8  // always 2
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32 // last offset minus BaseOffset, kept when compaction removes records
	BaseTimestamp   int64 // what record timestamps are relative to: ms, or the delete horizon if HasDeleteHorizon
	MaxTimestamp    int64 // ms; the append time of every record if IsLogAppendTime
	ProducerID      int64 // -1 without idempotence
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32 // records present
}

// Size returns the length of the whole batch in bytes.
func (h *Header) Size() int { return lengthBase + int(h.Length) }

// NextOffset returns the offset after the batch, whether or not its last records are still present.
func (h *Header) NextOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) + 1 }

// Codec returns the compression of the payload.
func (h *Header) Codec() Codec { return Codec(h.Attributes & codecMask) }

// IsLogAppendTime says that every record's timestamp is MaxTimestamp, whatever the record itself holds.
func (h *Header) IsLogAppendTime() bool { return h.Attributes&flagLogAppendTime != 0 }

// IsTransactional says that the batch, data or marker, belongs to a transaction.
func (h *Header) IsTransactional() bool { return h.Attributes&flagTransactional != 0 }

// IsControl says that the batch holds a marker (see Marker) and no data.
func (h *Header) IsControl() bool { return h.Attributes&flagControl != 0 }

// HasDeleteHorizon says that BaseTimestamp is the time at which the cleaner may drop the batch's tombstones.
func (h *Header) HasDeleteHorizon() bool { return h.Attributes&flagDeleteHorizon != 0 }

// IsDense says that there is a record for every offset of the batch. Offsets within a batch are distinct, so the
// count is enough to know.
func (h *Header) IsDense() bool { return int64(h.Count) == int64(h.LastOffsetDelta)+1 }

// ParseHeader reads the header at the start of b and checks every field that has bounds of its own; it neither needs
// nor checks the payload. It returns ErrCut if b is shorter than a header, a *MagicError for formats 0 and 1, and a
// *CorruptError for anything else.
func ParseHeader(b []byte) (Header, error) {
	if err := checkMagic(b); err != nil {
		return Header{}, err
	}
	if len(b) < HeaderSize {
		return Header{}, ErrCut
	}
	be := binary.BigEndian
	h := Header{
		BaseOffset:      int64(be.Uint64(b[posBaseOffset:])),
		Length:          int32(be.Uint32(b[posLength:])),
		LeaderEpoch:     int32(be.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             be.Uint32(b[posCRC:]),
		Attributes:      int16(be.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[posLastOffsetDelta:])),
		BaseTimestamp:   int64(be.Uint64(b[posBaseTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[posMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[posProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[posProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[posBaseSequence:])),
		Count:           int32(be.Uint32(b[posCount:])),
	}
	return h, h.check()
}

// checkMagic looks at the format of the batch at the start of b. The magic lies at the same position in all formats,
// and it alone decides what the other bytes mean.
func checkMagic(b []byte) error {
	if len(b) <= posMagic {
		return ErrCut
	}
	offset := int64(binary.BigEndian.Uint64(b[posBaseOffset:]))
	switch magic := int8(b[posMagic]); magic {
	case magicV2:
		return nil
	case 0, 1:
		return &MagicError{Offset: offset, Magic: magic}
	default:
		return &CorruptError{Offset: offset, Reason: fmt.Sprintf("unknown magic %d", magic)}
	}
}

// put writes h over the header of raw, the checksum last, and sets h.CRC.
func (h *Header) put(raw []byte) {
	be := binary.BigEndian
	be.PutUint64(raw[posBaseOffset:], uint64(h.BaseOffset))
	be.PutUint32(raw[posLength:], uint32(h.Length))
	be.PutUint32(raw[posLeaderEpoch:], uint32(h.LeaderEpoch))
	raw[posMagic] = byte(h.Magic)
	be.PutUint16(raw[posAttributes:], uint16(h.Attributes))
	be.PutUint32(raw[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	be.PutUint64(raw[posBaseTimestamp:], uint64(h.BaseTimestamp))
	be.PutUint64(raw[posMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(raw[posProducerID:], uint64(h.ProducerID))
	be.PutUint16(raw[posProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(raw[posBaseSequence:], uint32(h.BaseSequence))
	be.PutUint32(raw[posCount:], uint32(h.Count))
	h.CRC = checksum(raw)
	be.PutUint32(raw[posCRC:], h.CRC)
}

func (h *Header) check() error {
	switch {
	case h.BaseOffset < 0:
		return h.corrupt("negative base offset")
	case h.Length < HeaderSize-lengthBase || h.Length > math.MaxInt32-lengthBase:
		return h.corrupt("length %d out of bounds", h.Length)
	case h.LastOffsetDelta < 0:
		return h.corrupt("last offset delta %d is negative", h.LastOffsetDelta)
	case h.NextOffset() < 0:
		return h.corrupt("last offset delta %d overflows the offset", h.LastOffsetDelta)
	case h.Count < 0 || int64(h.Count) > int64(h.LastOffsetDelta)+1:
		return h.corrupt("%d records for last offset delta %d", h.Count, h.LastOffsetDelta)
	case h.Codec() > Zstd:
		return h.corrupt("unknown codec %d", uint8(h.Codec()))
	}
	return nil
}

func (h *Header) corrupt(format string, args ...any) error {
	return &CorruptError{Offset: h.BaseOffset, Reason: fmt.Sprintf(format, args...)}
}
