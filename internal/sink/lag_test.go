package sink

import (
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A topic is covered up to the last look of which all is committed; a slow topic says nothing of the others.
func TestLag(t *testing.T) {
	table := newTable()
	add := func(topic string, id byte, partition int32, next int64) *stream {
		s := &stream{key: manifest.StreamKey{TopicID: [16]byte{id}, Partition: partition}, topic: topic, committed: next}
		table.add(s)
		return s
	}
	slow, other, quick := add("slow", 1, 0, 10), add("slow", 1, 1, 0), add("quick", 2, 0, 0)
	look := func(at int64, a, b, c int64) {
		table.looked(time.UnixMilli(at), map[manifest.StreamKey]int64{slow.key: a, other.key: b, quick.key: c})
	}
	want := func(step string, slowLag, slowUntil, quickLag, quickUntil int64) {
		t.Helper()
		records, committed := table.lag()
		until := func(topic string) int64 {
			if at, ok := committed[topic]; ok {
				return at.UnixMilli()
			}
			return 0
		}
		if records["slow"] != slowLag || until("slow") != slowUntil || records["quick"] != quickLag || until("quick") != quickUntil {
			t.Errorf("%s: %v, %v", step, records, committed)
		}
	}
	want("nothing is known", 0, 0, 0, 0)
	look(1000, 15, 4, 3)
	want("after a look", 9, 0, 3, 0)
	table.reached(quick, 8) // which is not of the look
	table.committed(quick, 3)
	table.committed(slow, 15)
	want("one topic is there", 4, 0, 5, 1000)
	look(2000, 20, 6, 8)
	table.committed(quick, 8)
	want("and once more", 11, 0, 0, 2000)
	table.committed(other, 4)
	want("the first look is there", 7, 1000, 0, 2000)
	look(3000, 20, 6, 8)
	table.committed(slow, 20)
	table.committed(other, 6)
	want("all is there", 0, 3000, 0, 3000)
	table.remove(func(s *stream) bool { return s.topic != "slow" })
	if records, committed := table.lag(); len(records) != 1 || len(committed) != 1 || len(table.looks) != 1 {
		t.Errorf("without a topic: %v, %v, %v", records, committed, table.looks)
	}
}
