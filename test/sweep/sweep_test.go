package sweep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
)

// No run may leave a goroutine behind. The runs need little memory and make much
// garbage: collected more rarely, all of them take a good third less time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}

const (
	// tries is how often a step is begun in all: two faults let it fail twice.
	tries = 4
	// patience bounds a run, which takes less than a second without faults.
	patience = 3 * time.Minute
	// atOnce is how many runs are made at once: pauses after faults are most of them.
	atOnce = 12
)

// trial is what goes wrong in a run.
type trial struct {
	rules    []faulty.Rule
	how      ending
	at       int
	retrying bool // calls are repeated, as in the programs
}

func (t trial) String() string {
	text := ""
	for _, r := range t.rules {
		text += fmt.Sprintf("%s at call %d, ", r.Fault, r.Call)
	}
	if t.at > 0 {
		text += fmt.Sprintf("%s at call %d, ", t.how, t.at)
	}
	return fmt.Sprintf("%srepeated: %t", text, t.retrying)
}

func (t trial) has(fault faulty.Fault) bool {
	return slices.ContainsFunc(t.rules, func(r faulty.Rule) bool { return r.Fault == fault })
}

// outcome is what became of a run.
type outcome struct {
	calls  int
	made   []faulty.Call
	fired  int
	failed int // steps that ended in an error, and were begun again
}

// run makes a run, whose error says what is wrong with it.
func (t trial) run(ctx context.Context) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	clean := mem.New()
	w, err := newWorld(ctx, clean)
	if err != nil {
		return o, err
	}
	defer w.close()
	f := faulty.New(clean, t.rules...)
	p := &process{Store: f, how: t.how, at: t.at}
	if t.has(faulty.Hang) {
		p.Store = impatient{f}
	}
	st := store.Store(p)
	if t.retrying {
		st = retrying.New(p, retrying.Config{First: time.Millisecond, Max: time.Millisecond}, quiet)
	}
	for _, s := range workload {
		failed, err := t.step(ctx, w, p, st, s)
		o.failed += failed
		if err != nil {
			return o, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	f.Settle()
	o.calls, o.made, o.fired = p.count(), f.History(), f.Fired()+p.died
	if err := w.captured(ctx); err != nil {
		return o, fmt.Errorf("at the end: %w", err)
	}
	return o, w.verify(ctx, clean)
}

// step does a step until it succeeds, and says how often it failed.
func (t trial) step(ctx context.Context, w *world, p *process, st store.Store, s step) (failed int, err error) {
	if s.before != nil {
		if err := s.before(w, ctx); err != nil {
			return 0, err
		}
	}
	for ; ; failed++ {
		err = s.do(w, ctx, st)
		p.restart()
		if err == nil || failed+1 == tries {
			break
		}
		if !tells(err) {
			return failed, fmt.Errorf("the error does not tell: %w", err)
		}
	}
	if err != nil {
		return failed, fmt.Errorf("does not recover: %w", err)
	}
	if s.check == nil {
		return failed, nil
	}
	if err := s.check(w, ctx); err != nil {
		return failed, fmt.Errorf("succeeded, but: %w", err)
	}
	return failed, nil
}

// tells says whether an error says what a fault did.
func tells(err error) bool {
	for _, target := range []error{
		faulty.ErrInjected, store.ErrAuth, store.ErrFull, store.ErrExists, store.ErrNotExist, manifest.ErrDamaged, manifest.ErrNoRepository,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// TestSweep lets calls fail. Nothing is lost, nothing succeeds that has not, and what failed can be done again. Normally
// it draws lots among all the trials there are; OFFSITE_TEST_SWEEP_TRIALS is how many, 0 for each call in each way, and
// OFFSITE_TEST_SWEEP_PAIRS how many pairs of faults come besides. OFFSITE_TEST_SWEEP_PART is K/N, which leaves of all the
// trials each N-th, from the K-th on, so that they can be made in several sittings.
func TestSweep(t *testing.T) {
	rng, seed := random(t)
	began := time.Now()
	base, err := trial{}.run(t.Context())
	t.Logf("a run without faults took %s", time.Since(began))
	if err != nil {
		t.Fatal(err)
	}
	all := everyTrial(base.made)
	wanted, pairs := number(t, "OFFSITE_TEST_SWEEP_TRIALS", 24), number(t, "OFFSITE_TEST_SWEEP_PAIRS", 6)
	every := len(all)
	all = part(t, all)
	if wanted > 0 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:min(wanted, len(all))]
	}
	singles := len(all)
	for range pairs {
		all = append(all, pair(rng, base.calls))
	}
	var (
		g                   errgroup.Group
		mu                  sync.Mutex
		fired, failed, most int
	)
	g.SetLimit(atOnce)
	for _, one := range all {
		g.Go(func() error {
			o, err := one.run(t.Context())
			mu.Lock()
			defer mu.Unlock()
			fired, failed, most = fired+min(o.fired, 1), failed+o.failed, max(most, o.calls)
			if err != nil {
				t.Errorf("%s: %v", one, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	t.Logf("OFFSITE_TEST_SEED=%d: %d calls without faults, at most %d with; %d of %d trials and %d pairs; %d faults happened, %d steps failed and were begun again",
		seed, base.calls, most, singles, every, pairs, fired, failed)
	if fired < len(all)*3/4 {
		t.Errorf("only %d of %d faults happened", fired, len(all))
	}
	// A step that fails is begun again, and so may be a second; and each call is repeated a few times.
	if most > 3*base.calls {
		t.Errorf("%d calls, %d without faults: repetitions are not bounded", most, base.calls)
	}
}

// everyTrial returns all ways in which one of the calls can fail. Which call is
// the n-th is not quite the same in each run.
func everyTrial(made []faulty.Call) (all []trial) {
	for n, c := range made {
		call := n + 1
		for i, fault := range faulty.Faults() {
			if !fault.AppliesTo(c.Op) {
				continue
			}
			all = append(all, trial{rules: []faulty.Rule{{Call: call, Fault: fault, Later: 2}}, retrying: (call+i)%2 == 0})
		}
		for _, how := range []ending{dieBefore, dieAfter} {
			all = append(all, trial{how: how, at: call, retrying: true})
		}
	}
	return all
}

// pair returns two faults at random, of which the second may be an end.
func pair(rng *rand.Rand, calls int) trial {
	faults := faulty.Faults()
	first := 1 + rng.IntN(calls-1)
	second := first + 1 + rng.IntN(min(40, calls-first))
	one := trial{rules: []faulty.Rule{{Call: first, Fault: faults[rng.IntN(len(faults))], Later: 1 + rng.IntN(5)}}, retrying: rng.IntN(2) == 0}
	switch n := rng.IntN(len(faults) + 2); n {
	case len(faults):
		one.how, one.at = dieBefore, second
	case len(faults) + 1:
		one.how, one.at = dieAfter, second
	default:
		one.rules = append(one.rules, faulty.Rule{Call: second, Fault: faults[n], Later: 1 + rng.IntN(5)})
	}
	return one
}

// part returns each N-th trial, from the K-th on.
func part(t *testing.T, all []trial) (some []trial) {
	t.Helper()
	text := os.Getenv("OFFSITE_TEST_SWEEP_PART")
	if text == "" {
		return all
	}
	k, n := 0, 0
	if _, err := fmt.Sscanf(text, "%d/%d", &k, &n); err != nil || k < 1 || k > n {
		t.Fatalf("OFFSITE_TEST_SWEEP_PART=%s is not K/N", text)
	}
	for i := k - 1; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

func random(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("OFFSITE_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("OFFSITE_TEST_SEED: %v", err)
		}
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

func number(t *testing.T, variable string, normally int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return normally
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s is not a number", variable, text)
	}
	return n
}
