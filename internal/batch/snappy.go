package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
)

// Kafka's Java client writes snappy in the framing of the snappy-java library (xerial): a header of this magic and two
// version numbers, then blocks, each after its length in four bytes. Other clients write one bare block.
const (
	xerialMagic      = "\x82SNAPPY\x00"
	xerialHeaderSize = len(xerialMagic) + 8
	xerialVersion    = 1

	// xerialBlock is the size of the blocks we write, the default of snappy-java.
	xerialBlock = 32 << 10

	// snappyMaxRatio bounds what a block can expand to: its densest element is a copy of 64 bytes told in three.
	snappyMaxRatio = 22
)

// snappyReader decompresses a payload block by block.
type snappyReader struct {
	src    []byte
	framed bool
	block  []byte // storage, kept between batches
	data   []byte // rest of the block at hand
}

func (s *snappyReader) reset(payload []byte) {
	s.src, s.data = payload, nil
	s.framed = bytes.HasPrefix(payload, []byte(xerialMagic))
}

func (s *snappyReader) release() {
	s.src, s.data = nil, nil
	if cap(s.block) > keepBuffer {
		s.block = nil
	}
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for len(s.data) == 0 {
		if len(s.src) == 0 {
			return 0, io.EOF
		}
		if err := s.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// nextBlock decompresses the block at the start of src.
func (s *snappyReader) nextBlock() error {
	if !s.framed {
		block := s.src
		s.src = nil
		return s.decode(block)
	}
	// A header may come again in the middle: concatenated streams are a stream.
	if bytes.HasPrefix(s.src, []byte(xerialMagic)) {
		if len(s.src) < xerialHeaderSize {
			return io.ErrUnexpectedEOF
		}
		s.src = s.src[xerialHeaderSize:]
		return nil
	}
	if len(s.src) < 4 {
		return io.ErrUnexpectedEOF
	}
	size := int64(binary.BigEndian.Uint32(s.src))
	if size > int64(len(s.src)-4) {
		return io.ErrUnexpectedEOF
	}
	block := s.src[4 : 4+size]
	s.src = s.src[4+size:]
	return s.decode(block)
}

// decode decompresses one bare block into s.data.
func (s *snappyReader) decode(block []byte) error {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return err
	case n > snappyMaxRatio*len(block):
		return fmt.Errorf("snappy block of %d bytes declares %d", len(block), n)
	case n > MaxRecordSize:
		return ErrTooLarge
	}
	if n > cap(s.block) {
		s.block = make([]byte, n)
	}
	s.data, err = s2.Decode(s.block[:cap(s.block)], block)
	return err
}

// appendXerial appends src to dst, compressed, as Kafka's Java client would.
func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion) // written by this version
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion) // readable from this one on
	for len(src) > 0 {
		chunk := src[:min(len(src), xerialBlock)]
		src = src[len(chunk):]
		at := len(dst)
		dst = append(dst, make([]byte, 4+s2.MaxEncodedLen(len(chunk)))...) // extends in place, no temporary
		n := len(s2.EncodeSnappy(dst[at+4:], chunk))
		binary.BigEndian.PutUint32(dst[at:], uint32(n))
		dst = dst[:at+4+n]
	}
	return dst
}
