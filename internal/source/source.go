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
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	State      *manifest.State // after the point's entry
	cut        map[int]int64   // of streams whose cut is not their position
}

// Load reads the log up to the recovery point that at names: "latest", the id
// of a point, its name, or a time, which means the newest point at or before it.
func Load(ctx context.Context, repo *manifest.Repository, at string, now time.Time) (*Snapshot, error) {
	state, err := repo.Read(ctx, 0, nil)
	if err != nil {
		return nil, err
	}
	point, err := findPoint(state.Points, at, now)
	if err != nil {
		return nil, err
	}
	return LoadPoint(ctx, repo, point.Sequence)
}

// LoadPoint reads the log up to the point with the given id.
func LoadPoint(ctx context.Context, repo *manifest.Repository, id uint64) (*Snapshot, error) {
	s := &Snapshot{Repository: repo, cut: make(map[int]int64)}
	state, err := repo.Read(ctx, id, func(state *manifest.State, e *manifest.Entry) error {
		if e.Sequence == id && e.Point != nil {
			for _, x := range e.Point.Exceptions {
				s.cut[x.Stream] = state.Streams[x.Stream].Next - x.Behind
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.State = state
	if n := len(state.Points); n == 0 || state.Points[n-1].Sequence != id {
		return nil, fmt.Errorf("%w: log entry %d is not a recovery point", ErrNoPoint, id)
	}
	s.Point = state.Points[len(state.Points)-1]
	return s, nil
}

// findPoint resolves the words of --at.
func findPoint(points []manifest.PointRef, at string, now time.Time) (manifest.PointRef, error) {
	if len(points) == 0 {
		return manifest.PointRef{}, fmt.Errorf("%w: the repository has none yet; the first is committed once everything that was there at the start has been captured", ErrNoPoint)
	}
	last := points[len(points)-1]
	if at == "" || at == "latest" {
		return last, nil
	}
	for _, p := range slices.Backward(points) {
		if p.Name != "" && p.Name == at || fmt.Sprint(p.Sequence) == at {
			return p, nil
		}
	}
	t, err := ParseTime(at, now)
	if err != nil {
		return manifest.PointRef{}, fmt.Errorf("%w: %q is neither a point (the ids go from %d to %d: see \"restored list\") nor a time: %w",
			ErrNoPoint, at, points[0].Sequence, last.Sequence, err)
	}
	for _, p := range slices.Backward(points) {
		if p.Time <= t.UnixMilli() {
			return p, nil
		}
	}
	return manifest.PointRef{}, fmt.Errorf("%w: %s is before the first one, %d of %s", ErrNoPoint, t.UTC().Format(time.RFC3339), points[0].Sequence, Clock(points[0].Time))
}

// ParseTime reads RFC 3339 with or without zone (then UTC), a date, epoch
// milliseconds (at least 12 digits), or a duration before now such as -2h.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(s, "-") {
		d, err := time.ParseDuration(s)
		return now.Add(d), err
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	var ms int64
	if n, err := fmt.Sscanf(s, "%d", &ms); n == 1 && err == nil && len(s) >= 12 && fmt.Sprint(ms) == s {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, errors.New(`not RFC 3339 ("2026-11-20T14:30:00Z"), epoch milliseconds, or a duration before now ("-2h")`)
}

// Clock prints milliseconds since 1970 as RFC 3339 in UTC.
func Clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// Incarnation is one topic of a snapshot.
type Incarnation struct {
	Number int // of the topic in the log
	Nth    int // 1 for the oldest topic of this name, and so on
	manifest.Topic
}

// Label names the incarnation so that --topics can select it.
func (i Incarnation) Label() string { return fmt.Sprintf("%s@%d", i.Name, i.Nth) }

// Incarnations returns all topics of the snapshot by name and age.
func (s *Snapshot) Incarnations() []Incarnation {
	count := make(map[string]int)
	var list []Incarnation
	for n, t := range s.State.Topics {
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
	all := s.Incarnations()
	var plain []string
	var chosen []Incarnation
	var errs []error
	for _, text := range patterns {
		name, which, ok := strings.Cut(text, "@")
		if !ok {
			plain = append(plain, text)
			continue
		}
		i := slices.IndexFunc(all, func(i Incarnation) bool {
			return i.Name == name && (which == fmt.Sprint(i.Nth) || which == kafka.TopicID(i.ID).String())
		})
		if i < 0 {
			errs = append(errs, fmt.Errorf("%w: there is no incarnation %s", ErrNothing, text))
			continue
		}
		chosen = append(chosen, all[i])
	}
	if len(plain) > 0 || len(patterns) == 0 {
		list, err := pattern.Parse(plain)
		if err != nil {
			return nil, err
		}
		for _, i := range all {
			if !i.Gone && list.Match(i.Name) && !slices.ContainsFunc(chosen, func(c Incarnation) bool { return c.Number == i.Number }) {
				chosen = append(chosen, i)
			}
		}
		errs = append(errs, missingLiterals(list.Literals(), all)...)
	}
	return chosen, errors.Join(errs...)
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
			errs = append(errs, fmt.Errorf("%w: the backup holds no topic %s at this point", ErrNothing, name))
		}
	}
	return errs
}
