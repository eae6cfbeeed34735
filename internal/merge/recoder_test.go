package merge

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// lz4Block returns a block of some batches that are compressed with lz4.
func lz4Block(t *testing.T) (k segment.Block, stored []byte) {
	t.Helper()
	b, err := batch.NewBuilder(batch.LZ4)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		for i := range 50 {
			value := strings.Repeat("a value that is in all records ", 4) + strings.Repeat(string(rune('a'+i%20)), 30)
			b.Append(1_700_000_000_000+int64(i), batch.NewRecord([]byte("key"), []byte(value)))
		}
		raw, _, err := b.Finish(batch.ProducerIdentity{ID: -1, Epoch: -1, Sequence: -1})
		if err != nil {
			t.Fatal(err)
		}
		raw[7] = byte(50 * n) // the base offset, which the checksum does not cover
		stored = append(stored, raw...)
	}
	k = segment.Block{Summary: segment.Summary{Next: 150, Batches: 3, Records: 150, Plain: true}}
	enc, err := segment.NewEncoder(segment.DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	if stored, err = enc.Encode(&k, stored, false); err != nil {
		t.Fatal(err)
	}
	return k, stored
}

// recoded joins one block and returns what is written for it.
func recoded(t *testing.T, worse func(open func(dst, raw []byte, most int) []byte) func(dst, raw []byte, most int) []byte) (r Result, k segment.Block, same bool) {
	t.Helper()
	j, err := newJoiner()
	if err != nil {
		t.Fatal(err)
	}
	if j.recoder, err = newRecoder(slog.New(slog.DiscardHandler), &r); err != nil {
		t.Fatal(err)
	}
	j.recoder.open = worse(j.recoder.open)
	was, stored := lz4Block(t)
	j.write = func(b segment.Block, s []byte) error {
		k, same = b, bytes.Equal(s, stored)
		return nil
	}
	if err := j.add(was, bytes.Clone(stored)); err != nil {
		t.Fatal(err)
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	return r, k, same
}

// TestBrokenDecompressionIsNoticed: however well-formed that is what a decompressor yields, if it is not what the batch
// holds, the block stays as it was.
func TestBrokenDecompressionIsNoticed(t *testing.T) {
	type opener = func(dst, raw []byte, most int) []byte
	r, k, same := recoded(t, func(open opener) opener { return open })
	if k.Codec != segment.Reencoded || same || r.Reencoded == 0 || r.Unproven > 0 {
		t.Fatalf("sound: %+v, codec %d", r, k.Codec)
	}
	calls := 0
	worse := map[string]func(open opener) opener{
		"another value in one record": func(open opener) opener {
			return func(dst, raw []byte, most int) []byte {
				at := len(dst)
				dst = open(dst, raw, most)
				if calls++; calls%3 == 2 {
					i := bytes.LastIndex(dst, []byte("value"))
					dst[i] ^= 1
					reseal(t, dst[at+9:])
				}
				return dst
			}
		},
		"the batch before once more": func(open opener) opener {
			var last []byte
			return func(dst, raw []byte, most int) []byte {
				if last != nil {
					raw = last
				}
				last = bytes.Clone(raw)
				return open(dst, raw, most)
			}
		},
		"a batch less": func(open opener) opener {
			return func(dst, raw []byte, most int) []byte {
				if raw[7] == 100 {
					return append(dst, open(nil, raw, most)[:0]...)
				}
				return open(dst, raw, most)
			}
		},
	}
	for name, open := range worse {
		if r, k, same := recoded(t, open); k.Codec != segment.Stored || !same || r.Reencoded > 0 || r.Unproven != 1 {
			t.Errorf("%s: %+v, codec %d, as it was: %t", name, r, k.Codec, same)
		}
	}
}

// reseal puts the checksum of an uncompressed batch right.
func reseal(t *testing.T, raw []byte) {
	t.Helper()
	h, err := batch.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	base, epoch := bytes.Clone(raw[:8]), bytes.Clone(raw[12:16])
	batch.Rewrite(raw, batch.ProducerIdentity{ID: h.ProducerID, Epoch: h.ProducerEpoch, Sequence: h.BaseSequence})
	copy(raw, base)
	copy(raw[12:], epoch)
}
