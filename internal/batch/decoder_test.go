package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// record is what a test remembers of a borrowed batch.Record.
type record struct {
	offset, timestamp int64
	attributes        int8
	key, value        []byte
	headers           []batch.RecordHeader
}

func remember(r *batch.Record) record {
	got := record{r.Offset, r.Timestamp, r.Attributes, clone(r.Key()), clone(r.Value()), nil}
	for k, v := range r.Headers() {
		got.headers = append(got.headers, batch.RecordHeader{Key: clone(k), Value: clone(v)})
	}
	return got
}

// clone keeps the difference between null and empty, which bytes.Clone does too, and tells it to the reader.
func clone(b []byte) []byte { return bytes.Clone(b) }

func decode(d *batch.Decoder, raw []byte) ([]record, error) {
	var all []record
	err := d.Decode(raw, func(r *batch.Record) error {
		all = append(all, remember(r))
		return nil
	})
	return all, err
}

func mustDecode(t testing.TB, raw []byte) []record {
	t.Helper()
	all, err := decode(batch.NewDecoder(), raw)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return all
}

// compare reports the first difference, in few words: values may be long.
func compare(t testing.TB, got, want []record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("record %d\n got %s\nwant %s", i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d records, want %d", len(got), len(want))
	}
}

func (r record) String() string {
	return fmt.Sprintf("offset %d timestamp %d attributes %d key %s value %s headers %.300q",
		r.offset, r.timestamp, r.attributes, brief(r.key), brief(r.value), r.headers)
}

func brief(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%.40q (%d)", b, len(b))
}

// shapes is one batch with every shape a record may have.
func shapes() (kmsg.RecordBatch, []record) {
	const base = 1_700_000_000_000
	h := func(k string, v []byte) kmsg.Header { return kmsg.Header{Key: k, Value: v} }
	records := []kmsg.Record{
		{},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 200_000), Attributes: 3},
		{TimestampDelta64: -base - 1, Headers: []kmsg.Header{h("a", nil), h("a", []byte{}), h("", []byte("x")), h("\xff\xfe", []byte("\x00"))}},
		{TimestampDelta64: 1 << 31},
		{TimestampDelta64: 1<<62 - base},
		{TimestampDelta64: math.MinInt32 - 1},
	}
	var want []record
	for i := range records {
		r := &records[i]
		r.OffsetDelta = int32(i)
		w := record{int64(100 + i), base + r.TimestampDelta64, r.Attributes, r.Key, r.Value, nil}
		for _, h := range r.Headers {
			w.headers = append(w.headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		want = append(want, w)
	}
	b := plain(len(records))
	b.FirstTimestamp, b.MaxTimestamp = base, 1<<62
	b.Records = encodeRecords(records...)
	return b, want
}

func TestDecode(t *testing.T) {
	d := batch.NewDecoder() // one for all: nothing may be left over from one batch to the next
	b, want := shapes()
	check := func(name string, b kmsg.RecordBatch) {
		t.Run(name, func(t *testing.T) {
			got, err := decode(d, encode(b))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, want)
		})
	}
	with := func(c batch.Codec, payload []byte) kmsg.RecordBatch {
		b := b
		b.Attributes, b.Records = int16(c), payload
		return b
	}
	for range 2 {
		for _, c := range codecs {
			check(c.String(), compressed(t, b, c))
		}
		check("snappy framed", with(batch.Snappy, xerial(b.Records, 1000)))
		check("snappy framed twice", with(batch.Snappy, append(xerial(b.Records[:7], 4), xerial(b.Records[7:], 1<<20)...)))
		check("gzip members", with(batch.Gzip, append(compress(t, batch.Gzip, b.Records[:7]), compress(t, batch.Gzip, b.Records[7:])...)))
		check("zstd frames", with(batch.Zstd, append(compress(t, batch.Zstd, b.Records[:7]), compress(t, batch.Zstd, b.Records[7:])...)))
		check("zstd level 22", with(batch.Zstd, zstdEncode(t, b.Records, zstd.WithWindowSize(128<<20))))
	}
}

func TestDecodeLogAppendTime(t *testing.T) {
	b, _ := shapes()
	b.Attributes |= 0x08
	b.MaxTimestamp = 12345
	for _, r := range mustDecode(t, encode(b)) {
		if r.timestamp != 12345 {
			t.Errorf("offset %d: timestamp %d", r.offset, r.timestamp)
		}
	}
}

// TestDecodeDeleteHorizon: record timestamps are relative to the base timestamp field, whatever the flag makes of it.
func TestDecodeDeleteHorizon(t *testing.T) {
	b, want := shapes()
	b.Attributes |= 0x40
	compare(t, mustDecode(t, encode(b)), want)
}

func TestDecodeCompacted(t *testing.T) {
	b := plain(0)
	b.LastOffsetDelta, b.NumRecords = 50, 2
	b.Records = encodeRecords(kmsg.Record{OffsetDelta: 3}, kmsg.Record{OffsetDelta: 40})
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			got := mustDecode(t, encode(compressed(t, b, c)))
			if len(got) != 2 || got[0].offset != 103 || got[1].offset != 140 {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("to nothing", func(t *testing.T) {
		b := b
		b.NumRecords, b.Records, b.Attributes = 0, nil, int16(batch.LZ4)
		if got := mustDecode(t, encode(b)); len(got) != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good := encodeRecords(kmsg.Record{}, kmsg.Record{OffsetDelta: 1})
	// body encodes a record of length, attributes 0, timestamp delta 0 and offset delta 0 before the given bytes.
	body := func(b ...byte) []byte {
		return append(binary.AppendVarint(nil, int64(3+len(b))), append([]byte{0, 0, 0}, b...)...)
	}
	long := bytes.Repeat([]byte{0x80}, 10)
	for name, tc := range map[string]struct {
		last, count int32
		payload     []byte
	}{
		"no payload":               {0, 1, nil},
		"fewer records":            {2, 3, good},
		"more records":             {1, 1, good},
		"a byte too many":          {1, 2, append(bytes.Clone(good), 0)},
		"cut":                      {1, 2, good[:len(good)-1]},
		"records in an empty one":  {1, 0, good},
		"negative length":          {0, 1, []byte{1}},
		"length in six bytes":      {0, 1, []byte{0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0}},
		"length of 33 bits":        {0, 1, []byte{0xff, 0xff, 0xff, 0xff, 0x1f}},
		"length cut":               {0, 1, []byte{0x80}},
		"empty record":             {0, 1, []byte{0}},
		"no timestamp delta":       {0, 1, []byte{2, 0}},
		"timestamp beyond 64 bits": {0, 1, append([]byte{26, 0}, append(long, 1, 0)...)},
		"no offset delta":          {0, 1, []byte{4, 0, 0}},
		"same offset":              {1, 2, encodeRecords(kmsg.Record{}, kmsg.Record{})},
		"descending offset":        {2, 2, encodeRecords(kmsg.Record{OffsetDelta: 2}, kmsg.Record{OffsetDelta: 1})},
		"negative offset":          {0, 1, encodeRecords(kmsg.Record{OffsetDelta: -1})},
		"offset beyond the last":   {1, 2, encodeRecords(kmsg.Record{}, kmsg.Record{OffsetDelta: 2})},
		"no key":                   {0, 1, body()},
		"key too long":             {0, 1, body(8, 1, 0)},
		"no value":                 {0, 1, body(1)},
		"value too long":           {0, 1, body(1, 2)},
		"no header count":          {0, 1, body(1, 1)},
		"negative header count":    {0, 1, body(1, 1, 1)},
		"header missing":           {0, 1, body(1, 1, 2)},
		"2^31-1 headers declared":  {0, 1, body(1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0)},
		"null header key":          {0, 1, body(1, 1, 2, 1, 1)},
		"header value missing":     {0, 1, body(1, 1, 2, 0)},
		"bytes after the headers":  {0, 1, body(1, 1, 0, 0)},
	} {
		for _, c := range codecs {
			if tc.payload == nil && c != batch.None {
				continue
			}
			t.Run(name+" "+c.String(), func(t *testing.T) {
				b := plain(0)
				b.LastOffsetDelta, b.NumRecords, b.Records = tc.last, tc.count, tc.payload
				_, err := decode(batch.NewDecoder(), encode(compressed(t, b, c)))
				var corrupt *batch.CorruptError
				if !errors.As(err, &corrupt) || corrupt.Offset != 100 {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestDecodeRefusesWrongSize(t *testing.T) {
	raw := encode(plain(1))
	for _, wrong := range [][]byte{raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
		_, err := decode(batch.NewDecoder(), wrong)
		var corrupt *batch.CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("%d bytes instead of %d: got %v", len(wrong), len(raw), err)
		}
	}
	if _, err := decode(batch.NewDecoder(), raw[:10]); !errors.Is(err, batch.ErrCut) {
		t.Errorf("less than a header: got %v", err)
	}
}

func TestDecodeRefusesDamagedStreams(t *testing.T) {
	b, want := shapes()
	d := batch.NewDecoder()
	for _, c := range codecs[1:] {
		t.Run(c.String(), func(t *testing.T) {
			payload := compress(t, c, b.Records)
			for _, bad := range [][]byte{
				payload[:1], payload[:len(payload)/2], payload[:len(payload)-1], bytes.Repeat([]byte{0xee}, 100),
			} {
				b := b
				b.Attributes, b.Records = int16(c), bad
				_, err := decode(d, encode(b))
				var corrupt *batch.CorruptError
				if !errors.As(err, &corrupt) {
					t.Errorf("%d of %d bytes: got %v", len(bad), len(payload), err)
				}
			}
			// The decoder is as good as new after an error.
			got, err := decode(d, encode(compressed(t, b, c)))
			if err != nil {
				t.Errorf("intact batch after damaged ones: %v", err)
			}
			compare(t, got, want)
		})
	}
}

func TestDecodeRefusesDamagedFraming(t *testing.T) {
	payload := xerial(plain(3).Records, 16)
	for name, bad := range map[string][]byte{
		"header cut":            payload[:12],
		"length cut":            payload[:18],
		"block cut":             payload[:len(payload)-1],
		"block length negative": append(bytes.Clone(payload[:16]), 0xff, 0xff, 0xff, 0xff),
		"block above its ratio": append(bytes.Clone(payload[:16]), 0, 0, 0, 5, 0x80, 0x80, 0x80, 0x40, 0),
	} {
		t.Run(name, func(t *testing.T) {
			b := plain(3)
			b.Attributes, b.Records = int16(batch.Snappy), bad
			_, err := decode(batch.NewDecoder(), encode(b))
			var corrupt *batch.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Err == nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDecodeStopsOnCallbackError(t *testing.T) {
	stop := errors.New("enough")
	for _, c := range codecs {
		d := batch.NewDecoder()
		raw := encode(compressed(t, plain(10), c))
		var seen int
		err := d.Decode(raw, func(*batch.Record) error {
			if seen++; seen == 3 {
				return stop
			}
			return nil
		})
		if err != stop || seen != 3 {
			t.Errorf("%v: got %v after %d records", c, err, seen)
		}
		if all, err := decode(d, raw); err != nil || len(all) != 10 {
			t.Errorf("%v: next batch: %d records, %v", c, len(all), err)
		}
	}
}

func TestHeadersStop(t *testing.T) {
	r := batch.NewRecord(nil, nil, batch.RecordHeader{Key: []byte("a")}, batch.RecordHeader{Key: []byte("b")})
	var keys []string
	for k := range r.Headers() {
		keys = append(keys, string(k))
		break
	}
	if !slices.Equal(keys, []string{"a"}) || r.HeaderCount() != 2 {
		t.Errorf("got %q of %d", keys, r.HeaderCount())
	}
}

func TestCorruptErrorUnwraps(t *testing.T) {
	b := compressed(t, plain(3), batch.Gzip)
	b.Records = b.Records[:len(b.Records)-4]
	_, err := decode(batch.NewDecoder(), encode(b))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}
