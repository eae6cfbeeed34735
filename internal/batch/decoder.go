package batch

import (
	"errors"
	"fmt"
)

const (
	// MaxRecordSize is the largest encoded record, in bytes, that a Decoder accepts. It is above what a broker with
	// the default socket.request.max.bytes of 100 MiB takes uncompressed.
	MaxRecordSize = 128 << 20

	// MaxDecompressed is how many bytes a Decoder takes out of one batch at most.
	MaxDecompressed = 4 << 30
)

// Decoder takes batches apart. It decompresses as it goes and keeps no more than the record at hand, so that its
// memory follows the largest record and not the batch. On top of that come the codec's own needs: 64 KiB to 8 MiB; but
// for snappy a whole block, which may be as large as MaxRecordSize though no more than 22 times the compressed bytes,
// and for zstd above level 19 a window of up to 128 MiB, though no more than twice the content. Memory for a rare large
// record, block or window is given back after the batch.
//
// A Decoder is for one goroutine at a time and needs no closing.
type Decoder struct {
	in     inflater
	win    window
	record Record
}

// NewDecoder returns a Decoder. Codecs get their memory when the first batch needs them.
func NewDecoder() *Decoder { return new(Decoder) }

// Decode calls fn for each record of raw, in order, control records included. raw must be one whole batch as Next
// returns it; its checksum is not verified again. The record is borrowed: it is valid until fn returns. An error of fn
// ends the decoding and is returned as it is.
//
// A batch is decoded completely or with an error: a *CorruptError unless exactly the declared number of well-formed
// records is there, at ascending offsets within the batch, and nothing after them; ErrTooLarge (wrapped) beyond
// MaxRecordSize, MaxDecompressed or the zstd window. Records before the damage have been handed out by then.
func (d *Decoder) Decode(raw []byte, fn func(*Record) error) error {
	h, err := ParseHeader(raw)
	if err != nil {
		return err
	}
	if len(raw) != h.Size() {
		return h.corrupt("%d bytes given, header says %d", len(raw), h.Size())
	}
	defer d.release()
	if err := d.open(&h, raw[HeaderSize:]); err != nil {
		return h.broken("decompress "+h.Codec().String(), err)
	}
	last := int32(-1)
	for range h.Count {
		delta, err := d.next(&h)
		if err != nil {
			return err
		}
		if delta.offset <= last || delta.offset > h.LastOffsetDelta {
			return h.corrupt("offset delta %d after %d, last is %d", delta.offset, last, h.LastOffsetDelta)
		}
		last = delta.offset
		d.record.Offset = h.BaseOffset + int64(delta.offset)
		d.record.Timestamp = h.BaseTimestamp + delta.timestamp
		if h.IsLogAppendTime() {
			d.record.Timestamp = h.MaxTimestamp
		}
		if err := fn(&d.record); err != nil {
			return err
		}
	}
	return d.end(&h)
}

// open points the window at the payload. Compaction leaves empty batches, whose payload is no stream of any codec.
func (d *Decoder) open(h *Header, payload []byte) error {
	if h.Codec() == None || len(payload) == 0 {
		d.win.show(payload)
		return nil
	}
	src, err := d.in.open(h.Codec(), payload)
	if err != nil {
		return err
	}
	d.win.read(src)
	return nil
}

// next parses the record at the start of the window into d.record and moves past it.
func (d *Decoder) next(h *Header) (deltas, error) {
	b, err := d.win.peek(maxVarint32)
	if err != nil {
		return deltas{}, h.broken("decompress "+h.Codec().String(), err)
	}
	size, n := varint32(b)
	switch {
	case n <= 0 || size < 0:
		return deltas{}, h.corrupt("bad record length")
	case size > MaxRecordSize:
		return deltas{}, h.broken("record above the limit", ErrTooLarge)
	}
	total := n + int(size)
	if b, err = d.win.peek(total); err != nil {
		return deltas{}, h.broken("decompress "+h.Codec().String(), err)
	}
	if len(b) < total {
		return deltas{}, h.corrupt("payload ends inside a record")
	}
	delta, reason := d.record.parse(b[n:total:total])
	if reason != "" {
		return deltas{}, h.corrupt("malformed record: %s", reason)
	}
	d.win.skip(total)
	return delta, nil
}

// end checks that the payload holds nothing after its records. Reading to the end also lets a codec check its own
// trailer.
func (d *Decoder) end(h *Header) error {
	b, err := d.win.peek(1)
	if err != nil {
		return h.broken("decompress "+h.Codec().String(), err)
	}
	if len(b) > 0 {
		return h.corrupt("bytes after the last of %d records", h.Count)
	}
	return nil
}

// release lets go of the caller's batch and of memory that only a rare batch needs.
func (d *Decoder) release() {
	d.in.release()
	d.win.release()
	d.record = Record{}
}

// broken wraps what a decompressor said. Too large is no corruption.
func (h *Header) broken(reason string, err error) error {
	if exceedsWindow(err) {
		err = ErrTooLarge
	}
	if errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("batch at offset %d: %s: %w", h.BaseOffset, reason, err)
	}
	return &CorruptError{Offset: h.BaseOffset, Reason: reason, Err: err}
}
