package manifest

import (
	"context"
	"fmt"
)

// ActionKind says what somebody did.
type ActionKind string

// The kinds of actions. What a note states has the note's kind.
const (
	ActionRun     ActionKind = "run"     // a program began to write
	ActionPoint   ActionKind = "point"   // a recovery point was made
	ActionPin     ActionKind = "pin"     // of one
	ActionUnpin   ActionKind = "unpin"   // of one
	ActionHold    ActionKind = "hold"    // of one
	ActionRelease ActionKind = "release" // of one
	ActionDelete  ActionKind = "delete"  // of one
	// What no note says more about:
	ActionRemove ActionKind = "remove"         // segments
	ActionErase  ActionKind = "delete-objects" // of removed segments
	ActionFence  ActionKind = "fence"          // writers

	ActionMove       ActionKind = "move"       // data, to new segments
	ActionQuarantine ActionKind = "quarantine" // data that cannot be had again
	ActionVerify     ActionKind = "verify"     // the repository
	ActionKeyInit    ActionKind = "key-init"   // the first keys
	ActionKeyAdd     ActionKind = "key-add"    // a recipient of them
	ActionKeyRetire  ActionKind = "key-retire" // a recipient of them
)

// Action is something that somebody did with the repository, by an entry of the
// log.
type Action struct {
	Head   Head  // of the log with that entry
	Time   int64 // ms since 1970, by the clock of the entry's writer
	Kind   ActionKind
	Writer ID
	Agent  *Agent // nil if the writer has not said who it is
	Point  uint64 // id of the point that it is about, or 0
	Name   string // of the point
	Note   *Note  // of the entry
	// Segments that the entry removes or deletes.
	Segments int64
	Keys     []KeyChange // for what is done to them
	Details  []string    // of all else, in words
}

// Audit gathers actions from one entry of the log after the other.
type Audit struct {
	agents map[ID]*Agent
	names  map[uint64]string      // of points that have one
	flags  map[uint64]PointChange // of points that have some
	keys   []Generation           // as they were stated last
}

// NewAudit returns one that has seen no entry.
func NewAudit() *Audit {
	return &Audit{agents: make(map[ID]*Agent), names: make(map[uint64]string), flags: make(map[uint64]PointChange)}
}

// Add returns what an entry says. The state includes it, and it follows the one
// that was added last.
func (a *Audit) Add(s *State, e *Entry) (list []Action) {
	if e.Agent != nil {
		a.agents[e.Writer] = e.Agent
	}
	note := e.Note
	if e.isUpkeep() {
		note = nil // it is of what follows, not of each point
	}
	add := func(kind ActionKind, point uint64) {
		list = append(list, Action{
			Head: s.HeadNow(), Time: e.Time, Kind: kind, Writer: e.Writer, Agent: a.agents[e.Writer], Point: point, Name: a.names[point], Note: note,
		})
	}
	if e.Agent != nil {
		add(ActionRun, 0)
	}
	if e.Point != nil {
		if e.Point.Name != "" {
			a.names[e.Sequence] = e.Point.Name
		}
		add(ActionPoint, e.Sequence)
	}
	for _, c := range e.PointChanges {
		add(c.action(a.flags[c.Point]), c.Point)
		a.flags[c.Point] = c
	}
	if kind := e.other(len(a.keys)); kind != "" {
		add(kind, 0)
		x := &list[len(list)-1]
		x.Note = e.Note
		x.Segments, x.Details = e.Removed.count()+e.Deleted.count(), e.details(s)
		if e.Keys != nil {
			x.Keys = keyChanges(a.keys, e.Keys.Generations)
			a.keys = e.Keys.Generations
		}
	}
	return list
}

// action says what became of a point that had other flags.
func (c *PointChange) action(was PointChange) ActionKind {
	switch {
	case c.Deleted:
		return ActionDelete
	case c.Held != was.Held && c.Held:
		return ActionHold
	case c.Held != was.Held:
		return ActionRelease
	case c.Pinned:
		return ActionPin
	}
	return ActionUnpin
}

// other is what the entry does besides runs and points, or "". What its writer
// calls it counts most. generations are those of the keys before it.
func (e *Entry) other(generations int) ActionKind {
	switch {
	case e.Note != nil && (e.PointChanges == nil || e.isUpkeep()):
		return ActionKind(e.Note.Kind)
	case e.Keys != nil && e.Keys.Before == 0:
		return ActionKeyInit
	case e.Keys != nil && len(e.Keys.Generations) == generations:
		return ActionKeyAdd
	case e.Keys != nil:
		return ActionKeyRetire
	case e.Losses != nil:
		return ActionQuarantine
	case e.Moves != nil:
		return ActionMove
	case e.Removed != nil:
		return ActionRemove
	case e.Deleted != nil:
		return ActionErase
	case e.Fences != nil:
		return ActionFence
	case e.Verification != nil:
		return ActionVerify
	}
	return ""
}

// isUpkeep says whether the note is of what the entry does as a whole.
func (e *Entry) isUpkeep() bool {
	return e.Note != nil && (e.Note.Kind == NotePrune || e.Note.Kind == NoteSweep)
}

func (l *SegmentLot) count() int64 {
	if l == nil {
		return 0
	}
	return l.Segments.Count()
}

// Audit reads the whole log, which proves that it hangs together, and calls fn
// for what each entry says, in order. It returns the head of the log. If kept is
// not nil and not a head of this log, the error is ErrHead.
func (r *Repository) Audit(ctx context.Context, kept *Head, fn func(Action)) (Head, error) {
	if kept != nil {
		if err := kept.Check(newState(r.digest)); err != nil {
			return Head{}, err
		}
	}
	a := NewAudit()
	state, err := r.Read(ctx, 0, func(s *State, e *Entry) error {
		for _, action := range a.Add(s, e) {
			fn(action)
		}
		if kept != nil {
			return kept.Check(s)
		}
		return nil
	})
	if err != nil {
		return Head{}, err
	}
	if kept != nil && state.Sequence < kept.Sequence {
		return Head{}, fmt.Errorf("%w: it ends with entry %d", ErrHead, state.Sequence)
	}
	return state.HeadNow(), nil
}
