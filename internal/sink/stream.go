package sink

import (
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// stream is a partition that is being captured. The table's lock guards it,
// except for the fields that never change.
type stream struct {
	key   manifest.StreamKey
	topic string

	next        int64 // the next offset to fetch
	enqueued    int64 // the next offset not yet handed to the gatherer
	committed   int64 // the next offset that the log does not have
	high        int64 // the highest high watermark that was seen
	goal        int64 // that of the look at the topic, see looked
	leaderEpoch int32 // as metadata says, sent to fence stale leaders
	lastEpoch   int32 // of the last batch fetched, -1 for none: lets the leader detect divergence
	leader      int32 // broker id, -1 for none
	asked       int32 // the leader epoch of the last request
	confirmed   int32 // the leader epoch under which an answer agreed with what was captured, -1 for none

	leased    bool      // a fetch loop has it in a request
	after     time.Time // not to be fetched before
	starved   bool      // its batch did not fit: to be first in the next request
	stop      int64     // once: not to be fetched from here on
	emptyFrom int64     // offset of empty answers in spite of a higher high watermark, -1 for none
	empties   int       // how many of them, in a row
	cuts      int       // answers with only part of a batch, in a row
}

// table is the set of streams being captured.
type table struct {
	mu      sync.Mutex
	streams map[manifest.StreamKey]*stream
	order   []*stream       // as the requests go round
	turns   map[int32]int   // by broker: where in order its next request begins
	looks   map[string]look // by topic
	changed chan struct{}   // closed and replaced when there may be more to fetch
}

func newTable() *table {
	return &table{streams: make(map[manifest.StreamKey]*stream), turns: make(map[int32]int), looks: make(map[string]look), changed: make(chan struct{})}
}

func (t *table) add(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[s.key] = s
	t.order = append(t.order, s)
}

// wake makes waiting fetch loops look again.
func (t *table) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
}

// remove drops the streams that keep does not want. A fetch that is under way
// for one of them ends without effect.
func (t *table) remove(keep func(*stream) bool) []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	var dropped []*stream
	kept := t.order[:0:0]
	for _, s := range t.order {
		if keep(s) {
			kept = append(kept, s)
			continue
		}
		delete(t.streams, s.key)
		dropped = append(dropped, s)
	}
	t.order = kept
	return dropped
}

// get returns the stream of a partition, or nil.
func (t *table) get(k manifest.StreamKey) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams[k]
}

// lead tells who leads a partition. Epochs never go back: an older one is what a
// broker says that has lost touch with the others.
func (t *table) lead(k manifest.StreamKey, leader, epoch int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.streams[k]; s != nil && epoch >= s.leaderEpoch && (s.leader != leader || s.leaderEpoch != epoch) {
		s.leader, s.leaderEpoch, s.after = leader, epoch, time.Time{}
	}
}

// leaders returns the brokers that lead streams.
func (t *table) leaders() map[int32]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make(map[int32]bool)
	for _, s := range t.order {
		if s.leader >= 0 {
			ids[s.leader] = true
		}
	}
	return ids
}

// lease returns what to ask of a broker. Requests begin with another stream
// each time, since a broker serves partitions in order until the response is
// full. Each stream returned is the caller's until release. The channel tells
// when to look again if there is nothing.
func (t *table) lease(broker int32, now time.Time, partitionBytes int32) ([]*stream, []kafka.FetchPartition, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var streams []*stream
	n := len(t.order)
	take := func(starved bool) {
		for i := range n {
			s := t.order[(t.turns[broker]+i)%n]
			wanted := s.next < s.stop || !s.isConfirmed()
			if s.leader == broker && !s.leased && s.starved == starved && wanted && !now.Before(s.after) {
				s.leased, s.asked = true, s.leaderEpoch
				streams = append(streams, s)
			}
		}
	}
	take(true)
	take(false)
	t.turns[broker]++
	parts := make([]kafka.FetchPartition, len(streams))
	for i, s := range streams {
		parts[i] = kafka.FetchPartition{
			Topic: s.topic, TopicID: s.key.TopicID, Partition: s.key.Partition, Offset: s.next,
			LeaderEpoch: s.leaderEpoch, LastFetchedEpoch: s.lastEpoch, MaxBytes: partitionBytes,
		}
	}
	return streams, parts, t.changed
}

// advance moves a leased stream past what has been fetched.
func (t *table) advance(s *stream, next int64, epoch int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.next, s.lastEpoch = next, epoch
	s.starved, s.emptyFrom, s.empties, s.cuts = false, -1, 0, 0
}

// park keeps a leased stream from being fetched for a while.
func (t *table) park(s *stream, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.after = until
}

// starve lets a leased stream be among the first in the next request.
func (t *table) starve(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.starved = true
}

// countCut counts answers that hold only part of a batch, in a row. The stream
// must have been the first in the request.
func (t *table) countCut(s *stream) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.cuts++
	return s.cuts
}

// countEmpty counts answers without a batch at an offset below the high
// watermark, in a row. The stream must have been the first in the request.
func (t *table) countEmpty(s *stream) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.emptyFrom != s.next {
		s.emptyFrom, s.empties = s.next, 0
	}
	s.empties++
	s.starved = true
	return s.empties
}

// release gives leased streams back. handed says that what was fetched of them
// is with the gatherer; if not, it has to be captured again from the log on.
func (t *table) release(streams []*stream, handed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range streams {
		s.leased = false
		if handed {
			s.enqueued = s.next
		}
	}
}

// behind returns the sum over the streams of what is missing up to the targets.
func (t *table) behind(targets map[manifest.StreamKey]int64) (missing int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, target := range targets {
		if s := t.streams[k]; s != nil && s.enqueued < target {
			missing += target - s.enqueued
		}
	}
	return missing
}

// confirm notes that the leader which was asked has what was captured of a
// leased stream.
func (t *table) confirm(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.confirmed = s.asked
}

// isConfirmed says whether the leader of now has what was captured: an election
// may have rewritten it without moving the high watermark. t.mu is held.
func (s *stream) isConfirmed() bool { return s.lastEpoch < 0 || s.confirmed == s.leaderEpoch }

// confirmed says whether the leaders have what was captured of the targets'
// streams.
func (t *table) confirmed(targets map[manifest.StreamKey]int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range targets {
		if s := t.streams[k]; s != nil && !s.isConfirmed() {
			return false
		}
	}
	return true
}

// position returns the position and end of capture of a stream.
func (t *table) position(s *stream) (next int64, lastEpoch int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return s.next, s.lastEpoch
}

// stopAt ends the fetching of each stream at its target.
func (t *table) stopAt(targets map[manifest.StreamKey]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.order {
		s.stop = targets[s.key]
	}
}
