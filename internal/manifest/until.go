package manifest

import (
	"context"
	"errors"
	"fmt"
)

// Until makes the log end with an entry for whoever reads it, so that nothing counts
// which came later: the repository is what it was then, as far as its objects are
// still there. It cannot be appended to. What is pinned behind the entry must be in
// the log all the same, and the entry before it.
func (r *Repository) Until(entry uint64) { r.until = entry }

// ReadsUntil returns the entry that Until was given, 0 for none.
func (r *Repository) ReadsUntil() uint64 { return r.until }

// errUntil: who takes a part of the log for the whole must not go on with it.
var errUntil = errors.New("manifest: internal error: a repository that is read as it was before cannot be appended to")

// lastSequence returns the last entry that counts: see knownEnd and Until.
func (r *Repository) lastSequence(ctx context.Context, from uint64) (uint64, error) {
	last, err := r.knownEnd(ctx, from)
	if r.until == 0 {
		return last, err
	}
	var d *Damage
	if errors.As(err, &d) {
		if sound, ok := d.Sound(); ok && sound >= r.until { // what is wrong lies behind it
			return r.until, nil
		}
	}
	if err == nil && last < r.until {
		return 0, fmt.Errorf("%w: the log is to be read until entry %d, and ends with entry %d", ErrNoEntry, r.until, last)
	}
	return min(last, r.until), err
}

// RemovalsBehind returns what the log removes behind where it is read until. What is
// damaged there, and what comes after, says nothing.
func (r *Repository) RemovalsBehind(ctx context.Context) (list []Removal, err error) {
	if r.until == 0 {
		return nil, nil
	}
	whole := &Repository{ID: r.ID, ClusterID: r.ClusterID, Created: r.Created, Debug: r.Debug, Encrypted: r.Encrypted, store: r.store, digest: r.digest}
	whole.keys.identity = r.keys.identity
	_, err = whole.Read(ctx, 0, func(_ *State, e *Entry) error {
		if e.Sequence > r.until && e.Removed != nil {
			list = append(list, Removal{Sequence: e.Sequence, Time: e.Time, Segments: e.Removed.Segments})
		}
		return nil
	})
	if errors.Is(err, ErrDamaged) {
		err = nil
	}
	return list, err
}
