package source

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
)

// errand is a segment to look at.
type errand struct {
	entry   uint64
	segment int
	key     string
	ref     manifest.Segment
	claims  []stretch
	present bool // so much is known of one that is not to be read
	read    bool
}

// readSegments looks at the segments of the log up to the given entry, 0 for the
// last there is by now.
func (v *verifier) readSegments(ctx context.Context, upTo uint64) (*manifest.State, error) {
	jobs := make(chan errand)
	g, ctx := errgroup.WithContext(ctx)
	for range v.workers() {
		g.Go(func() error { return v.work(ctx, jobs) })
	}
	var last *manifest.State
	g.Go(func() (err error) {
		defer close(jobs)
		last, err = v.read(ctx, upTo, func(state *manifest.State, e *manifest.Entry) error { return v.entry(ctx, state, e, jobs) })
		if err == nil && v.first != nil && !v.first.read {
			v.first.read = true
			err = send(ctx, jobs, *v.first)
		}
		return err // damage of the log, too: it was not there a moment ago
	})
	err := g.Wait()
	slices.SortStableFunc(v.report.Damages, func(a, b DamageNote) int {
		return cmp.Or(cmp.Compare(a.entry, b.entry), cmp.Compare(a.segment, b.segment))
	})
	return last, err
}

// Segments that are looked at at the same time: what costs time is the way to
// the store, and the processor above that.
const (
	indexWorkers  = 8
	digestWorkers = 4
)

func (v *verifier) workers() int {
	switch {
	case v.scope.Workers > 0:
		return v.scope.Workers
	case v.scope.Level == manifest.LevelIndex:
		return indexWorkers
	case v.scope.Level == manifest.LevelDigest:
		return max(digestWorkers, runtime.GOMAXPROCS(0))
	}
	return runtime.GOMAXPROCS(0)
}

// entry hands out the segments of an entry, and notes its gaps.
func (v *verifier) entry(ctx context.Context, state *manifest.State, e *manifest.Entry, jobs chan<- errand) error {
	if err := v.snapshots.Entry(ctx, state, e); err != nil {
		return err
	}
	if e.Point != nil && e.Sequence <= v.head.Sequence {
		v.newest, v.latest = e.Sequence, max(v.latest, e.Point.Time)
	}
	for i := range e.Segments {
		ref := e.Segments[i]
		j := errand{entry: e.Sequence, segment: i, key: manifest.SegmentKey(e.Writer, ref.Counter), ref: ref}
		delete(v.orphans, j.key)
		if e.Sequence <= v.head.Sequence && !v.head.Readable(e.Writer, ref.Counter) { // the log has taken it away
			continue
		}
		if v.head.Quarantined(e.Writer, ref.Counter) { // what is lost of it is known
			continue
		}
		j.read = e.Sequence >= v.report.First && v.scope.chooses(j.key)
		j.present = e.Sequence > v.head.Sequence || v.listed.Has(e.Writer, ref.Counter)
		if !v.sampled(&j, state, e) && j.present {
			continue
		}
		j.claims = claims(state, e, i)
		if err := send(ctx, jobs, j); err != nil {
			return err
		}
	}
	if err := v.moves(state, e); err != nil {
		return err
	}
	v.origins.entry(state, e)
	if v.needs != nil {
		v.needs.entry(state, e)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range state.Gaps[v.gaps:] {
		v.report.Gaps = append(v.report.Gaps, noteOf(state, &state.Gaps[v.gaps+i]))
	}
	v.gaps = len(state.Gaps)
	return nil
}

// sampled says whether a segment is read. The smallest sample has one: as long as
// none is read, it keeps the one that would be the first of a larger sample.
func (v *verifier) sampled(j *errand, state *manifest.State, e *manifest.Entry) bool {
	switch {
	case j.read:
		v.first = j
	case !j.present || j.entry < v.report.First || v.first != nil && (v.first.read || v.scope.lot(v.first.key) <= v.scope.lot(j.key)):
	default:
		one := *j
		one.claims = claims(state, e, j.segment)
		v.first = &one
	}
	return j.read
}

func send(ctx context.Context, jobs chan<- errand, j errand) error {
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work looks at segments until there are no more.
func (v *verifier) work(ctx context.Context, jobs <-chan errand) error {
	c, err := v.checker.ready()
	if err != nil {
		return err
	}
	for j := range jobs {
		f := finding{}
		if j.read {
			err = c.segment(ctx, &j, &f)
		} else if _, err = c.Store().Stat(ctx, j.key); errors.Is(err, store.ErrNotExist) {
			err = f.fail(j.key, errMissing)
		}
		if err != nil {
			return err
		}
		v.add(&j, &f)
	}
	return nil
}

// add takes in what was found in a segment.
func (v *verifier) add(j *errand, f *finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f.damage != nil {
		lost := f.lost
		if len(lost) == 0 {
			lost = lostOf(j.claims)
		}
		v.report.Damages = append(v.report.Damages, DamageNote{Key: j.key, Position: f.position, Reason: f.damage.Err.Error(), Lost: lost, contradicts: f.contradicts, entry: j.entry, segment: j.segment, ref: j.ref, claims: j.claims})
	}
	if !j.read {
		return
	}
	v.report.Segments++
	v.report.Bytes += j.ref.Size
	v.report.Read += v.toRead(&j.ref)
	v.report.Blocks += f.blocks
	v.report.Batches += f.batches
	v.report.Records += f.records
	if v.progress != nil {
		v.progress(v.report.Read, max(v.total(), v.report.Read))
	}
}
