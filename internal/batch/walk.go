package batch

import (
	"hash/crc32"
)

// Next takes the first batch off b, with its checksum verified: raw is that batch and rest what follows it, both
// aliasing b. It returns ErrCut if b ends before the batch does, which includes an empty b, so that a loop over a
// fetch response needs only this one condition to end; a *MagicError for message formats 0 and 1; and a *CorruptError
// for everything else. On an error raw and rest are nil; h is set as far as it could be read and is not to be trusted.
//
// The batch may begin before the offset that was fetched, and its base offset and leader epoch are not protected by
// the checksum.
func Next(b []byte) (h Header, raw, rest []byte, err error) {
	h, err = ParseHeader(b)
	if err != nil {
		return h, nil, nil, err
	}
	size := h.Size()
	if len(b) < size {
		return h, nil, nil, ErrCut
	}
	raw = b[:size:size]
	if sum := checksum(raw); sum != h.CRC {
		return h, nil, nil, h.corrupt("checksum is %08x, header says %08x", sum, h.CRC)
	}
	return h, raw, b[size:], nil
}

// checksum computes the CRC32C of a whole batch over the range Kafka defines.
func checksum(raw []byte) uint32 {
	return crc32.Checksum(raw[posAttributes:], crc32.MakeTable(crc32.Castagnoli))
}
