package sink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// served describes a batch as a broker serves it.
type served struct {
	base     int64
	last     int32 // last offset delta
	missing  int32 // records that compaction removed
	codec    batch.Codec
	flags    uint16 // of the attributes, beside the codec
	producer int64  // of a transaction, 0 for none
	epoch    int16  // of the producer
	leader   int32  // epoch
	size     int    // of each value
	first    int64  // timestamp of the first record; each later one is 10 ms younger
}

const (
	logAppend     = 0x08
	transactional = 0x10
	control       = 0x20
	deleteHorizon = 0x40
)

// marker ends a transaction.
func marker(base, producer int64, kind byte) []byte {
	b, err := batch.NewBuilder(batch.None)
	if err != nil {
		panic(err)
	}
	b.Append(500, batch.NewRecord([]byte{0, 0, 0, kind}, []byte{0, 0, 0, 0, 0, 7}))
	return served{base: base, flags: transactional | control, producer: producer}.finish(b)
}

func commitMarker(base, producer int64) []byte { return marker(base, producer, 1) }
func abortMarker(base, producer int64) []byte  { return marker(base, producer, 0) }

func (s served) next() int64 { return s.base + int64(s.last) + 1 }

func (s served) encode() []byte {
	b, err := batch.NewBuilder(s.codec)
	if err != nil {
		panic(err)
	}
	for i := range s.last + 1 - s.missing {
		b.Append(s.first+int64(i)*10, batch.NewRecord([]byte("k"), make([]byte, s.size)))
	}
	return s.finish(b)
}

// finish makes of the built batch what the broker would store.
func (s served) finish(b *batch.Builder) []byte {
	built, _, err := b.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
	if err != nil {
		panic(err)
	}
	raw := bytes.Clone(built)
	be := binary.BigEndian
	be.PutUint64(raw, uint64(s.base))
	be.PutUint32(raw[12:], uint32(s.leader))
	be.PutUint16(raw[21:], be.Uint16(raw[21:])|s.flags)
	be.PutUint32(raw[23:], uint32(s.last))
	if s.producer != 0 {
		be.PutUint64(raw[43:], uint64(s.producer))
		be.PutUint16(raw[51:], uint16(s.epoch))
	}
	return crc(raw)
}

func crc(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// run encodes batches of the given lengths in offsets, one after the other.
func run(base int64, lengths ...int32) (raw []byte) {
	for _, n := range lengths {
		s := served{base: base, last: n - 1}
		raw, base = append(raw, s.encode()...), s.next()
	}
	return raw
}

const everything = 1 << 40

// ranges tells what the pieces cover.
func ranges(pieces []piece) (list []string) {
	for _, p := range pieces {
		list = append(list, fmt.Sprintf("[%d,%d) %d batches %d records", p.sum.Start, p.sum.Next, p.sum.Batches, p.sum.Records))
	}
	return list
}

func TestWalkPieces(t *testing.T) {
	one := len(run(0, 1))
	for _, tc := range []struct {
		name        string
		raw         []byte
		start, high int64
		blockBytes  int
		want        []string
		err         error
	}{
		{"nothing", nil, 5, 9, everything, nil, nil},
		{"one batch", run(5, 3), 5, 8, everything, []string{"[5,8) 1 batches 3 records"}, nil},
		{"several", run(5, 3, 1, 2), 5, 11, everything, []string{"[5,11) 3 batches 6 records"}, nil},
		{"cut into pieces", run(0, 1, 1, 1, 1, 1), 0, 5, 2 * one, []string{"[0,2) 2 batches 2 records", "[2,4) 2 batches 2 records", "[4,5) 1 batches 1 records"}, nil},
		{"each a piece", run(0, 1, 1), 0, 2, 1, []string{"[0,1) 1 batches 1 records", "[1,2) 1 batches 1 records"}, nil},
		{"a cut tail", run(0, 1, 1)[:2*one-1], 0, 2, everything, []string{"[0,1) 1 batches 1 records"}, nil},
		{"only a part", run(0, 1)[:one-1], 0, 1, everything, nil, errCutOnly},
		{"only a few bytes", run(0, 1)[:3], 0, 1, everything, nil, errCutOnly},
		{"begins before", run(0, 4), 2, 4, everything, []string{"[2,4) 1 batches 4 records"}, nil},
		{"a batch below", append(run(0, 2), run(2, 2)...), 2, 4, everything, []string{"[2,4) 1 batches 2 records"}, nil},
		{"only a batch below", run(0, 2), 2, 4, everything, nil, nil},
		{"a batch below and a part", append(run(0, 2), run(2, 2)[:9]...), 2, 4, everything, nil, errCutOnly},
		{"holes", append(run(3, 1), run(9, 1)...), 1, 10, everything, []string{"[1,10) 2 batches 2 records"}, nil},
		{"nothing above the high watermark", run(0, 2, 2), 0, 2, everything, []string{"[0,2) 1 batches 2 records"}, nil},
		{"nor across it", run(0, 2, 2), 0, 3, everything, []string{"[0,2) 1 batches 2 records"}, nil},
		{"all above it", run(0, 2), 0, 0, everything, nil, errCutOnly},
		{"out of order", append(run(5, 2), run(3, 2)...), 0, 9, everything, nil, errDisorder},
		{"twice", append(run(5, 2), run(5, 2)...), 5, 9, everything, nil, errDisorder},
		{"overlapping", append(run(5, 3), run(7, 3)...), 5, 11, everything, nil, errDisorder},
		{"out of order in the next piece", append(run(5, 2), run(3, 2)...), 0, 9, 1, nil, errDisorder},
		{"overlapping in the next piece", append(run(5, 3), run(7, 3)...), 5, 11, 1, nil, errDisorder},
		{"zeros", make([]byte, 200), 0, 9, everything, nil, batch.ErrMagic},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pieces, err := walk(tc.raw, tc.start, tc.high, tc.blockBytes)
			if !errors.Is(err, tc.err) || (err == nil) != (tc.err == nil) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			if got := ranges(pieces); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Of a damaged batch nothing is taken, nor of what came with it: the next
// request brings it all again.
func TestWalkRefusesDamage(t *testing.T) {
	raw := run(0, 2, 2, 2)
	one := len(run(0, 2))
	for i := one; i < 2*one; i++ {
		for bit := range 8 {
			b := bytes.Clone(raw)
			b[i] ^= 1 << bit
			pieces, err := walk(b, 0, 6, everything)
			field := i - one
			// The length decides what the batch is; base offset and leader epoch
			// are not in its checksum.
			if err == nil && field >= 16 {
				t.Fatalf("byte %d bit %d of the batch is taken: %v", field, bit, ranges(pieces))
			}
			if err != nil && pieces != nil {
				t.Fatalf("byte %d bit %d: pieces beside an error", field, bit)
			}
		}
	}
}

// TestWalkPrefixes cuts a response everywhere: what is whole is taken, once.
func TestWalkPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var raw []byte
		var ends []int // in bytes
		var nexts []int64
		at := int64(0)
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			s := served{base: at + rapid.Int64Range(0, 2).Draw(t, "hole"), last: rapid.Int32Range(0, 4).Draw(t, "last"), size: rapid.IntRange(0, 30).Draw(t, "size")}
			raw, at = append(raw, s.encode()...), s.next()
			ends, nexts = append(ends, len(raw)), append(nexts, at)
		}
		blockBytes := rapid.IntRange(1, 400).Draw(t, "block")
		for n := range len(raw) + 1 {
			whole := 0
			for whole < len(ends) && ends[whole] <= n {
				whole++
			}
			pieces, err := walk(raw[:n], 0, everything, blockBytes)
			if whole == 0 {
				if n > 0 && !errors.Is(err, errCutOnly) || len(pieces) > 0 {
					t.Fatalf("%d bytes: %v, %v", n, ranges(pieces), err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			var joined []byte
			start := int64(0)
			for _, p := range pieces {
				if p.sum.Start != start || cap(p.raw) != len(p.raw) {
					t.Fatalf("%d bytes: %v", n, ranges(pieces))
				}
				start = p.sum.Next
				joined = append(joined, p.raw...)
			}
			if start != nexts[whole-1] || !bytes.Equal(joined, raw[:ends[whole-1]]) {
				t.Fatalf("%d bytes with %d whole batches: %v", n, whole, ranges(pieces))
			}
		}
	})
}

func TestWalkSummary(t *testing.T) {
	for _, tc := range []struct {
		name string
		raw  []byte
		want segment.Summary
	}{
		{"plain", served{last: 2, first: 100, leader: 4}.encode(),
			segment.Summary{Next: 3, Batches: 1, Records: 3, MinTimestamp: 100, MaxTimestamp: 120, LeaderEpoch: 4, Plain: true}},
		{"two", append(served{last: 2, first: 100, leader: 4}.encode(), served{base: 3, first: 50, leader: 5}.encode()...),
			segment.Summary{Next: 4, Batches: 2, Records: 4, MinTimestamp: 50, MaxTimestamp: 120, LeaderEpoch: 5, Plain: true}},
		{"compacted", served{last: 2, missing: 1, first: 100}.encode(),
			segment.Summary{Next: 3, Batches: 1, Records: 2, MinTimestamp: 100, MaxTimestamp: 110}},
		{"begins later", served{base: 1, last: 1, first: 100}.encode(),
			segment.Summary{Next: 3, Batches: 1, Records: 2, MinTimestamp: 100, MaxTimestamp: 110}},
		{"log append time", served{last: 2, first: 100, flags: logAppend}.encode(),
			segment.Summary{Next: 3, Batches: 1, Records: 3, MinTimestamp: 120, MaxTimestamp: 120}},
		{"delete horizon", served{last: 2, first: 100, flags: deleteHorizon}.encode(),
			segment.Summary{Next: 3, Batches: 1, Records: 3, MinTimestamp: 120, MaxTimestamp: 120, Plain: true}},
		{"a marker alone", commitMarker(0, 7),
			segment.Summary{Next: 1, Batches: 1, Events: []segment.TxnEvent{{Kind: segment.TxnCommit, ProducerID: 7}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pieces, err := walk(tc.raw, 0, everything, everything)
			if err != nil || len(pieces) != 1 {
				t.Fatalf("got %d pieces, %v", len(pieces), err)
			}
			if !reflect.DeepEqual(pieces[0].sum, tc.want) {
				t.Errorf("got  %+v\nwant %+v", pieces[0].sum, tc.want)
			}
		})
	}
}

// TestWalkEvents: of a producer's data, the first since its last marker.
func TestWalkEvents(t *testing.T) {
	data := func(base, producer int64, epoch int16) []byte {
		return served{base: base, last: 1, flags: transactional, producer: producer, epoch: epoch}.encode()
	}
	raw := slices.Concat(
		data(0, 1, 0), data(2, 1, 0), data(4, 2, 0), // the second of 1 says nothing new
		commitMarker(6, 1), data(7, 1, 0), abortMarker(9, 2), abortMarker(10, 3), // 3 began earlier
		data(11, 1, 1), // another epoch
		served{base: 13, last: 0}.encode(),
	)
	want := []segment.TxnEvent{
		{Offset: 0, ProducerID: 1}, {Offset: 4, ProducerID: 2}, {Offset: 6, Kind: segment.TxnCommit, ProducerID: 1}, {Offset: 7, ProducerID: 1},
		{Offset: 9, Kind: segment.TxnAbort, ProducerID: 2}, {Offset: 10, Kind: segment.TxnAbort, ProducerID: 3}, {Offset: 11, ProducerID: 1, ProducerEpoch: 1},
	}
	pieces, err := walk(raw, 0, everything, everything)
	if err != nil || len(pieces) != 1 || !reflect.DeepEqual(pieces[0].sum.Events, want) {
		t.Errorf("got %+v, %v\nwant %+v", pieces, err, want)
	}
	if pieces[0].sum.Records != 11 {
		t.Errorf("%d records, want 11 without the markers", pieces[0].sum.Records)
	}
	// In a piece of its own, data is the first again.
	if pieces, err = walk(raw, 0, everything, 1); err != nil || len(pieces) != 9 || len(pieces[1].sum.Events) != 1 {
		t.Errorf("got %+v, %v", pieces, err)
	}
	// A batch that begins before the offset asked for counts from there.
	if pieces, err = walk(raw, 1, everything, everything); err != nil || pieces[0].sum.Events[0].Offset != 1 {
		t.Errorf("got %+v, %v", pieces, err)
	}
}

// Only bytes that the producer did not compress are worth compressing.
func TestWalkCountsLooseBytes(t *testing.T) {
	loose := served{last: 1, size: 300}.encode()
	packed := served{base: 2, last: 1, size: 300, codec: batch.LZ4}.encode()
	pieces, err := walk(append(bytes.Clone(loose), packed...), 0, everything, everything)
	if err != nil || pieces[0].loose != len(loose) {
		t.Errorf("%d bytes are loose, want %d, %v", pieces[0].loose, len(loose), err)
	}
}
