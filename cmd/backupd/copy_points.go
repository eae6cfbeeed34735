package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// choice are recovery points of which a copy is made, and what it will lack.
type choice struct {
	points []manifest.PointRef
	rest   *manifest.SegmentLot
	head   manifest.Head // up to which the repository is copied

	entry uint64 // that has completed such a copy before; 0: none
}

// choose finds the points, and has the copier copy what they need, as of now.
func choose(cmd *cobra.Command, g *cli.Globals, c *replica.Copier, names []string) (*choice, error) {
	state, err := c.From.State(cmd.Context(), 0)
	if err != nil {
		return nil, err
	}
	var chosen choice
	for _, name := range names {
		p, err := source.NamedPoint(state.Points, name)
		if err != nil {
			return nil, err
		}
		chosen.points = append(chosen.points, p)
	}
	slices.SortFunc(chosen.points, func(a, b manifest.PointRef) int { return cmp.Compare(a.Sequence, b.Sequence) })
	chosen.points = slices.CompactFunc(chosen.points, func(a, b manifest.PointRef) bool { return a.Sequence == b.Sequence })
	if chosen.entry, chosen.head, err = chosen.done(cmd, g, c); err != nil || chosen.entry > 0 {
		return &chosen, err
	}
	// What comes while it is copied does not count: the choice would be another one.
	c.From.Until(state.Sequence)
	c.Only, chosen.rest, err = retention.Chosen(cmd.Context(), c.From, state, chosen.points)
	return &chosen, err
}

// done returns the entry that has completed a copy of these points before, or 0, and the
// copy's head.
func (c *choice) done(cmd *cobra.Command, g *cli.Globals, copier *replica.Copier) (entry uint64, head manifest.Head, err error) {
	there, err := manifest.Open(cmd.Context(), copier.To)
	if errors.Is(err, manifest.ErrNoRepository) || errors.Is(err, manifest.ErrDamaged) { // which the copier mends
		return 0, head, nil
	}
	if err != nil || there.ID != copier.From.ID {
		return 0, head, err
	}
	if err := g.Unlock(there); err != nil {
		return 0, head, err
	}
	state, err := there.State(cmd.Context(), 0)
	if errors.Is(err, manifest.ErrDamaged) {
		return 0, head, nil
	}
	if err != nil {
		return 0, head, err
	}
	replica, err := there.IsReplica(cmd.Context(), state)
	if err != nil || replica || state.Promotion == nil {
		return 0, head, err
	}
	if !slices.EqualFunc(state.Points, c.points, func(a, b manifest.PointRef) bool { return a.Sequence == b.Sequence }) {
		return 0, head, fmt.Errorf("%w: what is there is a repository of its own already, with other recovery points: give another place", manifest.ErrDiverged)
	}
	return state.Sequence, state.HeadNow(), nil
}

// promote makes the copy a repository of its own.
func (c *choice) promote(cmd *cobra.Command, g *cli.Globals, copier *replica.Copier) (uint64, error) {
	there := copier.Copied()
	if err := g.Unlock(there); err != nil {
		return 0, err
	}
	e, err := there.PromoteChosen(cmd.Context(), g.Agent("backupd", "copy"), c.points, c.rest, time.Now)
	if err != nil {
		return 0, fmt.Errorf("make the copy a repository of its own: %w", err)
	}
	return e.Sequence, nil
}

func (c *choice) ids() []uint64 {
	ids := make([]uint64, len(c.points))
	for i, p := range c.points {
		ids[i] = p.Sequence
	}
	return ids
}

// told is what there is to say of a copy that was complete before.
func (c *choice) told(copier *replica.Copier) *copied {
	return &copied{SchemaVersion: 1, Repository: copier.From.ID.String(), Head: c.head.String(), Points: c.ids(), Entry: c.entry}
}
