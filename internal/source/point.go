package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Load reads the log up to the recovery point that at names: "latest", the id
// of a point, its name, or a time, which means the newest point at or before it.
func Load(ctx context.Context, repo *manifest.Repository, at string, now time.Time) (*Snapshot, error) {
	return readHistory(ctx, repo).load(ctx, at, now)
}

// history is what the whole log says of points and gaps.
type history struct {
	repo   *manifest.Repository
	points []manifest.PointRef
	state  *manifest.State // at its end
	err    error           // why the log could not be read to its end
}

func readHistory(ctx context.Context, repo *manifest.Repository) *history {
	state, err := repo.State(ctx, 0)
	if err != nil {
		return &history{repo: repo, err: err}
	}
	return &history{repo: repo, points: state.Points, state: state}
}

// load does what Load does.
func (h *history) load(ctx context.Context, at string, now time.Time) (*Snapshot, error) {
	if h.err != nil {
		return loadSound(ctx, h.repo, at, h.err)
	}
	point, err := findPoint(h.points, at, now)
	if err != nil {
		if _, wrong := ParseTime(at, now); wrong != nil && at != "" && at != "latest" {
			err = explainDeleted(ctx, h.repo, at, err)
		}
		return nil, err
	}
	snap, err := LoadPoint(ctx, h.repo, point.Sequence)
	if err != nil {
		return nil, err
	}
	snap.head = h.state
	snap.Point, snap.points = point, h.points // pinned or not, and deleted or not, since then
	t, ok := momentOf(h.points, at, now)
	snap.future = ok && t.After(now)
	if ok && t.UnixMilli() > point.Time {
		snap.late = gapsBehind(h.state, point)
	}
	return snap, nil
}

// Future says whether the point was named by a time that is yet to come.
func (s *Snapshot) Future() bool { return s.future }

// loadSound loads a point that is named by its id and lies before damage of the
// log, which is all that err may be.
func loadSound(ctx context.Context, repo *manifest.Repository, at string, err error) (*Snapshot, error) {
	var d *manifest.Damage
	if !errors.As(err, &d) {
		return nil, err
	}
	sound, _ := d.Sound()
	if sound == 0 {
		return nil, err
	}
	if id, wrong := strconv.ParseUint(at, 10, 64); wrong == nil && 0 < id && id <= sound {
		snap, err := LoadPoint(ctx, repo, id)
		if err == nil {
			snap.damage = fmt.Sprintf("the log is damaged, and nothing of it can be restored from entry %d on: %v", sound+1, d)
		}
		return snap, err
	}
	state, other := repo.State(ctx, sound)
	if other != nil || len(state.Points) == 0 {
		return nil, err
	}
	return nil, fmt.Errorf("%w; the newest recovery point before the damage is %d: --at %d", err, state.Points[len(state.Points)-1].Sequence, state.Points[len(state.Points)-1].Sequence)
}

// LoadPoint reads the log up to the point with the given id.
func LoadPoint(ctx context.Context, repo *manifest.Repository, id uint64) (*Snapshot, error) {
	s := &Snapshot{Repository: repo, cut: make(map[int]int64)}
	state, err := repo.ReadSince(ctx, id, nil, func(state *manifest.State, e *manifest.Entry) error {
		if e.Sequence == id && e.Point != nil {
			s.cut = cutsOf(state, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.State, s.points = state, state.Points
	if n := len(state.Points); n == 0 || state.Points[n-1].Sequence != id {
		return nil, fmt.Errorf("%w: log entry %d is not a recovery point", ErrNoPoint, id)
	}
	s.Point = state.Points[len(state.Points)-1]
	return s, nil
}

// cutsOf returns the cuts that are not positions of a point's entry, which the state includes.
func cutsOf(state *manifest.State, e *manifest.Entry) map[int]int64 {
	cuts := make(map[int]int64)
	for _, x := range e.Point.Exceptions {
		cuts[x.Stream] = state.Streams[x.Stream].Next - x.Behind
	}
	return cuts
}

// findPoint resolves the words of --at.
func findPoint(points []manifest.PointRef, at string, now time.Time) (manifest.PointRef, error) {
	last, err := lastPoint(points)
	if err != nil || at == "" || at == "latest" {
		return last, err
	}
	if p, err := NamedPoint(points, at); err == nil {
		return p, nil
	}
	t, err := ParseTime(at, now)
	if err != nil {
		return manifest.PointRef{}, fmt.Errorf("%w: %q is neither a point (%s) nor a time: %w", ErrNoPoint, at, advice(points, at), err)
	}
	for _, p := range slices.Backward(points) {
		if p.Time <= t.UnixMilli() {
			return p, nil
		}
	}
	return manifest.PointRef{}, fmt.Errorf("%w: %s is before the first one: the window goes from point %d of %s to point %d of %s",
		ErrNoPoint, t.UTC().Format(time.RFC3339), points[0].Sequence, Clock(points[0].Time), last.Sequence, Clock(last.Time))
}

func lastPoint(points []manifest.PointRef) (manifest.PointRef, error) {
	if len(points) == 0 {
		return manifest.PointRef{}, fmt.Errorf("%w: the repository has none yet; the first is committed once everything that was there at the start has been captured", ErrNoPoint)
	}
	return points[len(points)-1], nil
}

// NamedPoint returns the point with the given id or name, or the latest one. The error
// says which may have been meant.
func NamedPoint(points []manifest.PointRef, text string) (manifest.PointRef, error) {
	if last, err := lastPoint(points); err != nil || text == "latest" {
		return last, err
	}
	for _, p := range slices.Backward(points) {
		if p.Name != "" && p.Name == text || fmt.Sprint(p.Sequence) == text {
			return p, nil
		}
	}
	return manifest.PointRef{}, fmt.Errorf("%w: %q: %s", ErrNoPoint, text, advice(points, text))
}

// advice says which points there are for somebody who has not found one.
func advice(points []manifest.PointRef, text string) string {
	all := fmt.Sprintf("the ids go from %d to %d: see \"restored list\"", points[0].Sequence, points[len(points)-1].Sequence)
	var names []string
	for _, p := range slices.Backward(points) {
		names = append(names, p.Name)
	}
	if near := nearNames(names, text); len(near) > 0 {
		return fmt.Sprintf("did you mean %s? %s", strings.Join(near, " or "), all)
	}
	return all
}

// nearNames returns at most three of the names that a text resembles, the nearest
// first.
func nearNames(all []string, text string) []string {
	const most = 3
	far := (len(text) + 1) / 3
	distances := make(map[string]int)
	var names []string
	for _, name := range all {
		d := levenshtein.ComputeDistance(strings.ToLower(text), strings.ToLower(name))
		if prefixed := len(text) > 2 && strings.HasPrefix(name, text); name != "" && (d <= far || prefixed) {
			distances[name] = d
			names = append(names, name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return distances[a] - distances[b] })
	return names[:min(most, len(names))]
}

// orNear asks whether one of the names was meant, if the text resembles any.
func orNear(names []string, text string) string {
	if near := nearNames(names, text); len(near) > 0 {
		return fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return ""
}

// momentOf returns the time that at stands for, unless it names a point.
func momentOf(points []manifest.PointRef, at string, now time.Time) (time.Time, bool) {
	if at == "" || at == "latest" {
		return time.Time{}, false
	}
	if _, err := NamedPoint(points, at); err == nil {
		return time.Time{}, false
	}
	t, err := ParseTime(at, now)
	return t, err == nil
}

// ParseTime reads RFC 3339 with or without zone (then UTC), a date, epoch
// milliseconds (at least 12 digits), or a duration before now such as -2h.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(s, "-") {
		d, err := time.ParseDuration(s)
		if err != nil {
			err = errors.New(`not a duration before now, such as "-2h" or "-90m"; a time before 1970 is written as RFC 3339`)
		}
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
	if n := len(s); n < 12 && n > 8 && fmt.Sprint(ms) == s {
		return time.Time{}, fmt.Errorf("too short for milliseconds since 1970: if these are seconds, %s000 is meant", s)
	}
	if _, err := time.ParseDuration(s); err == nil {
		return time.Time{}, fmt.Errorf(`a duration before now begins with a minus: "-%s"`, s)
	}
	return time.Time{}, errors.New(`not RFC 3339 ("2026-11-20T14:30:00Z"), epoch milliseconds, or a duration before now ("-2h")`)
}

// Clock prints milliseconds since 1970 as RFC 3339 in UTC.
func Clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// PointInfo is a recovery point in the form of restored list -o json.
type PointInfo struct {
	ID     uint64    `json:"id"`
	Time   time.Time `json:"time"`
	Name   string    `json:"name,omitempty"`
	Pinned bool      `json:"pinned,omitempty"`
	Held   bool      `json:"held,omitempty"`
}

// Info describes a point.
func Info(p manifest.PointRef) PointInfo {
	return PointInfo{p.Sequence, time.UnixMilli(p.Time).UTC(), p.Name, p.Pinned, p.Held}
}

// State says what is special about the point.
func (p PointInfo) State() string {
	switch {
	case p.Pinned && p.Held:
		return "pinned, held"
	case p.Held:
		return "held"
	case p.Pinned:
		return "pinned"
	}
	return ""
}

// Listing says which recovery points are listed.
type Listing struct {
	From, To time.Time // inclusive; the zero value is no bound
	Named    bool      // only those that have a name or are pinned or held
	Limit    int       // see Newest
}

// of returns the points of which the newest are listed.
func (l *Listing) of(points []manifest.PointRef) (list []manifest.PointRef) {
	for _, p := range points {
		at := time.UnixMilli(p.Time)
		if at.Before(l.From) || !l.To.IsZero() && at.After(l.To) || l.Named && p.Name == "" && !p.Protected() {
			continue
		}
		list = append(list, p)
	}
	return list
}

// Newest returns the newest points, as many as limit says, or all of them if it
// is 0, and those of the others that have a name or are pinned or held, the newest first.
func Newest(points []manifest.PointRef, limit int) []PointInfo {
	list := []PointInfo{}
	for n, p := range slices.Backward(points) {
		if limit == 0 || len(points)-n <= limit || p.Name != "" || p.Protected() {
			list = append(list, Info(p))
		}
	}
	return list
}
