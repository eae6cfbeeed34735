package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
	"github.com/offsite-kafka/offsite/internal/store/mem"
	"golang.org/x/sync/semaphore"
)

// smallMerges merges what little tests have.
var smallMerges = merge.Config{TargetBytes: 16 << 10, SortBytes: 8 << 10, MinSegments: 2, MinPieces: 2}

func merger(repo *manifest.Repository, config merge.Config) *merge.Merger {
	return merge.New(repo, config, manifest.Agent{Program: "merger"}, quiet, func() time.Time { return firstTime.Add(time.Hour) })
}

// randomPast is a repository of which nobody knows what it holds.
type randomPast struct {
	*scribe
	rng    *rand.Rand
	ends   []int // by partition: the stream that is captured
	points []uint64
}

func newRandomPast(t testing.TB, seed uint64, partitions int) *randomPast {
	t.Helper()
	return randomPastOf(newScribe(t, partitions), seed)
}

func randomPastOf(s *scribe, seed uint64) *randomPast {
	h := &randomPast{scribe: s, rng: rand.New(rand.NewPCG(seed, 1))}
	for q := range s.part {
		h.ends = append(h.ends, q)
	}
	return h
}

// step captures something of some partitions, and now and then begins a branch before.
func (h *randomPast) step() {
	if q := h.rng.IntN(len(h.ends)); h.rng.IntN(12) == 0 && h.at[h.ends[q]] > 0 {
		h.ends[q] = h.branch(h.ends[q], h.rng.Int64N(h.at[h.ends[q]]))
	}
	var streams []int
	for _, n := range h.ends {
		if h.rng.IntN(3) > 0 {
			streams = append(streams, n)
		}
	}
	if len(streams) == 0 {
		streams = h.ends[:1]
	}
	slices.Sort(streams)
	gap := int64(0)
	if h.rng.IntN(8) == 0 {
		gap = 1 + h.rng.Int64N(5)
	}
	h.points = append(h.points, h.captureAll(gap, h.batches, streams...))
}

// batches are of any kind: compressed or not, with holes, in transactions that end later or never.
func (h *randomPast) batches(n int) (list []spec) {
	at := h.at[n]
	for range 1 + h.rng.IntN(3) {
		s := spec{base: at + h.rng.Int64N(2), last: h.rng.Int32N(5), codec: batch.Codec(h.rng.IntN(5)), size: h.rng.IntN(300)}
		switch h.rng.IntN(6) {
		case 0:
			s.producer = 1 + h.rng.Int64N(2)
		case 1:
			s = spec{base: s.base, producer: 1 + h.rng.Int64N(2), marker: true, commit: h.rng.IntN(2) == 0}
		case 2:
			s.records = []int32{s.last}
		case 3:
			s.logAppend = true
		}
		if s.stamps == nil {
			for d := range s.last + 1 {
				s.stamps = append(s.stamps, int64(n)*1_000_000+at+int64(d)) // so that branches differ
			}
		}
		list = append(list, s)
		at = s.next()
	}
	return list
}

// yields returns what each point yields.
func (h *randomPast) yields() map[uint64]map[string][]string {
	h.t.Helper()
	all := make(map[uint64]map[string][]string)
	for _, p := range h.points {
		records, _, err := h.restored(p)
		if err != nil {
			h.t.Fatalf("point %d: %v", p, err)
		}
		all[p] = records
	}
	return all
}

// same makes sure that every point yields what it has yielded before.
func (h *randomPast) same(before map[uint64]map[string][]string) {
	h.t.Helper()
	after := h.yields()
	for p, want := range before {
		if err := compareRecords(after[p], want, false); err != nil {
			h.t.Fatalf("point %d: %v", p, err)
		}
	}
	report, err := Verify(h.t.Context(), h.repo, Scope{Level: manifest.LevelDecode}, nil)
	if err != nil || len(report.Damages) > 0 || report.Uncompared > 0 || report.Compared == 0 && h.log.State().Moved > 0 {
		h.t.Fatalf("verify: %+v, %v", report, err)
	}
}

// Whatever was captured and however often it is merged, every point yields what it did before.
func TestMergeChangesNothing(t *testing.T) {
	t.Parallel()
	merges := 0
	for seed := range uint64(6) {
		h := newRandomPast(t, seed, 4)
		before := make(map[uint64]map[string][]string)
		m := merger(h.repo, smallMerges)
		for range 3 {
			for range 2 + h.rng.IntN(12) {
				h.step()
			}
			for p, records := range h.yields() {
				before[p] = records
			}
			if err := h.log.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, err := m.Run(t.Context())
			if err != nil || r.Damaged+r.Dropped > 0 {
				t.Fatalf("seed %d: %+v, %v", seed, r, err)
			}
			merges += r.Merges
			if err := h.log.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.same(before)
		}
		if r, err := merger(h.repo, smallMerges).Run(t.Context()); err != nil || r.Merges > 0 {
			t.Errorf("seed %d: a merger that begins anew finds %+v to do, %v", seed, r, err)
		}
	}
	if merges < 20 {
		t.Errorf("only %d merges", merges)
	}
}

// A merger that is killed at any of its calls, or meets an error, leaves a repository that yields the same, and the next one goes on.
func TestMergeIsKilled(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.ErrorBefore, faulty.AppliedLate} {
		for call, more := 1, true; more; call++ {
			h := newRandomPast(t, 7, 3)
			for range 6 {
				h.step()
			}
			h.points = h.points[3:] // some are enough
			before := h.yields()
			st := faulty.New(h.repo.Store(), faulty.Rule{Call: call, Fault: fault})
			repo, err := manifest.Open(t.Context(), st)
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err = merger(repo, smallMerges).Run(ctx)
				cancel()
			}
			if more = st.Calls(faulty.Any) >= call; !more && (err != nil || call < 10) {
				t.Errorf("%v: without a fault, after %d calls: %v", fault, call, err)
			}
			st.Settle()
			r, err := merger(h.repo, smallMerges).Run(t.Context())
			if err != nil {
				t.Fatalf("%v at call %d: the next one: %+v, %v", fault, call, r, err)
			}
			h.same(before)
		}
	}
}

// Two mergers and a capture at once disturb nobody.
func TestMergersRace(t *testing.T) {
	for seed := range uint64(6) {
		h := newRandomPast(t, seed, 3)
		for range 10 {
			h.step()
		}
		before := h.yields()
		var results [2]merge.Result
		errs := make(chan error, 2)
		for i := range results {
			go func() (err error) {
				defer func() { errs <- err }()
				repo, err := manifest.Open(t.Context(), h.repo.Store())
				if err != nil {
					return err
				}
				results[i], err = merger(repo, smallMerges).Run(t.Context())
				return err
			}()
		}
		for range 5 {
			h.step()
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatalf("seed %d: %+v: %v", seed, results, err)
		}
		h.same(before)
	}
}

// sealedRepository is an encrypted one, opened by its reader.
func sealedRepository(t testing.TB) (repo *manifest.Repository, reader, writer *crypt.Identity) {
	t.Helper()
	var err error
	if reader, err = crypt.GenerateIdentity(); err != nil {
		t.Fatal(err)
	}
	if writer, err = crypt.GenerateIdentity(); err != nil {
		t.Fatal(err)
	}
	if repo, err = manifest.OpenOrCreateEncrypted(t.Context(), mem.New(), "cluster", firstTime); err != nil {
		t.Fatal(err)
	}
	repo.Unlock(reader)
	log, err := repo.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	holder := func(id *crypt.Identity) []manifest.KeyHolder {
		return []manifest.KeyHolder{{Recipient: id.Recipients()[0].String()}}
	}
	if err := log.InitializeKeys(t.Context(), manifest.Agent{Program: "test"}, holder(reader), holder(writer)); err != nil {
		t.Fatal(err)
	}
	return repo, reader, writer
}

// Who may write an encrypted repository, and read nothing of it, merges it all the same.
func TestMergeOfWhatIsSealed(t *testing.T) {
	repo, _, writer := sealedRepository(t)
	h := randomPastOf(newScribeOf(t, repo, 4), 3)
	for range 12 {
		h.step()
	}
	before := h.yields()
	own, err := manifest.Open(t.Context(), repo.Store())
	if err != nil {
		t.Fatal(err)
	}
	own.Unlock(writer)
	r, err := merger(own, smallMerges).Run(t.Context())
	if err != nil || r.Merges < 2 || r.Damaged+r.Dropped > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	h.same(before)
	if report, err := Verify(t.Context(), own, Scope{Level: manifest.LevelDigest}, nil); err != nil || len(report.Damages) > 0 || report.Compared == 0 || report.Uncompared > 0 {
		t.Errorf("verified by who cannot read it: %+v, %v", report, err)
	}
	if err := bareNames(repo.Store()); err != nil {
		t.Error(err)
	}
}

// bareNames says which object has the name of a topic in it.
func bareNames(st store.Store) error {
	return st.List(context.Background(), "", func(i store.Info) error {
		body, err := st.Get(context.Background(), i.Key, 0, -1)
		if err != nil {
			return err
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		if err == nil && bytes.Contains(b, []byte(scribeTopic)) {
			err = fmt.Errorf("%s names a topic", i.Key)
		}
		return err
	})
}

// counting counts what is read of segments.
type counting struct {
	store.Store
	gets  int
	bytes int64
}

func (c *counting) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	body, err := c.Store.Get(ctx, key, off, n)
	if err != nil || !strings.HasPrefix(key, manifest.SegmentPrefix) {
		return body, err
	}
	c.gets++
	return &countingBody{body, c}, nil
}

type countingBody struct {
	io.ReadCloser
	c *counting
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes += int64(n)
	return n, err
}

// cost reads one partition and returns how many requests for segments and how many bytes it took, and how many bytes its blocks have.
func (s *scribe) cost(point uint64, stream int) (gets int, bytes, own int64) {
	s.t.Helper()
	c := &counting{Store: s.repo.Store()}
	repo, err := manifest.Open(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	snap, err := LoadPoint(s.t.Context(), repo, point)
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := snap.Plan(s.t.Context(), nil, Request{}, firstTime)
	if err != nil {
		s.t.Fatal(err)
	}
	c.gets, c.bytes = 0, 0
	var pool sync.Pool
	budget := semaphore.NewWeighted(readBytes)
	err = snap.walk(s.t.Context(), map[int]*track{stream: plan.byStream[stream]}, nil, func(key string, parts []part) error {
		return snap.read(s.t.Context(), key, parts, budget, &pool, func(j job) error {
			own += j.part.block.StoredLength
			j.stored.done()
			budget.Release(j.weight)
			return nil
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c.gets, c.bytes, own
}

// One partition of many is read with little else, and in large pieces, once it is merged. Everything is 512 times
// smaller than by default: 1.2 times its own bytes, and one request for 8 MiB, which are 16 KiB here.
func TestOnePartitionOfManyIsReadInLargePieces(t *testing.T) {
	const scale, partitions, segments = 512, 40, 120
	s := newScribe(t, partitions)
	var all []int
	for n := range partitions {
		all = append(all, n)
	}
	var last uint64
	for range segments {
		last = s.captureAll(0, func(n int) []spec { return []spec{{base: s.at[n], last: 1, size: 2000}} }, all...)
	}
	gets, bytes, own := s.cost(last, 7)
	t.Logf("before: %d requests, %d bytes for %d", gets, bytes, own)
	if gets < 2*segments {
		t.Errorf("before, only %d requests", gets)
	}
	r, err := merger(s.repo, merge.Config{TargetBytes: 128 << 20 / scale, SortBytes: 68 << 20 / scale, MinSegments: 2, MinPieces: 2}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gets, bytes, own = s.cost(last, 7)
	t.Logf("%+v; after: %d requests, %d bytes for %d", r, gets, bytes, own)
	if float64(bytes) > 1.2*float64(own) || int64(gets) > own/(8<<20/scale) {
		t.Errorf("%d requests, %d bytes for %d", gets, bytes, own)
	}
}

// What is merged after a point was looked up, and before it is read, is no loss.
func TestMergeBetweenLookUpAndRestore(t *testing.T) {
	h := newRandomPast(t, 5, 3)
	for range 12 {
		h.step()
	}
	before := h.yields()
	point := h.points[len(h.points)-1]
	snap, err := Load(t.Context(), h.repo, fmt.Sprint(point), now)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := merger(h.repo, smallMerges).Run(t.Context()); err != nil || r.Written == 0 {
		t.Fatalf("merged %+v, %v", r, err)
	}
	plan, err := snap.Plan(t.Context(), nil, Request{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Refusals) > 0 || len(plan.Lost) > 0 {
		t.Fatalf("refused: %v; lost: %v", plan.Refusals, plan.Lost)
	}
	got := 0
	if err := plan.EachRecord(t.Context(), func(*TopicPlan, int32, *batch.Record) error { got++; return nil }); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, records := range before[point] {
		want += len(records)
	}
	if got != want || want == 0 {
		t.Errorf("%d records, want %d", got, want)
	}
}

// A call that fails, or lies, while a restore looks where data is does not make what was merged look lost.
func TestPlanOfWhatWasMergedUnderFaults(t *testing.T) {
	h := newRandomPast(t, 6, 3)
	for range 8 {
		h.step()
	}
	if r, err := merger(h.repo, smallMerges).Run(t.Context()); err != nil || r.Written == 0 {
		t.Fatalf("merged %+v, %v", r, err)
	}
	plan := func(rules ...faulty.Rule) (*Plan, *faulty.Store, error) {
		st := faulty.New(h.repo.Store(), rules...)
		repo, err := manifest.Open(t.Context(), st)
		if err != nil {
			return nil, st, err
		}
		snap, err := Load(t.Context(), repo, fmt.Sprint(h.points[len(h.points)-1]), now)
		if err != nil {
			return nil, st, err
		}
		p, err := snap.Plan(t.Context(), nil, Request{}, now)
		return p, st, err
	}
	_, counted, err := plan()
	if err != nil {
		t.Fatal(err)
	}
	for call := range counted.Calls(faulty.Any) {
		for _, fault := range faulty.Faults() {
			if fault == faulty.Hang || !fault.AppliesTo(counted.History()[call].Op) {
				continue
			}
			p, _, err := plan(faulty.Rule{Call: call + 1, Fault: fault})
			if err == nil && len(p.Refusals)+len(p.Lost) > 0 {
				t.Errorf("%s at call %d: refused: %.200q, lost %v", fault, call+1, p.Refusals, p.Lost)
			}
			if errors.Is(err, errRemoved) {
				t.Errorf("%s at call %d: %v", fault, call+1, err)
			}
		}
	}
}
