package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

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
	v.foretell = true
	report, err := v.verify(ctx)
	if v.foretell && (errors.Is(err, manifest.ErrForetold) || errors.Is(err, manifest.ErrDamaged)) {
		repo.Debug.Debug("a verification begins again, and reads all of the log before the segments", "reason", err)
		return newVerifier(repo, scope, progress).verify(ctx)
	}
	return report, err
}

func (v *verifier) verify(ctx context.Context) (*Report, error) {
	var err error
	if v.snapshots, err = v.NewSnapshotCheck(ctx); err != nil {
		return nil, err
	}
	if err := v.checkDescriptor(ctx); err != nil {
		return nil, err
	}
	sound, more, err := v.readLog(ctx)
	if err != nil || !more {
		return v.report, err
	}
	if err := v.prepare(ctx, sound); err != nil {
		return nil, err
	}
	state, err := v.readSegments(ctx, sound)
	if err != nil {
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
	for _, hold := range []func(context.Context) error{v.wrongRemovals, v.holdMoves, v.explainGone} {
		if err := hold(ctx); err != nil {
			return nil, err
		}
	}
	v.report.Orphans = sortedOrphans(v.orphans)
	return v.report, v.report.weigh(ctx, v.Repository, state)
}

// readLog finds out how the log ends, and where data was moved up to there. If the log is
// damaged it notes that, and returns how many entries can be read, else 0; without any, or without
// the moves, there is no more to verify.
func (v *verifier) readLog(ctx context.Context) (sound uint64, more bool, err error) {
	state, err := v.readHead(ctx)
	for err != nil { // what comes before one damage may have another one
		left, other := v.damagedLog(err)
		switch {
		case other != nil:
			return 0, false, other
		case left == 0:
			return 0, false, v.noteAltered(ctx)
		case sound > 0 && left >= sound: // of a log without the entry that is pinned, no part can be read
			return 0, false, err
		}
		sound = left
		state, err = v.Read(ctx, sound, nil)
	}
	if err := v.noteAltered(ctx); err != nil {
		return 0, false, err
	}
	v.head, v.report.There, v.report.head = state, state.SegmentCount, state.Sequence
	if v.layout == nil {
		v.layout, err = v.LayoutAt(ctx, state, func(int) bool { return true })
	}
	if err != nil && v.base == nil {
		_, err = v.damagedLog(err)
		return sound, false, err
	}
	return sound, err == nil, err
}

// prepare finds out what there is before the segments are read, of a log that can be read up
// to an entry, 0 for all of it.
func (v *verifier) prepare(ctx context.Context, sound uint64) (err error) {
	// Listed here, and not before or after: what is named meanwhile is met by readSegments.
	if v.orphans, v.listed, err = findOrphans(ctx, v.Store(), v.head); err != nil {
		return err
	}
	if v.base != nil && !hasAll(v.head, v.listed) { // what that costs, only the entries say
		return errBase
	}
	if sound > 0 || v.ReadsUntil() > 0 { // what a damaged log names, or one that goes on, nobody knows
		v.orphans = nil
	}
	if v.scope.SinceLast {
		if v.report.First, err = v.since(ctx, v.head); err != nil {
			return err
		}
	}
	v.origins = v.newFinder(v.movedHomes())
	if v.base == nil {
		v.needs = v.expectNeeds()
	}
	return nil
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
	scope    Scope
	base     *base // nil: the log is read from its beginning
	foretell bool  // the head is what snapshots say, as long as the log does not say anything else
	checker  checker
	listed   manifest.SegmentSet
	head     *manifest.State   // of the log when they were listed
	orphans  map[string]Orphan // as far as the log has been read

	layout    *manifest.Layout
	taken     taken
	newest    uint64 // the newest point that the log ever had, up to the head; 0 for none
	latest    int64  // time of a point up to there
	snapshots *manifest.SnapshotCheck
	gaps      int // that the report has
	needs     *needs
	origins   *finder
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

// mostAltered bounds how many entries are named behind the first one that cannot be read.
const mostAltered = 1000

// noteAltered notes the entries behind the first damage of the log that were altered, too.
func (v *verifier) noteAltered(ctx context.Context) error {
	known := make(map[string]bool)
	for i := range v.report.Damages {
		known[v.report.Damages[i].Key] = true
	}
	if len(known) == 0 || v.report.Damages[0].Entries == 0 {
		return nil
	}
	list, err := v.Altered(ctx, v.report.Damages[0].Entries+1, mostAltered)
	for _, d := range list {
		if sound, _ := d.Sound(); !known[d.Key] {
			v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error(), Entries: sound + 1})
		}
	}
	slices.SortStableFunc(v.report.Damages, func(a, b DamageNote) int { return cmp.Compare(a.Entries-1, b.Entries-1) }) // 0, of no entry, last
	return err
}

// noteSnapshots reports what is wrong with snapshots of the log, to which nothing is lost.
func (v *verifier) noteSnapshots() {
	for _, d := range v.snapshots.Damages {
		v.report.Damages = append(v.report.Damages, DamageNote{Key: d.Key, Reason: d.Err.Error()})
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
