package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/wire"
)

const (
	entryMagic  = "OFSLOG\x00\x01"
	entryHeader = 100
	// maxEntry bounds a stored entry.
	maxEntry = entryHeader + maxBody + crypt.EntryOverhead + sha256.Size + crypt.SignatureSize
)

// The sections of an entry's body.
const (
	secAgent        = 1
	secTopics       = 2
	secStreams      = 3
	secSegments     = 4
	secRanges       = 5
	secLogStarts    = 6
	secGroups       = 7
	secPoint        = 8
	secTransactions = 9
	// secIgnorable: unknown sections from here on may be skipped.
	secIgnorable = 128
)

// The flags of an entry. Its generation is in the bits from generationShift on.
const (
	flagZstd        = 1
	flagSealed      = 2
	flagSigned      = 4
	generationShift = 16
)

// encode returns the object bytes of the entry. The zstd encoder's output is
// read back by Log.seal through decodeEntry.
func (e *Entry) encode(p *packer, seal *entrySeal, sign *crypt.SigningKey, repository ID) ([]byte, error) {
	body := e.appendBody(nil)
	if len(body) > maxBody {
		return nil, fmt.Errorf("a log entry of %d bytes is above the limit of %d", len(body), maxBody)
	}
	b := append(make([]byte, 0, entryHeader), entryMagic...)
	b = binary.BigEndian.AppendUint64(b, e.Sequence)
	b = append(b, e.Previous[:]...)
	b = append(b, e.Nonce[:]...)
	b = append(b, e.Writer[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	if sign == nil {
		return p.frame(b, body, 0, seal)
	}
	b, err := p.frame(b, body, flagSigned, seal)
	if err != nil {
		return nil, err
	}
	signature := sign.Sign(repository, Digest(b[len(b)-sha256.Size:]))
	return append(b, signature[:]...), nil
}

// frame appends the body, sealed if there is a seal, to the first 88 bytes of a log
// entry or a snapshot, and the digest.
func (p *packer) frame(b, body []byte, flags uint32, seal *entrySeal) ([]byte, error) {
	stored, packed, err := p.pack(body)
	if err != nil {
		return nil, err
	}
	flags |= packed
	length := len(stored)
	if seal != nil {
		flags |= flagSealed | uint32(seal.generation)<<generationShift
		length += crypt.EntryOverhead
	}
	b = slices.Grow(b, 12+length+sha256.Size)
	b = binary.BigEndian.AppendUint32(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	if seal != nil {
		b = seal.key.AppendEntry(b, binary.BigEndian.Uint64(b[8:]), seal.keys, stored)
	} else {
		b = append(b, stored...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// packer compresses bodies. It keeps its encoder, whose tables are larger than
// most entries, and is not safe for concurrent use.
type packer struct{ enc *zstd.Encoder }

// pack compresses a body where that pays.
func (p *packer) pack(body []byte) (stored []byte, flags uint32, err error) {
	if len(body) < 512 {
		return body, 0, nil
	}
	if p.enc == nil {
		p.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, 0, fmt.Errorf("make zstd encoder: %w", err)
		}
	}
	if packed := p.enc.EncodeAll(body, nil); len(packed) < len(body) {
		return packed, flagZstd, nil
	}
	return body, 0, nil
}

func (e *Entry) appendBody(b []byte) []byte {
	if e.Keys == nil { // which say it sealed
		b = section(b, secAgent, e.Agent.append())
	}
	b = section(b, secTopics, e.appendTopics())
	b = section(b, secStreams, e.appendStreams())
	b = section(b, secSegments, e.appendSegments())
	b = section(b, secRanges, e.appendRanges())
	b = section(b, secLogStarts, e.appendLogStarts())
	b = section(b, secGroups, e.appendGroups())
	b = section(b, secPoint, e.appendPoint())
	b = section(b, secTransactions, e.appendTransactions())
	b = section(b, secPoints, e.appendPointChanges())
	b = section(b, secMetadata, e.appendMetadata())
	b = section(b, secRemovals, e.Removed.append())
	b = section(b, secMoves, e.appendMoves())
	b = section(b, secFences, e.appendFences())
	b = section(b, secDeletions, e.Deleted.append())
	b = section(b, secKeys, e.appendKeys())
	b = section(b, secLosses, e.Losses.append())
	b = section(b, secClosing, e.appendClosing())
	b = section(b, secSnapshot, e.Snapshot.append())
	b = section(b, secNote, e.appendNote())
	b = section(b, secVerification, e.Verification.append())
	return section(b, secPromotion, e.appendPromotion())
}

// section appends one section, or nothing if it is empty.
func section(b []byte, kind byte, payload []byte) []byte {
	if payload == nil {
		return b
	}
	b = append(b, kind)
	b = wire.AppendUvarint(b, uint64(len(payload)))
	return append(b, payload...)
}

func (a *Agent) append() (b []byte) {
	if a == nil {
		return nil
	}
	b = wire.AppendString(nil, a.Program)
	b = wire.AppendString(b, a.Host)
	return wire.AppendString(b, a.Principal)
}

func (e *Entry) appendTopics() (b []byte) {
	if len(e.Topics) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Topics)))
	for i := range e.Topics {
		t := &e.Topics[i]
		b = wire.AppendUvarint(b, uint64(t.Number))
		b = appendFlag(b, t.Gone)
		b = append(b, t.ID[:]...)
		b = wire.AppendString(b, t.Name)
		b = wire.AppendUvarint(b, uint64(t.Partitions))
		b = wire.AppendUvarint(b, uint64(t.ReplicationFactor))
		b = wire.AppendUvarint(b, uint64(len(t.Configs)))
		for _, c := range t.Configs {
			b = wire.AppendString(b, c.Name)
			b = wire.AppendOptional(b, c.Value)
		}
	}
	return b
}

func appendFlag(b []byte, set bool) []byte {
	if set {
		return append(b, 1)
	}
	return append(b, 0)
}

func (e *Entry) appendStreams() (b []byte) {
	if len(e.Streams) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Streams)))
	for _, s := range e.Streams {
		b = wire.AppendUvarint(b, uint64(s.Topic))
		b = wire.AppendUvarint(b, uint64(s.Partition))
		b = wire.AppendUvarint(b, uint64(s.Parent+1))
		b = wire.AppendUvarint(b, uint64(s.First))
	}
	return b
}

func (e *Entry) appendSegments() (b []byte) {
	if len(e.Segments) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Segments)))
	for i := range e.Segments {
		s := &e.Segments[i]
		b = wire.AppendUvarint(b, s.Counter)
		b = wire.AppendUvarint(b, uint64(s.Size))
		b = wire.AppendUvarint(b, uint64(s.FooterLength))
		b = append(b, s.FooterDigest[:]...)
	}
	return b
}

func (e *Entry) appendRanges() (b []byte) {
	if len(e.Ranges) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Ranges)))
	after := -1
	for i := range e.Ranges {
		r := &e.Ranges[i]
		simple := len(r.Spans) == 1 && !r.Spans[0].Gap && r.Spans[0].Segment == 0
		head := uint64(r.Stream-after-1) << 2
		if r.EpochGiven {
			head |= 1
		}
		if !simple {
			head |= 2
		}
		b = wire.AppendUvarint(b, head)
		if r.EpochGiven {
			b = wire.AppendVarint(b, int64(r.LeaderEpoch))
		}
		if !simple {
			b = wire.AppendUvarint(b, uint64(len(r.Spans)))
		}
		for _, s := range r.Spans {
			b = e.appendSpan(b, s, simple)
		}
		after = r.Stream
	}
	return b
}

func (e *Entry) appendSpan(b []byte, s Span, simple bool) []byte {
	if s.Gap {
		b = wire.AppendUvarint(b, uint64(s.Reason)<<1|1)
		return wire.AppendUvarint(b, uint64(s.Offsets))
	}
	if !simple {
		b = wire.AppendUvarint(b, uint64(s.Segment)<<1)
	}
	b = wire.AppendUvarint(b, uint64(s.Offsets))
	// Zigzag, since a batch that begins before the span may hold more records
	// than the span has offsets.
	b = wire.AppendVarint(b, s.Offsets-s.Records)
	if s.Records > 0 {
		b = wire.AppendVarint(b, s.MaxTimestamp-e.Time)
		b = wire.AppendUvarint(b, uint64(s.MaxTimestamp)-uint64(s.MinTimestamp))
	}
	return b
}

func (e *Entry) appendLogStarts() (b []byte) {
	if len(e.LogStarts) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.LogStarts)))
	after := -1
	for _, l := range e.LogStarts {
		b = wire.AppendUvarint(b, uint64(l.Stream-after-1))
		b = wire.AppendUvarint(b, uint64(l.Offset))
		after = l.Stream
	}
	return b
}

func (e *Entry) appendGroups() (b []byte) {
	if len(e.Groups) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Groups)))
	for i := range e.Groups {
		g := &e.Groups[i]
		b = wire.AppendString(b, g.ID)
		b = appendFlag(b, g.Gone)
		if g.Gone {
			continue
		}
		b = wire.AppendString(b, g.Type)
		b = wire.AppendString(b, g.ProtocolType)
		b = wire.AppendUvarint(b, uint64(len(g.Offsets)))
		for _, o := range g.Offsets {
			b = appendOffset(b, o)
		}
	}
	return b
}

func appendOffset(b []byte, o OffsetChange) []byte {
	b = wire.AppendString(b, o.Topic)
	b = wire.AppendUvarint(b, uint64(o.Partition))
	if !o.Committed {
		return wire.AppendUvarint(b, 0)
	}
	b = wire.AppendUvarint(b, uint64(o.Offset)+1)
	b = wire.AppendVarint(b, int64(o.Epoch))
	return wire.AppendString(b, o.Metadata)
}

func (e *Entry) appendPoint() (b []byte) {
	if e.Point == nil {
		return nil
	}
	b = wire.AppendString(b, e.Point.Name)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Point.Time))
	b = wire.AppendUvarint(b, uint64(len(e.Point.Exceptions)))
	after := -1
	for _, x := range e.Point.Exceptions {
		b = wire.AppendUvarint(b, uint64(x.Stream-after-1))
		b = wire.AppendUvarint(b, uint64(x.Behind))
		after = x.Stream
	}
	return b
}
