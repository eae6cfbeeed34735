package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// statedGap is a gap as the log states it.
type statedGap struct {
	entry    uint64
	key      manifest.StreamKey
	from, to int64
	reason   manifest.GapReason
}

// gapsIn returns the gaps that an entry states. The state includes it.
func gapsIn(s *manifest.State, e *manifest.Entry) (list []statedGap) {
	for i := range e.Ranges {
		r := &e.Ranges[i]
		at := s.Start(r)
		for _, sp := range r.Spans {
			if sp.Gap {
				list = append(list, statedGap{e.Sequence, s.Key(r.Stream), at, at + sp.Offsets, sp.Reason})
			}
			at += sp.Offsets
		}
	}
	return list
}

// note says the same with the topic's name.
func (g *statedGap) note(s *manifest.State) GapNote {
	n, _ := s.TopicNumber(g.key.TopicID)
	return GapNote{s.Topics[n].Name, g.key.Partition, g.from, g.to, g.reason.String()}
}

// gapsBehind returns the gaps that were stated after a point and up to the next
// one. A time between the two lies in them: what was written until then and
// fell into a gap is in no point at all.
func gapsBehind(gaps []statedGap, points []manifest.PointRef, point manifest.PointRef) []statedGap {
	next := slices.IndexFunc(points, func(p manifest.PointRef) bool { return p.Sequence > point.Sequence })
	return slices.DeleteFunc(gaps, func(g statedGap) bool {
		return g.entry <= point.Sequence || next >= 0 && g.entry > points[next].Sequence
	})
}

// addLost notes the gaps which cost records that the restore should have.
func (p *Plan) addLost(g gap) {
	if g.reason == manifest.GapRetention && g.to > g.track.lo {
		p.lose(p.Topics[g.track.topic], g.track.partition, g.from, g.to, g.reason)
	}
}

// addLate does so for those between the point and the time that was asked for.
func (p *Plan) addLate() {
	for _, t := range p.Topics {
		for _, g := range t.From.late {
			if t.Source.ID == g.key.TopicID && g.reason == manifest.GapRetention {
				p.lose(t, g.key.Partition, g.from, g.to, g.reason)
			}
		}
	}
}

func (p *Plan) lose(t *TopicPlan, partition int32, from, to int64, reason manifest.GapReason) {
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
