package batch

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A batch is re-encoded by storing it with its records uncompressed, and with what that changes in its header in front
// (docs/format.md, "Re-encoded blocks").

// originSize is what lies in front of a batch that was opened: codec, length and CRC.
const originSize = 1 + 4 + 4

// MaxOpened is how many bytes the records of a batch may come to uncompressed, and those of a re-encoded block, that whoever
// reads it has in memory at once.
const MaxOpened = 16 << 20

// Origin says how a batch was served that is stored re-encoded.
type Origin struct {
	Codec  Codec
	Length int32 // as in Header
	CRC    uint32
}

// Size returns the length in bytes of the whole batch as it was.
func (o *Origin) Size() int { return lengthBase + int(o.Length) }

// Origin returns that of a batch that is as it was served.
func (h *Header) Origin() Origin { return Origin{h.Codec(), h.Length, h.CRC} }

// NextReencoded does what Next does with the batches of a re-encoded block: h and raw are what the batch is now, which is
// whole and valid; of one that was left as it was, origin says the same as h.
func NextReencoded(b []byte) (h Header, raw, rest []byte, origin Origin, err error) {
	if len(b) == 0 {
		return h, nil, nil, origin, ErrCut
	}
	codec, b := Codec(b[0]), b[1:]
	if codec == None {
		h, raw, rest, err = Next(b)
		return h, raw, rest, h.Origin(), err
	}
	if len(b) < originSize-1 {
		return h, nil, nil, origin, ErrCut
	}
	origin = Origin{codec, int32(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])}
	if h, raw, rest, err = Next(b[originSize-1:]); err != nil {
		return h, nil, nil, origin, err
	}
	if codec > Zstd || h.Codec() != None || origin.Length < HeaderSize-lengthBase {
		return h, nil, nil, origin, h.corrupt("re-encoded from codec %d and length %d to codec %d", codec, origin.Length, h.Codec())
	}
	return h, raw, rest, origin, nil
}

// Bare takes away what a re-encoded block has in front of its batches, in place. What is left is for Next.
func Bare(b []byte) ([]byte, error) {
	to := b[:0]
	for rest := b; len(rest) > 0; {
		var raw []byte
		var err error
		if _, raw, rest, _, err = NextReencoded(rest); err != nil {
			return nil, err
		}
		to = append(to, raw...)
	}
	return to, nil
}

// Opener makes re-encoded batches. It is for one goroutine at a time.
type Opener struct {
	in      inflater
	decoder Decoder
}

// Append appends raw, one whole batch with a valid checksum, as a re-encoded block has it. It is left as it was if it is not
// compressed, if what the codec yields is not exactly the records that the header promises, or if that has more than most bytes.
func (o *Opener) Append(dst, raw []byte, most int) []byte {
	h, err := ParseHeader(raw)
	if err == nil && h.Codec() != None && h.Count > 0 {
		if opened, ok := o.open(dst, raw, &h, most); ok {
			return opened
		}
	}
	return append(append(dst, byte(None)), raw...)
}

func (o *Opener) open(dst, raw []byte, h *Header, most int) ([]byte, bool) {
	at := len(dst)
	dst = append(dst, byte(h.Codec()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Length))
	dst = binary.BigEndian.AppendUint32(dst, h.CRC)
	dst = append(dst, raw[:HeaderSize]...)
	defer o.in.release()
	src, err := o.in.open(h.Codec(), raw[HeaderSize:])
	if err != nil {
		return nil, false
	}
	dst, ok := appendAll(dst, src, most)
	if !ok {
		return nil, false
	}
	now := dst[at+originSize:]
	changed := *h
	changed.Length, changed.Attributes = int32(len(now)-lengthBase), h.Attributes&^codecMask
	changed.put(now)
	return dst, o.decoder.Decode(now, func(*Record) error { return nil }) == nil
}

// appendAll appends what src delivers, unless that is more than most bytes.
func appendAll(dst []byte, src io.Reader, most int) ([]byte, bool) {
	end := len(dst) + most
	for idle := 0; idle < maxIdleReads; idle++ {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := src.Read(dst[len(dst):cap(dst)])
		if dst = dst[:len(dst)+n]; len(dst) > end {
			return nil, false
		}
		if err != nil {
			return dst, err == io.EOF
		}
		if n > 0 {
			idle = 0
		}
	}
	return nil, false
}

// Compress returns raw, one whole batch that is not compressed, with its payload compressed by c, and its header. What it
// returns belongs to the Packer, is raw itself for None, and is valid until a Builder of it finishes, or the next Compress.
func (p *Packer) Compress(raw []byte, c Codec) ([]byte, Header, error) {
	h, err := ParseHeader(raw)
	if err != nil {
		return nil, Header{}, err
	}
	if c == None {
		return raw, h, nil
	}
	b, err := p.Builder(c)
	if err != nil {
		return nil, Header{}, err
	}
	packed, err := b.deflater.appendTo(append(b.deflater.packed[:0], raw[:HeaderSize]...), raw[HeaderSize:])
	if err != nil {
		return nil, Header{}, fmt.Errorf("compress batch at offset %d with %s: %w", h.BaseOffset, c, err)
	}
	b.deflater.packed = packed
	h.Length, h.Attributes = int32(len(packed)-lengthBase), h.Attributes&^codecMask|int16(c)
	h.put(packed)
	return packed, h, nil
}
