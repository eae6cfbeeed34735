package sink

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/offsite-kafka/offsite/internal/grouplog"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// groupLog follows __consumer_offsets while it is captured, so that a recovery
// point has the group offsets that belong to exactly its data: the commits of
// transactions that are inside, and others below an offset of the log that was
// read before all marks, which say what is inside. So no group is ahead of the
// data, and none has served what is not there.
//
// What counts for sure goes into the table at once. Until a point that has been
// begun is complete, what may lie beyond it waits.
type groupLog struct {
	mu    sync.Mutex
	topic kafka.TopicID          // the incarnation of the log
	past  map[kafka.TopicID]bool // those before it, of which something may still come in
	table *grouplog.Table
	parts map[manifest.StreamKey]*logPart
	told  bool  // the last point of the session was made from the table
	err   error // the log cannot be understood: nothing of the table counts any more
}

// logPart is one partition of the log.
type logPart struct {
	*grouplog.Partition
	waiting []grouplog.Record // not made by a transaction, in the order of the log
	ended   []endedTxn        // committed, in the order of their markers
	limit   int               // how many waiting records there may be before they are thinned out
}

// endedTxn are the commits of a committed transaction.
type endedTxn struct {
	grouplog.Marker
	records grouplog.Records
}

// thinFrom is how many records may wait in a partition before only the newest of
// each place are kept.
const thinFrom = 4096

func newGroupLog() *groupLog {
	l := &groupLog{past: make(map[kafka.TopicID]bool)}
	l.reset(kafka.TopicID{})
	return l
}

// reset begins with an incarnation of the log.
func (l *groupLog) reset(topic kafka.TopicID) {
	if len(l.parts) > 0 {
		l.past[l.topic] = true
	}
	l.topic, l.table, l.parts, l.told = topic, grouplog.NewTable(), make(map[manifest.StreamKey]*logPart), false
}

func (l *groupLog) part(key manifest.StreamKey) *logPart {
	p := l.parts[key]
	if p == nil {
		p = &logPart{Partition: grouplog.NewPartition(), limit: thinFrom}
		l.parts[key] = p
	}
	return p
}

// forget begins with a partition anew: what was read of it has to be read again.
func (l *groupLog) forget(key manifest.StreamKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parts, key)
}

// take notes what the next batches of a partition say from offset from on. m is the point
// that has been begun, or nil.
func (l *groupLog) take(key manifest.StreamKey, raw []byte, from int64, m *marking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := kafka.TopicID(key.TopicID)
	if l.err != nil || l.past[id] {
		return
	}
	if id != l.topic {
		l.reset(id)
	}
	p := l.part(key)
	l.err = p.Read(raw, from, &logFollower{l.table, p, key, m})
}

// logFollower sorts what a partition says by whether it counts for sure.
type logFollower struct {
	table *grouplog.Table
	part  *logPart
	key   manifest.StreamKey
	m     *marking
}

func (f *logFollower) Record(r grouplog.Record, _ int64) {
	if f.m == nil || f.m.logBound != nil && r.At < f.m.logBound[f.key] {
		f.table.Put(&r)
		return
	}
	f.part.waiting = append(f.part.waiting, r)
	if len(f.part.waiting) > f.part.limit && f.m.logBound != nil {
		f.part.thin(f.m.logBound[f.key])
	}
}

func (f *logFollower) Marker(m grouplog.Marker, records grouplog.Records) {
	switch {
	case !m.Commit:
	case f.m == nil || f.m.first != nil && m.At < f.m.first[f.key]:
		f.table.PutAll(records)
	case f.m.targets != nil && m.At >= f.m.targets[f.key]:
		f.part.end(endedTxn{m, records}, f.m.targets[f.key])
	default:
		f.part.ended = append(f.part.ended, endedTxn{m, records})
	}
}

// end notes a transaction that ends beyond the target. Of those of one producer,
// only the first or the second can belong to the point: see ledger. From the
// third on they are joined.
func (p *logPart) end(e endedTxn, target int64) {
	n := 0
	for i := range p.ended {
		x := &p.ended[i]
		if x.ProducerID != e.ProducerID || x.At < target {
			continue
		}
		if n++; n == 3 {
			for _, r := range e.records {
				x.records.Put(r)
			}
			return
		}
	}
	p.ended = append(p.ended, e)
}

// thin keeps of the waiting records from an offset on the newest of each place.
func (p *logPart) thin(bound int64) {
	newest := make(grouplog.Records)
	kept := p.waiting[:0]
	for _, r := range p.waiting {
		if r.At < bound {
			kept = append(kept, r)
		} else {
			newest.Put(r)
		}
	}
	for _, r := range newest {
		kept = append(kept, r)
	}
	p.waiting, p.limit = kept, max(thinFrom, 2*len(kept))
}

// settle returns the groups as a recovery point has them: those that changed
// since the last one of the session, and with the first, all. list says which
// transactions are inside. The error wraps errGroupLog.
func (l *groupLog) settle(c *cut, list []held) (groups, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return groups{}, fmt.Errorf("%w: %w", errGroupLog, l.err)
	}
	quiet := true
	for key, p := range l.parts {
		p.settle(l.table, c.logBound[key], key, list)
		quiet = quiet && len(p.waiting) == 0 && len(p.ended) == 0 && !p.Open()
	}
	g := groups{list: l.table.Changes(c.names), some: l.told}
	if !l.told {
		g.list, l.told = l.table.All(c.names), true
	}
	if quiet {
		l.table.Forget()
	}
	return g, nil
}

// errGroupLog: __consumer_offsets holds something that this program does not
// understand, so that group offsets cannot be known from it.
var errGroupLog = errors.New("follow " + kafka.GroupLogTopic)

// retell makes the next point state all groups.
func (l *groupLog) retell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = false
}

// settle lets count what is inside.
func (p *logPart) settle(table *grouplog.Table, bound int64, key manifest.StreamKey, list []held) {
	undone := make(map[int64]int64) // by producer: the first marker that does not count
	for _, h := range list {
		switch {
		case h.key != key:
		case h.Kind == manifest.TxnUndone:
			undone[h.ProducerID] = h.Offset
		case h.Kind == manifest.TxnDecided:
			table.PutAll(p.Take(h.ProducerID))
		}
	}
	p.ended = slices.DeleteFunc(p.ended, func(e endedTxn) bool {
		if from, ok := undone[e.ProducerID]; ok && e.At >= from {
			return false
		}
		table.PutAll(e.records)
		return true
	})
	p.waiting = slices.DeleteFunc(p.waiting, func(r grouplog.Record) bool {
		if r.At < bound {
			table.Put(&r)
		}
		return r.At < bound
	})
	p.limit = max(thinFrom, 2*len(p.waiting))
}
