package sink

import (
	"slices"
	"sync"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// ledger knows the transactions in what has been handed to the gatherer, and
// says which of them belong to a recovery point: a transaction is inside in all
// of its partitions or in none.
//
// A point has marks, high watermarks that were read one partition after the
// other, and only after that the positions are determined that capture must
// reach. A transaction is inside if a commit marker of it lies below the mark
// of any partition. It was decided then, so that all of its data was there, and
// is captured up to the positions; where its marker is still missing, the point
// says that it is decided. All others are outside, and where their markers have
// been captured, the point says that they are undone.
//
// To tell that a marker here and data there are of one transaction takes more
// than their producer. Producers of Kafka 4 raise their epoch with each
// transaction (KIP-890, TV2), and the marker carries the raised epoch. Older
// ones keep it; of them a mark is used at which the coordinator had, before and
// after, the same transaction in the same state: then each of the transactions
// before it has all its markers below the mark, and it itself has none.
type ledger struct {
	mu        sync.Mutex
	producers map[int64]*producer
}

// producer is what is known of one producer id.
type producer struct {
	open    map[manifest.StreamKey]txn
	markers map[manifest.StreamKey][]commit // commits that may lie beyond a mark, ascending
	latest  int32                           // the greatest epoch of the other commits, -1 for none
	fixed   bool                            // commits have the epoch of their data
	raises  bool                            // commits have a greater one
	fresh   bool                            // first seen after a point was begun
}

// txn is data without a marker.
type txn struct {
	offset int64 // of the first
	epoch  int16
}

// commit is a commit marker.
type commit struct {
	offset int64
	epoch  int16
}

// marks are high watermarks, as read before positions are.
type marks map[manifest.StreamKey]int64

// marking is a recovery point that has been begun.
type marking struct {
	first    marks // nil while it is being read
	targets  marks // the positions that capture has to reach, read after the last mark; nil before
	logBound marks // of the partitions of __consumer_offsets, see groupLog; nil while it is being read
}

// newLedger goes on from what the log states.
func newLedger(state *manifest.State) *ledger {
	l := &ledger{producers: make(map[int64]*producer)}
	for _, t := range state.Transactions {
		key, ok := successor(state, t)
		if !ok {
			continue
		}
		p := l.producer(t.ProducerID)
		switch t.Kind {
		case manifest.TxnUndone:
			p.latest = max(p.latest, int32(t.Epoch))
			continue
		case manifest.TxnDecided:
			p.latest = max(p.latest, int32(t.Epoch)+1)
		}
		p.open[key] = txn{t.Offset, t.Epoch}
	}
	return l
}

// successor returns the partition of a stated transaction, unless a branch has
// taken the place of its data.
func successor(state *manifest.State, t manifest.Transaction) (manifest.StreamKey, bool) {
	n := t.Stream
	for state.Streams[n].Child >= 0 {
		if n = state.Streams[n].Child; t.Offset >= state.Streams[n].First {
			return manifest.StreamKey{}, false
		}
	}
	return state.Key(n), true
}

func (l *ledger) producer(id int64) *producer {
	p := l.producers[id]
	if p == nil {
		p = &producer{open: make(map[manifest.StreamKey]txn), markers: make(map[manifest.StreamKey][]commit), latest: -1}
		l.producers[id] = p
	}
	return p
}

// raises says that a producer is known to raise its epoch with each
// transaction. It may be called by any goroutine.
func (l *ledger) raises(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.producers[id]
	return p != nil && p.raises && !p.fixed
}

// take notes what the next piece of a stream says. m is the point that has
// been begun, or nil.
func (l *ledger) take(key manifest.StreamKey, events []segment.TxnEvent, m *marking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		known := l.producers[e.ProducerID] != nil
		p := l.producer(e.ProducerID)
		p.fresh = p.fresh || !known && m != nil
		t, open := p.open[key]
		switch {
		case e.Kind == segment.TxnData && !open:
			p.open[key] = txn{e.Offset, e.ProducerEpoch}
		case e.Kind == segment.TxnCommit:
			if open {
				p.fixed = p.fixed || t.epoch == e.ProducerEpoch
				p.raises = p.raises || t.epoch < e.ProducerEpoch
			}
			p.note(key, commit{e.Offset, e.ProducerEpoch}, m)
		}
		if e.Kind != segment.TxnData {
			delete(p.open, key)
		}
	}
}

// note keeps a commit marker as far as it matters. Before a point has been
// begun, none does but the greatest epoch: what has been captured lies below
// any mark that is yet to be read.
func (p *producer) note(key manifest.StreamKey, k commit, m *marking) {
	if m == nil || m.first != nil && k.offset < m.first[key] {
		p.latest = max(p.latest, int32(k.epoch))
		return
	}
	list := p.markers[key]
	n := len(list)
	// A coordinator that takes over sends a marker again.
	if n > 0 && m.targets != nil && list[n-1].offset >= m.targets[key] && list[n-1].epoch == k.epoch {
		return
	}
	// Beyond the targets, the first two tell all: at most one of them is of a
	// transaction that is inside. It is the producer's last such one, since it has
	// begun none before the markers of the others were replicated, and they were
	// when the targets were read. Beyond the last mark there can be many: reading
	// it takes seconds while a leader is missing. The last one is kept for its
	// epoch.
	if n > 2 && m.targets != nil && list[n-3].offset >= m.targets[key] {
		list[n-1] = k
		return
	}
	p.markers[key] = append(list, k)
}

// held is a transaction for a log entry.
type held struct {
	key manifest.StreamKey
	manifest.Transaction
}

// verdict is what a point says about transactions.
type verdict struct {
	list     []held
	decided  int // in how many places data without its marker is inside
	undone   int // in how many places markers are outside
	unproven int // producers whose transactions could not be told apart for certain
}

// opened lists the open transactions. Without a point that has been begun,
// markers are settled.
func (l *ledger) opened(begun bool) []held {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []held
	for id, p := range l.producers {
		for key, t := range p.open {
			list = append(list, held{key, manifest.Transaction{ProducerID: id, Epoch: t.epoch, Offset: t.offset}})
		}
	}
	if !begun {
		for _, p := range l.producers {
			p.fold()
		}
	}
	return list
}

// settle says how a point ends the transactions.
func (l *ledger) settle(c *cut) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	var v verdict
	for id, p := range l.producers {
		l.settleProducer(&v, id, p, c)
	}
	for id, p := range l.producers {
		if len(p.open) == 0 && len(p.markers) == 0 {
			delete(l.producers, id) // all of its transactions are inside, whole
		}
		p.fold()
	}
	return v
}

func (l *ledger) settleProducer(v *verdict, id int64, p *producer, c *cut) {
	bound, proven := c.bound(id, p)
	inside := p.latest // the epoch of the last transaction that is inside
	for key, list := range p.markers {
		for _, k := range list {
			if k.offset < bound[key] {
				inside = max(inside, int32(k.epoch))
			}
		}
	}
	doubt := false
	for key, t := range p.open {
		kind := manifest.TxnOpen
		if !p.fixed && int32(t.epoch)+1 == inside {
			kind = manifest.TxnDecided
			v.decided++
		}
		doubt = true
		v.list = append(v.list, held{key, manifest.Transaction{Kind: kind, ProducerID: id, Epoch: t.epoch, Offset: t.offset}})
	}
	for key, list := range p.markers {
		i := slices.IndexFunc(list, func(k commit) bool {
			return k.offset >= bound[key] && (p.fixed || int32(k.epoch) > inside)
		})
		if i < 0 {
			continue
		}
		doubt = true
		v.undone++
		v.list = append(v.list, held{key, manifest.Transaction{Kind: manifest.TxnUndone, ProducerID: id, Epoch: list[len(list)-1].epoch, Offset: list[i].offset}})
	}
	if doubt && !proven {
		v.unproven++
	}
}

// fold forgets what can be of no use to a point that is yet to be begun.
func (p *producer) fold() {
	for _, list := range p.markers {
		for _, k := range list {
			p.latest = max(p.latest, int32(k.epoch))
		}
	}
	clear(p.markers)
	p.fresh = false
}

// bound returns the marks that hold for a producer, and whether they are certain
// to split none of its transactions.
func (c *cut) bound(id int64, p *producer) (marks, bool) {
	last := c.marks[len(c.marks)-1]
	if p.raises && !p.fixed {
		return last, true
	}
	if i, ok := c.stable[id]; ok {
		return c.marks[i], true
	}
	if c.listed && p.fresh && !c.known[id] {
		return nil, true // it was not there yet when the last mark was read
	}
	if !p.fixed && p.latest < 0 && len(p.markers) == 0 {
		return last, true // it has never committed: there is nothing to take for something else
	}
	return last, false
}
