package retention

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

var zones = []*time.Location{nil, time.UTC, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -9*3600)}

// randomPoints are some points whose distances go from seconds to months, a few of
// which protected, or made by a clock that went backwards.
func randomPoints(r *rand.Rand) []manifest.PointRef {
	var list []manifest.PointRef
	at := time.Date(2024, 12, 28, 22, 0, 0, 0, time.UTC).UnixMilli() + r.Int64N(1e9)
	step := []int64{5e3, 6e5, 36e5, 864e5, 30 * 864e5}[r.IntN(5)]
	for i := range r.IntN(60) {
		at += r.Int64N(step)
		if r.IntN(20) == 0 {
			at -= r.Int64N(2 * step)
		}
		list = append(list, manifest.PointRef{Sequence: uint64(i*3 + 1), Time: at, Pinned: r.IntN(25) == 0, Held: r.IntN(25) == 0})
	}
	return list
}

func randomRules(r *rand.Rand) Rules {
	some := func(n int) int {
		if r.IntN(2) == 0 {
			return 0
		}
		return r.IntN(n)
	}
	rules := Rules{Last: some(5), Hourly: some(5), Daily: some(8), Weekly: some(5), Monthly: some(13), Yearly: some(4)}
	if r.IntN(2) == 0 {
		rules.Window = time.Duration(r.Int64N(int64(40 * 24 * time.Hour)))
	}
	if r.IntN(8) == 0 {
		return Rules{}
	}
	return rules
}

func randomPolicy(r *rand.Rand) *Policy {
	p := &Policy{Rules: randomRules(r), MinPoints: 1 + r.IntN(4), LegalHold: r.IntN(50) == 0, Zone: zones[r.IntN(len(zones))]}
	for i := range r.IntN(3) {
		list, _ := pattern.Parse([]string{fmt.Sprintf("t%d*", i)})
		p.Topics = append(p.Topics, TopicRules{fmt.Sprintf("t%d*", i), list, randomRules(r)})
	}
	return p
}

// model is what the documentation of the rules says, one rule after the other, on
// sets of ids.
func model(p *Policy, r *Rules, points []manifest.PointRef, now time.Time) map[uint64]bool {
	kept := make(map[uint64]bool)
	if len(points) == 0 {
		return kept
	}
	byTime := slices.Clone(points)
	slices.SortStableFunc(byTime, func(a, b manifest.PointRef) int { return int(a.Time - b.Time) })
	last := points[len(points)-1]
	kept[last.Sequence] = true
	for i, x := range points {
		if x.Pinned || x.Held || p.LegalHold || *r == (Rules{}) || len(points)-i <= r.Last {
			kept[x.Sequence] = true
		}
	}
	if r.Window > 0 {
		ref := time.UnixMilli(last.Time)
		if now.Before(ref) {
			ref = now
		}
		start := ref.UnixMilli() - r.Window.Milliseconds()
		before := uint64(0)
		for _, x := range byTime {
			if x.Time < start {
				before = x.Sequence
			} else {
				kept[x.Sequence] = true
			}
		}
		if before > 0 {
			kept[before] = true
		}
	}
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	calendar := func(n int, begin func(time.Time) time.Time) {
		newest := make(map[int64]uint64) // by beginning of the span
		for _, x := range byTime {
			newest[begin(time.UnixMilli(x.Time).In(zone)).Unix()] = x.Sequence
		}
		spans := slices.Sorted(maps.Keys(newest))
		for _, s := range spans[max(0, len(spans)-n):] {
			kept[newest[s]] = true
		}
	}
	day := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone) }
	calendar(r.Hourly, func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), 0, 0, 0, zone)
	})
	calendar(r.Daily, day)
	calendar(r.Weekly, func(t time.Time) time.Time { return day(t).AddDate(0, 0, -(int(t.Weekday())+6)%7) })
	calendar(r.Monthly, func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, zone) })
	calendar(r.Yearly, func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, zone) })
	for i := len(points) - 1; i >= 0 && len(kept) < p.MinPoints; i-- {
		kept[points[i].Sequence] = true
	}
	return kept
}

// The time of a point is what its writer says: none empties a window.
func TestWindowOfForgedTimes(t *testing.T) {
	for _, newest := range []int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64} {
		points := []manifest.PointRef{{Sequence: 1, Time: 0}, {Sequence: 2, Time: 1000}, {Sequence: 3, Time: newest}}
		policy := Policy{Rules: Rules{Window: 24 * time.Hour}}
		for _, d := range policy.Decide(points, time.UnixMilli(2000)) {
			if !d.Keep {
				t.Errorf("newest point of %d: point %d is not kept: %q", newest, d.Point.Sequence, d.Reasons)
			}
		}
	}
}

func TestDecideAgainstModel(t *testing.T) {
	dropped := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 5))
		points, p := randomPoints(r), randomPolicy(r)
		now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		if len(points) > 0 {
			now = time.UnixMilli(points[len(points)-1].Time + r.Int64N(864e5) - 864e4)
		}
		list := p.Decide(points, now)
		all := make(map[uint64]bool)
		for n := range 1 + len(p.Topics) {
			rules := &p.Rules
			if n > 0 {
				rules = &p.Topics[n-1].Rules
			}
			want := model(p, rules, points, now)
			maps.Copy(all, want)
			for _, d := range list {
				if d.by[n] != want[d.Point.Sequence] {
					t.Fatalf("seed %d: rules %+v of %+v: point %d of %s: kept %v, want %v: %v", seed, *rules, p, d.Point.Sequence,
						time.UnixMilli(d.Point.Time).UTC(), d.by[n], want[d.Point.Sequence], d.Reasons)
				}
			}
		}
		for _, d := range list {
			if d.Keep != all[d.Point.Sequence] || len(d.Reasons) == 0 || strings.Contains(strings.Join(d.Reasons, ""), not) {
				t.Fatalf("seed %d: point %d: kept %v: %q", seed, d.Point.Sequence, d.Keep, d.Reasons)
			}
			if !d.Keep {
				dropped++
			}
		}
	}
	if dropped < 1000 {
		t.Errorf("only %d points were dropped", dropped)
	}
}

// The reasons are what an operator reads.
func TestReasons(t *testing.T) {
	at := func(day, hour int) int64 { return time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC).UnixMilli() }
	points := []manifest.PointRef{
		{Sequence: 1, Time: at(1, 9)}, {Sequence: 2, Time: at(1, 12)}, {Sequence: 3, Time: at(2, 9), Pinned: true},
		{Sequence: 4, Time: at(3, 9), Held: true}, {Sequence: 5, Time: at(9, 9)}, {Sequence: 6, Time: at(9, 10)}, {Sequence: 7, Time: at(10, 9)}, {Sequence: 8, Time: at(10, 10)},
	}
	ledger, _ := pattern.Parse([]string{"ledger-*"})
	p := &Policy{Rules: Rules{Window: time.Hour, Daily: 2}, MinPoints: 1, Topics: []TopicRules{{"ledger-*", ledger, Rules{Monthly: 1, Daily: 4}}}}
	want := `1 no: older than the window of 1h0m0s; older than the last 2 days that have one; ledger-*: older than the last 4 days that have one; ledger-*: not the newest of its month, which is point 8
2 no: older than the window of 1h0m0s; older than the last 2 days that have one; ledger-*: older than the last 4 days that have one; ledger-*: not the newest of its month, which is point 8
3 yes: pinned
4 yes: held
5 no: older than the window of 1h0m0s; not the newest of its day, which is point 6; ledger-*: not the newest of its day, which is point 6; ledger-*: not the newest of its month, which is point 8
6 yes: the window of 1h0m0s begins behind it; daily 2026-11-09; ledger-*: daily 2026-11-09
7 yes: window 1h0m0s
8 yes: the newest
`
	var got strings.Builder
	for _, d := range p.Decide(points, time.UnixMilli(at(11, 0))) {
		fmt.Fprintf(&got, "%d %s: %s\n", d.Point.Sequence, map[bool]string{true: "yes", false: "no"}[d.Keep], strings.Join(d.Reasons, "; "))
	}
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
