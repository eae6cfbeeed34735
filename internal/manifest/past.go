package manifest

import (
	"context"
	"slices"
)

// Past are the states of the log that snapshots have, for who needs to know about how
// things were, and not at which entry exactly.
type Past struct {
	repo *Repository
	list []uint64
	last uint64
}

// Past returns those up to a state.
func (r *Repository) Past(ctx context.Context, head *State) *Past {
	p := &Past{repo: r, last: head.Sequence}
	if r.trust.head != nil && !r.trust.proven.Load() {
		return p
	}
	var err error
	if p.list, err = r.snapshots(ctx); err != nil {
		r.Debug.Debug("snapshots of the log cannot be listed", "error", err)
		p.list = nil
	}
	n, _ := slices.BinarySearch(p.list, head.Sequence)
	p.list = p.list[:n]
	return p
}

// Before returns the newest state that is not behind an entry, or nil.
func (p *Past) Before(ctx context.Context, entry uint64) *State {
	n, found := slices.BinarySearch(p.list, entry)
	if found {
		n++
	}
	for i := n - 1; i >= max(0, n-startTries); i-- {
		if s := p.repo.trusted(ctx, p.list[i], p.last); s != nil {
			return s
		}
	}
	return nil
}

// After returns the oldest state that has an entry, or nil.
func (p *Past) After(ctx context.Context, entry uint64) *State {
	n, _ := slices.BinarySearch(p.list, entry)
	for i := n; i < min(len(p.list), n+startTries); i++ {
		if s := p.repo.trusted(ctx, p.list[i], p.last); s != nil {
			return s
		}
	}
	return nil
}
