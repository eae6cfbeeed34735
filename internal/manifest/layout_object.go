package manifest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/wire"
)

const layoutMagic = "OFLAYT\x00\x01"

// LayoutPrefix is what the keys of all layouts begin with.
const LayoutPrefix = "layout/"

// LayoutKey is the key of the layout after the entry with the given sequence number.
func LayoutKey(seq uint64) string { return LayoutPrefix + LogKey(seq)[len("log/"):] }

// LayoutRef names a layout's object by what is in it.
type LayoutRef struct {
	Sequence uint64 // the last entry that moved something, or gave some up
	Digest   Digest // of its body, as it is before compression
}

// append appends what was moved, and is in force, in the one form that it has.
func (l *Layout) append(b []byte) []byte {
	homes := l.Homes()
	index := make(map[*Home]uint64, len(homes))
	b = wire.AppendUvarint(b, uint64(len(homes)))
	before := uint64(0)
	for i, h := range homes {
		index[h] = uint64(i) + 1
		b = wire.AppendUvarint(b, h.Entry-before)
		b = append(b, h.Name.Writer[:]...)
		b = wire.AppendUvarint(b, h.Name.Counter)
		b = wire.AppendUvarint(b, uint64(h.Ref.Size))
		b = wire.AppendUvarint(b, uint64(h.Ref.FooterLength))
		b = append(b, h.Ref.FooterDigest[:]...)
		b = wire.AppendUvarint(b, uint64(h.Streams))
		before = h.Entry
	}
	streams := slices.Sorted(maps.Keys(l.pieces))
	b = wire.AppendUvarint(b, uint64(len(streams)))
	stream := 0
	for _, n := range streams {
		b = wire.AppendUvarint(b, uint64(n-stream))
		b = wire.AppendUvarint(b, uint64(len(l.pieces[n])))
		next := int64(0)
		for _, p := range l.pieces[n] {
			b = wire.AppendUvarint(b, uint64(p.Start-next))
			b = p.append(b, index[p.In])
			next = p.Next()
		}
		stream = n
	}
	return b
}

// Homes returns the segments that pieces in force are in, in the order of the log.
func (l *Layout) Homes() []*Home {
	all := make(map[*Home]bool)
	l.Pieces(func(p *Piece) {
		if !p.Lost {
			all[p.In] = true
		}
	})
	return slices.SortedFunc(maps.Keys(all), func(a, b *Home) int {
		return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Name.Counter, b.Name.Counter))
	})
}

// append appends a piece but for its start; home is 0 for one that is lost.
func (p *Piece) append(b []byte, home uint64) []byte {
	b = wire.AppendUvarint(b, uint64(p.Span.Offsets))
	b = wire.AppendVarint(b, p.Span.Offsets-p.Span.Records)
	if p.Span.Records > 0 {
		b = wire.AppendVarint(b, p.Span.MaxTimestamp)
		b = wire.AppendUvarint(b, uint64(p.Span.MaxTimestamp)-uint64(p.Span.MinTimestamp))
	}
	b = wire.AppendUvarint(b, home)
	if p.Lost {
		b = wire.AppendUvarint(b, p.In.Entry)
		b = append(b, p.In.Name.Writer[:]...)
		b = wire.AppendUvarint(b, p.In.Name.Counter)
	}
	return b
}

// parseLayout is the inverse of append, for the wanted streams.
func parseLayout(body []byte, upTo uint64, wanted func(stream int) bool) (*Layout, error) {
	r := wire.NewReader(body)
	l := NewLayout(wanted)
	l.reached = upTo
	homes := make([]*Home, r.Count("segments", 53))
	before := uint64(0)
	for i := range homes {
		h := &Home{Entry: before + r.Max("entry", upTo-before), last: -1}
		before = h.Entry
		copy(h.Name.Writer[:], r.Bytes(len(h.Name.Writer)))
		h.Name.Counter = r.Uvarint()
		h.Key = h.Name.Key()
		h.Ref = segment.Ref{Size: int64(r.Max("size", maxOffset)), FooterLength: int64(r.Max("footer length", maxBody))}
		copy(h.Ref.FooterDigest[:], r.Bytes(len(h.Ref.FooterDigest)))
		if h.Streams = int(r.Max("streams", maxNumber)); h.Streams == 0 {
			r.Failf("a segment without a stream")
		}
		homes[i] = h
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	stream := 0
	for range r.Count("streams", 6) {
		stream += int(r.Max("stream", maxNumber))
		var list []*Piece
		next := int64(0)
		for range r.Count("moves", 4) {
			p := &Piece{Stream: stream, Start: next + int64(r.Max("offset", uint64(maxOffset-next)))}
			if p.parse(r, homes, upTo); r.Err() != nil {
				return nil, r.Err()
			}
			next = p.Next()
			if l.wants(stream) {
				list = append(list, p)
			}
		}
		if len(list) > 0 {
			l.pieces[stream] = list
		}
	}
	return l, r.Close()
}

func (p *Piece) parse(r *wire.Reader, homes []*Home, upTo uint64) {
	s := &p.Span
	s.Offsets = int64(r.Max("offsets", uint64(maxOffset-p.Start)))
	if s.Records = s.Offsets - r.Varint(); s.Offsets == 0 || s.Records < 0 {
		r.Failf("a move of %d records at %d offsets", s.Records, s.Offsets)
	}
	if s.Records > 0 {
		s.MaxTimestamp = r.Varint()
		if s.MinTimestamp = int64(uint64(s.MaxTimestamp) - r.Uvarint()); s.MinTimestamp > s.MaxTimestamp {
			r.Failf("timestamps out of range")
		}
	}
	if home := r.Max("segment", uint64(len(homes))); home > 0 && r.Err() == nil {
		p.In = homes[home-1]
		return
	}
	p.Lost, p.In = true, &Home{Entry: r.Max("entry", upTo)}
	copy(p.In.Name.Writer[:], r.Bytes(len(p.In.Name.Writer)))
	p.In.Name.Counter = r.Uvarint()
	p.In.Key = p.In.Name.Key()
}

// encodeLayout returns the object with a layout's body.
func encodeLayout(p *packer, ref LayoutRef, body []byte, repo, writer ID) ([]byte, error) {
	b := append(make([]byte, 0, entryHeader), layoutMagic...)
	b = binary.BigEndian.AppendUint64(b, ref.Sequence)
	b = append(b, ref.Digest[:]...)
	b = append(b, repo[:]...)
	b = append(b, writer[:]...)
	return p.frame(appendMillis(b, 0), body, 0, nil)
}

// layoutBody returns the body of a layout's object, if it is that of the ref.
func layoutBody(b []byte, ref LayoutRef) ([]byte, error) {
	if len(b) < entryHeader+sha256.Size || string(b[:8]) != layoutMagic || !intact(b) {
		return nil, errors.New("it is none, or its content does not match its SHA-256")
	}
	body, err := unpackBody(b)
	if err == nil && sha256.Sum256(body) != ref.Digest {
		err = errors.New("it is not the one that the snapshot states")
	}
	return body, err
}

// openLayout reads a layout that a snapshot states, for the wanted streams.
func (r *Repository) openLayout(ctx context.Context, ref LayoutRef, wanted func(stream int) bool) (*Layout, error) {
	key := LayoutKey(ref.Sequence)
	b, err := readObject(ctx, r.store, key, maxEntry)
	if err == nil {
		b, err = r.OpenObject(ctx, key, b)
	}
	if err == nil {
		b, err = layoutBody(b, ref)
	}
	var l *Layout
	if err == nil {
		l, err = parseLayout(b, ref.Sequence, wanted)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// settleLayout puts the layout of the state into an object of its own, if there is
// none of the same yet, so that a snapshot can state it.
func (l *Log) settleLayout(ctx context.Context) error {
	s := l.state
	if s.moved.since == nil || s.Moved == 0 || s.moved.base != nil && s.moved.base.Sequence == s.Moved {
		return nil
	}
	whole, err := l.repo.movedUpTo(ctx, s, nil)
	if err != nil {
		return err
	}
	body := whole.append(nil)
	if len(body) > maxBody {
		return fmt.Errorf("a layout of %d bytes is above the limit of %d", len(body), maxBody)
	}
	ref := LayoutRef{s.Moved, sha256.Sum256(body)}
	key := LayoutKey(ref.Sequence)
	b, err := encodeLayout(&l.packer, ref, body, l.repo.ID, l.writer)
	if err != nil {
		return err
	}
	if b, err = l.repo.SealObject(s, key, b); err != nil {
		return err
	}
	_, err = l.repo.store.Put(ctx, key, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
	if errors.Is(err, store.ErrExists) { // its writer may have been killed before a snapshot could state it
		_, err = l.repo.openLayout(ctx, ref, nil)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	s.moved = moved{base: &ref, since: NewLayout(nil)}
	return nil
}
