package manifest

import (
	"context"
	"fmt"
)

// FindPoint chooses a recovery point of a state.
type FindPoint func(*State) (PointRef, error)

// PinPoint pins or unpins the recovery point that find chooses, and returns it
// as it is then. An entry with no more than this fences no other writer. One
// that has what it is to have is left alone.
func (l *Log) PinPoint(ctx context.Context, find FindPoint, pinned bool) (p PointRef, err error) {
	_, err = l.Append(ctx, func(s *State) (*Entry, error) {
		if p, err = find(s); err != nil || p.Pinned == pinned {
			return nil, err
		}
		p.Pinned = pinned
		return l.pointChange(PointChange{Point: p.Sequence, Pinned: pinned, Held: p.Held}), nil
	})
	return p, err
}

// HoldPoint puts the recovery point that find chooses under a legal hold or
// releases it, and returns it as it is then. It is as PinPoint otherwise.
func (l *Log) HoldPoint(ctx context.Context, find FindPoint, held bool) (p PointRef, err error) {
	_, err = l.Append(ctx, func(s *State) (*Entry, error) {
		if p, err = find(s); err != nil || p.Held == held {
			return nil, err
		}
		p.Held = held
		return l.pointChange(PointChange{Point: p.Sequence, Pinned: p.Pinned, Held: held}), nil
	})
	return p, err
}

// DeletePoint deletes the recovery point that find chooses, and returns it. The
// error is ErrPinned or ErrHeld if it is pinned or under a legal hold.
func (l *Log) DeletePoint(ctx context.Context, find FindPoint) (p PointRef, err error) {
	_, err = l.Append(ctx, func(s *State) (*Entry, error) {
		if p, err = find(s); err != nil {
			return nil, err
		}
		if p.Pinned {
			return nil, fmt.Errorf("%w: unpin point %d first", ErrPinned, p.Sequence)
		}
		if p.Held {
			return nil, fmt.Errorf("%w: release point %d first", ErrHeld, p.Sequence)
		}
		return l.pointChange(PointChange{Point: p.Sequence, Deleted: true}), nil
	})
	return p, err
}

func (l *Log) pointChange(c PointChange) *Entry {
	return &Entry{Time: l.now().UnixMilli(), PointChanges: []PointChange{c}}
}
