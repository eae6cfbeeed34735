package segment_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/segment"
)

// object is a segment with what went into it.
type object struct {
	bytes  []byte
	ref    segment.Ref
	footer *segment.Footer
	raw    map[int64][]byte // by position: the raw bytes of a block
}

// tail is what Open takes.
func (o *object) tail() []byte { return o.bytes[int64(len(o.bytes))-o.ref.TailLength():] }

func (o *object) stored(k *segment.Block) []byte { return o.bytes[k.Position:][:k.StoredLength] }

// chunk is a block to write.
type chunk struct {
	stream   int
	sum      segment.Summary
	raw      []byte
	compress bool
}

func streamOf(n int) segment.Stream {
	return segment.Stream{TopicID: [16]byte{byte(n >> 1), 7}, Topic: fmt.Sprintf("topic-%d", n>>1), Partition: int32(n & 1)}
}

// write makes a segment of the chunks.
func write(t interface{ Fatal(...any) }, chunks []chunk) *object {
	var buf bytes.Buffer
	w, err := segment.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := segment.NewEncoder(zstd.SpeedFastest)
	if err != nil {
		t.Fatal(err)
	}
	o := &object{raw: make(map[int64][]byte)}
	for _, c := range chunks {
		k := segment.Block{Summary: c.sum}
		stored, err := enc.Encode(&k, c.raw, c.compress)
		if err != nil {
			t.Fatal(err)
		}
		o.raw[w.Size()] = c.raw
		if err := w.WriteBlock(streamOf(c.stream), k, stored); err != nil {
			t.Fatal(err)
		}
	}
	if o.ref, o.footer, err = w.Finish(); err != nil {
		t.Fatal(err)
	}
	o.bytes = buf.Bytes()
	return o
}

// sample has every kind of field in it.
func sample(t interface{ Fatal(...any) }) *object {
	return write(t, []chunk{
		{0, segment.Summary{Start: 5, Next: 9, Batches: 2, Records: 4, MinTimestamp: -1, MaxTimestamp: 1_700_000_000_000, LeaderEpoch: 3, Plain: true},
			bytes.Repeat([]byte("compressible "), 20), true},
		{1, segment.Summary{Start: 0, Next: 3, Batches: 3, Records: 1, MinTimestamp: 7, MaxTimestamp: 7, LeaderEpoch: -1, Events: []segment.TxnEvent{
			{Offset: 0, Kind: segment.TxnData, ProducerID: 1 << 40, ProducerEpoch: 2},
			{Offset: 1, Kind: segment.TxnAbort, ProducerID: 1 << 40, ProducerEpoch: 2},
			{Offset: 1, Kind: segment.TxnCommit, ProducerID: 4000, ProducerEpoch: -1},
		}}, []byte("stored"), false},
		{0, segment.Summary{Start: 12, Next: 13, Batches: 1, LeaderEpoch: 4}, []byte("a marker"), true},
	})
}

func chunks() *rapid.Generator[[]chunk] {
	return rapid.Custom(func(t *rapid.T) []chunk {
		next := make(map[int]int64)
		list := make([]chunk, rapid.IntRange(0, 12).Draw(t, "blocks"))
		for i := range list {
			c := chunk{stream: rapid.IntRange(0, 3).Draw(t, "stream"), compress: rapid.Bool().Draw(t, "compress")}
			c.raw = bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "raw"), rapid.IntRange(1, 9).Draw(t, "times"))
			c.sum = summary(t, next[c.stream])
			next[c.stream] = c.sum.Next
			list[i] = c
		}
		return list
	})
}

func summary(t *rapid.T, from int64) segment.Summary {
	s := segment.Summary{
		Start:       from + rapid.Int64Range(0, 1<<40).Draw(t, "gap"),
		Batches:     rapid.Int64Range(0, 1<<40).Draw(t, "batches"),
		Records:     rapid.Int64Range(0, 1<<40).Draw(t, "records"),
		LeaderEpoch: rapid.Int32().Draw(t, "epoch"),
		Plain:       rapid.Bool().Draw(t, "plain"),
	}
	s.Next = s.Start + rapid.Int64Range(1, 1<<40).Draw(t, "offsets")
	if s.Records > 0 {
		a, b := rapid.Int64().Draw(t, "timestamp"), rapid.Int64().Draw(t, "timestamp")
		s.MinTimestamp, s.MaxTimestamp = min(a, b), max(a, b)
	}
	at := s.Start
	for range rapid.IntRange(0, 3).Draw(t, "events") {
		at = rapid.Int64Range(at, s.Next-1).Draw(t, "event offset")
		s.Events = append(s.Events, segment.TxnEvent{
			Offset: at, Kind: segment.EventKind(rapid.IntRange(0, 2).Draw(t, "kind")),
			ProducerID: rapid.Int64().Draw(t, "producer"), ProducerEpoch: rapid.Int16().Draw(t, "producer epoch"),
		})
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		list := chunks().Draw(t, "chunks")
		o := write(t, list)
		if o.ref.Size != int64(len(o.bytes)) {
			t.Fatalf("the reference says %d bytes of %d", o.ref.Size, len(o.bytes))
		}
		if err := segment.CheckHeader(o.bytes); err != nil {
			t.Fatal(err)
		}
		f, err := o.ref.Open(o.tail())
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Streams)+len(o.footer.Streams) > 0 && !reflect.DeepEqual(f, o.footer) {
			t.Fatalf("got %+v\nwant %+v", f, o.footer)
		}
		for _, l := range f.InFileOrder() {
			raw, err := dec.Decode(l.Block, o.stored(l.Block), nil)
			if err != nil || !bytes.Equal(raw, o.raw[l.Block.Position]) {
				t.Fatalf("block at %d: got %x, %v", l.Block.Position, raw, err)
			}
		}
	})
}

func TestBlocksComeInFileOrder(t *testing.T) {
	var got []string
	for _, l := range sample(t).footer.InFileOrder() {
		got = append(got, fmt.Sprintf("%s-%d@%d", l.Stream.Topic, l.Stream.Partition, l.Block.Start))
	}
	if want := []string{"topic-0-0@5", "topic-0-1@0", "topic-0-0@12"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestEveryBitAndLength changes each bit of an object and cuts it at each
// length: whatever a digest covers is refused.
func TestEveryBitAndLength(t *testing.T) {
	o := sample(t)
	dec, err := segment.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		if accepted(dec, o, b) {
			t.Errorf("%s: nothing is found wrong", what)
		}
	}
	for i := range o.bytes {
		for bit := range 8 {
			b := bytes.Clone(o.bytes)
			b[i] ^= 1 << bit
			check(fmt.Sprintf("byte %d bit %d", i, bit), b)
		}
		check(fmt.Sprintf("cut at %d", i), o.bytes[:i])
	}
	if !accepted(dec, o, o.bytes) {
		t.Error("the object as it is is refused")
	}
}

// accepted reads b as if it were the object.
func accepted(dec *segment.Decoder, o *object, b []byte) bool {
	if segment.CheckHeader(b) != nil || int64(len(b)) < o.ref.Size {
		return false
	}
	f, err := o.ref.Open(b[o.ref.Size-o.ref.TailLength():])
	if err != nil {
		return !errors.Is(err, segment.ErrCorrupt)
	}
	for _, l := range f.InFileOrder() {
		if _, err := dec.Decode(l.Block, b[l.Block.Position:][:l.Block.StoredLength], nil); err != nil {
			return !errors.Is(err, segment.ErrCorrupt)
		}
	}
	return true
}

// A reference of another object, or of a wrong size, does not open the tail.
func TestRefPinsTheFooter(t *testing.T) {
	o := sample(t)
	for name, change := range map[string]func(*segment.Ref){
		"size less one":   func(r *segment.Ref) { r.Size-- },
		"size plus one":   func(r *segment.Ref) { r.Size++ },
		"footer less one": func(r *segment.Ref) { r.FooterLength-- },
		"footer plus one": func(r *segment.Ref) { r.FooterLength++ },
		"digest":          func(r *segment.Ref) { r.FooterDigest[3] ^= 1 },
	} {
		ref := o.ref
		change(&ref)
		if _, err := ref.Open(o.tail()); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

// The trailer is for those who have no log: they find the footer by it.
func TestTrailer(t *testing.T) {
	o := sample(t)
	trailer := o.bytes[len(o.bytes)-16:]
	n := int64(binary.BigEndian.Uint32(trailer))
	footer := o.bytes[int64(len(o.bytes))-16-n:][:n]
	if n != o.ref.FooterLength || sha256.Sum256(footer) != o.ref.FooterDigest {
		t.Errorf("the trailer points at %d bytes, the reference at %d", n, o.ref.FooterLength)
	}
	if got, want := binary.BigEndian.Uint32(trailer[4:]), crc32.Checksum(footer, crc32.MakeTable(crc32.Castagnoli)); got != want {
		t.Errorf("CRC-32C is %08x, want %08x", got, want)
	}
	if string(o.bytes[:8]) != "OFSSEG\x00\x01" || string(trailer[8:]) != "OFSEND\x00\x01" {
		t.Errorf("magics are %q and %q", o.bytes[:8], trailer[8:])
	}
}

func TestWriterPassesErrorsOn(t *testing.T) {
	broken := errors.New("disk on fire")
	for good := range 4 {
		var buf bytes.Buffer
		w, err := segment.NewWriter(&failAfter{w: &buf, left: good, err: broken})
		k := segment.Block{Summary: segment.Summary{Next: 1}}
		for at := 0; err == nil && at < 2; at++ {
			k.Start, k.Next = int64(at), int64(at+1)
			err = w.WriteBlock(streamOf(0), k, []byte("x"))
		}
		if err == nil {
			_, _, err = w.Finish()
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d writes: got %v", good, err)
		}
	}
}

type failAfter struct {
	w    io.Writer
	left int
	err  error
}

func (f *failAfter) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.w.Write(p)
}

// Blocks of a stream out of order are a bug of the caller, found before they
// become an object that nobody can read.
func TestWriterPanicsOnDisorder(t *testing.T) {
	w, err := segment.NewWriter(iotest.TruncateWriter(io.Discard, 0))
	if err != nil {
		t.Fatal(err)
	}
	k := segment.Block{Summary: segment.Summary{Start: 10, Next: 20}}
	if err := w.WriteBlock(streamOf(0), k, []byte("x")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	k.Start, k.Next = 19, 21
	_ = w.WriteBlock(streamOf(0), k, []byte("x"))
}

func TestSummaryJoin(t *testing.T) {
	event := func(offset int64) []segment.TxnEvent { return []segment.TxnEvent{{Offset: offset}} }
	s := segment.Summary{Start: 3, Next: 3, LeaderEpoch: -1, Plain: true}
	s.Join(segment.Summary{Start: 3, Next: 5, Batches: 1, LeaderEpoch: 2, Plain: true}) // no records: its timestamps mean nothing
	s.Join(segment.Summary{Start: 5, Next: 9, Batches: 2, Records: 4, MinTimestamp: 50, MaxTimestamp: 60, LeaderEpoch: 4, Plain: true, Events: event(6)})
	if !s.Plain {
		t.Error("plain batches are not plain together")
	}
	s.Join(segment.Summary{Start: 9, Next: 10, Batches: 1, Records: 1, MinTimestamp: 40, MaxTimestamp: 55, LeaderEpoch: 4, Events: event(9)})
	want := segment.Summary{Start: 3, Next: 10, Batches: 4, Records: 5, MinTimestamp: 40, MaxTimestamp: 60, LeaderEpoch: 4, Events: append(event(6), event(9)...)}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
}
