// Package retention decides which recovery points a repository keeps, and takes
// away what none of them needs.
//
// It works in two steps, so that nothing is lost at once: an entry of the log
// deletes points and removes the segments that only they needed, and after a time
// of grace a later prune deletes the objects. In between nobody reads them any more.
package retention

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// Rules say which points are kept. Each keeps some, and a point is kept that one
// of them keeps. Without any, all are.
type Rules struct {
	// Window keeps the points of this time before the newest one, and the last one
	// before that, so that one can go back to every moment of it.
	Window time.Duration
	// Last keeps the newest points, and the others the newest point of each of the
	// last hours, days, … that have one.
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
}

// TopicRules are those of some topics, in the place of the others.
type TopicRules struct {
	Name   string // what reasons call them
	Topics pattern.List
	Rules
}

// Policy is what a repository keeps.
type Policy struct {
	Rules                  // of the topics that nothing else is said of
	Topics    []TopicRules // the first that matches counts
	MinPoints int          // of these rules each keep at least so many points
	LegalHold bool         // nothing is taken away
	Zone      *time.Location
	Patterns  []NamedPattern // of the topics that Topics are for, one by one: for unmatched
}

// Decision says what becomes of a point, and why.
type Decision struct {
	Point   manifest.PointRef
	Keep    bool
	Reasons []string
	by      []bool // whether each rules of the policy keep it, see rulesOf
}

// rulesOf returns the number of the rules that count for a topic, 0 for those of
// the policy itself.
func (p *Policy) rulesOf(topic string) int {
	return 1 + slices.IndexFunc(p.Topics, func(r TopicRules) bool { return r.Topics.Match(topic) })
}

// Keeping decides on all points, which ascend, and returns whether the rules of a
// topic keep one of them: of another one, data of this topic may be gone that only
// that point needed. A legal hold brings nothing back, and does not count.
func (p *Policy) Keeping(points []manifest.PointRef, now time.Time) func(topic string, point uint64) bool {
	rules := *p
	rules.LegalHold = false
	decisions := rules.Decide(points, now)
	return func(topic string, point uint64) bool {
		i, ok := slices.BinarySearchFunc(decisions, point, compareDecision)
		return !ok || decisions[i].by[rules.rulesOf(topic)]
	}
}

// Decide decides on all points, which ascend. A point is kept if the rules of any
// topic keep it. The result depends on nothing else.
func (p *Policy) Decide(points []manifest.PointRef, now time.Time) []Decision {
	list := make([]Decision, len(points))
	for i, point := range points {
		list[i] = Decision{Point: point, by: make([]bool, 1+len(p.Topics))}
	}
	if len(points) == 0 {
		return list
	}
	always := p.always(points)
	p.apply(list, 0, "", &p.Rules, always, now)
	for i := range p.Topics {
		p.apply(list, i+1, p.Topics[i].Name+": ", &p.Topics[i].Rules, always, now)
	}
	for i := range list {
		d := &list[i]
		if d.Keep = slices.Contains(d.by, true); always[i] != "" {
			d.Reasons = []string{always[i]}
		} else if d.Keep {
			d.Reasons = slices.DeleteFunc(d.Reasons, func(r string) bool { return strings.HasPrefix(r, not) })
		}
		for j := range d.Reasons {
			d.Reasons[j] = strings.TrimPrefix(d.Reasons[j], not)
		}
	}
	return list
}

// not precedes the reasons against a point until all rules have been asked.
const not = "\x00"

// always returns why points are kept whatever the rules say, empty where they are not.
func (p *Policy) always(points []manifest.PointRef) []string {
	why := make([]string, len(points))
	for i, point := range points {
		switch {
		case p.LegalHold:
			why[i] = "retention.legalHold"
		case point.Held:
			why[i] = "held"
		case point.Pinned:
			why[i] = "pinned"
		case i == len(points)-1:
			why[i] = "the newest"
		}
	}
	return why
}

// apply lets rules decide, and sees to the least number of points.
func (p *Policy) apply(list []Decision, number int, prefix string, r *Rules, always []string, now time.Time) {
	kept := 0
	for i, v := range r.judge(list, now, p.Zone) {
		d := &list[i]
		if d.by[number] = v.keep || always[i] != ""; d.by[number] {
			kept++
		}
		for _, reason := range v.reasons {
			if v.keep {
				d.Reasons = append(d.Reasons, prefix+reason)
			} else {
				d.Reasons = append(d.Reasons, not+prefix+reason)
			}
		}
	}
	for i := len(list) - 1; i >= 0 && kept < p.MinPoints; i-- {
		if d := &list[i]; !d.by[number] {
			d.by[number] = true
			d.Reasons = append(d.Reasons, fmt.Sprintf("%sminPoints %d", prefix, p.MinPoints))
			kept++
		}
	}
}

// verdict is what rules say of a point.
type verdict struct {
	keep    bool
	reasons []string // for it if it is kept, else against it
}

func (v *verdict) say(keep bool, format string, args ...any) {
	if keep && !v.keep {
		v.keep, v.reasons = true, nil
	}
	if keep == v.keep {
		v.reasons = append(v.reasons, fmt.Sprintf(format, args...))
	}
}

// period is a rule that keeps the newest point of each of some spans of the calendar.
type period struct {
	rule, noun string
	keep       int
	of         func(time.Time) string
}

func (r *Rules) periods() []period {
	layout := func(l string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(l) }
	}
	week := func(t time.Time) string {
		y, w := t.ISOWeek()
		return fmt.Sprintf("%d-W%02d", y, w)
	}
	return []period{
		{"hourly", "hour", r.Hourly, layout("2006-01-02T15Z07:00")},
		{"daily", "day", r.Daily, layout("2006-01-02")},
		{"weekly", "week", r.Weekly, week},
		{"monthly", "month", r.Monthly, layout("2006-01")},
		{"yearly", "year", r.Yearly, layout("2006")},
	}
}

// judge returns what the rules say of each point.
func (r *Rules) judge(list []Decision, now time.Time, zone *time.Location) []verdict {
	verdicts := make([]verdict, len(list))
	if *r == (Rules{}) {
		for i := range verdicts {
			verdicts[i].say(true, "no rule: all are kept")
		}
		return verdicts
	}
	order := make([]int, len(list)) // the newest first, by the clock
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := list[a].Point, list[b].Point
		return cmp.Or(cmp.Compare(y.Time, x.Time), cmp.Compare(y.Sequence, x.Sequence))
	})
	if r.Window > 0 {
		r.judgeWindow(list, order, verdicts, now)
	}
	if r.Last > 0 {
		for i := range list {
			last := len(list)-i <= r.Last
			verdicts[i].say(last, map[bool]string{true: "last %d", false: "not of the last %d"}[last], r.Last)
		}
	}
	for _, p := range r.periods() {
		if p.keep > 0 {
			p.judge(list, order, verdicts, zone)
		}
	}
	return verdicts
}

// judgeWindow reckons from the newest point, or from now if that lies before: so
// neither a backupd that stands still nor a single wrong clock empties the window.
func (r *Rules) judgeWindow(list []Decision, order []int, verdicts []verdict, now time.Time) {
	from := windowStart(list[len(list)-1].Point, r.Window, now)
	begun := false
	for _, i := range order {
		switch inside := list[i].Point.Time >= from; {
		case inside:
			verdicts[i].say(true, "window %s", r.Window)
		case !begun:
			verdicts[i].say(true, "the window of %s begins behind it", r.Window)
			begun = true
		default:
			verdicts[i].say(false, "older than the window of %s", r.Window)
		}
	}
}

// windowStart returns when a window begins, in ms since 1970. Whoever may append to the log
// may give a point any time.
func windowStart(newest manifest.PointRef, window time.Duration, now time.Time) int64 {
	long := window.Milliseconds()
	return max(min(newest.Time, now.UnixMilli()), math.MinInt64+long) - long
}

func (p *period) judge(list []Decision, order []int, verdicts []verdict, zone *time.Location) {
	if zone == nil {
		zone = time.UTC
	}
	left, last, holder := p.keep, "", uint64(0)
	for _, i := range order {
		point := &list[i].Point
		name := p.of(time.UnixMilli(point.Time).In(zone))
		switch {
		case name == last && left >= 0:
			verdicts[i].say(false, "not the newest of its %s, which is point %d", p.noun, holder)
		case left > 0:
			left, last, holder = left-1, name, point.Sequence
			verdicts[i].say(true, "%s %s", p.rule, name)
		default:
			left = -1
			verdicts[i].say(false, "older than the last %d %ss that have one", p.keep, p.noun)
		}
	}
}
