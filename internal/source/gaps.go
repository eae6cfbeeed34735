package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// noteOf says where a gap is, and why.
func noteOf(s *manifest.State, g *manifest.Gap) GapNote {
	st := &s.Streams[g.Stream]
	return GapNote{s.Topics[st.Topic].Name, st.Partition, g.From, g.To, g.Reason.String()}
}

// lateGap is one that was stated behind the point.
type lateGap struct {
	key manifest.StreamKey
	*manifest.Gap
}

// gapsBehind returns the gaps that were stated after a point and up to the next
// one. A time between the two lies in them: what was written until then and
// fell into a gap is in no point at all.
func gapsBehind(s *manifest.State, point manifest.PointRef) (list []lateGap) {
	next := slices.IndexFunc(s.Points, func(p manifest.PointRef) bool { return p.Sequence > point.Sequence })
	for i := range s.Gaps {
		if g := &s.Gaps[i]; g.Entry > point.Sequence && (next < 0 || g.Entry <= s.Points[next].Sequence) {
			list = append(list, lateGap{s.Key(g.Stream), g})
		}
	}
	return list
}

// gap is a stretch of a track that the source no longer had when it was read.
type gap struct {
	track    *track
	from, to int64
	*manifest.Gap
}

// findGaps returns those in what the tracks hold at their points, in the order of the log.
func (p *Plan) findGaps() (list []gap) {
	states := make(map[*Snapshot]bool)
	for _, topic := range p.Topics {
		if states[topic.From] {
			continue
		}
		states[topic.From] = true
		for i := range topic.From.State.Gaps {
			g := &topic.From.State.Gaps[i]
			if t := p.byStream[g.Stream]; t != nil && p.Topics[t.topic].From == topic.From {
				list = append(list, t.clipGap(g)...)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b gap) int { return cmp.Compare(a.Entry, b.Entry) })
	return list
}

// clipGap returns what a gap costs of the track, if it costs anything.
func (t *track) clipGap(g *manifest.Gap) []gap {
	b := t.branches[slices.IndexFunc(t.branches, func(b branch) bool { return b.stream == g.Stream })]
	if g.To == t.lo {
		// The log begins behind it, so nothing of it is missing at the point;
		// but its records were never captured.
		return []gap{{t, g.From, g.To, g}}
	}
	if lo, hi := max(g.From, b.lo), min(g.To, b.hi); lo < hi {
		return []gap{{t, lo, hi, g}}
	}
	return nil
}

// addLost notes the gaps which cost records that the restore should have.
func (p *Plan) addLost(g gap) {
	if g.Reason == manifest.GapRetention && g.to > g.track.lo {
		p.lose(p.Topics[g.track.topic], g.track.partition, g.from, g.to, g.Reason)
	}
}

// addLate does so for those between the point and the time that was asked for.
func (p *Plan) addLate() {
	for _, t := range p.Topics {
		for _, g := range t.From.late {
			if t.Source.ID == g.key.TopicID && g.Reason == manifest.GapRetention {
				p.lose(t, g.key.Partition, g.From, g.To, g.Reason)
			}
		}
	}
}

func (p *Plan) lose(t *TopicPlan, partition int32, from, to int64, reason fmt.Stringer) {
	p.Lost = append(p.Lost, GapNote{t.Source.Name, partition, from, to, reason.String()})
	t.lost = append(t.lost, fmt.Sprintf("%d:%d-%d", partition, from, to))
}

// accepted says, for the state of a restore, what a topic lacks because gaps were
// accepted, by this run or an earlier one: PARTITION:FROM-TO, with commas between.
// Brokers limit the length; of many there are the first, and +N for the others.
func (p *Plan) accepted(t *TopicPlan) string {
	const most = 20
	list := slices.Clone(t.accepted)
	if p.Request.AcceptGap && !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "+") }) {
		for _, g := range t.lost {
			if !slices.Contains(list, g) {
				list = append(list, g)
			}
		}
	}
	if more := len(list) - most; more > 1 {
		list = append(list[:most], fmt.Sprintf("+%d", more))
	}
	return strings.Join(list, ",")
}

// judgeLost refuses a restore that would silently lack records.
func (p *Plan) judgeLost() {
	for _, g := range p.Lost {
		text := fmt.Sprintf("%s-%d: what is asked for lies in a gap: offsets [%d,%d) were %s", g.Topic, g.Partition, g.From, g.To, g.Reason)
		if p.Request.AcceptGap {
			p.note("%s: accepted", text)
		} else {
			p.refuse("%s: choose another time or point, or do without them with --accept-gap", text)
		}
	}
}
