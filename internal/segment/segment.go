// Package segment is the data object of the repository (docs/format.md,
// "Segment"): blocks of many streams in one upload, with a footer that indexes
// them. It deals in bytes; what the batches in a block mean, its callers know.
package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/wire"
)

const (
	magic       = "OFSSEG\x00\x01"
	endMagic    = "OFSEND\x00\x01"
	headerSize  = len(magic)
	trailerSize = 4 + 4 + len(endMagic)

	// MaxFooter bounds the footer, in bytes.
	MaxFooter = 64 << 20
	// MaxBlock bounds the raw bytes of one block.
	MaxBlock = 256 << 20

	maxTopicName = 249
	maxPartition = 1 << 31
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is wrapped by every error about bytes that are not what the
// format or a digest says.
var ErrCorrupt = errors.New("segment is damaged")

// Stream names a partition of a topic incarnation inside a segment.
type Stream struct {
	TopicID   [16]byte
	Topic     string // the name, so that a segment can be understood alone
	Partition int32
}

// Codec says how a block's bytes are stored.
type Codec uint8

// The codecs of blocks.
const (
	Stored    Codec = 0 // as it is
	Zstd      Codec = 1
	Reencoded Codec = 2 // zstd, of batches in the form of docs/format.md, "Re-encoded blocks"
)

// EventKind is the kind of a transaction event.
type EventKind uint8

// The transaction events that a block records.
const (
	TxnData   EventKind = 0 // first data of a producer since its last marker in the block
	TxnCommit EventKind = 1
	TxnAbort  EventKind = 2
)

// TxnEvent is a transactional batch or marker worth knowing without reading
// the block.
type TxnEvent struct {
	Offset        int64
	ProducerID    int64
	ProducerEpoch int16
	Kind          EventKind
}

// Summary describes batches in terms of their headers.
type Summary struct {
	Start, Next  int64 // offsets [Start, Next)
	Batches      int64
	Records      int64 // declared by the headers, without control batches
	MinTimestamp int64 // ms; meaningless when Records is 0
	MaxTimestamp int64
	LeaderEpoch  int32 // of the last batch
	// Plain: no control, transactional or LogAppendTime batch, no hole, nothing
	// outside [Start, Next).
	Plain  bool
	Events []TxnEvent // offsets ascending
}

// Join extends s by what follows it directly; t.Start must be s.Next or, where
// a gap lies between, above it.
func (s *Summary) Join(t Summary) {
	if t.Records > 0 {
		if s.Records == 0 {
			s.MinTimestamp, s.MaxTimestamp = t.MinTimestamp, t.MaxTimestamp
		} else {
			s.MinTimestamp = min(s.MinTimestamp, t.MinTimestamp)
			s.MaxTimestamp = max(s.MaxTimestamp, t.MaxTimestamp)
		}
	}
	s.Next, s.LeaderEpoch = t.Next, t.LeaderEpoch
	s.Batches += t.Batches
	s.Records += t.Records
	s.Plain = s.Plain && t.Plain
	s.Events = append(s.Events, t.Events...)
}

// Block is one entry of the footer.
type Block struct {
	Summary
	Position     int64 // of its first stored byte in the object
	Codec        Codec
	StoredLength int64
	RawLength    int64
	Served       int64             // bytes of its batches as the broker served them, if it is re-encoded, else 0
	Digest       [sha256.Size]byte // SHA-256 of the stored bytes

	// Key is what the block is sealed with, nil if it is not, and Number which of the
	// blocks sealed with it this is.
	Key    *Key
	Number uint64

	stream *Stream // that it belongs to, if it is sealed
}

// ServedLength returns how many bytes the broker served.
func (k *Block) ServedLength() int64 {
	if k.Codec == Reencoded {
		return k.Served
	}
	return k.RawLength
}

// StreamBlocks are the blocks of one stream in a segment, in offset order.
type StreamBlocks struct {
	Stream
	Blocks []Block
}

// Footer is the index of a segment.
type Footer struct {
	Keys    []*Key // of the blocks, if they are sealed
	Streams []StreamBlocks
}

// Append encodes the footer of a segment that is not sealed, without its trailer.
func (f *Footer) Append(b []byte) []byte { return f.append(b, nil) }

// append encodes it; of a sealed segment, keys has the place of each key in Keys.
func (f *Footer) append(b []byte, keys map[*Key]int) []byte {
	if keys != nil {
		b = appendKeys(b, f.Keys)
	}
	b = wire.AppendUvarint(b, uint64(len(f.Streams)))
	for i := range f.Streams {
		b = f.Streams[i].append(b, keys)
	}
	return b
}

func (s *StreamBlocks) append(b []byte, keys map[*Key]int) []byte {
	b = append(b, s.TopicID[:]...)
	b = wire.AppendString(b, s.Topic)
	b = wire.AppendUvarint(b, uint64(s.Partition))
	b = wire.AppendUvarint(b, uint64(len(s.Blocks)))
	end, next := int64(headerSize), int64(0)
	for i := range s.Blocks {
		k := &s.Blocks[i]
		b = wire.AppendUvarint(b, uint64(k.Position-end))
		b = append(b, byte(k.Codec))
		b = wire.AppendUvarint(b, uint64(k.StoredLength))
		b = wire.AppendUvarint(b, uint64(k.RawLength))
		if k.Codec == Reencoded {
			b = wire.AppendUvarint(b, uint64(k.Served))
		}
		b = wire.AppendUvarint(b, uint64(k.Start-next))
		b = wire.AppendUvarint(b, uint64(k.Next-k.Start))
		b = wire.AppendUvarint(b, uint64(k.Batches))
		b = wire.AppendUvarint(b, uint64(k.Records))
		if k.Records > 0 {
			b = wire.AppendVarint(b, k.MaxTimestamp)
			b = wire.AppendUvarint(b, uint64(k.MaxTimestamp)-uint64(k.MinTimestamp))
		}
		b = wire.AppendVarint(b, int64(k.LeaderEpoch))
		b = appendFlags(b, k.Plain)
		b = appendEvents(b, k.Start, k.Events)
		b = append(b, k.Digest[:]...)
		if keys != nil {
			b = wire.AppendUvarint(b, uint64(keys[k.Key]))
			b = wire.AppendUvarint(b, k.Number)
		}
		end, next = k.Position+k.StoredLength, k.Next
	}
	return b
}

func appendFlags(b []byte, plain bool) []byte {
	if plain {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendEvents(b []byte, from int64, events []TxnEvent) []byte {
	b = wire.AppendUvarint(b, uint64(len(events)))
	for _, e := range events {
		b = wire.AppendUvarint(b, uint64(e.Offset-from))
		b = append(b, byte(e.Kind))
		b = wire.AppendVarint(b, e.ProducerID)
		b = wire.AppendVarint(b, int64(e.ProducerEpoch))
		from = e.Offset
	}
	return b
}

// ParseFooter decodes and checks a footer of an object that is size bytes long.
func ParseFooter(b []byte, size int64) (*Footer, error) {
	end := size - int64(trailerSize) - int64(len(b))
	if end < int64(headerSize) || len(b) > MaxFooter {
		return nil, fmt.Errorf("%w: a footer of %d bytes in an object of %d", ErrCorrupt, len(b), size)
	}
	return parseFooter(b, end, false)
}

// parseFooter decodes a footer that begins at byte end of the object; one that was
// sealed has keys.
func parseFooter(b []byte, end int64, sealed bool) (*Footer, error) {
	r := wire.NewReader(b)
	f := &Footer{}
	if sealed {
		f.Keys = parseKeys(r)
	}
	f.Streams = make([]StreamBlocks, r.Count("streams", 19+minBlock))
	for i := range f.Streams {
		f.Streams[i].parse(r, f.Keys)
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w: footer: %w", ErrCorrupt, err)
	}
	return f, f.checkTiling(end)
}

// minBlock is the size in bytes of the smallest block in a footer.
const minBlock = 11 + sha256.Size

func (s *StreamBlocks) parse(r *wire.Reader, keys []*Key) {
	copy(s.TopicID[:], r.Bytes(16))
	s.Topic = r.String("topic name", maxTopicName)
	s.Partition = int32(r.Max("partition", maxPartition-1))
	n := r.Count("blocks", minBlock)
	if n == 0 {
		r.Failf("a stream without blocks")
		return
	}
	s.Blocks = make([]Block, n)
	end, next := int64(headerSize), int64(0)
	for i := range s.Blocks {
		k := &s.Blocks[i]
		k.parse(r, end, next, keys != nil)
		if keys != nil {
			k.parseSeal(r, &s.Stream, keys)
		}
		if r.Err() != nil {
			return
		}
		end, next = k.Position+k.StoredLength, k.Next
	}
}

func (k *Block) parse(r *wire.Reader, end, next int64, sealed bool) {
	const maxOffset = 1<<63 - 2
	overhead := int64(0)
	if sealed {
		overhead = crypt.TagSize
	}
	k.Position = end + int64(r.Max("position", 1<<50))
	k.Codec = Codec(r.Byte())
	k.StoredLength = int64(r.Max("stored length", uint64(MaxBlock+overhead)))
	k.RawLength = int64(r.Max("raw length", MaxBlock))
	if k.Codec == Reencoded {
		if k.Served = int64(r.Max("served length", MaxBlock)); k.Served == 0 {
			r.Failf("a re-encoded block that was empty")
		}
	}
	k.Start = next + int64(r.Max("start offset", uint64(maxOffset-next)))
	k.Next = k.Start + int64(r.Max("offsets", uint64(maxOffset-k.Start)))
	k.Batches = int64(r.Max("batches", 1<<40))
	k.Records = int64(r.Max("records", 1<<40))
	if k.Records > 0 {
		k.MaxTimestamp = r.Varint()
		span := r.Uvarint()
		k.MinTimestamp = int64(uint64(k.MaxTimestamp) - span)
		if k.MinTimestamp > k.MaxTimestamp {
			r.Failf("timestamps out of range")
		}
	}
	epoch := r.Varint()
	k.LeaderEpoch = int32(epoch)
	flags := r.Byte()
	k.Plain = flags == 1
	switch {
	case int64(k.LeaderEpoch) != epoch:
		r.Failf("leader epoch %d", epoch)
	case flags > 1:
		r.Failf("flags %#x", flags)
	case k.Codec > Reencoded || k.Codec == Reencoded && sealed || k.Codec == Stored && k.StoredLength != k.RawLength+overhead:
		r.Failf("codec %d with %d of %d bytes", k.Codec, k.StoredLength, k.RawLength)
	case k.StoredLength <= overhead || k.RawLength == 0 || k.Next == k.Start:
		r.Failf("an empty block")
	}
	k.Events = parseEvents(r, k.Start, k.Next)
	copy(k.Digest[:], r.Bytes(sha256.Size))
}

func parseEvents(r *wire.Reader, from, next int64) []TxnEvent {
	n := r.Count("transaction events", 4)
	if n == 0 {
		return nil
	}
	events := make([]TxnEvent, n)
	for i := range events {
		e := &events[i]
		e.Offset = from + int64(r.Max("event offset", uint64(next-1-from)))
		e.Kind = EventKind(r.Byte())
		e.ProducerID = r.Varint()
		epoch := r.Varint()
		e.ProducerEpoch = int16(epoch)
		if e.Kind > TxnAbort || int64(e.ProducerEpoch) != epoch {
			r.Failf("transaction event of kind %d, epoch %d", e.Kind, epoch)
		}
		from = e.Offset
	}
	return events
}

// InFileOrder returns every block with its stream, by position in the object.
func (f *Footer) InFileOrder() []Located {
	n := 0
	for i := range f.Streams {
		n += len(f.Streams[i].Blocks)
	}
	all := make([]Located, 0, n)
	for i := range f.Streams {
		for j := range f.Streams[i].Blocks {
			all = append(all, Located{&f.Streams[i].Stream, &f.Streams[i].Blocks[j]})
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Block.Position < all[b].Block.Position })
	return all
}

// Located is a block with the stream that it belongs to.
type Located struct {
	Stream *Stream
	Block  *Block
}

// checkTiling makes sure that no byte of the object escapes a digest.
func (f *Footer) checkTiling(end int64) error {
	at := int64(headerSize)
	for _, l := range f.InFileOrder() {
		if l.Block.Position != at {
			return fmt.Errorf("%w: a block begins at byte %d instead of %d", ErrCorrupt, l.Block.Position, at)
		}
		at += l.Block.StoredLength
	}
	if at != end {
		return fmt.Errorf("%w: the blocks end at byte %d, the footer begins at %d", ErrCorrupt, at, end)
	}
	return nil
}

// Ref is what the log keeps of a segment: enough to fetch the footer in one
// read and to trust it.
type Ref struct {
	Size         int64 // of the object, in bytes
	FooterLength int64
	FooterDigest [sha256.Size]byte
}

// TailLength is the number of bytes at the end of the object that Open needs.
func (r Ref) TailLength() int64 { return r.FooterLength + int64(trailerSize) }

// Open decodes the footer from the last TailLength bytes of the object.
func (r Ref) Open(tail []byte) (*Footer, error) {
	footer, err := r.footer(tail)
	if err != nil {
		return nil, err
	}
	return ParseFooter(footer, r.Size)
}

// footer returns the stored bytes of the footer, which are those that the log means.
func (r Ref) footer(tail []byte) ([]byte, error) {
	if int64(len(tail)) != r.TailLength() {
		return nil, fmt.Errorf("%w: %d bytes at its end instead of %d", ErrCorrupt, len(tail), r.TailLength())
	}
	footer, trailer := tail[:r.FooterLength], tail[r.FooterLength:]
	if sha256.Sum256(footer) != r.FooterDigest {
		return nil, fmt.Errorf("%w: the footer's SHA-256 is not the one in the log", ErrCorrupt)
	}
	if string(trailer) != string(appendTrailer(nil, footer)) {
		return nil, fmt.Errorf("%w: bad trailer", ErrCorrupt)
	}
	return footer, nil
}

// WithTrailer appends to a footer the trailer that goes with it.
func WithTrailer(footer []byte) []byte { return appendTrailer(footer, footer) }

// Header returns the bytes that every segment begins with.
func Header() []byte { return []byte(magic) }

// CheckHeader checks the first bytes of the object.
func CheckHeader(b []byte) error {
	if len(b) < headerSize || string(b[:headerSize]) != magic {
		return fmt.Errorf("%w: bad magic", ErrCorrupt)
	}
	return nil
}

// ReadExactly reads n bytes of an object. It returns io.EOF if the object ends before,
// whereas a connection that breaks is io.ErrUnexpectedEOF or something else.
func ReadExactly(body io.Reader, n int64) ([]byte, error) {
	b := make([]byte, 0, min(n, 8<<20)) // n comes from the repository: more only as it arrives
	for int64(len(b)) < n {
		if len(b) == cap(b) {
			b = slices.Grow(b, int(min(n-int64(len(b)), int64(len(b)))))
		}
		m, err := body.Read(b[len(b):min(int64(cap(b)), n)])
		if b = b[:len(b)+m]; err != nil && int64(len(b)) < n {
			return b, err
		}
	}
	return b, nil
}

// HeaderSize is the number of bytes before the first block.
const HeaderSize = int64(headerSize)

func appendTrailer(b, footer []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(footer)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(footer, castagnoli))
	return append(b, endMagic...)
}
