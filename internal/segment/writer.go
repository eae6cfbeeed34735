package segment

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// Writer lays out a segment: header, blocks in the order of WriteBlock, footer.
// It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	at      int64
	footer  Footer
	streams map[streamKey]int
	seal    *Seal        // nil without encryption
	keys    map[*Key]int // where they are in the footer; nil without encryption
}

type streamKey struct {
	topic     [16]byte
	partition int32
}

// NewWriter starts a segment on w. Slices passed to w.Write may be kept by it:
// the writer never changes them afterwards.
func NewWriter(w io.Writer) (*Writer, error) { return NewSealedWriter(w, nil) }

// NewSealedWriter starts a segment of an encrypted repository: its blocks are
// sealed, with this seal or, copied from other segments, with their keys. Without
// a seal it does what NewWriter does.
func NewSealedWriter(w io.Writer, seal *Seal) (*Writer, error) {
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, fmt.Errorf("write segment header: %w", err)
	}
	sw := &Writer{w: w, at: int64(headerSize), streams: make(map[streamKey]int), seal: seal}
	if seal != nil {
		sw.keys = make(map[*Key]int)
	}
	return sw, nil
}

// WriteBlock appends a block that an Encoder has encoded into stored, or that
// another segment holds as it is. Blocks of one stream come in offset order.
func (w *Writer) WriteBlock(s Stream, k Block, stored []byte) error {
	if (k.Key != nil) != (w.seal != nil) {
		panic(fmt.Sprintf("segment: internal error: block of %s-%d at %d is sealed: %t", s.Topic, s.Partition, k.Start, k.Key != nil))
	}
	key := streamKey{s.TopicID, s.Partition}
	i, ok := w.streams[key]
	if !ok {
		i = len(w.footer.Streams)
		w.streams[key] = i
		w.footer.Streams = append(w.footer.Streams, StreamBlocks{Stream: s})
	}
	sb := &w.footer.Streams[i]
	if n := len(sb.Blocks); n > 0 && sb.Blocks[n-1].Next > k.Start {
		panic(fmt.Sprintf("segment: internal error: block of %s-%d at %d after %d", s.Topic, s.Partition, k.Start, sb.Blocks[n-1].Next))
	}
	if w.seal != nil {
		var err error
		if k.Key, err = w.addKey(k.Key); err != nil {
			return err
		}
	}
	if _, err := w.w.Write(stored); err != nil {
		return fmt.Errorf("write block: %w", err)
	}
	k.Position = w.at
	w.at += int64(len(stored))
	sb.Blocks = append(sb.Blocks, k)
	return nil
}

// addKey returns the key as the footer has it: segments that blocks are copied from
// may share one. One that has another's share and is another one is nobody's, but
// would make that one's blocks unreadable.
func (w *Writer) addKey(key *Key) (*Key, error) {
	if _, known := w.keys[key]; known {
		return key, nil
	}
	for _, k := range w.footer.Keys {
		if k.Share == key.Share && !k.same(key) {
			return nil, fmt.Errorf("%w: two data keys have one share, of segments %x/%08d and %x/%08d", ErrCorrupt, k.Writer, k.Counter, key.Writer, key.Counter)
		}
		if k.Share == key.Share {
			return k, nil
		}
	}
	w.keys[key] = len(w.footer.Keys)
	w.footer.Keys = append(w.footer.Keys, key)
	return key, nil
}

// Size returns the bytes written so far.
func (w *Writer) Size() int64 { return w.at }

// Finish writes footer and trailer and returns what the log must keep.
func (w *Writer) Finish() (Ref, *Footer, error) {
	footer := w.footer.append(nil, w.keys)
	if w.seal != nil {
		footer = w.seal.sealFooter(footer)
	}
	if len(footer) > MaxFooter {
		return Ref{}, nil, fmt.Errorf("segment: internal error: a footer of %d bytes", len(footer))
	}
	ref := Ref{FooterLength: int64(len(footer)), FooterDigest: sha256.Sum256(footer)}
	tail := appendTrailer(footer[:len(footer):len(footer)], footer)
	if _, err := w.w.Write(tail); err != nil {
		return Ref{}, nil, fmt.Errorf("write segment footer: %w", err)
	}
	ref.Size = w.at + int64(len(tail))
	return ref, &w.footer, nil
}
