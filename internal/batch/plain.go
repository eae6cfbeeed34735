package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The decoders of this file are slow and short. They exist to be compared with the ones that a restore trusts.

var errPlain = errors.New("malformed")

const (
	lz4Magic       = 0x184D2204
	lz4Version     = 1 << 6
	lz4Checksummed = 1 << 4 // each block
	lz4HasSize     = 1 << 3
	lz4HasSum      = 1 << 2 // of the content
	lz4HasDict     = 1 << 0
	lz4Stored      = 1 << 31
)

// plainLZ4 appends what one frame yields, up to n bytes, and checks no checksum.
func plainLZ4(dst, b []byte, n int) ([]byte, error) {
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != lz4Magic || b[4]&(3<<6) != lz4Version || b[4]&lz4HasDict != 0 {
		return nil, errPlain
	}
	flags := b[4]
	b = b[6:]
	if flags&lz4HasSize != 0 {
		if b = b[min(8, len(b)):]; len(b) == 0 {
			return nil, errPlain
		}
	}
	b = b[1:] // the header's checksum
	for {
		if len(b) < 4 {
			return nil, errPlain
		}
		size := binary.LittleEndian.Uint32(b)
		if b = b[4:]; size == 0 {
			break
		}
		stored := size&lz4Stored != 0
		if size &^= lz4Stored; uint64(size) > uint64(len(b)) {
			return nil, errPlain
		}
		block := b[:size]
		if b = b[size:]; flags&lz4Checksummed != 0 {
			b = b[min(4, len(b)):]
		}
		var err error
		if stored {
			dst = append(dst, block...)
		} else if dst, err = plainLZ4Block(dst, block, n); err != nil {
			return nil, err
		}
		if len(dst) > n {
			return nil, errPlain
		}
	}
	if flags&lz4HasSum != 0 {
		b = b[min(4, len(b)):]
	}
	if len(b) > 0 {
		return nil, errPlain // a second frame, which no client of Kafka writes
	}
	return dst, nil
}

func plainLZ4Block(dst, b []byte, n int) ([]byte, error) {
	more := func(length int) (int, bool) { // lengths of 15 go on
		for length >= 15 {
			if len(b) == 0 || length > n+15 {
				return 0, false
			}
			c := b[0]
			b = b[1:]
			if length += int(c); c < 255 {
				break
			}
		}
		return length, true
	}
	for len(b) > 0 {
		token := b[0]
		b = b[1:]
		literals, ok := more(int(token >> 4))
		if !ok || literals > len(b) || literals > n-len(dst) {
			return nil, errPlain
		}
		dst, b = append(dst, b[:literals]...), b[literals:]
		if len(b) == 0 {
			return dst, nil
		}
		if len(b) < 2 {
			return nil, errPlain
		}
		back := int(binary.LittleEndian.Uint16(b))
		b = b[2:]
		length, ok := more(int(token & 15))
		if !ok {
			return nil, errPlain
		}
		if dst, ok = repeat(dst, back, length+4, n); !ok {
			return nil, errPlain
		}
	}
	return dst, nil
}

// repeat appends length bytes of those that begin so many bytes back.
func repeat(dst []byte, back, length, n int) ([]byte, bool) {
	if back < 1 || back > len(dst) || length > n-len(dst) {
		return nil, false
	}
	for length > 0 {
		from := dst[len(dst)-back:]
		from = from[:min(length, len(from))]
		dst = append(dst, from...)
		length -= len(from)
	}
	return dst, true
}

// plainSnappy appends what a bare block or a stream of snappy-java yields, up to n bytes.
func plainSnappy(dst, b []byte, n int) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(xerialMagic)) {
		return plainSnappyBlock(dst, b, n)
	}
	for len(b) > 0 {
		if bytes.HasPrefix(b, []byte(xerialMagic)) {
			b = b[min(xerialHeaderSize, len(b)):]
			continue
		}
		if len(b) < 4 {
			return nil, errPlain
		}
		size := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(size) > uint64(len(b)) {
			return nil, errPlain
		}
		var err error
		if dst, err = plainSnappyBlock(dst, b[:size], n); err != nil {
			return nil, err
		}
		b = b[size:]
	}
	return dst, nil
}

func plainSnappyBlock(dst, b []byte, n int) ([]byte, error) {
	want, k := binary.Uvarint(b)
	if k <= 0 || want > uint64(n-len(dst)) {
		return nil, errPlain
	}
	begin := len(dst)
	for b = b[k:]; len(b) > 0; {
		tag := b[0]
		b = b[1:]
		length, extra := int(tag>>2)+1, []int{0, 1, 2, 4}[tag&3]
		if tag&3 == 0 && length > 60 {
			extra = length - 60
		}
		if extra > len(b) {
			return nil, errPlain
		}
		number := 0
		for i := range extra {
			number |= int(b[i]) << (8 * i)
		}
		b = b[extra:]
		switch tag & 3 {
		case 0:
			if extra > 0 {
				length = number + 1
			}
			if length > len(b) || length > n-len(dst) {
				return nil, errPlain
			}
			dst, b = append(dst, b[:length]...), b[length:]
			continue
		case 1:
			length, number = int(tag>>2&7)+4, int(tag>>5)<<8|number
		}
		var ok bool
		if dst, ok = repeatBlock(dst, begin, number, length, n); !ok {
			return nil, errPlain
		}
	}
	if uint64(len(dst)-begin) != want {
		return nil, errPlain
	}
	return dst, nil
}

// repeatBlock does what repeat does, within what was appended from begin on.
func repeatBlock(dst []byte, begin, back, length, n int) ([]byte, bool) {
	if back > len(dst)-begin {
		return nil, false
	}
	return repeat(dst, back, length, n)
}
