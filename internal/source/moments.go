package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// moments are the snapshots that a restore takes topics from: a single one unless
// overrides say otherwise.
type moments struct {
	rest *Snapshot
	own  []*Snapshot // by override: rest, unless it has a point of its own
	// absent are topics that rest has, and that are left out because there are none
	// at their own points. Known once the topics are chosen.
	absent []choice
}

// moments loads the points of the request's overrides beside the snapshot.
func (s *Snapshot) moments(ctx context.Context, r *Request, now time.Time) (*moments, error) {
	if !slices.ContainsFunc(r.Overrides, func(o Override) bool { return !o.isOf(r) }) {
		return (&history{}).moments(ctx, s, r, now)
	}
	return readHistory(ctx, s.Repository).moments(ctx, s, r, now)
}

func (h *history) moments(ctx context.Context, rest *Snapshot, r *Request, now time.Time) (*moments, error) {
	m := &moments{rest: rest}
	loaded := make(map[string]*Snapshot)
	for i := range r.Overrides {
		o := &r.Overrides[i]
		if o.isOf(r) {
			m.own = append(m.own, rest)
			continue
		}
		if loaded[o.At] == nil {
			s, err := h.load(ctx, o.At, now)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", o, err)
			}
			loaded[o.At] = s
		}
		m.own = append(m.own, loaded[o.At])
	}
	return m, nil
}

// isOf says whether the override's topics go back to the same point as the rest.
func (o *Override) isOf(r *Request) bool {
	return o.At == "" || o.At == r.At || isLatest(o.At) && isLatest(r.At)
}

// isLatest says whether the words of --at mean another point whenever there is a
// new one.
func isLatest(at string) bool { return at == "" || at == "latest" }

// resume puts the point of an interrupted restore of the same topics in the
// place of the latest one, or that of a complete one of all of them: the source
// may have gone on since.
func (m *moments) resume(ctx context.Context, cluster *kafka.Cluster, r *Request) error {
	var moving []*Snapshot
	if isLatest(r.At) {
		moving = append(moving, m.rest)
	}
	for i, s := range m.own {
		if o := &r.Overrides[i]; isLatest(o.At) && !o.isOf(r) && !slices.Contains(moving, s) {
			moving = append(moving, s)
		}
	}
	if len(moving) == 0 {
		return nil
	}
	state, err := readState(ctx, cluster, m.rest.Repository.ID)
	if err != nil && !errors.Is(err, kafka.ErrAuthorization) { // which the plan refuses, with what else is missing
		return err
	}
	targets := m.targets(r)
	for _, s := range moving {
		point, err := state.unfinished(targets[s])
		if err != nil {
			return err
		}
		done := point == 0
		if done {
			point = state.complete(targets[s])
		}
		if point == 0 || point == s.Point.Sequence {
			continue
		}
		begun, err := LoadPoint(ctx, s.Repository, point)
		if err != nil {
			return err
		}
		begun.points, begun.instead = s.points, s.Point.Sequence
		m.replace(s, begun)
		if done && !state.has(m.targets(r)[begun]) {
			m.replace(begun, s) // something new is asked for
		}
	}
	return nil
}

// has says whether there is a state of all targets.
func (s *restoreState) has(targets []string) bool {
	return !slices.ContainsFunc(targets, func(name string) bool { return s.topics[name] == nil })
}

// targets returns the names of the target topics by the snapshot that they come
// from; what is wrong with the request, the plan says.
func (m *moments) targets(r *Request) map[*Snapshot][]string {
	chosen, _ := m.choose(r)
	names := make(map[*Snapshot][]string)
	for _, c := range chosen {
		names[c.from] = append(names[c.from], c.target(r, make(map[string]bool)))
	}
	return names
}

func (m *moments) replace(s, by *Snapshot) {
	if m.rest == s {
		m.rest = by
	}
	for i := range m.own {
		if m.own[i] == s {
			m.own[i] = by
		}
	}
}

// choose returns the topics that the request selects. Those that an override
// counts for are looked for at its point, all others at that of the rest, so that
// a topic which is gone since may come back. What is wrong is in the error; with
// it there are those that could be chosen.
func (m *moments) choose(r *Request) ([]choice, error) {
	asked, err := parseSelection(r.Topics)
	if err != nil {
		return nil, err
	}
	overridden := make([]selection, len(r.Overrides))
	for i := range r.Overrides {
		if overridden[i], err = parseSelection(r.Overrides[i].Topics); err != nil {
			return nil, fmt.Errorf("%s: %w", &r.Overrides[i], err)
		}
	}
	counts := func(i Incarnation) int {
		return slices.IndexFunc(overridden, func(sel selection) bool { return sel.has(i) })
	}
	chosen := chooseFrom(m.rest, nil, asked, func(i Incarnation) bool { return counts(i) < 0 })
	for n, s := range m.own {
		o := &r.Overrides[n]
		counted := slices.DeleteFunc(s.Incarnations(), func(i Incarnation) bool { return counts(i) != n })
		if err := o.check(s, &overridden[n], counted); err != nil {
			return chosen, err
		}
		chosen = append(chosen, chooseFrom(s, o, asked, func(i Incarnation) bool { return counts(i) == n })...)
	}
	m.absent = nil
	for _, i := range m.rest.Incarnations() {
		if n := counts(i); n >= 0 && asked.has(i) && !slices.ContainsFunc(chosen, func(c choice) bool { return c.Name == i.Name }) {
			m.absent = append(m.absent, choice{i, m.own[n], &r.Overrides[n]})
		}
	}
	slices.SortStableFunc(chosen, func(a, b choice) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Nth, b.Nth))
	})
	return chosen, cmp.Or(checkTwice(chosen), m.checkFound(asked, overridden, chosen))
}

func chooseFrom(s *Snapshot, o *Override, asked selection, counts func(Incarnation) bool) (chosen []choice) {
	for _, i := range s.Incarnations() {
		if asked.has(i) && counts(i) {
			chosen = append(chosen, choice{i, s, o})
		}
	}
	return chosen
}

// check wants the override to name topics that there are at its point, and for
// which no earlier one counts already.
func (o *Override) check(s *Snapshot, sel *selection, counted []Incarnation) error {
	if err := errors.Join(sel.missing(s.Incarnations())...); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	if len(counted) == 0 {
		return fmt.Errorf("%w: %s counts for no topic at point %d: there is none, or an earlier override counts for it", ErrNothing, o, s.Point.Sequence)
	}
	return o.checkRename(counted)
}

// checkTwice wants each incarnation to be chosen as of one point.
func checkTwice(chosen []choice) error {
	for i := 1; i < len(chosen); i++ {
		if a, b := chosen[i-1], chosen[i]; a.Number == b.Number {
			return fmt.Errorf("%w: %s is selected as of point %d and as of point %d: name it in the override as %s", ErrRefused, a.Label(), a.from.Point.Sequence, b.from.Point.Sequence, a.Label())
		}
	}
	return nil
}

// checkFound explains what is asked for by itself and was not found at the point
// that counts for it.
func (m *moments) checkFound(asked selection, overridden []selection, chosen []choice) error {
	var errs []error
	for _, mark := range asked.marks {
		if !slices.ContainsFunc(chosen, func(c choice) bool { return c.isCalled(mark) }) {
			errs = append(errs, (&selection{marks: []string{mark}}).missing(nil)...)
		}
	}
	if asked.names == nil {
		return errors.Join(errs...)
	}
	for _, name := range asked.names.Literals() {
		if slices.ContainsFunc(chosen, func(c choice) bool { return c.Name == name }) {
			continue
		}
		s := m.rest
		if n := slices.IndexFunc(overridden, func(sel selection) bool { return sel.names != nil && sel.names.Match(name) }); n >= 0 {
			s = m.own[n]
		}
		errs = append(errs, missingLiterals([]string{name}, s.Incarnations())...)
	}
	return errors.Join(errs...)
}

// cutChosen cuts the snapshot at a vector, for the topics that come from it.
func (s *Snapshot) cutChosen(v Vector, chosen []choice) (*Snapshot, error) {
	var own []Incarnation
	for _, c := range chosen {
		if c.from == s {
			own = append(own, c.Incarnation)
		}
	}
	for _, c := range chosen {
		if c.from == s {
			continue
		}
		for _, at := range v.places() {
			if at.means(c.Incarnation) && !slices.ContainsFunc(own, at.means) {
				return nil, fmt.Errorf("%w: --at-offsets: %s: %s has a point of its own, %q: give only one of the two", ErrRefused, at, c.override, c.override.At)
			}
		}
	}
	cut, err := s.cutAt(v, own)
	for i := range chosen {
		if chosen[i].from == s {
			chosen[i].from = cut
		}
	}
	return cut, err
}
