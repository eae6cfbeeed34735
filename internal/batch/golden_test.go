package batch_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// The golden batches were written once by Kafka's own code, see testdata/java/Golden.java.

func golden(t *testing.T, name string) (batch.Header, []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "java", name+".batch"))
	if err != nil {
		t.Fatal(err)
	}
	h, raw, rest := mustNext(t, b)
	if len(rest) != 0 {
		t.Fatalf("%d bytes after the batch", len(rest))
	}
	return h, raw
}

// goldenRecords are the records of every golden batch that compaction has not touched.
func goldenRecords() []record {
	const base = 1_700_000_000_000
	large := make([]byte, 100_000)
	for i := range large {
		large[i] = byte(i / 7)
	}
	key, value := []byte("key"), []byte("value")
	headers := []batch.RecordHeader{{Key: []byte("a")}, {Key: []byte("a"), Value: []byte{}}, {Key: []byte{}, Value: []byte{0xff}}}
	return []record{
		{offset: 1000, timestamp: base},
		{offset: 1001, timestamp: base + 1, key: []byte{}, value: []byte{}},
		{offset: 1002, timestamp: base + 1<<31, key: key, value: value, headers: headers},
		{offset: 1003, timestamp: 0, key: key},
		{offset: 1004, timestamp: 1 << 62, value: []byte("far away")},
		{offset: 1005, timestamp: base, value: large},
	}
}

func TestGoldenBatches(t *testing.T) {
	for _, tc := range []struct {
		name  string
		codec batch.Codec
	}{
		{"none", batch.None}, {"gzip", batch.Gzip}, {"snappy", batch.Snappy}, {"lz4", batch.LZ4},
		{"zstd", batch.Zstd}, {"zstd-22", batch.Zstd}, // the window of level 22 is 128 MiB
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, raw := golden(t, tc.name)
			want := batch.Header{
				BaseOffset: 1000, Length: int32(len(raw) - 12), LeaderEpoch: 4, Magic: 2, CRC: h.CRC,
				Attributes: int16(tc.codec), LastOffsetDelta: 5, BaseTimestamp: 1_700_000_000_000, MaxTimestamp: 1 << 62,
				ProducerID: 77, ProducerEpoch: 3, BaseSequence: 40, Count: 6,
			}
			if h != want || !h.IsDense() {
				t.Errorf("header\n got %+v\nwant %+v", h, want)
			}
			compare(t, mustDecode(t, raw), goldenRecords())
		})
		t.Run(tc.name+" compacted", func(t *testing.T) {
			h, raw := golden(t, tc.name+"-compacted")
			if h.IsDense() || !h.HasDeleteHorizon() || h.NextOffset() != 1006 || h.Count != 2 || h.Codec() != tc.codec {
				t.Errorf("header: %+v", h)
			}
			compare(t, mustDecode(t, raw), goldenRecords()[2:4])
		})
	}
}

func TestGoldenAppendTime(t *testing.T) {
	h, raw := golden(t, "append-time")
	want := goldenRecords()
	for i := range want {
		want[i].timestamp = 1_700_000_000_099
	}
	if !h.IsLogAppendTime() {
		t.Errorf("header: %+v", h)
	}
	compare(t, mustDecode(t, raw), want)
}

func TestGoldenEmptied(t *testing.T) {
	h, raw := golden(t, "emptied")
	if h.Count != 0 || h.NextOffset() != 1006 || h.IsDense() {
		t.Errorf("header: %+v", h)
	}
	compare(t, mustDecode(t, raw), nil)
}

func TestGoldenMarkers(t *testing.T) {
	for name, want := range map[string]batch.Control{
		"abort":  {Type: batch.Abort, CoordinatorEpoch: 12},
		"commit": {Type: batch.Commit, CoordinatorEpoch: 13},
	} {
		t.Run(name, func(t *testing.T) {
			h, raw := golden(t, name)
			got, err := batch.Marker(raw)
			if err != nil || got != want || !h.IsControl() || !h.IsTransactional() || h.ProducerID != 77 || h.ProducerEpoch != 3 {
				t.Errorf("got %+v, %v, header %+v", got, err, h)
			}
		})
	}
}
