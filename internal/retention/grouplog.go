package retention

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// GroupLog tells what the rules keep of the log of groups, which no point needs. It is
// given all entries up to the newest point.
type GroupLog struct{ needs logNeeds }

// GroupLog returns it for a newest point. Without any rule, which may be those of somebody who
// does not know them, it is what all rules keep.
func (p *Policy) GroupLog(newest manifest.PointRef, now time.Time) *GroupLog {
	since := windowStart(newest, 0, now)
	if p.Rules != (Rules{}) {
		since = (&needs{policy: p, newest: newest}).logSince(now)
	}
	return &GroupLog{logNeeds{since: since}}
}

// Entry takes in the next entry, with the state that includes it.
func (l *GroupLog) Entry(s *manifest.State, e *manifest.Entry) { l.needs.entry(s, e) }

// From returns the offset of a stream of the log from which on everything is kept.
func (l *GroupLog) From(stream int) int64 { return l.needs.from[stream] }
