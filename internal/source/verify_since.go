package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A verification of what is new need not read the log from its beginning: the one before has
// done that. It begins at a snapshot which that one has held against the log, and reads all
// that what came since speaks of.

// base is a snapshot at which a verification begins.
type base struct {
	entry   uint64              // the last one in it
	head    *manifest.State     // of the log, as read from there
	removed manifest.SegmentSet // by entries that nobody has verified
}

// errBase: a base is not enough, so that all of the log has to be read.
var errBase = errors.New("the log has to be read from its beginning")

// verifySince verifies without reading the log from its beginning, or returns errBase, or a damage of the log.
func (v *verifier) verifySince(ctx context.Context) (report *Report, err error) {
	if v.base, err = findBase(ctx, v.Repository, v.scope.Level); err != nil {
		return nil, err
	}
	v.report.LogFirst = v.base.entry + 1
	return v.verify(ctx)
}

// readHead returns the state at the end of the log. What is foretold of it, is proven when the
// segments are read; else all of the log is read for it.
func (v *verifier) readHead(ctx context.Context) (state *manifest.State, err error) {
	if v.base != nil {
		return v.base.head, nil
	}
	if v.foretell {
		state, v.layout = v.snapshots.Foretell(ctx)
	}
	if v.foretell = state != nil; v.foretell {
		return state, nil
	}
	return v.Read(ctx, 0, nil)
}

// findBase returns where to begin, or errBase, or damage that reading all of the log finds, too.
func findBase(ctx context.Context, repo *manifest.Repository, level manifest.Level) (*base, error) {
	if repo.ReadsUntil() > 0 || repo.PinsHead() {
		return nil, errBase
	}
	if _, err := repo.Last(ctx); err != nil { // lists all of it, so that no old entry is missing
		return nil, err
	}
	now, err := repo.ReadSince(ctx, 0, nil, func(_ *manifest.State, e *manifest.Entry) error {
		if e.Sequence == 1 { // there is no snapshot
			return errBase
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	through := now.SoundThrough(level)
	if replica, err := repo.IsReplica(ctx, now); err != nil || replica || through == 0 {
		return nil, errors.Join(err, errBase)
	}
	t := newTail(level, through)
	if _, _, err := t.read(ctx, repo, now.Sequence, func(s *manifest.State) bool { return s.Sequence <= through }); err != nil {
		return nil, err
	}
	again := newTail(level, through)
	entry, head, err := again.read(ctx, repo, now.Sequence, func(s *manifest.State) bool { return s.Sequence <= through && t.fits(s) })
	if err != nil {
		return nil, err
	}
	// The newest snapshot, which nobody has verified, may have said something else.
	if head.Head != now.Head || head.SoundThrough(level) != through {
		return nil, errBase
	}
	if known, err := again.vouched(ctx, repo, entry); err != nil || !known {
		return nil, errors.Join(err, errBase)
	}
	return &base{entry, head, again.removed}, nil
}

// tail is what the log says behind a snapshot.
type tail struct {
	level    manifest.Level
	through  uint64 // the last entry that was verified
	verified []manifest.Verification
	moved    map[int]int64 // by stream: the first offset that was moved, or given up, by an entry that was not verified
	removed  manifest.SegmentSet
	prunes   bool // such an entry removes what it does not move
}

func newTail(level manifest.Level, through uint64) *tail {
	return &tail{level: level, through: through, moved: make(map[int]int64), removed: make(manifest.SegmentSet)}
}

// read reads the entries up to one behind the newest snapshot that begin accepts. It returns
// the last entry in the snapshot, and errBase if there is none.
func (t *tail) read(ctx context.Context, repo *manifest.Repository, upTo uint64, begin func(*manifest.State) bool) (entry uint64, last *manifest.State, err error) {
	accepts := func(s *manifest.State) bool {
		if !begin(s) {
			return false
		}
		entry = s.Sequence
		return true
	}
	next := uint64(0)
	last, err = repo.ReadSince(ctx, upTo, accepts, func(_ *manifest.State, e *manifest.Entry) error {
		if next == 0 {
			next = entry + 1
		}
		if entry == 0 || e.Sequence != next || t.prunes {
			return errBase
		}
		next++
		t.add(e)
		return nil
	})
	if err == nil && (next == 0 || t.prunes) {
		err = errBase
	}
	return entry, last, err
}

// add takes in the next entry.
func (t *tail) add(e *manifest.Entry) {
	if e.Promotion != nil { // what was verified before, was another one's
		t.verified = nil
	}
	if v := e.Verification; v != nil && v.Level >= t.level && v.Share == manifest.WholeShare && v.Damages == 0 {
		t.verified = append(t.verified, *v)
	}
	if e.Sequence <= t.through {
		return
	}
	if e.Moves != nil {
		for i := range e.Moves.List {
			t.move(e.Moves.List[i].Stream, e.Moves.List[i].Start)
		}
	}
	if e.Losses != nil {
		for i := range e.Losses.List {
			t.move(e.Losses.List[i].Stream, e.Losses.List[i].Start)
		}
	}
	if e.Removed != nil {
		t.removed.AddAll(e.Removed.Segments)
		t.prunes = t.prunes || e.Moves == nil
	}
}

func (t *tail) move(stream int, start int64) {
	if first, known := t.moved[stream]; !known || start < first {
		t.moved[stream] = start
	}
}

// fits says whether all that was moved, given up or removed came behind a state: then what it
// was before is read, too.
func (t *tail) fits(s *manifest.State) bool {
	for stream, start := range t.moved {
		if stream < len(s.Streams) && start < s.Streams[stream].Next {
			return false
		}
	}
	return !s.Segments.Meets(t.removed)
}

// vouched says whether one of the verifications has held the snapshot after an entry against the
// log: it has read that entry, and the snapshot was there when it listed them, by the store's clock.
func (t *tail) vouched(ctx context.Context, repo *manifest.Repository, entry uint64) (bool, error) {
	snapshot, err := repo.Store().Stat(ctx, manifest.SnapshotKey(entry))
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", manifest.SnapshotKey(entry), err)
	}
	for i := range t.verified {
		v := &t.verified[i]
		if entry < v.First || v.Last < entry {
			continue
		}
		last, err := repo.Store().Stat(ctx, manifest.LogKey(v.Last))
		if err != nil {
			return false, fmt.Errorf("look up %s: %w", manifest.LogKey(v.Last), err)
		}
		if snapshot.Modified.Before(last.Modified) {
			return true, nil
		}
	}
	return false, nil
}

// hasAll says whether the objects of all segments are there that may be read.
func hasAll(head *manifest.State, listed manifest.SegmentSet) bool {
	missing := head.Segments.Clone()
	missing.RemoveAll(missing.Common(listed))
	missing.RemoveAll(missing.Common(head.Pending()))
	for writer, runs := range missing {
		for _, r := range runs {
			for c := r.First; c <= r.Last; c++ {
				if !head.Quarantined(writer, c) {
					return false
				}
			}
		}
	}
	return true
}

// read reads the log as Repository.Read does, but from the base on if there is one.
func (v *verifier) read(ctx context.Context, upTo uint64, fn func(*manifest.State, *manifest.Entry) error) (*manifest.State, error) {
	if v.base == nil {
		return v.Read(ctx, upTo, fn)
	}
	next := v.base.entry + 1
	return v.ReadSince(ctx, upTo, func(s *manifest.State) bool { return s.Sequence <= v.base.entry }, func(s *manifest.State, e *manifest.Entry) error {
		if e.Sequence != next { // the snapshot is gone meanwhile
			return errBase
		}
		next++
		return fn(s, e)
	})
}
