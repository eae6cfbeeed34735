package sink

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// bench is a gatherer without a cluster, whose steps are noted.
type bench struct {
	*gatherer
	mu    sync.Mutex
	steps []step
	ended chan struct{}
}

// newBench returns a gatherer. Blocks are not encoded; what would wait for the
// encoders is drained, with the grants given back as the writer does.
func newBench(t *testing.T, config Config) *bench {
	t.Helper()
	ses := &session{
		ledger: newLedger(&manifest.State{}),
		Sink:   &Sink{Config: config}, budget: newBudget(config.BudgetBytes),
		toEncode: make(chan *block), steps: make(chan step),
		seal: func(uint64) (*segment.Seal, error) { return nil, nil },
	}
	ses.observer = &observer{ses: ses}
	b := &bench{gatherer: newGatherer(ses), ended: make(chan struct{})}
	blocks, steps := ses.toEncode, ses.steps
	go func() {
		for {
			if _, ok := <-blocks; !ok {
				return
			}
		}
	}()
	go func() {
		defer close(b.ended)
		for st := range steps {
			if st.block != nil {
				for _, g := range st.block.grants {
					g.done()
				}
			}
			b.mu.Lock()
			b.steps = append(b.steps, st)
			b.mu.Unlock()
		}
	}()
	return b
}

// end closes the channels and returns the steps in words.
func (b *bench) end() (list []string) {
	close(b.ses.toEncode)
	close(b.ses.steps)
	<-b.ended
	for _, st := range b.steps {
		if st.seal != nil {
			list = append(list, "seal")
			continue
		}
		m := st.block.meta
		list = append(list, fmt.Sprintf("%s-%d [%d,%d) %d", st.block.stream.Topic, st.block.stream.Partition, m.Start, m.Next, len(st.block.raw)))
	}
	return list
}

func (b *bench) blocks() (list []*block) {
	for _, st := range b.steps {
		if st.block != nil {
			list = append(list, st.block)
		}
	}
	return list
}

func small(partition int32) *stream {
	return &stream{topic: "t", key: manifest.StreamKey{Partition: partition}}
}

// data is a piece of one batch; its bytes tell where it is from.
func (b *bench) data(t *testing.T, s *stream, start, next int64, size int) piece {
	t.Helper()
	g, err := b.ses.budget.reserve(t.Context(), int64(size))
	if err != nil {
		t.Fatal(err)
	}
	p := newPiece(start)
	p.stream, p.logStart, p.grant = s, -1, g
	p.sum.Join(segment.Summary{Start: start, Next: next, Batches: 1, Records: next - start, MinTimestamp: start, MaxTimestamp: next, LeaderEpoch: int32(start), Plain: true})
	p.raw = []byte(strings.Repeat(string(rune('a'+start%26)), size))
	return p
}

func missing(s *stream, start, next int64, logStart int64) piece {
	p := newPiece(start)
	p.stream, p.gap, p.reason, p.logStart, p.sum.Next = s, true, manifest.GapRetention, logStart, next
	return p
}

func benchConfig() Config {
	c := Defaults()
	c.BlockBytes, c.GatherBytes, c.SegmentBytes, c.BudgetBytes = 300<<10, 10<<20, 1<<30, 64<<20
	return c
}

func (b *bench) takeThem(t *testing.T, pieces ...piece) {
	t.Helper()
	if err := b.takeAll(t.Context(), pieces); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) sealNow(t *testing.T) {
	t.Helper()
	if err := b.seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantNothingHeld: all of the budget has come back.
func (b *bench) wantNothingHeld(t *testing.T) {
	t.Helper()
	if !b.ses.budget.sem.TryAcquire(b.ses.Config.BudgetBytes) {
		t.Error("some of the budget has not come back")
	}
}

// TestGatherJoinsSmallPieces keeps the order of each stream, whatever its
// pieces' sizes.
func TestGatherJoinsSmallPieces(t *testing.T) {
	b := newBench(t, benchConfig())
	one, two := small(1), small(2)
	b.takeThem(t, b.data(t, one, 0, 2, 100), b.data(t, two, 5, 6, 50), b.data(t, one, 2, 3, 10))
	b.takeThem(t, b.data(t, two, 6, 9, 25))
	b.takeThem(t, b.data(t, one, 3, 4, smallPiece)) // large: what waits goes first
	b.takeThem(t, b.data(t, one, 4, 5, 7))
	b.sealNow(t)
	got := b.end()
	slices.Sort(got[2:4]) // the order of streams is nobody's business
	want := []string{"t-1 [0,3) 110", fmt.Sprintf("t-1 [3,4) %d", smallPiece), "t-1 [4,5) 7", "t-2 [5,9) 75", "seal"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	first := b.blocks()[0]
	if string(first.raw) != strings.Repeat("a", 100)+strings.Repeat("c", 10) {
		t.Errorf("the first block is %.120q", first.raw)
	}
	wantSum := segment.Summary{Start: 0, Next: 3, Batches: 2, Records: 3, MinTimestamp: 0, MaxTimestamp: 3, LeaderEpoch: 2, Plain: true}
	if !reflect.DeepEqual(first.meta.Summary, wantSum) {
		t.Errorf("its summary is %+v, want %+v", first.meta.Summary, wantSum)
	}
	b.wantNothingHeld(t)
}

// A large piece is not copied, and holds the budget until it is written.
func TestGatherPassesLargePieces(t *testing.T) {
	b := newBench(t, benchConfig())
	p := b.data(t, small(1), 0, 1, smallPiece)
	b.takeThem(t, p)
	b.end()
	if got := b.blocks(); len(got) != 1 || &got[0].raw[0] != &p.raw[0] || len(got[0].grants) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestGatherClosesBlocks(t *testing.T) {
	b := newBench(t, benchConfig())
	s := small(1)
	for i := range int64(10) {
		b.takeThem(t, b.data(t, s, i, i+1, 100<<10))
	}
	got := b.end()
	want := []string{"t-1 [0,3) 307200", "t-1 [3,6) 307200", "t-1 [6,9) 307200"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A gap lies between two blocks and between two spans.
func TestGatherGap(t *testing.T) {
	b := newBench(t, benchConfig())
	s := small(1)
	b.takeThem(t, b.data(t, s, 0, 2, 10), missing(s, 2, 10, 10), b.data(t, s, 10, 11, 10), b.data(t, s, 11, 12, 10))
	b.sealNow(t)
	if got, want := b.end(), []string{"t-1 [0,2) 10", "t-1 [10,12) 20", "seal"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got := b.steps[2].seal.covered.streams[s]
	want := &coverage{start: 0, epoch: 11, logStart: 10, spans: []manifest.Span{
		{Offsets: 2, Records: 2, MaxTimestamp: 2}, {Gap: true, Reason: manifest.GapRetention, Offsets: 8}, {Offsets: 2, Records: 2, MinTimestamp: 10, MaxTimestamp: 12},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("covered is %+v\nwant %+v", got, want)
	}
}

// Leader epochs do not go back, also where a block's last batch is older.
func TestGatherCoversEpochs(t *testing.T) {
	b := newBench(t, benchConfig())
	s := small(1)
	p := b.data(t, s, 5, 6, 10)
	q := b.data(t, s, 6, 7, 10)
	q.sum.LeaderEpoch = 2
	b.takeThem(t, p, q)
	b.sealNow(t)
	b.end()
	if got := b.steps[1].seal.covered.streams[s]; got.epoch != 5 || got.logStart != -1 || got.start != 5 {
		t.Errorf("covered is %+v", got)
	}
}

// TestGatherMemory sends small pieces of many streams: what waits stays below
// the bound, and all of it comes out in order.
func TestGatherMemory(t *testing.T) {
	config := benchConfig()
	config.GatherBytes = 1 << 20
	b := newBench(t, config)
	var streams []*stream
	for p := range int32(500) {
		streams = append(streams, small(p))
	}
	most := int64(0)
	for round := range int64(40) {
		for _, s := range streams {
			b.takeThem(t, b.data(t, s, round, round+1, 300))
			most = max(most, b.bytes)
		}
	}
	if most > config.GatherBytes+300 || most < config.GatherBytes/2 {
		t.Errorf("up to %d bytes wait, the bound is %d", most, config.GatherBytes)
	}
	b.sealNow(t)
	b.end()
	next := make(map[int32]int64)
	for _, k := range b.blocks() {
		if k.meta.Start != next[k.stream.Partition] || k.meta.Records*300 != int64(len(k.raw)) {
			t.Fatalf("partition %d: a block of [%d,%d) after %d", k.stream.Partition, k.meta.Start, k.meta.Next, next[k.stream.Partition])
		}
		next[k.stream.Partition] = k.meta.Next
	}
	for _, s := range streams {
		if next[s.key.Partition] != 40 {
			t.Errorf("partition %d ends at %d", s.key.Partition, next[s.key.Partition])
		}
	}
	b.wantNothingHeld(t)
}

// A segment is sealed at its size, counting what waits.
func TestGatherSealsAtSize(t *testing.T) {
	config := benchConfig()
	config.SegmentBytes = 1000
	b := newBench(t, config)
	one, two := small(1), small(2)
	b.takeThem(t, b.data(t, one, 0, 1, 400), b.data(t, two, 0, 1, 400))
	b.takeThem(t, b.data(t, one, 1, 2, 400))
	got := b.end()
	if len(got) != 3 || got[2] != "seal" {
		t.Errorf("got %q", got)
	}
}

// Age seals, too: later while a recovery point is about to be complete.
func TestGatherSealsAtAge(t *testing.T) {
	config := benchConfig()
	config.SegmentAge = time.Hour
	b := newBench(t, config)
	age := func(d time.Duration, cutting bool) bool {
		b.opened = time.Now().Add(-d)
		b.ses.marking.Store(nil)
		if cutting {
			b.ses.marking.Store(&marking{first: marks{}})
		}
		if err := b.sealIfOld(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.opened.IsZero()
	}
	b.takeThem(t, b.data(t, small(1), 0, 1, 4))
	if age(59*time.Minute, false) || age(89*time.Minute, true) {
		t.Error("sealed too early")
	}
	if !age(61*time.Minute, false) {
		t.Error("not sealed at its age")
	}
	b.takeThem(t, b.data(t, small(1), 1, 2, 4))
	if !age(91*time.Minute, true) {
		t.Error("not sealed at one and a half of its age")
	}
	b.opened = time.Time{}
	if err := b.sealIfOld(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.end(); len(got) != 4 {
		t.Errorf("got %q", got)
	}
}

// Nothing new and no point: nothing to commit.
func TestGatherSealsNothing(t *testing.T) {
	b := newBench(t, benchConfig())
	b.sealNow(t)
	b.covered.cut = &cut{}
	b.sealNow(t)
	if got := b.end(); !slices.Equal(got, []string{"seal"}) {
		t.Errorf("got %q", got)
	}
}

// What the producer compressed is not compressed again.
func TestGatherCompresses(t *testing.T) {
	for loose, want := range map[int]bool{0: false, 24: false, 25: true, 100: true} {
		b := newBench(t, benchConfig())
		p := b.data(t, small(1), 0, 1, 100)
		p.loose = loose
		b.takeThem(t, p)
		b.sealNow(t)
		b.end()
		if got := b.blocks()[0].compress; got != want {
			t.Errorf("%d of 100 bytes are loose: compress %v", loose, got)
		}
	}
}

// A gatherer whose session ends does not wait for anybody.
func TestGatherEndsWithItsContext(t *testing.T) {
	b := newBench(t, benchConfig())
	s := small(1)
	b.takeThem(t, b.data(t, s, 0, 1, 10))
	b.end()
	b.ses.toEncode, b.ses.steps = make(chan *block), make(chan step) // nobody listens
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.seal(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestBudget(t *testing.T) {
	b := newBudget(100)
	first, err := b.reserve(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.reserve(ctx, 30); err != context.DeadlineExceeded {
		t.Errorf("more than there is: %v", err)
	}
	first.shrink(50) // the response was smaller,
	first.shrink(90) // and does not grow any more
	second, err := b.reserve(t.Context(), 50)
	if err != nil {
		t.Fatal(err)
	}
	first.use()
	first.use()
	for range 2 {
		first.done()
		if b.sem.TryAcquire(1) {
			t.Fatal("given back before its last user was done")
		}
	}
	first.done()
	second.done()
	// A request for more than everything gets everything.
	third, err := b.reserve(t.Context(), 1000)
	if err != nil || third.bytes != 100 {
		t.Errorf("got %+v, %v", third, err)
	}
	third.done()
	if !b.sem.TryAcquire(100) {
		t.Error("some of it has not come back")
	}
}
