// Package source replays a repository into a Kafka cluster: store -> Kafka.
//
// A restore is planned first, from the log and the segments' footers: which
// records come back, into which topics, what would be refused. The plan is then
// carried out by replaying each stream through a converter, which turns captured
// batches into the batches to produce and source offsets into target offsets.
// Planning, translating offsets and replaying use the same converter, so that
// what is said is what is done.
package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// Errors that callers match with errors.Is.
var (
	// ErrNoPoint: there is no recovery point that fits the request.
	ErrNoPoint = errors.New("no such recovery point")
	// ErrNothing: the selection holds nothing to restore.
	ErrNothing = errors.New("nothing to restore")
	// ErrRefused is wrapped by what a plan's checks refuse.
	ErrRefused = errors.New("restore refused")
	// ErrIncomplete: everything was done except what the result lists.
	ErrIncomplete = errors.New("restore is not complete")
)

// Snapshot is the repository at a recovery point.
type Snapshot struct {
	Repository *manifest.Repository
	Point      manifest.PointRef
	State      *manifest.State     // after the point's entry
	cut        map[int]int64       // of streams whose cut is not their position
	moved      map[int]bool        // streams that a vector cuts below the point
	damage     string              // of the log behind the point, or empty
	future     bool                // a time was asked for that is yet to come
	points     []manifest.PointRef // that there are now, the newer ones among them
	instead    uint64              // of this newer point, which was asked for as the latest, but the target holds this one
	head       *manifest.State     // after the whole log, nil until it is known
	lacking    bool                // what was removed is left out, as the request accepts
	late       []lateGap           // behind the point and before the next one, if a time between the two was asked for
}

// Incarnation is one topic of a snapshot.
type Incarnation struct {
	Number int // of the topic in the log
	Nth    int // 1 for the oldest topic of this name, and so on
	manifest.Topic
}

// Label names the incarnation so that --topics can select it.
func (i Incarnation) Label() string { return fmt.Sprintf("%s@%d", i.Name, i.Nth) }

// Incarnations returns all topics of the snapshot by name and age, without the
// log of groups, which is never restored.
func (s *Snapshot) Incarnations() []Incarnation {
	count := make(map[string]int)
	var list []Incarnation
	for n, t := range s.State.Topics {
		if t.Name == kafka.GroupLogTopic {
			continue // what it says is in the groups
		}
		count[t.Name]++
		list = append(list, Incarnation{n, count[t.Name], t})
	}
	slices.SortStableFunc(list, func(a, b Incarnation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Select returns the topics that the patterns select: by name those that the
// cluster had at the point, and by NAME@N or NAME@TOPICID a certain incarnation,
// gone or not. A literal that selects nothing is an error.
func (s *Snapshot) Select(patterns []string) ([]Incarnation, error) {
	sel, err := parseSelection(patterns)
	if err != nil {
		return nil, err
	}
	all := s.Incarnations()
	var chosen []Incarnation
	for _, i := range all {
		if sel.has(i) {
			chosen = append(chosen, i)
		}
	}
	return chosen, errors.Join(sel.missing(all)...)
}

// selection is what patterns select.
type selection struct {
	marks []string // NAME@N and NAME@TOPICID
	names *pattern.List
}

func parseSelection(patterns []string) (selection, error) {
	var sel selection
	var plain []string
	for _, text := range patterns {
		if strings.Contains(text, "@") {
			sel.marks = append(sel.marks, text)
		} else {
			plain = append(plain, text)
		}
	}
	if len(plain) == 0 && len(patterns) > 0 {
		return sel, nil
	}
	list, err := pattern.Parse(plain)
	sel.names = &list
	return sel, err
}

// has says whether the topic is selected at the point that it was taken from.
func (sel *selection) has(i Incarnation) bool {
	return slices.ContainsFunc(sel.marks, i.isCalled) || sel.names != nil && !i.Gone && sel.names.Match(i.Name)
}

// isCalled says whether a text of the form NAME@N or NAME@TOPICID is this incarnation.
func (i Incarnation) isCalled(mark string) bool {
	return mark == i.Label() || mark == i.Name+"@"+kafka.TopicID(i.ID).String()
}

// missing explains what is asked for by itself and is not there.
func (sel *selection) missing(all []Incarnation) (errs []error) {
	for _, mark := range sel.marks {
		if !slices.ContainsFunc(all, func(i Incarnation) bool { return i.isCalled(mark) }) {
			errs = append(errs, fmt.Errorf("%w: there is no incarnation %s", ErrNothing, mark))
		}
	}
	if sel.names != nil {
		errs = append(errs, missingLiterals(sel.names.Literals(), all)...)
	}
	return errs
}

// topicNames returns the names of the topics, each once.
func topicNames(all []Incarnation) (names []string) {
	for _, i := range all {
		if !slices.Contains(names, i.Name) {
			names = append(names, i.Name)
		}
	}
	return names
}

// missingLiterals explains literals that select nothing.
func missingLiterals(names []string, all []Incarnation) []error {
	var errs []error
	for _, name := range names {
		var gone *Incarnation
		there := false
		for i := range all {
			if all[i].Name == name {
				there = there || !all[i].Gone
				gone = &all[i]
			}
		}
		switch {
		case there:
		case gone != nil:
			errs = append(errs, fmt.Errorf("%w: topic %s was gone at this point; select %s, or an earlier point", ErrNothing, name, gone.Label()))
		default:
			errs = append(errs, fmt.Errorf("%w: the backup holds no topic %s at this point%s", ErrNothing, name, orNear(topicNames(all), name)))
		}
	}
	return errs
}
