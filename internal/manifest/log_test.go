package manifest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// created is fixed: descriptors of tests differ in their ids only.
var created = time.Date(2026, 11, 22, 3, 39, 57, 0, time.UTC)

func create(t testing.TB, st store.Store) *manifest.Repository {
	t.Helper()
	r, err := manifest.OpenOrCreate(context.Background(), st, "cluster-1", created)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t testing.TB, st store.Store) *manifest.Repository {
	t.Helper()
	r, err := manifest.Open(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openLog(t testing.TB, r *manifest.Repository) *manifest.Log {
	t.Helper()
	l, err := r.OpenLog(context.Background(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// extend says that a stream advances from one offset to another, and is fenced
// if it is not there. Who has been told that there is no stream yet makes it.
func extend(stream int, from, to int64) func(*manifest.State) (*manifest.Entry, error) {
	return func(s *manifest.State) (*manifest.Entry, error) {
		if len(s.Streams) == 0 {
			return introduce(stream + 1), nil
		}
		if s.Streams[stream].Next != from {
			return nil, fmt.Errorf("%w: stream %d is at %d", manifest.ErrFenced, stream, s.Streams[stream].Next)
		}
		e := &manifest.Entry{Segments: make([]manifest.Segment, 1), Ranges: []manifest.Range{advance(stream, to-from)}}
		e.Segments[0].Counter, e.Segments[0].Size = uint64(stream)<<32|uint64(from), 24
		return e, nil
	}
}

// begin makes a repository whose log has one entry: a topic with so many streams.
func begin(t testing.TB, st store.Store, streams int) *manifest.Repository {
	t.Helper()
	r := create(t, st)
	_, err := openLog(t, r).Append(context.Background(), func(*manifest.State) (*manifest.Entry, error) { return introduce(streams), nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func introduce(streams int) *manifest.Entry {
	e := &manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, 1, "orders", false)}}
	for p := range streams {
		e.Streams = append(e.Streams, manifest.NewStream{Partition: int32(p), Parent: -1})
	}
	return e
}

// commit is a range that an entry of the log adds.
type commit struct {
	writer manifest.ID
	stream int
	from   int64
	to     int64
}

// commits reads the log and returns its ranges.
func commits(t testing.TB, st store.Store) []commit {
	t.Helper()
	var list []commit
	_, err := open(t, st).Read(context.Background(), 0, func(s *manifest.State, e *manifest.Entry) error {
		for _, r := range e.Ranges {
			next := s.Streams[r.Stream].Next
			list = append(list, commit{e.Writer, r.Stream, next - r.Spans[0].Offsets, next})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("the log cannot be read: %v", err)
	}
	return list
}

// TestRacingWriters lets 8 processes capture the same stream. Each goes on from
// the log when it is fenced. The log must be one line that covers each offset once.
func TestRacingWriters(t *testing.T) {
	const writers, steps = 8, 150
	st := mem.New()
	begin(t, st, 1)
	var g sync.WaitGroup
	won, fenced := make([]int, writers), make([]int, writers)
	for w := range writers {
		g.Go(func() {
			l := openLog(t, open(t, st))
			for at := l.State().Streams[0].Next; at < steps; at = l.State().Streams[0].Next {
				runtime.Gosched()
				_, err := l.Append(t.Context(), extend(0, at, at+1))
				switch {
				case err == nil:
					won[w]++
				case errors.Is(err, manifest.ErrFenced):
					fenced[w]++
				default:
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	g.Wait()
	list := commits(t, st)
	for i, c := range list {
		if c.from != int64(i) || c.to != int64(i+1) {
			t.Errorf("entry %d covers [%d,%d)", i, c.from, c.to)
		}
	}
	sum := 0
	for _, n := range won {
		sum += n
	}
	if len(list) != steps || sum != steps {
		t.Errorf("%d ranges are in the log, %d were reported as committed, want %d", len(list), sum, steps)
	}
	t.Logf("won %v, fenced %v", won, fenced)
}

// TestWritersOfOtherStreams do not fence each other: whoever loses a number
// takes the next.
func TestWritersOfOtherStreams(t *testing.T) {
	const writers, steps = 8, 25
	st := mem.New()
	begin(t, st, writers)
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			l := openLog(t, open(t, st))
			for i := range int64(steps) {
				if _, err := l.Append(t.Context(), extend(w, i, i+1)); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	g.Wait()
	if list := commits(t, st); len(list) != writers*steps {
		t.Errorf("%d ranges are in the log, want %d", len(list), writers*steps)
	}
}

// TestNothingToSay: build may have nothing, or not want to.
func TestNothingToSay(t *testing.T) {
	st := mem.New()
	l := openLog(t, begin(t, st, 1))
	e, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return nil, nil })
	if e != nil || err != nil {
		t.Errorf("got %v, %v", e, err)
	}
	mine := errors.New("mine")
	if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return nil, mine }); !errors.Is(err, mine) {
		t.Errorf("got %v, want the error of build", err)
	}
	if l.State().Sequence != 1 {
		t.Errorf("the log has %d entries", l.State().Sequence)
	}
}

// An entry that readers would refuse is not written.
func TestAppendRefusesWhatReadersWould(t *testing.T) {
	l := openLog(t, begin(t, mem.New(), 1))
	for name, e := range map[string]*manifest.Entry{
		"a range of no stream": {Segments: make([]manifest.Segment, 1), Ranges: []manifest.Range{advance(7, 1)}},
		"a name too long":      {Topics: []manifest.TopicChange{topicNamed(1, 2, strings.Repeat("x", 250), false)}},
		"data in no segment":   {Ranges: []manifest.Range{advance(0, 1)}},
		"ranges out of order":  {Segments: make([]manifest.Segment, 1), Ranges: []manifest.Range{advance(0, 1), advance(0, 1)}},
		"a body too large":     {Agent: &manifest.Agent{Program: strings.Repeat("x", 65<<20)}},
	} {
		if _, err := l.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return e, nil }); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if l.State().Sequence != 1 {
		t.Errorf("the log has %d entries", l.State().Sequence)
	}
}

// attempt is the outcome of one Append of the workload below.
type attempt struct {
	commit
	err error
}

// work appends through st: three ranges, the second of them against a rival who
// wants the same, the third against one who wants another stream.
func work(t *testing.T, ctx context.Context, st, clean store.Store) (outcomes []attempt, err error) {
	r, err := manifest.Open(ctx, st)
	if err != nil {
		return nil, err
	}
	l, err := r.OpenLog(ctx, time.Now)
	if err != nil {
		return nil, err
	}
	for i := range int64(3) {
		rivals := 0
		_, err := l.Append(ctx, func(s *manifest.State) (*manifest.Entry, error) {
			if rivals++; rivals == 1 && i > 0 {
				rival(t, clean, int(i-1), i)
			}
			return extend(0, i*10, i*10+10)(s)
		})
		outcomes = append(outcomes, attempt{commit{l.Writer(), 0, i * 10, i*10 + 10}, err})
		if err != nil && !errors.Is(err, manifest.ErrFenced) {
			return outcomes, err
		}
	}
	return outcomes, nil
}

// rival appends for a stream where it stands, if nobody has done so already.
func rival(t *testing.T, clean store.Store, stream int, i int64) {
	l := openLog(t, open(t, clean))
	if next := l.State().Streams[stream].Next; stream != 0 || next == i*10 {
		if _, err := l.Append(context.Background(), extend(stream, next, next+10)); err != nil {
			t.Errorf("rival: %v", err)
		}
	}
}

// judge compares what Append said with what is in the log.
func judge(t *testing.T, outcomes []attempt, list []commit) {
	t.Helper()
	for _, a := range outcomes {
		n := 0
		for _, c := range list {
			if c == a.commit {
				n++
			}
		}
		fenced := errors.Is(a.err, manifest.ErrFenced)
		if n > 1 || a.err == nil && n != 1 || fenced && n != 0 {
			t.Errorf("the range from %d on is %d times in the log, Append returned: %v", a.from, n, a.err)
		}
	}
	at := int64(0)
	for _, c := range list {
		if c.stream != 0 {
			continue
		}
		if c.from != at {
			t.Errorf("a range from %d on follows offset %d", c.from, at)
		}
		at = c.to
	}
}

// known are the errors that a fault may end in.
func known(err error) bool {
	for _, target := range []error{
		faulty.ErrInjected, manifest.ErrDamaged, manifest.ErrNoRepository, context.DeadlineExceeded, store.ErrAuth, store.ErrFull, store.ErrExists,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// run does the workload with the given rules. Time is the bubble's: pauses and
// timeouts cost nothing.
func run(t *testing.T, rules ...faulty.Rule) (fired, calls int, err error) {
	synctest.Test(t, func(t *testing.T) {
		clean := mem.New()
		begin(t, clean, 2)
		st := faulty.New(clean, rules...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var outcomes []attempt
		outcomes, err = work(t, ctx, st, clean)
		if err != nil && !known(err) {
			t.Errorf("an unexpected kind of error: %v", err)
		}
		st.Settle()
		judge(t, outcomes, commits(t, clean))
		fired, calls = st.Fired(), st.Calls(faulty.Any)
	})
	return fired, calls, err
}

// TestFaultAtEveryCall lets each call of the workload fail in each way: what
// Append says is true, and no range is there twice.
func TestFaultAtEveryCall(t *testing.T) {
	_, calls, err := run(t)
	if err != nil || calls < 9 {
		t.Fatalf("without a fault: %d calls, %v", calls, err)
	}
	fired := 0
	for call := 1; call <= calls; call++ {
		for _, fault := range faulty.Faults() {
			for _, later := range []int{1, 2, 5} {
				if later > 1 && fault != faulty.AppliedLate {
					continue
				}
				n, _, _ := run(t, faulty.Rule{Call: call, Fault: fault, Later: later})
				fired += n
				if t.Failed() {
					t.Fatalf("call %d of %d: %s, later %d", call, calls, fault, later)
				}
			}
		}
	}
	if fired < 5*calls {
		t.Errorf("only %d faults in %d calls", fired, calls)
	}
	t.Logf("%d calls, %d faults", calls, fired)
}

// TestTwoFaults: the answer to the question what became of the first is the
// second to go wrong.
func TestTwoFaults(t *testing.T) {
	_, calls, _ := run(t)
	first := []faulty.Fault{faulty.ErrorBefore, faulty.ErrorAfter, faulty.AppliedLate, faulty.ExistsAfter, faulty.FalseExists, faulty.Conflict}
	fired := 0
	for call := 1; call <= calls; call++ {
		for _, f := range first {
			if n, _, _ := run(t, faulty.Rule{Call: call, Fault: f}); n == 0 {
				continue
			}
			for second := call + 1; second <= call+3; second++ {
				for _, g := range faulty.Faults() {
					n, _, _ := run(t, faulty.Rule{Call: call, Fault: f, Later: 3}, faulty.Rule{Call: second, Fault: g})
					fired += n
					if t.Failed() {
						t.Fatalf("call %d: %s, call %d: %s", call, f, second, g)
					}
				}
			}
		}
	}
	t.Logf("%d faults", fired)
}

// TestStubbornStore: a store that never answers a Put ends in an error that
// names the entry, after a bounded number of tries.
func TestStubbornStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clean := mem.New()
		begin(t, clean, 2)
		var rules []faulty.Rule
		for call := range 100 {
			rules = append(rules, faulty.Rule{Op: faulty.Put, Call: call + 1, Fault: faulty.ErrorBefore})
		}
		st := faulty.New(clean, rules...)
		_, err := openLog(t, open(t, st)).Append(t.Context(), extend(0, 0, 5))
		if !errors.Is(err, faulty.ErrInjected) || !strings.Contains(err.Error(), "append log entry 2") {
			t.Errorf("got %v", err)
		}
		if n := st.Calls(faulty.Put); n < 3 || n > 20 {
			t.Errorf("%d tries", n)
		}
	})
}

// Rights and space do not come back by asking again.
func TestHopelessStore(t *testing.T) {
	for fault, want := range map[faulty.Fault]error{faulty.Denied: store.ErrAuth, faulty.Full: store.ErrFull} {
		clean := mem.New()
		begin(t, clean, 2)
		st := faulty.New(clean, faulty.Rule{Op: faulty.Put, Call: 1, Fault: fault})
		if _, err := openLog(t, open(t, st)).Append(t.Context(), extend(0, 0, 5)); !errors.Is(err, want) || st.Calls(faulty.Put) != 1 {
			t.Errorf("%s: got %v after %d tries", fault, err, st.Calls(faulty.Put))
		}
	}
}

// TestOwnEntryAltered: what came back has our nonce and not our bytes.
func TestOwnEntryAltered(t *testing.T) {
	clean := mem.New()
	begin(t, clean, 2)
	_, err := openLog(t, open(t, altering{clean})).Append(t.Context(), extend(0, 0, 5))
	wantDamage(t, err, manifest.LogKey(2))
}

// altering stores the entries of the log with their last byte changed, and does
// not say so.
type altering struct{ store.Store }

func (a altering) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return store.Info{}, err
	}
	b[len(b)-1] ^= 1
	if _, err := a.Store.Put(ctx, key, bytes.NewReader(b), opts); err != nil {
		return store.Info{}, err
	}
	return store.Info{}, errors.New("no answer")
}

func wantDamage(t *testing.T, err error, key string) {
	t.Helper()
	var d *manifest.Damage
	if !errors.Is(err, manifest.ErrDamaged) || !errors.As(err, &d) || d.Key != key || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v, want damage of %s", err, key)
	}
}

// object reads one object.
func read(t testing.TB, st store.Store, key string) []byte {
	t.Helper()
	body, err := st.Get(context.Background(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, st store.Store, key string, b []byte) {
	t.Helper()
	if _, err := st.Put(context.Background(), key, bytes.NewReader(b), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// hiding has an object in its listings that it does not have.
type hiding struct {
	store.Store
	key string
}

func (h hiding) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if key == h.key {
		return nil, fmt.Errorf("get %s: %w", key, store.ErrNotExist)
	}
	return h.Store.Get(ctx, key, off, n)
}

// A gap in the listing is damage, but not for who does not want to read that
// far: each entry proves those before it, and needs none behind it.
func TestGapBehindWhatIsRead(t *testing.T) {
	st := mem.New()
	l := openLog(t, begin(t, st, 1))
	for i := range int64(9) {
		if _, err := l.Append(t.Context(), extend(0, i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Delete(t.Context(), manifest.LogKey(7)); err != nil {
		t.Fatal(err)
	}
	for _, upTo := range []uint64{0, 7, 8} {
		_, err := open(t, st).Read(t.Context(), upTo, nil)
		wantDamage(t, err, manifest.LogKey(7))
	}
	for _, upTo := range []uint64{3, 6} {
		if s, err := open(t, st).Read(t.Context(), upTo, nil); err != nil || s.Sequence != upTo {
			t.Errorf("up to %d: %+v, %v", upTo, s, err)
		}
	}
}

// TestDamagedLog: whatever happened to the log, reading it names the object.
func TestDamagedLog(t *testing.T) {
	const entries = 40 // more than are read at once
	sample := func() *mem.Store {
		st := mem.New()
		l := openLog(t, begin(t, st, 1))
		for i := range int64(entries - 1) {
			if _, err := l.Append(t.Context(), extend(0, i, i+1)); err != nil {
				t.Fatal(err)
			}
		}
		return st
	}
	remove := func(seq uint64) func(*mem.Store) store.Store {
		return func(st *mem.Store) store.Store {
			if err := st.Delete(t.Context(), manifest.LogKey(seq)); err != nil {
				t.Fatal(err)
			}
			return st
		}
	}
	replace := func(seq uint64, by func(st *mem.Store) []byte) func(*mem.Store) store.Store {
		return func(st *mem.Store) store.Store {
			put(t, st, manifest.LogKey(seq), by(st))
			return st
		}
	}
	for _, tc := range []struct {
		name   string
		damage func(*mem.Store) store.Store
		seq    uint64 // of the entry that is to be named
	}{
		{"the first entry is gone", remove(1), 1},
		{"an entry is gone", remove(20), 20},
		{"the last but one is gone", remove(entries - 1), entries - 1},
		{"an entry is listed but not there", func(st *mem.Store) store.Store { return hiding{st, manifest.LogKey(33)} }, 33},
		{"the last is listed but not there", func(st *mem.Store) store.Store { return hiding{st, manifest.LogKey(entries)} }, entries},
		{"an entry of another repository", replace(20, func(*mem.Store) []byte { return read(t, sample(), manifest.LogKey(20)) }), 20},
		{"a first entry of another repository", replace(1, func(*mem.Store) []byte { return read(t, sample(), manifest.LogKey(1)) }), 1},
		{"an entry twice", replace(21, func(st *mem.Store) []byte { return read(t, st, manifest.LogKey(20)) }), 21},
		{"two entries swapped", func(st *mem.Store) store.Store {
			a, b := read(t, st, manifest.LogKey(7)), read(t, st, manifest.LogKey(8))
			put(t, st, manifest.LogKey(7), b)
			put(t, st, manifest.LogKey(8), a)
			return st
		}, 7},
		{"an empty entry", replace(40, func(*mem.Store) []byte { return nil }), 40},
		{"an entry too large", replace(40, func(*mem.Store) []byte { return make([]byte, 65<<20) }), 40},
		{"the descriptor of another repository", func(st *mem.Store) store.Store {
			put(t, st, manifest.RepositoryKey, read(t, sample(), manifest.RepositoryKey))
			return st
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := tc.damage(sample())
			_, err := open(t, st).Read(t.Context(), 0, nil)
			wantDamage(t, err, manifest.LogKey(tc.seq))
			_, err = open(t, st).OpenLog(t.Context(), time.Now)
			wantDamage(t, err, manifest.LogKey(tc.seq))
		})
	}
	t.Run("as it is", func(t *testing.T) {
		st := sample()
		put(t, st, "log/readme.txt", []byte("nobody's"))
		put(t, st, "log/00000000/readme", []byte("nobody's"))
		var seen []uint64
		s, err := open(t, st).Read(t.Context(), 0, func(s *manifest.State, e *manifest.Entry) error {
			seen = append(seen, e.Sequence)
			return nil
		})
		if err != nil || s.Sequence != entries || len(seen) != entries || !slices.IsSorted(seen) {
			t.Errorf("read %v, %v", seen, err)
		}
		if s, err = open(t, st).Read(t.Context(), 5, nil); err != nil || s.Sequence != 5 || s.Streams[0].Next != 4 {
			t.Errorf("up to 5: %+v, %v", s, err)
		}
		if _, err = open(t, st).Read(t.Context(), entries+1, nil); err == nil || errors.Is(err, manifest.ErrDamaged) {
			t.Errorf("up to an entry that is not there: %v", err)
		}
		mine := errors.New("mine")
		if _, err = open(t, st).Read(t.Context(), 0, func(*manifest.State, *manifest.Entry) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("got %v, want the error of fn", err)
		}
	})
}
