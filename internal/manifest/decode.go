package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// decodeEntry decodes an entry's object. It checks what can be checked without
// the state; State.Apply checks the rest. unseal opens a body that is sealed, and
// is nil where none may be.
func decodeEntry(b []byte, unseal func(*envelope) ([]byte, error)) (*Entry, *envelope, error) {
	env, err := openEnvelope(b)
	if err != nil {
		return nil, nil, err
	}
	body, err := env.unpack(unseal)
	if err != nil {
		return nil, nil, err
	}
	e := env.entry
	return &e, env, e.parseBody(body)
}

// envelope is what an entry's object says without its body being opened.
type envelope struct {
	entry      Entry // what is in the header
	header     []byte
	flags      uint32
	raw        uint32
	stored     []byte
	digest     Digest // at its end
	signature  []byte // nil if there is none
	generation int    // of the keys, if it is sealed
}

func (env *envelope) sealed() bool { return env.flags&flagSealed != 0 }

func openEnvelope(b []byte) (*envelope, error) {
	if len(b) < entryHeader+sha256.Size {
		return nil, fmt.Errorf("cut short at %d bytes", len(b))
	}
	if string(b[:6]) == entryMagic[:6] && string(b[6:8]) != entryMagic[6:] && intact(b) {
		return nil, fmt.Errorf("%w: log entry of version %d", ErrVersion, binary.BigEndian.Uint16(b[6:]))
	}
	if string(b[:8]) != entryMagic {
		return nil, errors.New("bad magic")
	}
	return readFrame(b)
}

// readFrame reads what a log entry and a snapshot have in common.
func readFrame(b []byte) (*envelope, error) {
	env := &envelope{header: b[:entryHeader:entryHeader], flags: binary.BigEndian.Uint32(b[88:]), raw: binary.BigEndian.Uint32(b[92:])}
	if env.flags&flagSigned != 0 {
		end := len(b) - crypt.SignatureSize
		if end < entryHeader+sha256.Size {
			return nil, fmt.Errorf("cut short at %d bytes", len(b))
		}
		b, env.signature = b[:end], b[end:]
	}
	if !intact(b) {
		return nil, errors.New("its content does not match its SHA-256")
	}
	env.generation = int(env.flags >> generationShift)
	at := len(b) - sha256.Size
	env.stored, env.digest = b[entryHeader:at:at], Digest(b[at:])
	e := &env.entry
	e.Sequence, e.Time = binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[80:]))
	copy(e.Previous[:], b[16:])
	copy(e.Nonce[:], b[48:])
	copy(e.Writer[:], b[64:])
	const known = flagZstd | flagSealed | flagSigned | 0xffff<<generationShift
	switch {
	case env.flags&^known != 0 || env.generation > 0 && !env.sealed():
		return nil, fmt.Errorf("bad flags %#x", env.flags)
	case env.raw > maxBody || uint64(binary.BigEndian.Uint32(b[96:])) != uint64(len(env.stored)):
		return nil, errors.New("bad body length")
	}
	return env, nil
}

func intact(b []byte) bool {
	at := len(b) - sha256.Size
	return sha256.Sum256(b[:at]) == Digest(b[at:])
}

// unpackBody returns the body of a snapshot, which is sealed as a whole or not at all.
func unpackBody(b []byte) ([]byte, error) {
	env, err := readFrame(b)
	if err != nil {
		return nil, err
	}
	if env.flags&^flagZstd != 0 {
		return nil, fmt.Errorf("bad flags %#x", env.flags)
	}
	return env.unpack(nil)
}

// unpack returns the body as it was before it was compressed and sealed.
func (env *envelope) unpack(unseal func(*envelope) ([]byte, error)) ([]byte, error) {
	stored := env.stored
	if env.sealed() {
		if unseal == nil {
			return nil, errors.New("sealed, in a repository that is not encrypted")
		}
		var err error
		if stored, err = unseal(env); err != nil {
			return nil, err
		}
	}
	if env.flags&flagZstd == 0 {
		if int(env.raw) != len(stored) {
			return nil, errors.New("bad body length")
		}
		return stored, nil
	}
	return inflate(stored, int(env.raw))
}

// inflaters are *wire.Inflater. A new one for each body takes longer than the body.
var inflaters sync.Pool

func inflate(packed []byte, n int) ([]byte, error) {
	dec, ok := inflaters.Get().(*wire.Inflater)
	if !ok {
		var err error
		if dec, err = wire.NewInflater(); err != nil {
			return nil, err
		}
	}
	defer inflaters.Put(dec)
	return dec.Inflate(nil, packed, n)
}

func (e *Entry) parseBody(body []byte) error { return parseSections(body, e.parseSection) }

// parseSections calls one for each section of a body.
func parseSections(body []byte, one func(kind byte, r *wire.Reader) error) error {
	r := wire.NewReader(body)
	for last := -1; r.Len() > 0 && r.Err() == nil; {
		kind := r.Byte()
		payload := r.Bytes(int(r.Max("section length", maxBody)))
		if int(kind) <= last {
			r.Failf("section %d after %d", kind, last)
		}
		last = int(kind)
		if err := one(kind, wire.NewReader(payload)); err != nil && r.Err() == nil {
			return fmt.Errorf("section %d: %w", kind, err)
		}
	}
	return r.Close()
}

func parseAgent(r *wire.Reader) *Agent {
	return &Agent{r.String("program", maxName), r.String("host", maxName), r.String("principal", maxName)}
}

func (e *Entry) parseSection(kind byte, r *wire.Reader) error {
	switch kind {
	case secAgent:
		e.Agent = parseAgent(r)
	case secTopics:
		e.parseTopics(r)
	case secStreams:
		e.parseStreams(r)
	case secSegments:
		e.parseSegments(r)
	case secRanges:
		e.parseRanges(r)
	case secLogStarts:
		e.parseLogStarts(r)
	case secGroups:
		e.parseGroups(r)
	case secPoint:
		e.parsePoint(r)
	case secTransactions:
		e.parseTransactions(r)
	case secPoints:
		e.parsePointChanges(r)
	case secMetadata:
		e.parseMetadata(r)
	case secRemovals:
		e.Removed = parseLot(r)
	case secMoves:
		e.parseMoves(r)
	case secFences:
		e.parseFences(r)
	case secDeletions:
		e.Deleted = parseLot(r)
	case secKeys:
		e.parseKeys(r)
	case secLosses:
		e.Losses = parseLosses(r)
	case secClosing:
		e.parseClosing(r)
	case secSnapshot:
		e.Snapshot = parseSnapshotRef(r)
	case secNote:
		e.parseNote(r)
	case secVerification:
		e.Verification = parseVerification(r)
	case secPromotion:
		e.parsePromotion(r)
	default:
		if kind < secIgnorable {
			return fmt.Errorf("%w: unknown section", ErrVersion)
		}
		return nil
	}
	return r.Close()
}

// count reads the number of elements of a section, which is never empty.
func count(r *wire.Reader, what string, size int) int {
	n := r.Count(what, size)
	if n == 0 {
		r.Failf("no %s", what)
	}
	return n
}

func flag(r *wire.Reader) bool {
	c := r.Byte()
	if c > 1 {
		r.Failf("flags %#x", c)
	}
	return c == 1
}

func (e *Entry) parseTopics(r *wire.Reader) {
	e.Topics = make([]TopicChange, count(r, "topics", 22))
	for i := range e.Topics {
		t := &e.Topics[i]
		t.Number = int(r.Max("topic number", maxNumber))
		t.Gone = flag(r)
		copy(t.ID[:], r.Bytes(16))
		t.Name = r.String("topic name", maxTopicName)
		t.Partitions = int32(r.Max("partitions", maxNumber))
		t.ReplicationFactor = int32(r.Max("replication factor", 1<<15))
		t.Configs = make([]Config, r.Count("configs", 2))
		for j := range t.Configs {
			t.Configs[j] = Config{r.String("config name", maxConfigName), r.Optional("config value", maxConfigValue)}
			if j > 0 && t.Configs[j].Name <= t.Configs[j-1].Name {
				r.Failf("configs out of order")
			}
		}
	}
}

func (e *Entry) parseStreams(r *wire.Reader) {
	e.Streams = make([]NewStream, count(r, "streams", 4))
	for i := range e.Streams {
		e.Streams[i] = NewStream{
			Topic:     int(r.Max("topic number", maxNumber)),
			Partition: int32(r.Max("partition", maxPartitions-1)),
			Parent:    int(r.Max("parent", maxNumber)) - 1,
			First:     int64(r.Max("offset", maxOffset)),
		}
	}
}

func (e *Entry) parseSegments(r *wire.Reader) {
	e.Segments = make([]Segment, count(r, "segments", 35))
	for i := range e.Segments {
		s := &e.Segments[i]
		s.Counter = r.Uvarint()
		s.Size = int64(r.Max("segment size", 1<<50))
		s.FooterLength = int64(r.Max("footer length", segment.MaxFooter))
		copy(s.FooterDigest[:], r.Bytes(sha256.Size))
		if s.Size < s.TailLength()+segment.HeaderSize {
			r.Failf("a segment of %d bytes with a footer of %d", s.Size, s.FooterLength)
		}
	}
}

func (e *Entry) parseRanges(r *wire.Reader) {
	e.Ranges = make([]Range, count(r, "ranges", 3))
	after := -1
	for i := range e.Ranges {
		g := &e.Ranges[i]
		head := r.Max("stream", maxNumber<<2|3)
		g.Stream = after + 1 + int(head>>2)
		after = g.Stream
		if g.EpochGiven = head&1 != 0; g.EpochGiven {
			epoch := r.Varint()
			g.LeaderEpoch = int32(epoch)
			if int64(g.LeaderEpoch) != epoch {
				r.Failf("leader epoch %d", epoch)
			}
		}
		n := 1
		if head&2 != 0 {
			n = count(r, "spans", 2)
		}
		g.Spans = make([]Span, n)
		for j := range g.Spans {
			e.parseSpan(r, &g.Spans[j], head&2 == 0)
		}
		if head&2 != 0 && n == 1 && !g.Spans[0].Gap && g.Spans[0].Segment == 0 {
			r.Failf("span list where none is needed")
		}
	}
}

func (e *Entry) parseSpan(r *wire.Reader, s *Span, simple bool) {
	if !simple {
		tag := r.Max("span tag", maxNumber)
		if s.Gap = tag&1 != 0; s.Gap {
			s.Reason = GapReason(tag >> 1)
			if tag>>1 > uint64(GapEmpty) {
				r.Failf("gap reason %d", tag>>1)
			}
		} else {
			s.Segment = int(tag >> 1)
		}
	}
	s.Offsets = int64(r.Max("offsets", maxOffset))
	if s.Offsets == 0 {
		r.Failf("an empty span")
	}
	if s.Gap {
		return
	}
	if s.Segment >= len(e.Segments) {
		r.Failf("segment %d of %d", s.Segment, len(e.Segments))
	}
	s.Records = s.Offsets - r.Varint()
	if s.Records < 0 {
		r.Failf("%d records", s.Records)
	}
	if s.Records > 0 {
		s.MaxTimestamp = r.Varint() + e.Time
		s.MinTimestamp = int64(uint64(s.MaxTimestamp) - r.Uvarint())
		if s.MinTimestamp > s.MaxTimestamp {
			r.Failf("timestamps out of range")
		}
	}
}

func (e *Entry) parseLogStarts(r *wire.Reader) {
	e.LogStarts = make([]LogStart, count(r, "log starts", 2))
	after := -1
	for i := range e.LogStarts {
		after += 1 + int(r.Max("stream", maxNumber))
		e.LogStarts[i] = LogStart{after, int64(r.Max("offset", maxOffset))}
	}
}

func (e *Entry) parseGroups(r *wire.Reader) {
	e.Groups = make([]GroupChange, count(r, "groups", 2))
	for i := range e.Groups {
		g := &e.Groups[i]
		g.ID = r.String("group id", maxName)
		if i > 0 && g.ID <= e.Groups[i-1].ID {
			r.Failf("groups out of order")
		}
		if g.Gone = flag(r); g.Gone {
			continue
		}
		g.Type = r.String("group type", maxName)
		g.ProtocolType = r.String("protocol type", maxName)
		g.Offsets = make([]OffsetChange, r.Count("offsets", 3))
		for j := range g.Offsets {
			o := &g.Offsets[j]
			parseOffset(r, o)
			if j > 0 && !g.Offsets[j-1].key().less(o.key()) {
				r.Failf("offsets out of order")
			}
		}
	}
}

func parseOffset(r *wire.Reader, o *OffsetChange) {
	o.Topic = r.String("topic name", maxTopicName)
	o.Partition = int32(r.Max("partition", maxPartitions-1))
	v := r.Max("offset", maxOffset+1)
	if o.Committed = v > 0; !o.Committed {
		return
	}
	o.Offset = int64(v - 1)
	epoch := r.Varint()
	o.Epoch = int32(epoch)
	if int64(o.Epoch) != epoch {
		r.Failf("leader epoch %d", epoch)
	}
	o.Metadata = r.String("metadata", maxName)
}

func (e *Entry) parsePoint(r *wire.Reader) {
	p := &Point{Name: r.String("point name", maxName)}
	if t := r.Bytes(8); t != nil {
		p.Time = int64(binary.BigEndian.Uint64(t))
	}
	n := r.Count("exceptions", 2)
	after := -1
	for range n {
		after += 1 + int(r.Max("stream", maxNumber))
		p.Exceptions = append(p.Exceptions, CutException{after, int64(r.Max("offsets", maxOffset))})
	}
	e.Point = p
}
