package sink

import (
	"context"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// look is what a topic had at some time, until all of it is committed.
type look struct {
	at   time.Time // zero: there is none
	done time.Time // of the last one that is committed
}

// reached tells that the high watermark of a stream is at an offset. The broker that
// says so may be behind: it never goes back.
func (t *table) reached(s *stream, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.high = max(s.high, offset)
}

// looked tells which high watermarks the cluster had at some time.
func (t *table) looked(at time.Time, marks map[manifest.StreamKey]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	renewed := make(map[string]bool)
	for _, s := range t.order {
		offset, ok := marks[s.key]
		if !ok {
			continue
		}
		s.high = max(s.high, offset)
		l := t.looks[s.topic]
		if l.at.IsZero() || renewed[s.topic] {
			s.goal, renewed[s.topic] = offset, true
			t.looks[s.topic] = look{at, l.done}
		}
	}
}

// committed tells up to where the log has a stream.
func (t *table) committed(s *stream, next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.committed = next
}

// lag returns how far the log is behind the cluster, as Meter has it.
func (t *table) lag() (records map[string]int64, committed map[string]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	records, committed = make(map[string]int64), make(map[string]time.Time)
	short := make(map[string]bool)
	for _, s := range t.order {
		records[s.topic] += max(0, s.high-s.committed)
		short[s.topic] = short[s.topic] || s.committed < s.goal
	}
	for topic := range records {
		l := t.looks[topic]
		if !l.at.IsZero() && !short[topic] {
			l = look{done: l.at}
			t.looks[topic] = l
		}
		if !l.done.IsZero() {
			committed[topic] = l.done
		}
	}
	for topic := range t.looks {
		if _, ok := records[topic]; !ok {
			delete(t.looks, topic)
		}
	}
	return records, committed
}

// lookPatience bounds how long the cluster is asked how far it is while a point waits.
const lookPatience = 5 * time.Second

// lookAgain tells how far the repository is behind while a recovery point waits for
// what it is behind with. That the cluster does not answer, others notice.
func (o *observer) lookAgain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	at := time.Now()
	if offsets, err := o.highWatermarks(ctx); err == nil {
		o.ses.table.looked(at, offsets)
		o.ses.meter().Behind(o.ses.table.lag())
	}
}
