package batch_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// FuzzNext: whatever Next accepts is the beginning of the input, whole, and nothing more.
func FuzzNext(f *testing.F) {
	f.Add(encode(plain(3)))
	f.Add(append(encode(plain(1)), encode(markerBatch([]byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 8}))...))
	f.Add(make([]byte, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkNext(t, b)
		if len(b) >= batch.HeaderSize { // get past the checksum
			checkNext(t, seal(bytes.Clone(b)))
		}
	})
}

// A payload that is tiny cannot hold what is not affordable, in any codec: it can only claim to.
const (
	tiny       = 256
	affordable = 32 * mib
)

func checkNext(t *testing.T, b []byte) {
	h, raw, rest, err := batch.Next(b)
	if err != nil {
		checkError(t, err)
		if raw != nil || rest != nil {
			t.Fatal("bytes along with an error")
		}
		return
	}
	if len(raw) != h.Size() || !bytes.Equal(b, append(bytes.Clone(raw), rest...)) {
		t.Fatal("batch and rest are not the input")
	}
	if h.BaseOffset < 0 || h.NextOffset() <= h.BaseOffset || h.Count < 0 {
		t.Fatalf("header out of bounds: %+v", h)
	}
	if _, err := batch.Marker(raw); err != nil && !errors.Is(err, batch.ErrNoMarker) {
		checkError(t, err)
	}
	copied := bytes.Clone(raw)
	batch.Rewrite(copied, batch.ProducerIdentity{ID: 1, Epoch: 2, Sequence: 3})
	after, _, _, err := batch.Next(copied)
	if err != nil || after.Count != h.Count || after.Codec() != h.Codec() || after.IsControl() != h.IsControl() {
		t.Fatalf("after Rewrite: %+v, %v", after, err)
	}
}

// checkError accepts the errors that the package documents and no others.
func checkError(t *testing.T, err error) {
	t.Helper()
	var corrupt *batch.CorruptError
	if !errors.As(err, &corrupt) && !errors.Is(err, batch.ErrMagic) && !errors.Is(err, batch.ErrCut) && !errors.Is(err, batch.ErrTooLarge) {
		t.Fatalf("undocumented error %v", err)
	}
}

// FuzzDecode: a payload is refused, or decoded in bounds, rebuilt, and decoded to the same records again. A small one costs
// little memory, whatever it claims.
func FuzzDecode(f *testing.F) {
	b, _ := shapes()
	small := plain(3)
	for _, c := range codecs {
		f.Add(int16(c), small.LastOffsetDelta, small.NumRecords, compress(f, c, small.Records))
	}
	f.Add(int16(batch.Snappy), small.LastOffsetDelta, small.NumRecords, xerial(small.Records, 10))
	f.Add(int16(batch.Zstd|8), b.LastOffsetDelta, b.NumRecords, compress(f, batch.Zstd, b.Records))
	d := batch.NewDecoder()
	f.Fuzz(func(t *testing.T, attributes int16, last, count int32, payload []byte) {
		raw := encode(kmsg.RecordBatch{Attributes: attributes, LastOffsetDelta: last, NumRecords: count, Records: payload})
		if _, cost, _ := allocated(raw); len(payload) < tiny && cost > affordable {
			t.Errorf("%d bytes are allocated for %d", cost, len(payload))
		}
		builder := newBuilder(t, batch.None)
		var first [][]byte
		next := int64(0)
		err := d.Decode(raw, func(r *batch.Record) error {
			if r.Offset < next || r.Offset > int64(last) {
				t.Fatalf("offset %d, expected %d to %d", r.Offset, next, last)
			}
			next = r.Offset + 1
			remember(r)
			first = append(first, bytes.Clone(r.Body()))
			builder.Append(r.Timestamp, r)
			return nil
		})
		if err != nil {
			checkError(t, err)
			return
		}
		if len(first) != int(count) {
			t.Fatalf("%d records, declared %d", len(first), count)
		}
		if count == 0 {
			return
		}
		rebuilt, _, err := builder.Finish(identity)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		err = d.Decode(rebuilt, func(r *batch.Record) error {
			if !bytes.Equal(r.Body(), first[i]) {
				t.Fatalf("record %d changed", i)
			}
			i++
			return nil
		})
		if err != nil || i != len(first) {
			t.Fatalf("rebuilt batch: %d of %d records, %v", i, len(first), err)
		}
	})
}
