package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// Scope says what a verification looks at.
type Scope struct {
	Level manifest.Level // of LevelReplay all but the restore, which is a Rehearsal's
	// Share of the segments to read, in millionths, chosen by Seed, and one at least if there are
	// any; 0 and manifest.WholeShare are all of them. That the others exist is checked, too.
	Share int64
	Seed  uint64
	// SinceLast leaves out what was verified before at this level or a deeper one, as
	// the log has it, whole and without a damage. The log is read from a snapshot on that
	// such a verification has looked at, if that is enough to know; see docs/cli.md.
	SinceLast bool
	// Workers is how many segments are read at the same time; 0 is as many as there
	// is something to gain.
	Workers int
	// Keeping, which may be nil, says which points are kept for which topics. Without it all of a
	// point is to be there; see restored verify in docs/cli.md.
	Keeping func(points []manifest.PointRef) Keeping
	// LogNeeds, which may be nil, returns what is kept of the log of groups as of a newest point.
	// Without it only what came after the newest point is to be there.
	LogNeeds func(newest manifest.PointRef) LogNeeds
}

// Verify checks the descriptor, and the log to its end, whatever the scope: its chain,
// that it has what this process knows of it, and that the objects are there which it
// names. Of the segments in scope it reads, by level,
// the footers and compares them with the log; the digest of each block; all that a
// restore would decode: decompression, batch CRCs, every record's encoding,
// ascending offsets, and that counts are as log and footers say. What no log
// entry names is listed. What it finds is in the report; the error is about the verification itself. progress,
// which may be nil, is called with bytes done and known so far.
func Verify(ctx context.Context, repo *manifest.Repository, scope Scope, progress func(done, total int64)) (*Report, error) {
	v := newVerifier(repo, scope, progress)
	if scope.SinceLast {
		report, err := v.verifySince(ctx)
		if err == nil || !errors.Is(err, errBase) && !errors.Is(err, manifest.ErrDamaged) {
			return report, err
		}
		repo.Debug.Debug("a verification of what is new reads all of the log", "reason", err)
		v = newVerifier(repo, scope, progress)
	}
	return v.verify(ctx)
}

func (v *verifier) verify(ctx context.Context) (*Report, error) {
	repo, scope := v.Repository, &v.scope
	sound := uint64(0)
	var err error
	if v.snapshots, err = repo.NewSnapshotCheck(ctx); err != nil {
		return nil, err
	}
	if err := v.checkDescriptor(ctx); err != nil {
		return nil, err
	}
	state, err := v.readHead(ctx)
	for err != nil { // what comes before one damage may have another one
		left, other := v.damagedLog(err)
		switch {
		case other != nil:
			return nil, other
		case left == 0:
			return v.report, nil
		case sound > 0 && left >= sound: // of a log without the entry that is pinned, no part can be read
			return nil, err
		}
		sound = left
		state, err = repo.Read(ctx, sound, nil)
	}
	v.head, v.report.There, v.report.head = state, state.SegmentCount, state.Sequence
	if v.layout, err = repo.LayoutAt(ctx, state, func(int) bool { return true }); err != nil {
		if v.base != nil {
			return nil, err
		}
		_, err = v.damagedLog(err)
		return v.report, err
	}
	// Listed here, and not before or after: what is named meanwhile is met below.
	if v.orphans, v.listed, err = findOrphans(ctx, v.Store(), state); err != nil {
		return nil, err
	}
	if v.base != nil && !hasAll(state, v.listed) { // what that costs, only the entries say
		return nil, errBase
	}
	if sound > 0 || repo.ReadsUntil() > 0 { // what a damaged log names, or one that goes on, nobody knows
		v.orphans = nil
	}
	if scope.SinceLast {
		if v.report.First, err = v.since(ctx, state); err != nil {
			return nil, err
		}
	}
	if state, err = v.readSegments(ctx, sound); err != nil {
		return nil, err
	}
	v.report.Entries, v.report.Points, v.report.Archive = state.Sequence, len(state.Points), state.IsArchive()
	if sound == 0 {
		v.snapshots.End(state.Sequence)
	}
	v.noteSnapshots()
	if v.base != nil && len(v.taken) > 0 { // who needs it, only the entries say
		return nil, errBase
	}
	if err := v.wrongRemovals(ctx); err != nil {
		return nil, err
	}
	if err := v.holdMoves(ctx); err != nil {
		return nil, err
	}
	if err := v.explainGone(ctx); err != nil {
		return nil, err
	}
	v.report.Orphans = sortedOrphans(v.orphans)
	return v.report, v.report.weigh(ctx, repo, state)
}

// since says from which entry on nobody has verified the segments, or somebody has found
// damage that may still be there. What the log of a replica tells of was read elsewhere.
func (v *verifier) since(ctx context.Context, state *manifest.State) (uint64, error) {
	replica, err := v.IsReplica(ctx, state)
	if err != nil {
		return 1, err
	}
	first := state.SoundThrough(v.scope.Level) + 1
	switch {
	case replica:
		first = 1
		v.report.Whole = "this is a copy, and what its log tells of was verified elsewhere"
	case first == 1 && state.Verified[v.scope.Level].Through > 0:
		v.report.Whole = "there is a damage, which a verification has found and recorded, from the first entry on"
	case first == 1:
		v.report.Whole = fmt.Sprintf("the log has no verification of level %s, or a deeper one, that was whole and found no damage; --record makes this one count", v.scope.Level)
	}
	return first, nil
}

type verifier struct {
	*manifest.Repository
	scope   Scope
	base    *base // nil: the log is read from its beginning
	checker checker
	listed  manifest.SegmentSet
	head    *manifest.State   // of the log when they were listed
	orphans map[string]Orphan // as far as the log has been read

	layout    *manifest.Layout
	taken     taken
	newest    uint64 // the newest point that the log ever had, up to the head; 0 for none
	latest    int64  // time of a point up to there
	snapshots *manifest.SnapshotCheck
	gaps      int     // that the report has
	first     *errand // as long as none is read: the one that a larger sample would have

	mu       sync.Mutex // of what follows
	report   *Report
	progress func(done, total int64)
}

func newVerifier(repo *manifest.Repository, scope Scope, progress func(done, total int64)) *verifier {
	if scope.Share == 0 {
		scope.Share = manifest.WholeShare
	}
	v := &verifier{
		Repository: repo, scope: scope, progress: progress, checker: checker{Repository: repo, level: min(scope.Level, manifest.LevelDecode)}, taken: make(taken),
		report: &Report{LogUntil: repo.ReadsUntil(), Level: scope.Level, Share: scope.Share, Seed: scope.Seed, First: 1, LogFirst: 1},
	}
	return v
}

// total is about how many bytes are to be read.
func (v *verifier) total() int64 {
	if v.scope.Level == manifest.LevelIndex {
		return 0
	}
	return int64(float64(v.head.SegmentBytes) * float64(v.scope.Share) / manifest.WholeShare)
}

// toRead is how many bytes of a segment the level reads.
func (v *verifier) toRead(s *manifest.Segment) int64 {
	if v.scope.Level == manifest.LevelIndex {
		return s.TailLength()
	}
	return s.Size
}

// checkDescriptor notes that the descriptor is gone, or another one. That costs none
// of the entries.
func (v *verifier) checkDescriptor(ctx context.Context) error {
	err := v.CheckDescriptor(ctx)
	var d *manifest.Damage
	if !errors.As(err, &d) {
		return err
	}
	v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error()})
	return nil
}

// damagedLog notes damage of the log itself, behind which nothing can be read,
// and returns how many entries come before it.
func (v *verifier) damagedLog(err error) (sound uint64, other error) {
	var d *manifest.Damage
	if !errors.As(err, &d) {
		return 0, err
	}
	sound, _ = d.Sound()
	v.report.Damages = slices.Insert(v.report.Damages, 0, DamageNote{Key: d.Key, Reason: d.Err.Error(), Entries: sound + 1})
	return sound, nil
}

// noteSnapshots reports what is wrong with snapshots of the log, to which nothing is lost.
func (v *verifier) noteSnapshots() {
	for _, d := range v.snapshots.Damages {
		v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error()})
	}
}

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

// moves checks that what was moved is in the place of what the entry adds.
func (v *verifier) moves(state *manifest.State, e *manifest.Entry) (err error) {
	eachSpan(state, e, func(stream int, at int64, sp manifest.Span) {
		pieces, wrong := v.layout.Find(stream, at, sp)
		var d *manifest.Damage
		switch {
		case errors.As(wrong, &d):
			v.noteMove(d, lostOf([]stretch{claim(state, stream, at, at+sp.Offsets, sp)}))
		case wrong != nil:
			err = wrong
		default:
			v.take(e, stream, at, at+sp.Offsets, e.Segments[sp.Segment].Counter, pieces)
		}
	})
	return err
}

func (v *verifier) noteMove(d *manifest.Damage, lost []LostRange) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error(), Lost: lost})
}

// work looks at segments until there are no more.
func (v *verifier) work(ctx context.Context, jobs <-chan errand) error {
	c, err := v.checker.ready()
	if err != nil {
		return err
	}
	for j := range jobs {
		f := finding{}
		if !j.read {
			f.damage = &manifest.Damage{Key: j.key, Err: errMissing}
		} else if err := c.segment(ctx, &j, &f); err != nil {
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

// claims returns what the entry says that segment i holds.
func claims(state *manifest.State, e *manifest.Entry, i int) []stretch {
	var list []stretch
	for j := range e.Ranges {
		r := &e.Ranges[j]
		at := state.Start(r)
		last := len(r.Spans) - 1
		for last > 0 && r.Spans[last].Gap {
			last--
		}
		for n, sp := range r.Spans {
			if !sp.Gap && sp.Segment == i {
				w := claim(state, r.Stream, at, at+sp.Offsets, sp)
				if n == last {
					w.epoch = state.Streams[r.Stream].LeaderEpoch
				}
				list = append(list, w)
			}
			at += sp.Offsets
		}
	}
	if e.Moves == nil {
		return list
	}
	for _, m := range e.Moves.List {
		if m.Span.Segment == i {
			list = append(list, claim(state, m.Stream, m.Start, m.Next(), m.Span))
		}
	}
	return list
}

// claim is what the log says of a stream in a segment.
func claim(state *manifest.State, stream int, start, next int64, sp manifest.Span) stretch {
	t := &track{key: state.Key(stream), name: state.Topics[state.Streams[stream].Topic].Name}
	return stretch{branch{stream, start, next}, t, start, next, sp, epochUnstated}
}

// lostOf is all that a segment was to hold.
func lostOf(claims []stretch) []LostRange {
	list := make([]LostRange, len(claims))
	for i, w := range claims {
		list[i] = LostRange{w.track.name, w.track.key, w.start, w.next, []int{w.stream}}
	}
	return list
}
