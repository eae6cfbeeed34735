package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// past is what happened to the source up to the point, as far as somebody should
// know of it who restores the topics of a plan.
type past struct {
	points  []manifest.PointRef // that there are now
	history *manifest.History
	gaps    []gap
	removed []removedPart
	forks   map[int]int64  // by stream that has been superseded: the first offset that was rewritten
	keepers map[int]uint64 // by such a stream: the newest point that has something of what was rewritten
	index   map[manifest.StreamKey][]*manifest.Event
}

// newPast returns one that knows which streams of the plan's were superseded.
func (p *Plan) newPast() *past {
	h := &past{points: p.Snapshot.points, history: manifest.NewHistory(nil), gaps: p.findGaps(), forks: make(map[int]int64), keepers: make(map[int]uint64)}
	for _, t := range p.tracks {
		state := p.Topics[t.topic].From.State
		streams := state.Streams
		for n, _ := state.Current(t.key); streams[n].Parent >= 0; n = streams[n].Parent {
			h.forks[streams[n].Parent] = streams[n].First
		}
	}
	return h
}

// begin says whether what the plan has to tell comes after a state, which is then
// that before the first entry.
func (h *past) begin(state *manifest.State) bool {
	if h == nil {
		return true
	}
	for n, from := range h.forks {
		if n < len(state.Streams) && state.Streams[n].Next > from {
			return false
		}
	}
	h.history = manifest.NewHistory(nil)
	h.history.Begin(state)
	return true
}

// entry takes in the next entry of the log.
func (h *past) entry(state *manifest.State, e *manifest.Entry) {
	h.history.Add(state, e)
	if _, there := slices.BinarySearchFunc(h.points, e.Sequence, func(p manifest.PointRef, id uint64) int { return cmp.Compare(p.Sequence, id) }); !there {
		return
	}
	for n, from := range h.forks {
		if n >= len(state.Streams) || state.Streams[n].Child >= 0 {
			continue
		}
		end := state.Streams[n].Next
		for _, x := range e.Point.Exceptions {
			if x.Stream == n {
				end -= x.Behind
			}
		}
		if end > from {
			h.keepers[n] = e.Sequence
		}
	}
}

// events returns what is known of one kind about a partition of a topic, or with
// -1 about the topic, up to its point.
func (h *past) events(kind manifest.EventKind, topic *TopicPlan, partition int32) (list []*manifest.Event) {
	if h.index == nil {
		h.index = make(map[manifest.StreamKey][]*manifest.Event)
		for i := range h.history.Events {
			e := &h.history.Events[i]
			k := manifest.StreamKey{TopicID: e.TopicID, Partition: e.Partition}
			h.index[k] = append(h.index[k], e)
		}
	}
	for _, e := range h.index[manifest.StreamKey{TopicID: topic.Source.ID, Partition: partition}] {
		if e.Kind == kind && e.Entry <= topic.From.Point.Sequence {
			list = append(list, e)
		}
	}
	return list
}

// notePast says what the restore goes across.
func (p *Plan) notePast() {
	p.noteFew(p.gapNotes())
	p.noteFew(p.rewrittenNotes())
	var recreated, grown []string
	for _, t := range p.Topics {
		recreated = append(recreated, p.recreatedNote(t)...)
		grown = append(grown, p.grownNote(t)...)
	}
	p.noteFew(recreated)
	p.noteFew(grown)
	p.noteFew(p.emptiedNotes())
	p.noteFew(p.goneNotes())
}

// emptiedNotes tell partitions that had records, and have none at the point.
func (p *Plan) emptiedNotes() (list []string) {
	for _, t := range p.tracks {
		topic := p.Topics[t.topic]
		if n, ok := topic.From.State.Current(t.key); ok && t.lo == t.hi && topic.From.State.Streams[n].Records > 0 && !t.moved {
			list = append(list, fmt.Sprintf("%s-%d: nothing is left of it at the point: the source had removed offsets up to %d; an earlier point has them", topic.Source.Name, t.partition, t.hi))
		}
	}
	return list
}

// goneNotes tell topics that are not there at the point, where all are asked for.
func (p *Plan) goneNotes() (list []string) {
	if len(p.Request.Topics) > 0 {
		return nil
	}
	there := make(map[string]bool)
	for _, t := range p.Topics {
		there[t.Source.Name] = true
	}
	newest := make(map[string]Incarnation)
	for _, i := range p.Snapshot.Incarnations() {
		if !there[i.Name] {
			newest[i.Name] = i
		}
	}
	for _, name := range slices.Sorted(maps.Keys(newest)) {
		i := newest[name]
		when := ""
		if gone := p.Snapshot.State.Lives[i.Number].Gone; gone.Entry > 0 {
			when = ", noticed " + Clock(gone.Time)
		}
		list = append(list, fmt.Sprintf("%s was deleted before the point, or not selected any more%s: it is not restored; %s is what it held, and a point before has its group offsets, too", name, when, i.Label()))
	}
	return list
}

// noteFew notes the first of a list, and how many more there are: thousands of
// partitions may have the same to say.
func (p *Plan) noteFew(list []string) {
	const most = 10
	for _, text := range list[:min(len(list), most)] {
		p.note("%s", text)
	}
	if more := len(list) - most; more > 0 {
		p.note("… and %d more like the last one: see \"backupd events\"", more)
	}
}

func (p *Plan) gapNotes() (list []string) {
	for _, g := range p.past.gaps {
		topic := p.Topics[g.track.topic]
		text := fmt.Sprintf("%s-%d: offsets [%d,%d) are not in the backup: %s", topic.Source.Name, g.track.partition, g.from, g.to, g.Reason)
		list = append(list, text+lostBetween(g.OldestLost, g.NewestLost))
	}
	return list
}

// Lost says between which times lay what a gap has cost, as far as that is known.
func Lost(e *manifest.Event) string { return lostBetween(e.OldestLost, e.NewestLost) }

func lostBetween(oldest, newest int64) string {
	switch {
	case oldest != 0 && newest != 0:
		return fmt.Sprintf("; lost is what lay between %s and %s", Clock(oldest), Clock(newest))
	case oldest != 0:
		return fmt.Sprintf("; lost is what lay behind %s", Clock(oldest))
	case newest != 0:
		return fmt.Sprintf("; lost is what lay before %s", Clock(newest))
	}
	return ""
}

func (p *Plan) rewrittenNotes() (list []string) {
	for _, t := range p.tracks {
		topic := p.Topics[t.topic]
		for _, e := range p.past.events(manifest.EventRewritten, topic, t.partition) {
			if e.To <= t.lo || t.moved && e.From >= t.hi {
				continue
			}
			list = append(list, fmt.Sprintf("%s-%d: offsets [%d,%d) were rewritten by an unclean leader election, noticed %s: what the source has had since then comes back; %s",
				topic.Source.Name, t.partition, e.From, e.To, Clock(e.Time), p.keeperOf(e.Stream)))
		}
	}
	return list
}

// keeperOf says where a superseded stream can be had from.
func (p *Plan) keeperOf(stream int) string {
	point, ok := p.past.keepers[stream]
	if !ok {
		return "no recovery point has what was there before"
	}
	return fmt.Sprintf("what was there before, point %d is the newest to have: --at %d", point, point)
}

func (p *Plan) recreatedNote(t *TopicPlan) []string {
	older := t.Source
	older.Nth--
	chosen := func(o *TopicPlan) bool { return o.Source.Label() == older.Label() }
	if older.Nth == 0 || slices.ContainsFunc(p.Topics, chosen) {
		return nil
	}
	noticed := Clock(t.From.State.Lives[t.Source.Number].Since.Time)
	return []string{fmt.Sprintf("%s was deleted and created again, noticed %s: what it held before is %s", t.Source.Name, noticed, older.Label())}
}

func (p *Plan) grownNote(t *TopicPlan) []string {
	var times []string
	for i := range t.From.State.Growths {
		if g := &t.From.State.Growths[i]; g.Topic == t.Source.Number && p.reachBefore(g) {
			times = append(times, fmt.Sprintf("%d instead of %d, noticed %s", g.To, g.From, Clock(g.Time)))
		}
	}
	if len(times) == 0 {
		return nil
	}
	if n := len(times); n > 3 {
		times = append(times[:2:2], fmt.Sprintf("%d times more, at last %s", n-2, times[n-1]))
	}
	return []string{fmt.Sprintf("%s: partitions were added (%s): records of one key may lie in one partition until then and in another one since", t.Source.Name, strings.Join(times, "; "))}
}

// reachBefore says whether something that is wanted of a topic was captured before it grew.
func (p *Plan) reachBefore(g *manifest.Growth) bool {
	return slices.ContainsFunc(p.tracks, func(t *track) bool {
		return p.Topics[t.topic].Source.Number == g.Topic && int(t.partition) < len(g.Ends) && t.lo < min(t.hi, g.Ends[t.partition])
	})
}
