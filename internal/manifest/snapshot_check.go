package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
)

// SnapshotCheck holds the snapshots that there are against the states that the
// whole log yields.
type SnapshotCheck struct {
	Damages []*Damage // of no consequence but for the time that it takes to read the log

	repo  *Repository
	left  map[uint64]bool   // those which the log has not come to
	first uint64            // the newest that was there before the log was read
	again bool              // they have been listed once more
	found map[uint64]Digest // of the objects of those that it has come to lately
	laid  uint64            // of the last layout that was looked at

	foretold *foretold // nil: nothing is
}

// NewSnapshotCheck lists the snapshots.
func (r *Repository) NewSnapshotCheck(ctx context.Context) (*SnapshotCheck, error) {
	list, err := r.snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", SnapshotPrefix, err)
	}
	c := &SnapshotCheck{repo: r, left: make(map[uint64]bool), found: make(map[uint64]Digest)}
	for _, seq := range list {
		c.left[seq], c.first = true, seq
	}
	return c, nil
}

// listAgain adds those that were put while it was found out where the log ends: all that
// were stored before its last entry are looked at.
func (c *SnapshotCheck) listAgain(ctx context.Context, from uint64) error {
	list, err := c.repo.snapshots(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", SnapshotPrefix, err)
	}
	for _, seq := range list {
		if seq >= from {
			c.left[seq] = true
		}
	}
	c.again = true
	return nil
}

// Entry is told every entry of the log in turn, with the state that includes it.
func (c *SnapshotCheck) Entry(ctx context.Context, s *State, e *Entry) error {
	if err := c.foretold.check(s); err != nil {
		return err
	}
	if !c.again {
		if err := c.listAgain(ctx, s.Sequence); err != nil {
			return err
		}
	}
	if ref := e.Snapshot; ref != nil {
		if sum, ok := c.found[ref.Sequence]; ok && sum != ref.Digest {
			c.note(ref.Sequence, errors.New("its content does not match the SHA-256 that the log states"))
		}
		clear(c.found)
	}
	if !c.left[s.Sequence] {
		return nil
	}
	delete(c.left, s.Sequence)
	b, err := readObject(ctx, c.repo.store, SnapshotKey(s.Sequence), maxEntry)
	var d *Damage
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil // removed meanwhile
	case errors.As(err, &d):
		c.note(s.Sequence, d.Err)
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", SnapshotKey(s.Sequence), err)
	}
	other, err := c.repo.openSnapshot(ctx, SnapshotKey(s.Sequence), b)
	if err == nil {
		err = s.compareSnapshot(other)
	}
	if err != nil {
		c.note(s.Sequence, err)
		return nil
	}
	if err := c.layout(ctx, other.moved.base); err != nil {
		return err
	}
	c.found[s.Sequence] = sha256.Sum256(b)
	return nil
}

// layout looks at the layout that a snapshot states, unless the one before did so, too.
func (c *SnapshotCheck) layout(ctx context.Context, ref *LayoutRef) error {
	if ref == nil || ref.Sequence == c.laid {
		return nil
	}
	c.laid = ref.Sequence
	_, err := c.repo.openLayout(ctx, *ref, func(int) bool { return false })
	if err == nil || errors.Is(err, store.ErrNotExist) {
		return ctx.Err()
	}
	c.Damages = append(c.Damages, &Damage{LayoutKey(ref.Sequence), fmt.Errorf("a layout that a snapshot of the log states: %w; nothing depends on it, it can be removed", err)})
	return nil
}

// End is told the last entry of the log.
func (c *SnapshotCheck) End(last uint64) {
	for seq := range c.left {
		if last < seq && seq <= c.first {
			c.note(seq, fmt.Errorf("the log ends with entry %d before it: the newest entries may have been removed", last))
		}
	}
}

func (c *SnapshotCheck) note(seq uint64, err error) {
	c.Damages = append(c.Damages, &Damage{SnapshotKey(seq), fmt.Errorf("a snapshot of the log: %w; nothing depends on it, it can be removed", err)})
}

// compareSnapshot returns an error unless other, which a snapshot holds, is the state.
func (s *State) compareSnapshot(other *State) error {
	s, other = withoutParts(s, other)
	if other.Sequence != s.Sequence || other.Head != s.Head || other.Time != s.Time || string(other.appendSnapshot(nil)) != string(s.appendSnapshot(nil)) {
		return errors.New("it is not what the log says")
	}
	return nil
}
