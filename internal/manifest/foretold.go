package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ErrForetold says that the log does not add up to what its newest snapshot made of it.
var ErrForetold = errors.New("the newest snapshot of the log has foretold another state")

// foretold is the state at the end of the log, as the newest snapshot and what is behind it
// say, with where data was moved up to there.
type foretold struct {
	state  *State
	layout *Layout
}

var errFirst = errors.New("no snapshot of the log is of use")

// Foretell returns the state at the end of the log and where data was moved, without reading
// all of the log: for who goes through it afterwards, and so needs not do that twice. It counts
// for nothing before Entry has been told all entries up to there: that returns ErrForetold if
// they say anything else. If nothing can be foretold, the state is nil.
func (c *SnapshotCheck) Foretell(ctx context.Context) (*State, *Layout) {
	r := c.repo
	if len(c.left) == 0 || r.until > 0 || r.trust.head != nil {
		return nil, nil
	}
	s, err := r.ReadSince(ctx, 0, nil, func(_ *State, e *Entry) error {
		if e.Sequence == 1 {
			return errFirst
		}
		return nil
	})
	if err == nil && (s.early || s.stretches.unknown || s.moved.since == nil) {
		err = errors.New("a program that did not write down everything yet has made it")
	}
	var l *Layout
	if err == nil {
		l, err = r.movedUpTo(ctx, s, func(int) bool { return true })
	}
	if err != nil {
		r.Debug.Debug("snapshots do not say what the log adds up to, so that it is read twice", "error", err)
		return nil, nil
	}
	c.foretold = &foretold{s, l}
	return s, l
}

// check compares the state that the whole log yields with what was foretold of it.
func (f *foretold) check(s *State) error {
	if f == nil || s.Sequence != f.state.Sequence {
		return nil
	}
	if err := s.compareSnapshot(f.state); err != nil {
		return fmt.Errorf("%w: %w", ErrForetold, err)
	}
	if s.moved.since == nil || !bytes.Equal(s.moved.since.append(nil), f.layout.append(nil)) {
		return fmt.Errorf("%w: it has moved data elsewhere", ErrForetold)
	}
	return nil
}
