package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// world is a cluster with transactions, as coordinators and leaders make them:
// a transaction is decided once all of its data is below the high watermarks;
// its markers come to its partitions one after the other; the producer's next
// one begins when they are all there.
type world struct {
	rng       *rand.Rand
	streams   []*simStream
	producers []*simProducer
	txns      int // numbered from 1
	decided   map[int]bool
	parts     map[int]map[int]int // txn -> stream -> data items
	told      map[int]bool        // txns whose group offsets are visible
	raising   func(int) bool
	capture   func()
	log       *simLog // stream 0 is the log of groups
	ids       map[string]int64
	away      map[string]bool // ids whose coordinator is moving
	changing  bool            // producers raise their epoch at one time and keep it at another
}

type simStream struct {
	items []item
	high  int // high watermark
	next  int // captured up to here
}

type item struct {
	kind     segment.EventKind
	producer int64
	epoch    int16
	txn      int
}

type simProducer struct {
	id     int64
	epoch  int16
	raises bool
	state  string
	start  int64
	txn    int
	commit bool
	data   []int // streams with data
	wait   []int // streams without the marker
	told   bool  // the marker of the group offsets is there
	again  bool  // a new client waits for the end of the transaction
}

func newWorld(rng *rand.Rand, raising func(int) bool) *world {
	w := &world{ids: make(map[string]int64), away: make(map[string]bool), log: newSimLog(), rng: rng, decided: make(map[int]bool), parts: make(map[int]map[int]int), told: make(map[int]bool), raising: raising}
	for range 2 + rng.IntN(4) {
		w.streams = append(w.streams, &simStream{})
	}
	for range 1 + rng.IntN(4) {
		w.join()
	}
	return w
}

// join is a new producer.
func (w *world) join() {
	n := len(w.producers)
	w.producers = append(w.producers, &simProducer{id: int64(100 + n), raises: w.raising(n), state: "Empty"})
}

// steps lets n things happen.
func (w *world) steps(n int) {
	for range n {
		switch w.rng.IntN(4) {
		case 0: // replication
			if w.rng.IntN(50) == 0 && len(w.producers) < 6 {
				w.join()
			}
			if w.rng.IntN(3) == 0 {
				w.append(0, item{kind: plainCommit, txn: w.visible()})
			}
			s := w.streams[w.rng.IntN(len(w.streams))]
			s.high += w.rng.IntN(len(s.items) - s.high + 1)
		case 1:
			if w.capture != nil {
				w.capture()
			}
		default:
			w.produce(w.producers[w.rng.IntN(len(w.producers))])
		}
	}
}

// visible returns a transaction of which a consumer of committed records has seen something, or -1.
func (w *world) visible() int {
	s := w.streams[w.rng.IntN(len(w.streams))]
	for at := s.high - 1; at >= 0; at-- {
		if s.items[at].kind == segment.TxnCommit {
			return s.items[at].txn
		}
	}
	return -1
}

func (w *world) produce(p *simProducer) {
	switch p.state {
	case "Empty", "CompleteCommit", "CompleteAbort":
		if w.changing && w.rng.IntN(6) == 0 {
			p.raises = !p.raises
		}
		w.txns++
		p.state, p.start, p.txn, p.data, p.told = "Ongoing", int64(w.txns), w.txns, nil, false
		w.parts[p.txn] = make(map[int]int)
	case "Ongoing":
		if w.rng.IntN(30) == 0 { // the client dies, and the next one of its name fences it
			p.epoch++
			w.end(p, false)
			p.again = true
			return
		}
		if len(p.data) == 0 || w.rng.IntN(4) > 0 {
			n := w.rng.IntN(len(w.streams))
			w.append(n, item{segment.TxnData, p.id, p.epoch, p.txn})
			w.parts[p.txn][n]++
			if !slices.Contains(p.data, n) {
				p.data = append(p.data, n)
			}
			return
		}
		for _, n := range p.data {
			w.streams[n].high = len(w.streams[n].items) // acknowledged
		}
		if p.raises {
			p.epoch++
		}
		w.end(p, w.rng.IntN(3) > 0)
	default:
		w.finish(p)
	}
}

// end decides a transaction.
func (w *world) end(p *simProducer, commit bool) {
	p.commit = commit
	w.decided[p.txn] = p.commit
	if p.state = "PrepareAbort"; p.commit {
		p.state = "PrepareCommit"
	}
	w.sendMarkers(p)
}

func (w *world) sendMarkers(p *simProducer) {
	p.wait = slices.Clone(p.data)
	w.rng.Shuffle(len(p.wait), func(i, j int) { p.wait[i], p.wait[j] = p.wait[j], p.wait[i] })
}

// finish writes a marker, or the group offsets, or is done.
func (w *world) finish(p *simProducer) {
	if !p.told && w.rng.IntN(2) == 0 {
		p.told = true
		w.told[p.txn] = p.commit
		return
	}
	if len(p.wait) == 0 && p.told {
		for _, n := range p.data {
			w.streams[n].high = len(w.streams[n].items) // WriteTxnMarkers is answered when they are replicated
		}
		p.state = "Complete" + p.state[len("Prepare"):]
		if p.again {
			p.epoch, p.again = p.epoch+1, false
		}
		return
	}
	if w.rng.IntN(20) == 0 { // another coordinator, which does not know how far the one before it came
		w.sendMarkers(p)
	}
	if len(p.wait) == 0 {
		return
	}
	kind := segment.TxnAbort
	if p.commit {
		kind = segment.TxnCommit
	}
	w.append(p.wait[0], item{kind, p.id, p.epoch, p.txn})
	p.wait = p.wait[1:]
}

func (w *world) append(n int, it item) { w.streams[n].items = append(w.streams[n].items, it) }

func (w *world) list(context.Context) ([]kafka.Transaction, error) {
	w.steps(w.rng.IntN(3))
	list := w.look()
	if w.rng.IntN(4) == 0 { // a coordinator has just died
		for _, t := range list {
			if _, known := w.ids[t.ID]; known && w.rng.IntN(2) == 0 {
				w.away[t.ID] = true
			}
		}
	}
	if w.rng.IntN(4) == 0 && len(w.producers) < 8 { // at once after the look
		w.join()
		for range w.rng.IntN(20) {
			w.produce(w.producers[len(w.producers)-1])
		}
	}
	return slices.DeleteFunc(list, func(t kafka.Transaction) bool { return w.away[t.ID] }), nil
}

func (w *world) look() []kafka.Transaction {
	var list []kafka.Transaction
	for _, p := range w.producers {
		list = append(list, kafka.Transaction{ID: fmt.Sprint("t", p.id), ProducerID: p.id, ProducerEpoch: p.epoch, State: kafka.TransactionState(p.state), Started: p.start})
	}
	return list
}

func (w *world) describe(_ context.Context, ids []string) ([]kafka.Transaction, error) {
	var list []kafka.Transaction
	for _, id := range ids {
		w.steps(w.rng.IntN(2))
		if w.away[id] && w.rng.IntN(3) == 0 {
			delete(w.away, id)
		}
		for _, t := range w.look() {
			if t.ID == id && !w.away[id] {
				list = append(list, t)
			}
		}
	}
	return list, nil
}

func simKey(n int) manifest.StreamKey { return manifest.StreamKey{Partition: int32(n)} }

func (w *world) highWatermarks(context.Context) (marks, error) {
	m := make(marks)
	slow := 3
	if w.rng.IntN(20) == 0 { // a leader has just died
		slow = 100
	}
	for _, n := range w.rng.Perm(len(w.streams)) {
		m[simKey(n)] = int64(w.streams[n].high)
		w.steps(w.rng.IntN(slow))
	}
	return m, nil
}

// captured takes a few items of a stream, as walk tells them.
func (w *world) captured(l *ledger, m *marking) {
	n := w.rng.IntN(len(w.streams))
	s := w.streams[n]
	var events []segment.TxnEvent
	from := s.next
	for range w.rng.IntN(s.high - s.next + 1) {
		it := s.items[s.next]
		if it.kind == plainCommit {
			s.next++
			continue
		}
		events = append(events, segment.TxnEvent{Offset: int64(s.next), Kind: it.kind, ProducerID: it.producer, ProducerEpoch: it.epoch})
		s.next++
	}
	l.take(simKey(n), events, m)
	if n == 0 {
		w.log.take(s.items[:s.next], from, m)
	}
}

// yields returns how many data items of each transaction a restore to the
// positions yields, by the rule of docs/format.md.
func (w *world) yields(list []held) map[int]int {
	got := make(map[int]int)
	for n, s := range w.streams {
		items := s.items[:s.next]
		for i, it := range items {
			if it.kind == segment.TxnData && committed(items, i, n, list) {
				got[it.txn]++
			}
		}
	}
	return got
}

func committed(items []item, i, n int, list []held) bool {
	says := func(kind manifest.TxnKind, at int) bool {
		return slices.ContainsFunc(list, func(h held) bool {
			return h.key == simKey(n) && h.ProducerID == items[i].producer && h.Kind == kind && int64(at) >= h.Offset
		})
	}
	for j := i + 1; j < len(items); j++ {
		if items[j].producer == items[i].producer && items[j].kind != segment.TxnData && items[j].kind != plainCommit {
			return items[j].kind == segment.TxnCommit && !says(manifest.TxnUndone, j)
		}
	}
	return says(manifest.TxnDecided, i)
}

// check holds what a restore yields against what happened.
func (w *world) check(list []held, must map[int]bool) error {
	got := w.yields(list)
	for txn, parts := range w.parts {
		all := 0
		for _, n := range parts {
			all += n
		}
		switch n := got[txn]; {
		case n != 0 && n != all:
			return fmt.Errorf("transaction %d is split: %d of %d", txn, n, all)
		case n != 0 && !w.decided[txn]:
			return fmt.Errorf("transaction %d was not committed", txn)
		case n == 0 && all > 0 && must[txn]:
			return fmt.Errorf("transaction %d is missing, though it was committed before the point was begun, or its group offsets are there", txn)
		}
	}
	return nil
}

// giveUp begins a point, now and then, that comes to nothing.
func (w *world) giveUp(c *cut) {
	if w.rng.IntN(8) > 0 {
		return
	}
	c.marking = &marking{first: marks{}, targets: marks{}, logBound: marks{}}
	for n, s := range w.streams {
		c.marking.first[simKey(n)], c.marking.targets[simKey(n)] = int64(s.high), int64(s.high)
	}
	c.marking.logBound[simKey(0)] = int64(w.streams[0].high)
	w.steps(w.rng.IntN(40))
	if c.marking = nil; w.rng.IntN(2) == 0 {
		w.steps(w.rng.IntN(10))
	}
	c.marking = &marking{}
}

// point makes a recovery point in the middle of all that.
func (w *world) point(l *ledger) (*cut, []held, error) {
	must := make(map[int]bool)
	for txn, commit := range w.told {
		must[txn] = commit
	}
	c := &cut{stable: make(map[int64]int), known: make(map[int64]bool), marking: &marking{}}
	w.capture = func() { w.captured(l, c.marking) }
	w.giveUp(c)
	c.logBound = marks{simKey(0): int64(w.streams[0].high)}
	w.steps(w.rng.IntN(5))
	c.marking = &marking{logBound: c.logBound}
	m := markReader{list: w.list, describe: w.describe, highWatermarks: w.highWatermarks, raises: l.raises, ids: w.ids, pause: func(context.Context) { w.steps(5) }}
	if err := m.mark(context.Background(), c); err != nil {
		return nil, nil, err
	}
	c.marking = &marking{first: c.marks[0], logBound: c.logBound}
	targets, _ := w.highWatermarks(context.Background())
	c.marking = &marking{first: c.marks[0], targets: targets, logBound: c.logBound}
	w.steps(w.rng.IntN([]int{30, 200}[w.rng.IntN(2)]))
	for n, s := range w.streams {
		for int64(s.next) < targets[simKey(n)] {
			w.captured(l, c.marking)
			w.steps(w.rng.IntN(2))
		}
	}
	v := l.settle(c)
	if v.unproven > 0 {
		return c, v.list, fmt.Errorf("%d %w", v.unproven, errUnproven)
	}
	if err := w.check(v.list, must); err != nil {
		return c, v.list, err
	}
	return c, v.list, w.log.check(c, v.list, w.streams[0], w.yields(v.list))
}

// restart is what a new process knows: what the log states.
func restart(list []held) *ledger {
	state := &manifest.State{}
	for n := range 10 {
		state.Topics = append(state.Topics, manifest.Topic{})
		state.Streams = append(state.Streams, manifest.Stream{Topic: n, Partition: int32(n), Child: -1})
	}
	for _, h := range list {
		h.Stream = int(h.key.Partition)
		state.Transactions = append(state.Transactions, h.Transaction)
	}
	return newLedger(state)
}

func TestPointsSplitNoTransaction(t *testing.T) {
	for name, raising := range map[string]func(int) bool{
		"raising epochs": func(int) bool { return true },
		"fixed epochs":   func(int) bool { return false },
		"both":           func(i int) bool { return i%2 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(200) {
				rng := rand.New(rand.NewPCG(seed, 7))
				w := newWorld(rng, raising)
				l := newLedger(&manifest.State{})
				for round := range 8 {
					w.capture = func() { w.captured(l, nil) }
					w.steps(rng.IntN(200))
					_, list, err := w.point(l)
					if err != nil {
						t.Fatalf("seed %d, point %d: %v", seed, round, err)
					}
					if rng.IntN(3) == 0 {
						l = restart(list)
						clear(w.ids)
						clear(w.away)
						w.log = newSimLog()
						w.log.take(w.streams[0].items[:w.streams[0].next], 0, nil)
					}
				}
			}
		})
	}
}

// A producer whose protocol changes, as with a downgrade of transaction.version, may not be told apart for certain. Then it
// is said, and nothing else is wrong.
func TestChangingProducersAreUnproven(t *testing.T) {
	proven, unproven := 0, 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 8))
		w := newWorld(rng, func(i int) bool { return i%2 == 0 })
		w.changing = true
		l := newLedger(&manifest.State{})
		for round := range 4 {
			w.capture = func() { w.captured(l, nil) }
			w.steps(rng.IntN(200))
			switch _, _, err := w.point(l); {
			case errors.Is(err, errUnproven):
				unproven++
			case err != nil:
				t.Fatalf("seed %d, point %d: %v", seed, round, err)
			default:
				proven++
			}
		}
	}
	if proven == 0 || unproven == 0 {
		t.Errorf("%d points proven, %d not", proven, unproven)
	}
}

var errUnproven = errors.New("producers unproven")

// Without the closing step the same world splits transactions: the test above
// can fail.
func TestPointsWithoutClosingSplitTransactions(t *testing.T) {
	split := 0
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(rng, func(int) bool { return true })
		l := newLedger(&manifest.State{})
		w.capture = func() { w.captured(l, nil) }
		w.steps(200)
		if _, _, err := w.point(l); err != nil {
			t.Fatal(err)
		}
		if w.check(nil, nil) != nil {
			split++
		}
	}
	if split == 0 {
		t.Error("no transaction was split in 50 worlds")
	}
}

func TestHangingTransactionsAreReportedOnce(t *testing.T) {
	var out strings.Builder
	o := &observer{ses: &session{Sink: &Sink{Log: slog.New(slog.NewTextHandler(&out, nil))}}, hanging: make(map[string]int64)}
	now := time.Now()
	old := now.Add(-20 * time.Minute).UnixMilli()
	list := []kafka.Transaction{
		{ID: "stuck", State: "Ongoing", ProducerID: 4, Started: old},
		{ID: "young", State: "Ongoing", Started: now.Add(-30 * time.Second).UnixMilli()},
		{ID: "done", State: "CompleteCommit", Started: old},
		{ID: "none", State: "Ongoing", Started: -1},
	}
	o.reportHanging(list, now)
	o.reportHanging(list, now)
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "transactionalId=stuck producer=4") || !strings.Contains(text, "age=20m") {
		t.Errorf("reported:\n%s", text)
	}
	list[0].Started++
	o.reportHanging(list, now)
	if strings.Count(out.String(), "\n") != 2 {
		t.Errorf("the next one that hangs was not reported:\n%s", out.String())
	}
}

// A producer that was listed, but never found at rest, is one of which nothing is proven, however new it is here.
func TestRestlessProducerIsUnproven(t *testing.T) {
	a, b := simKey(1), simKey(2)
	led := newLedger(&manifest.State{})
	m := &marking{}
	led.take(a, []segment.TxnEvent{{Offset: 0, Kind: segment.TxnData, ProducerID: 7}}, m) // first seen while marks are read
	led.take(b, []segment.TxnEvent{{Offset: 0, Kind: segment.TxnData, ProducerID: 7}}, m)
	first := marks{a: 2, b: 1} // the marker in a is there, that in b is not
	c := &cut{listed: true, known: map[int64]bool{7: true}, stable: map[int64]int{}, marks: []marks{first}}
	m = &marking{first: first, targets: first}
	led.take(a, []segment.TxnEvent{{Offset: 1, Kind: segment.TxnCommit, ProducerID: 7}}, m)
	led.take(b, []segment.TxnEvent{{Offset: 1, Kind: segment.TxnCommit, ProducerID: 7}}, m)
	v := led.settle(c)
	if v.undone == 1 && v.unproven == 0 {
		t.Errorf("the transaction is split, inside in one partition and outside in the other, and counts as proven: %+v", v.list)
	}
}

// Beyond the targets, a marker that a new coordinator sends again is no transaction of its own.
func TestMarkersSentAgain(t *testing.T) {
	a, b := simKey(1), simKey(2)
	mark, targets := marks{a: 1, b: 2}, marks{a: 1, b: 2}
	l := newLedger(&manifest.State{})
	m := &marking{first: mark, targets: targets}
	event := func(at int64, kind segment.EventKind, epoch int16) segment.TxnEvent {
		return segment.TxnEvent{Offset: at, Kind: kind, ProducerID: 7, ProducerEpoch: epoch}
	}
	l.take(b, []segment.TxnEvent{event(0, segment.TxnData, 0), event(1, segment.TxnCommit, 1)}, m) // inside
	l.take(a, []segment.TxnEvent{
		event(0, segment.TxnData, 0), event(1, segment.TxnCommit, 1), event(2, segment.TxnCommit, 1),
		event(3, segment.TxnData, 1), event(4, segment.TxnCommit, 2),
		event(5, segment.TxnData, 2), event(6, segment.TxnCommit, 3),
	}, m)
	v := l.settle(&cut{listed: true, marks: []marks{mark}})
	if len(v.list) != 1 || v.list[0].key != a || v.list[0].Kind != manifest.TxnUndone || v.list[0].Offset != 4 {
		t.Errorf("the point says %+v, want undone from offset 4 on", v.list)
	}
}
