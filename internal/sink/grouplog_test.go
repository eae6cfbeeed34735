package sink

import (
	"bytes"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// plainCommit is an item of the log of groups that no transaction made.
const plainCommit segment.EventKind = 99

// simLog follows stream 0 of a world, whose items commit: each the offset that is its own in the log, for one of three
// partitions.
type simLog struct {
	groups *groupLog
	stated map[string]*manifest.Group // by all points so far
}

func newSimLog() *simLog { return &simLog{newGroupLog(), make(map[string]*manifest.Group)} }

func simPlace(at int) manifest.OffsetKey {
	return manifest.OffsetKey{Topic: "t", Partition: int32(at * 7 % 3)}
}

// take hands on the items from an offset on, in batches of one.
func (s *simLog) take(items []item, from int, m *marking) {
	var raw []byte
	for at := from; at < len(items); at++ {
		raw = append(raw, groupBatch(int64(at), items[at], simPlace(at), at%11 == 10)...)
	}
	s.groups.take(simKey(0), raw, int64(from), m)
}

// groupBatch is a batch of the log of groups: a commit, one that takes back, or a marker.
func groupBatch(at int64, it item, place manifest.OffsetKey, gone bool) []byte {
	switch it.kind {
	case segment.TxnCommit, segment.TxnAbort:
		kind := byte(0)
		if it.kind == segment.TxnCommit {
			kind = 1
		}
		return marker(at, it.producer, kind)
	}
	key := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: place.Topic, Partition: place.Partition}
	value := kmsg.OffsetCommitValue{Version: 3, Offset: at, LeaderEpoch: -1}
	text := value.AppendTo(nil)
	if gone {
		text = nil
	}
	return commitBatch(at, it, batch.NewRecord(key.AppendTo(nil), text))
}

// loose are builders of batches without compression; one for each batch would take longer than the tests.
var loose = sync.Pool{New: func() any {
	b, _ := batch.NewBuilder(batch.None)
	return b
}}

// commitBatch is a record of the log of groups.
func commitBatch(at int64, it item, r *batch.Record) []byte {
	b := loose.Get().(*batch.Builder)
	defer loose.Put(b)
	b.Append(1000+at, r)
	s := served{base: at}
	if it.kind == segment.TxnData && it.producer != 0 {
		s = served{base: at, flags: transactional, producer: it.producer, epoch: it.epoch}
	}
	return bytes.Clone(s.finish(b))
}

// check holds the groups of a point against the rule of docs/format.md.
func (s *simLog) check(c *cut, list []held, log *simStream, yields map[int]int) error {
	g, err := s.groups.settle(c, list)
	if err != nil {
		return err
	}
	for id, group := range g.list {
		if s.stated[id] = group; group == nil {
			delete(s.stated, id)
		}
	}
	want := make(map[manifest.OffsetKey]int64)
	items := log.items[:log.next]
	for at, it := range items {
		counts := it.kind == plainCommit && int64(at) < c.logBound[simKey(0)] || it.kind == segment.TxnData && committed(items, at, 0, list)
		if counts && it.kind == plainCommit && it.txn >= 0 && yields[it.txn] == 0 {
			return fmt.Errorf("the commit at %d counts, but transaction %d, of which it follows, does not", at, it.txn)
		}
		if counts && at%11 == 10 {
			delete(want, simPlace(at))
		} else if counts {
			want[simPlace(at)] = int64(at)
		}
	}
	got := make(map[manifest.OffsetKey]int64)
	if group := s.stated["g"]; group != nil {
		for key, o := range group.Offsets {
			got[key] = o.Offset
		}
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("the groups have %v, want %v", got, want)
	}
	return nil
}

// A log that holds what nobody understands makes no point of its own.
func TestBrokenGroupLog(t *testing.T) {
	l := newGroupLog()
	l.take(simKey(0), commitBatch(0, item{}, batch.NewRecord([]byte{0, 1, 9}, nil)), 0, nil)
	if _, err := l.settle(&cut{}, nil); err == nil {
		t.Error("a point was made of a log that cannot be understood")
	}
}

// Whoever deletes the log of groups gets another one, in which nothing of the old one counts.
func TestAnotherGroupLog(t *testing.T) {
	l := newGroupLog()
	first, second := manifest.StreamKey{TopicID: [16]byte{1}}, manifest.StreamKey{TopicID: [16]byte{2}}
	commit := func(key manifest.StreamKey, at int64, partition int32) {
		l.take(key, groupBatch(at, item{kind: plainCommit}, manifest.OffsetKey{Topic: "t", Partition: partition}, false), at, nil)
	}
	commit(first, 7, 0)
	commit(second, 3, 1)
	commit(first, 8, 2)
	g, err := l.settle(&cut{}, nil)
	if err != nil || g.some || len(g.list) != 1 || len(g.list["g"].Offsets) != 1 || g.list["g"].Offsets[manifest.OffsetKey{Topic: "t", Partition: 1}].Offset != 3 {
		t.Errorf("groups %+v, error %v", g, err)
	}
	g, err = l.settle(&cut{}, nil)
	if err != nil || !g.some || len(g.list) != 0 {
		t.Errorf("nothing was committed, but the next point states %+v, error %v", g, err)
	}
}

// What is committed for a topic that has been made again is not for the one that the point has.
func TestGroupLogOfAnOlderTopic(t *testing.T) {
	key := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t"}
	value := kmsg.OffsetCommitValue{Version: 4, Offset: 5, TopicID: [16]byte{1}}
	for id, want := range map[kafka.TopicID]int{{1}: 1, {2}: 0} {
		l := newGroupLog()
		l.take(simKey(0), commitBatch(0, item{}, batch.NewRecord(key.AppendTo(nil), value.AppendTo(nil))), 0, nil)
		g, err := l.settle(&cut{names: map[string]kafka.TopicID{"t": id}}, nil)
		if err != nil || len(g.list["g"].Offsets) != want {
			t.Errorf("topic id %v: groups %+v, error %v, want %d offsets", id, g, err, want)
		}
	}
}

// While a point waits for hours, no more than the newest commit of each place is kept.
func TestGroupLogIsBounded(t *testing.T) {
	l := newGroupLog()
	key := simKey(0)
	m := &marking{first: marks{key: 0}, targets: marks{key: 0}, logBound: marks{key: 0}}
	var raw []byte
	const n = 5 * thinFrom
	for at := range int64(n) {
		it := item{kind: plainCommit}
		switch at % 4 {
		case 1:
			it = item{kind: segment.TxnData, producer: 7}
		case 2:
			it = item{kind: segment.TxnCommit, producer: 7}
		}
		raw = append(raw, groupBatch(at, it, simPlace(int(at)), false)...)
	}
	l.take(key, raw, 0, m)
	if p := l.parts[key]; len(p.waiting) > 2*thinFrom || len(p.ended) > 3 {
		t.Errorf("%d records and %d transactions wait", len(p.waiting), len(p.ended))
	}
	g, err := l.settle(&cut{logBound: marks{key: n}}, nil)
	if err != nil || len(g.list["g"].Offsets) != 3 {
		t.Fatalf("groups %+v, error %v", g, err)
	}
	for place, o := range g.list["g"].Offsets {
		if o.Offset < n-12 {
			t.Errorf("%v: offset %d is not the newest", place, o.Offset)
		}
	}
}

// Reading the log again that failed in the middle begins anew. A transaction that was open where the first
// attempt ended must not count by the marker of an earlier one of its producer.
func TestGroupLogReadAgainTwice(t *testing.T) {
	l := newGroupLog()
	key := simKey(0)
	var raw []byte
	data, commit, abort := item{kind: segment.TxnData, producer: 7}, item{kind: segment.TxnCommit, producer: 7}, item{kind: segment.TxnAbort, producer: 7}
	for at, it := range []item{data, commit, data} {
		raw = append(raw, groupBatch(int64(at), it, manifest.OffsetKey{Topic: "t"}, false)...)
	}
	l.take(key, raw, 0, nil) // another partition's leader fails
	l.forget(key)
	l.take(key, raw, 0, nil) // the next attempt
	l.take(key, groupBatch(3, abort, manifest.OffsetKey{}, false), 3, nil)
	g, err := l.settle(&cut{logBound: marks{key: 4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.list["g"].Offsets[manifest.OffsetKey{Topic: "t"}].Offset; got != 0 {
		t.Errorf("offset %d of an aborted transaction is in force, want 0", got)
	}
}

// A topic that is made again between two points has none of the offsets that were committed for the one before it,
// also where nothing of the group is in the log since.
func TestGroupLogOfATopicMadeAgain(t *testing.T) {
	key := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t"}
	value := kmsg.OffsetCommitValue{Version: 4, Offset: 1000, TopicID: [16]byte{1}}
	l := newGroupLog()
	l.take(simKey(0), commitBatch(0, item{}, batch.NewRecord(key.AppendTo(nil), value.AppendTo(nil))), 0, nil)
	stated := make(map[string]*manifest.Group)
	for _, id := range []kafka.TopicID{{1}, {2}} {
		g, err := l.settle(&cut{names: map[string]kafka.TopicID{"t": id}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, group := range g.list {
			stated[name] = group
		}
	}
	if n := len(stated["g"].Offsets); n != 0 {
		t.Errorf("the point with the new topic has offset 1000 of the old one")
	}
}
