package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secPoints is the section of an entry that changes recovery points before it.
const secPoints = 10

// Errors about recovery points.
var (
	// ErrPointName: a recovery point cannot be called so.
	ErrPointName = errors.New("not a name for a recovery point")
	// ErrNameTaken: another recovery point is called so.
	ErrNameTaken = errors.New("another recovery point has this name")
	// ErrPinned: a recovery point that is pinned is not deleted.
	ErrPinned = errors.New("the recovery point is pinned")
	// ErrHeld: one that is under a legal hold is not deleted either.
	ErrHeld = errors.New("the recovery point is under a legal hold")
)

// PointChange gives the recovery point with the given id its new flags. A
// deleted one is no longer in State.Points.
type PointChange struct {
	Point   uint64
	Pinned  bool
	Deleted bool
	Held    bool
}

const (
	flagPinned  = 1
	flagDeleted = 2
	flagHeld    = 4
)

func (c *PointChange) flags() (b byte) {
	if c.Pinned {
		b |= flagPinned
	}
	if c.Deleted {
		b |= flagDeleted
	}
	if c.Held {
		b |= flagHeld
	}
	return b
}

func (e *Entry) appendPointChanges() (b []byte) {
	if len(e.PointChanges) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.PointChanges)))
	for i := range e.PointChanges {
		b = wire.AppendUvarint(b, e.PointChanges[i].Point)
		b = append(b, e.PointChanges[i].flags())
	}
	return b
}

func (e *Entry) parsePointChanges(r *wire.Reader) {
	e.PointChanges = make([]PointChange, count(r, "point changes", 2))
	for i := range e.PointChanges {
		id, flags := r.Uvarint(), r.Byte()
		if flags > flagPinned|flagHeld || flags&flagDeleted != 0 && flags != flagDeleted {
			r.Failf("flags %#x", flags)
		}
		if i > 0 && id <= e.PointChanges[i-1].Point {
			r.Failf("points out of order")
		}
		e.PointChanges[i] = PointChange{id, flags&flagPinned != 0, flags&flagDeleted != 0, flags&flagHeld != 0}
	}
}

var pointName = regexp.MustCompile(`\A[A-Za-z0-9._-]{1,128}\z`)

// CheckPointName returns ErrPointName, with the reason, if no recovery point can
// be called so.
func CheckPointName(name string) error {
	switch {
	case !pointName.MatchString(name):
		return fmt.Errorf("%w: %q: 1 to 128 letters, digits, dots, dashes and underscores make one", ErrPointName, name)
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("%w: %q: digits alone are the id of a point", ErrPointName, name)
	case name == "latest":
		return fmt.Errorf("%w: %q is always the newest point", ErrPointName, name)
	}
	return nil
}

// PointNamed returns the recovery point with the given name.
func (s *State) PointNamed(name string) (PointRef, bool) {
	if i := slices.IndexFunc(s.Points, func(p PointRef) bool { return p.Name == name }); i >= 0 && name != "" {
		return s.Points[i], true
	}
	return PointRef{}, false
}

// point returns where a recovery point is in Points.
func (s *State) point(id uint64) (int, bool) {
	return slices.BinarySearchFunc(s.Points, id, func(p PointRef, id uint64) int {
		if p.Sequence < id {
			return -1
		} else if p.Sequence > id {
			return 1
		}
		return 0
	})
}

// CheckPointName returns ErrPointName or ErrNameTaken if a point of the next
// entry cannot be called so.
func (s *State) CheckPointName(name string) error {
	if err := CheckPointName(name); err != nil {
		return err
	}
	if other, taken := s.PointNamed(name); taken {
		return fmt.Errorf("%w: %s is point %d", ErrNameTaken, name, other.Sequence)
	}
	return nil
}

func (s *State) checkPointName(p *Point) error {
	if p == nil || p.Name == "" {
		return nil
	}
	return s.CheckPointName(p.Name)
}

// checkPointChanges wants changes of points that there are. What is protected stays,
// but in a copy of other points.
func (s *State) checkPointChanges(e *Entry) error {
	for i := range e.PointChanges {
		c := &e.PointChanges[i]
		n, ok := s.point(c.Point)
		switch {
		case !ok:
			return fmt.Errorf("a change of entry %d, which is no recovery point", c.Point)
		case c.Deleted && s.Points[n].Pinned && !e.archives():
			return fmt.Errorf("%w: point %d is deleted", ErrPinned, c.Point)
		case c.Deleted && s.Points[n].Held && !e.archives():
			return fmt.Errorf("%w: point %d is deleted", ErrHeld, c.Point)
		case !c.Deleted && c.Pinned == s.Points[n].Pinned && c.Held == s.Points[n].Held:
			return fmt.Errorf("a change of point %d that changes nothing", c.Point)
		}
	}
	return nil
}

func (s *State) applyPointChanges(changes []PointChange) {
	for _, c := range changes {
		if n, ok := s.point(c.Point); ok && c.Deleted {
			s.Points = slices.Delete(s.Points, n, n+1)
		} else if ok {
			s.Points[n].Pinned, s.Points[n].Held = c.Pinned, c.Held
		}
	}
}
