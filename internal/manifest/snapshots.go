package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/offsite-kafka/offsite/internal/store"
)

// State returns the state after the entry upTo (0: the last), as Read does. It
// begins at the newest snapshot that can be trusted, so that damage of the log
// before that is not noticed.
func (r *Repository) State(ctx context.Context, upTo uint64) (*State, error) {
	return r.ReadSince(ctx, upTo, nil, nil)
}

// ReadSince does what Read does, but may begin behind a snapshot of the log: the
// newest one before upTo with a state that begin accepts, and any with a nil
// begin. What begin accepts it must accept as of every earlier entry. The last
// state that it has accepted is that before the first entry that fn is given, and
// changes from then on; if there is none, reading begins with the first entry of
// the log. A snapshot that is missing, damaged, of another repository or not
// stated by the log is as good as none.
func (r *Repository) ReadSince(ctx context.Context, upTo uint64, begin func(*State) bool, fn func(*State, *Entry) error) (*State, error) {
	list, err := r.snapshots(ctx)
	if err != nil {
		r.Debug.Debug("snapshots of the log cannot be listed", "error", err)
	}
	last, ok := r.lastBehind(ctx, list)
	if !ok || upTo > last || r.trust.head != nil && !r.trust.proven.Load() {
		return r.Read(ctx, upTo, fn) // which finds the pinned head, too
	}
	r.keys.lookFrom(last)
	if upTo == 0 {
		upTo = last
	}
	before, _ := slices.BinarySearch(list, upTo)
	state := r.startAt(ctx, list[:before], last, begin)
	if state == nil {
		return r.Read(ctx, upTo, fn)
	}
	return state, r.readOn(ctx, state, upTo, fn)
}

// snapshots lists the sequence numbers of the snapshots that count, ascending.
func (r *Repository) snapshots(ctx context.Context) (list []uint64, err error) {
	err = r.store.List(ctx, SnapshotPrefix, func(info store.Info) error {
		if seq, ok := ParseSnapshotKey(info.Key); ok && seq > 0 && (r.until == 0 || seq <= r.until) {
			list = append(list, seq)
		}
		return nil
	})
	return list, err
}

// startTries bounds how many snapshots are looked at that turn out to be of no
// use, one after the other.
const startTries = 8

// lastBehind finds the last entry of the log without a listing of all of it: from
// the newest snapshot on. If that is not possible it is not ok.
func (r *Repository) lastBehind(ctx context.Context, list []uint64) (last uint64, ok bool) {
	tries := 0
	for i := len(list) - 1; i >= 0 && tries < startTries; i-- {
		if i+1 < len(list) && list[i]/logShard == list[i+1]/logShard {
			continue // would be seen by the same listing
		}
		tries++
		if last, err := r.lastSequence(ctx, list[i]); err == nil && last > list[i] {
			return last, true
		}
	}
	return 0, false
}

// startAt returns the newest state that begin accepts, or nil.
func (r *Repository) startAt(ctx context.Context, list []uint64, last uint64, begin func(*State) bool) (found *State) {
	if begin == nil {
		for i := len(list) - 1; i >= max(0, len(list)-startTries) && found == nil; i-- {
			found = r.trusted(ctx, list[i], last)
		}
		return found
	}
	accepts := func(i int) bool {
		i = len(list) - 1 - i // of the later ones, none is accepted
		s := r.trusted(ctx, list[i], last)
		if s == nil || !begin(s) {
			return false
		}
		found = s
		return true
	}
	// Most often it is one of the newest, and each is much to read.
	from, to := 0, 0
	for to < len(list) && !accepts(to) {
		from, to = to+1, 5*to+4
	}
	to = min(to, len(list))
	sort.Search(to-from, func(i int) bool { return accepts(from + i) })
	return found
}

// trusted returns the state of a snapshot, or nil if it is of no use.
func (r *Repository) trusted(ctx context.Context, seq, last uint64) *State {
	s, err := r.readSnapshot(ctx, seq, last)
	if err != nil {
		r.Debug.Debug("a snapshot of the log is of no use", "key", SnapshotKey(seq), "error", err)
		return nil
	}
	return s
}

// readSnapshot returns the state that a snapshot holds, if the log, whose last
// entry is given, states it.
func (r *Repository) readSnapshot(ctx context.Context, seq, last uint64) (*State, error) {
	b, err := readObject(ctx, r.store, SnapshotKey(seq), maxEntry)
	if err != nil {
		return nil, err
	}
	s, err := r.openSnapshot(ctx, SnapshotKey(seq), b)
	if err != nil {
		return nil, err
	}
	if s.Sequence != seq {
		return nil, fmt.Errorf("it is of entry %d", s.Sequence)
	}
	steps, err := r.proveKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.stated(ctx, s, SnapshotRef{seq, sha256.Sum256(b)}, last); err != nil {
		return nil, err
	}
	for _, step := range steps {
		r.keys.learn(step.list, step.at)
	}
	return s, nil
}

// openSnapshot returns the state that a snapshot's object holds, which is sealed if
// the repository is encrypted.
func (r *Repository) openSnapshot(ctx context.Context, key string, b []byte) (*State, error) {
	plain, err := r.OpenObject(ctx, key, b)
	if err != nil {
		return nil, err
	}
	s, err := decodeSnapshot(plain, r.ID)
	if err == nil && r.Encrypted != (len(s.Generations) > 0) {
		err = errors.New("it has keys, or has none, and the repository is not so")
	}
	return s, err
}

// stated returns an error unless one of the next entries states the snapshot.
func (r *Repository) stated(ctx context.Context, s *State, ref SnapshotRef, last uint64) error {
	at := &State{Head: s.Head, Generations: s.Generations, KeysEntry: s.KeysEntry}
	for seq := ref.Sequence + 1; seq <= min(last, ref.Sequence+statedWithin); seq++ {
		b, err := r.readEntry(ctx, seq)
		if err != nil {
			return err
		}
		at.Sequence = seq - 1
		e, err := r.decode(ctx, at, b)
		if err != nil {
			return err
		}
		if e.Sequence != seq || e.Previous != at.Head {
			return fmt.Errorf("entry %d does not follow", seq)
		}
		if e.Snapshot != nil && *e.Snapshot == ref {
			return nil
		}
		at.applyKeys(e)
		at.Head = sha256.Sum256(b)
	}
	return errors.New("no entry behind it states its digest")
}

// PutSnapshot stores a snapshot of the state as it is. What it returns is for an
// entry to state that follows soon, see SnapshotRef.CanState.
func (l *Log) PutSnapshot(ctx context.Context) (*SnapshotRef, error) {
	if err := l.settleLayout(ctx); err != nil {
		l.repo.Debug.Debug("a snapshot of the log does without the layout", "entry", l.state.Sequence, "error", err)
	}
	b, err := l.state.encodeSnapshot(&l.packer, l.repo.ID, l.writer)
	if err != nil {
		return nil, err
	}
	key := SnapshotKey(l.state.Sequence)
	if b, err = l.repo.SealObject(l.state, key, b); err != nil {
		return nil, err
	}
	_, err = l.repo.store.Put(ctx, key, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
	if errors.Is(err, store.ErrExists) {
		b, err = l.sameSnapshot(ctx, key)
	}
	if err != nil {
		return nil, fmt.Errorf("put %s: %w", key, err)
	}
	return &SnapshotRef{l.state.Sequence, sha256.Sum256(b)}, nil
}

// sameSnapshot returns the object that is there already, if it is one of the state:
// its writer may have been killed before an entry could state it.
func (l *Log) sameSnapshot(ctx context.Context, key string) ([]byte, error) {
	other, err := readObject(ctx, l.repo.store, key, maxEntry)
	if err != nil {
		return nil, err
	}
	s, err := l.repo.openSnapshot(ctx, key, other)
	if err == nil {
		err = l.state.compareSnapshot(s)
	}
	if err != nil {
		return nil, fmt.Errorf("there is another one: %w", err)
	}
	return other, nil
}
