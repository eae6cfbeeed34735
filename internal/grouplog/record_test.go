package grouplog_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/grouplog"
)

const (
	transactional = 0x10
	control       = 0x20
)

// logBatch returns a batch of one partition of the log, with a checksum that is right.
func logBatch(base int64, attributes int16, producer int64, last, count int32, payload []byte) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: base, Length: int32(batch.HeaderSize - 12 + len(payload)), Magic: 2, Attributes: attributes, LastOffsetDelta: last,
		FirstTimestamp: base, MaxTimestamp: base, ProducerID: producer, NumRecords: count, Records: payload,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// payload encodes records.
func payload(records ...kmsg.Record) (b []byte) {
	for i, r := range records {
		r.OffsetDelta, r.Length = int32(i), 0
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		b = r.AppendTo(b)
	}
	return b
}

// commitOf is a record that commits an offset of a partition.
func commitOf(partition int32, offset int64) kmsg.Record {
	key := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t", Partition: partition}
	value := kmsg.OffsetCommitValue{Version: 3, Offset: offset}
	return kmsg.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
}

// commits is a batch of them, one for each partition from 0 on.
func commits(base int64, attributes int16, producer int64, offsets ...int64) []byte {
	var records []kmsg.Record
	for i, offset := range offsets {
		records = append(records, commitOf(int32(i), offset))
	}
	return logBatch(base, attributes, producer, int32(len(records)-1), int32(len(records)), payload(records...))
}

func markerOf(base, producer int64, commit byte) []byte {
	return logBatch(base, transactional|control, producer, 0, 1, payload(kmsg.Record{Key: []byte{0, 0, 0, commit}, Value: make([]byte, 6)}))
}

// teller writes down what it is told.
type teller struct {
	told    []string
	records int
}

func (l *teller) Record(r grouplog.Record, timestamp int64) {
	l.records++
	l.told = append(l.told, fmt.Sprintf("%d at %d: %d=%d", r.At, timestamp, r.Commit.Partition, r.Commit.Offset))
}

func (l *teller) Marker(m grouplog.Marker, records grouplog.Records) {
	l.records += len(records)
	l.told = append(l.told, fmt.Sprintf("%d: %d of %d, commit: %v", m.At, len(records), m.ProducerID, m.Commit))
}

// Records are told where they are, those of transactions at their end, the newest of each place; what was read before is not told again.
func TestRead(t *testing.T) {
	log := slices.Concat(
		commits(0, 0, -1, 5, 6), commits(2, transactional, 7, 8), commits(3, transactional, 8, 9, 10), commits(5, transactional, 7, 11, 12),
		markerOf(7, 8, 0), markerOf(8, 7, 1), markerOf(9, 7, 1), commits(10, transactional, 9, 1),
	)
	want := []string{"1 at 0: 1=6", "7: 2 of 8, commit: false", "8: 2 of 7, commit: true"}
	p, f := grouplog.NewPartition(), &teller{}
	for range 2 {
		if err := p.Read(log, 1, f); err != nil || !slices.Equal(f.told, want) {
			t.Fatalf("told %q, %v\nwant %q", f.told, err, want)
		}
		if open := p.Take(9); len(open) != 1 || p.Open() {
			t.Errorf("open are %v, and more: %v", open, p.Open())
		}
		f.told = nil
	}
	if err := p.Read(log[:len(log)-1], 11, f); err == nil || len(f.told) > 0 {
		t.Errorf("a batch that is cut: told %q, %v", f.told, err)
	}
}

// An open transaction takes up what the newest records of its places do, however many there are.
func TestReadKeepsTheNewest(t *testing.T) {
	p := grouplog.NewPartition()
	const batches, places = 3000, 40
	for i := range int64(batches) {
		if err := p.Read(commits(i*places, transactional, 7, make([]int64, places)...), 0, &teller{}); err != nil {
			t.Fatal(err)
		}
	}
	records := p.Take(7)
	if len(records) != places {
		t.Errorf("%d records are kept of %d places", len(records), places)
	}
	for place, r := range records {
		if r.At < (batches-1)*places {
			t.Errorf("%v: the record at %d is kept", place, r.At)
		}
	}
}

// FuzzRead: whatever follows what is sound, it is read or refused; what comes before it is told, and no more is kept than there are records.
func FuzzRead(f *testing.F) {
	sound := slices.Concat(commits(0, 0, -1, 5), commits(1, transactional, 7, 6), markerOf(2, 7, 1), commits(3, transactional, 8, 9))
	want := []string{"0 at 0: 0=5", "2: 1 of 7, commit: true"}
	group := kmsg.GroupMetadataValue{Version: 3, ProtocolType: "consumer"}
	key := kmsg.GroupMetadataKey{Version: 2, Group: "g"}
	f.Add(int16(0), int64(-1), int32(1), int32(2), payload(commitOf(0, 1), commitOf(1, 2)), []byte{})
	f.Add(int16(0), int64(-1), int32(0), int32(1), payload(kmsg.Record{Key: key.AppendTo(nil), Value: group.AppendTo(nil)}), markerOf(9, 8, 1))
	f.Add(int16(0), int64(-1), int32(0), int32(1), payload(kmsg.Record{Key: []byte{0, 1}}), []byte{})
	f.Add(int16(0), int64(-1), int32(0), int32(1), payload(kmsg.Record{}), []byte{})
	f.Add(int16(transactional), int64(8), int32(5), int32(1), payload(commitOf(0, 1)), markerOf(10, 8, 0))
	f.Add(int16(transactional|control), int64(8), int32(0), int32(1), payload(kmsg.Record{Key: []byte{0, 0, 0, 2}}), commits(5, 0, 0, 1)[:70])
	f.Add(int16(transactional|control), int64(8), int32(0), int32(0), []byte{}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, attributes int16, producer int64, last, count int32, records, rest []byte) {
		p, l := grouplog.NewPartition(), &teller{}
		if err := p.Read(sound, 0, l); err != nil {
			t.Fatal(err)
		}
		after := append(logBatch(4, attributes, producer, last, count, records), rest...)
		declared := 4
		for raw := after; ; {
			h, _, next, err := batch.Next(raw)
			if err != nil {
				break
			}
			declared, raw = declared+int(h.Count), next
		}
		_ = p.Read(after, 4, l) // whether it is refused or not
		if !slices.Equal(l.told[:len(want)], want) {
			t.Fatalf("told %q, want %q first", l.told, want)
		}
		if kept := l.records + len(p.Take(producer)) + len(p.Take(8)); kept > declared {
			t.Fatalf("%d records are kept, %d were there", kept, declared)
		}
	})
}
