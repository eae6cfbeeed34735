package source

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Keeping says whether the retention keeps a point of a state for a topic. Of one
// that it does not keep for it, it may have removed what only that one needed.
type Keeping func(topic string, point uint64) bool

// LogNeeds tells what the retention keeps of the log of groups: it is given the entries up
// to the newest point, and then says from which offset of a stream on that is everything.
type LogNeeds interface {
	Entry(*manifest.State, *manifest.Entry)
	From(stream int) int64
}

// taken are the offsets, by stream, that are nowhere but in segments which were
// removed, ascending, with a space between two ranges.
type taken map[int][][2]int64

// add adds offsets [from, to). Those of a stream come in their order, but may come again.
func (k taken) add(stream int, from, to int64) {
	list := k[stream]
	if n := len(list); n > 0 && list[n-1][1] >= from {
		list[n-1][1] = max(list[n-1][1], to)
		return
	}
	k[stream] = append(list, [2]int64{from, to})
}

// within returns what lies in the offsets [from, to) of a stream.
func (k taken) within(stream int, from, to int64) (list [][2]int64) {
	all := k[stream]
	i, _ := slices.BinarySearchFunc(all, from, func(r [2]int64, at int64) int { return cmp.Or(cmp.Compare(r[1], at), -1) })
	for ; i < len(all) && all[i][0] < to; i++ {
		list = append(list, [2]int64{max(all[i][0], from), min(all[i][1], to)})
	}
	return list
}

// sort brings ranges that came in any order into theirs.
func (k taken) sort() {
	for stream, list := range k {
		slices.SortFunc(list, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
		sorted := make(taken)
		for _, r := range list {
			sorted.add(stream, r[0], r[1])
		}
		k[stream] = sorted[stream]
	}
}

// take notes what of a data span nobody may read any more, by the head.
func (v *verifier) take(e *manifest.Entry, stream int, from, to int64, segment uint64, pieces []*manifest.Piece) {
	if e.Sequence > v.head.Sequence {
		return
	}
	if pieces == nil && !v.head.Readable(e.Writer, segment) && v.isNews(e.Writer, segment) {
		v.taken.add(stream, from, to)
	}
	for _, p := range pieces {
		if v.isTaken(p) && v.isNews(p.In.Name.Writer, p.In.Name.Counter) {
			v.taken.add(stream, p.Start, p.Next())
		}
	}
}

// isNews says whether nobody has verified the removal of a segment.
func (v *verifier) isNews(writer manifest.ID, segment uint64) bool {
	return v.base == nil || v.base.removed.Has(writer, segment)
}

// isTaken says whether nobody may read a piece any more. What is lost is told as that.
func (v *verifier) isTaken(p *manifest.Piece) bool {
	return !p.Lost && p.In.Entry <= v.head.Sequence && !v.head.Readable(p.In.Name.Writer, p.In.Name.Counter)
}

// removal is an entry that has removed what points need.
type removal struct {
	entry    uint64
	time     int64
	segments int64
	there    int64 // of these, objects that are not deleted
	lost     taken
	names    map[int]LostRange // by stream, what it is
	first    manifest.PointRef // that needs it
	last     manifest.PointRef
	points   int
}

// wrongRemovals finds the entries that have removed what points need which there
// still are, or the newest one that there ever was, or what came after it: nobody who
// keeps to the rules of the retention does that.
func (v *verifier) wrongRemovals(ctx context.Context) error {
	if len(v.taken) == 0 {
		return nil
	}
	n := v.needs
	if newest := (manifest.PointRef{Sequence: v.newest, Time: v.latest}); n.newest != newest { // it was deleted
		n = v.newNeeds(newest)
		if err := v.readNeeds(ctx, n); err != nil {
			return err
		}
	}
	n.rest()
	needed := n.needed
	if len(needed) == 0 {
		return nil
	}
	needed.sort()
	list, err := v.removalsOf(ctx, needed)
	if err != nil {
		return err
	}
	for _, r := range list {
		again := *n
		again.of, again.log, again.meet = r.lost, nil, r.meet
		if err := v.readNeeds(ctx, &again); err != nil {
			return err
		}
		v.report.Damages = append(v.report.Damages, r.note(v.newest))
	}
	return nil
}

// needs finds out what points need of some offsets, and what is needed whatever points there
// still are.
type needs struct {
	*verifier
	newest manifest.PointRef // that the log ever had, and the latest time of all
	of     taken
	keep   Keeping // nil: not asked for yet
	log    LogNeeds
	meet   func(manifest.PointRef) // is told the points, in their order; may be nil
	needed taken                   // not in order, and more than once
	ends   []int64                 // by stream: from there on all is needed
}

// newNeeds returns one of all that is taken.
func (v *verifier) newNeeds(newest manifest.PointRef) *needs {
	n := &needs{verifier: v, newest: newest, of: v.taken, needed: make(taken)}
	if v.scope.LogNeeds != nil {
		n.log = v.scope.LogNeeds(newest)
	}
	return n
}

// expectNeeds returns one for the newest point that there still is: most often there never was
// a newer one.
func (v *verifier) expectNeeds() *needs {
	var newest manifest.PointRef
	for _, p := range v.head.Points {
		newest = manifest.PointRef{Sequence: p.Sequence, Time: max(newest.Time, p.Time)}
	}
	return v.newNeeds(newest)
}

// keeps says whether a point is kept for a topic.
func (n *needs) keeps(topic string, point uint64) bool {
	switch {
	case n.scope.Keeping == nil:
		return true
	case n.keep == nil:
		n.keep = n.scope.Keeping(n.head.Points) // it keeps what it does not know, too
	}
	return n.keep(topic, point)
}

func (v *verifier) readNeeds(ctx context.Context, n *needs) error {
	_, err := v.Read(ctx, max(n.newest.Sequence, 1), func(state *manifest.State, e *manifest.Entry) error { n.entry(state, e); return nil })
	return err
}

// entry is told each entry of the log, when what it may need of the offsets is known.
func (n *needs) entry(state *manifest.State, e *manifest.Entry) {
	if e.Sequence > n.newest.Sequence {
		return
	}
	if n.log != nil {
		n.log.Entry(state, e)
	}
	if e.Point == nil {
		return
	}
	i, there := slices.BinarySearchFunc(n.head.Points, e.Sequence, func(p manifest.PointRef, id uint64) int { return cmp.Compare(p.Sequence, id) })
	var point manifest.PointRef
	switch {
	case there:
		point = n.head.Points[i]
	case n.head.IsArchive() || e.Sequence != n.newest.Sequence:
		return
	}
	if e.Sequence == n.newest.Sequence {
		n.ends = endsOf(state, e, n.log)
	}
	if len(n.of) == 0 {
		return
	}
	n.eachOfPoint(state, e, n.keeps, n.of, func(stream int, from, to int64) {
		if n.meet != nil {
			n.meet(point)
			return
		}
		if list := n.needed[stream]; len(list) == 0 || list[len(list)-1] != [2]int64{from, to} { // point after point needs the same
			n.needed[stream] = append(list, [2]int64{from, to})
		}
	})
}

// rest adds what is needed whatever points there are.
func (n *needs) rest() {
	if n.head.IsArchive() { // nothing comes after its points
		return
	}
	for stream := range n.of {
		from := int64(0)
		if stream < len(n.ends) {
			from = n.ends[stream]
		}
		n.needed[stream] = append(n.needed[stream], n.of.within(stream, from, math.MaxInt64)...)
		if len(n.needed[stream]) == 0 {
			delete(n.needed, stream)
		}
	}
}

// eachOfPoint calls fn for what a point needs of some offsets.
func (v *verifier) eachOfPoint(state *manifest.State, e *manifest.Entry, keep Keeping, of taken, fn func(stream int, from, to int64)) {
	snap := snapshotAt(state, e)
	for _, t := range state.Topics {
		if t.Gone || isLog(t) || !keep(t.Name, e.Sequence) {
			continue
		}
		for q := range t.Partitions {
			n, ok := state.Current(manifest.StreamKey{TopicID: t.ID, Partition: q})
			if !ok || !of.reaches(state, n) {
				continue
			}
			for _, b := range snap.track(n).branches {
				for _, r := range of.within(b.stream, b.lo, b.hi) {
					fn(b.stream, r[0], r[1])
				}
			}
		}
	}
}

// endsOf returns where the streams end at an entry with a point, and of the log of groups
// where that begins which is kept.
func endsOf(state *manifest.State, e *manifest.Entry, log LogNeeds) []int64 {
	ends := make([]int64, len(state.Streams))
	for n := range state.Streams {
		ends[n] = state.Streams[n].Next
	}
	for n, cut := range cutsOf(state, e) {
		ends[n] = cut
	}
	for n := range state.Streams {
		if log != nil && isLog(state.Topics[state.Streams[n].Topic]) {
			ends[n] = min(ends[n], log.From(n))
		}
	}
	return ends
}

// reaches says whether some of it may be in the track that ends with a stream: most
// of what was removed lies before all logs that a point has.
func (k taken) reaches(state *manifest.State, n int) bool {
	for start := state.Streams[n].LogStart; n >= 0; n = state.Streams[n].Parent {
		if list := k[n]; len(list) > 0 && list[len(list)-1][1] > start {
			return true
		}
	}
	return false
}

// removalsOf finds out which entries have removed what held the offsets.
func (v *verifier) removalsOf(ctx context.Context, needed taken) (list []*removal, err error) {
	held := make(map[manifest.SegmentName][]LostRange)
	hold := func(name manifest.SegmentName, stream int, from, to int64) {
		for _, r := range needed.within(stream, from, to) {
			held[name] = append(held[name], LostRange{v.head.Topics[v.head.Streams[stream].Topic].Name, v.head.Key(stream), r[0], r[1], []int{stream}})
		}
	}
	v.layout.Pieces(func(p *manifest.Piece) {
		if v.isTaken(p) {
			hold(p.In.Name, p.Stream, p.Start, p.Next())
		}
	})
	_, err = v.Read(ctx, v.head.Sequence, func(state *manifest.State, e *manifest.Entry) error {
		eachSpan(state, e, func(stream int, from int64, sp manifest.Span) {
			counter := e.Segments[sp.Segment].Counter
			if !v.head.Readable(e.Writer, counter) && !v.layout.Holds(stream, from, from+sp.Offsets) {
				hold(manifest.SegmentName{Writer: e.Writer, Counter: counter}, stream, from, from+sp.Offsets)
			}
		})
		if e.Removed == nil {
			return nil
		}
		r := &removal{entry: e.Sequence, time: e.Time, lost: make(taken), names: make(map[int]LostRange)}
		for name, parts := range held {
			if e.Removed.Segments.Has(name.Writer, name.Counter) {
				r.add(parts, v.listed.Has(name.Writer, name.Counter))
				delete(held, name)
			}
		}
		if r.segments > 0 {
			r.lost.sort()
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// eachSpan calls fn for the data spans of an entry, which the state includes.
func eachSpan(state *manifest.State, e *manifest.Entry, fn func(stream int, from int64, sp manifest.Span)) {
	for i := range e.Ranges {
		r := &e.Ranges[i]
		at := state.Start(r)
		for _, sp := range r.Spans {
			if !sp.Gap {
				fn(r.Stream, at, sp)
			}
			at += sp.Offsets
		}
	}
}

// add adds what a segment held, and whether its object is there.
func (r *removal) add(parts []LostRange, there bool) {
	if r.segments++; there {
		r.there++
	}
	for _, p := range parts {
		n := p.inStreams[0]
		r.lost[n] = append(r.lost[n], [2]int64{p.From, p.To})
		r.names[n] = p
	}
}

// meet notes that a point needs some of it that there still is.
func (r *removal) meet(p manifest.PointRef) {
	if p.Sequence == 0 || r.points > 0 && r.last.Sequence == p.Sequence {
		return
	}
	if r.points++; r.points == 1 {
		r.first = p
	}
	r.last = p
}

// note says what the removal costs, and how what it has taken can still be read.
func (r *removal) note(newest uint64) DamageNote {
	d := DamageNote{Key: manifest.LogKey(r.entry), entry: r.entry}
	for n, list := range r.lost {
		for _, part := range list {
			l := r.names[n]
			l.From, l.To = part[0], part[1]
			d.Lost = append(d.Lost, l)
		}
	}
	slices.SortFunc(d.Lost, func(a, b LostRange) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Key.Partition, b.Key.Partition), cmp.Compare(a.inStreams[0], b.inStreams[0]), cmp.Compare(a.From, b.From))
	})
	d.Reason = fmt.Sprintf("it removes, at %s, %s that %s: %s", Clock(r.time), english.Plural(int(r.segments), "segment", ""), r.who(newest), r.remedy())
	return d
}

// who says who needs what is removed, by the newest point that there ever was, 0 for none.
func (r *removal) who(newest uint64) string {
	switch {
	case r.points > 1:
		return fmt.Sprintf("%d recovery points that are kept need, from %d to %d", r.points, r.first.Sequence, r.last.Sequence)
	case r.points == 1:
		return fmt.Sprintf("recovery point %d, which is kept, needs", r.first.Sequence)
	case r.isOfGroups():
		return "group offsets as of a time between points are told from"
	case newest == 0:
		return "no retention removes before there is a recovery point"
	}
	return fmt.Sprintf("no retention removes: recovery point %d, the newest that the log ever had, needs it, or the next one would have", newest)
}

// isOfGroups says whether all of it is of the log of groups.
func (r *removal) isOfGroups() bool {
	for _, l := range r.names {
		if l.Topic != kafka.GroupLogTopic {
			return false
		}
	}
	return true
}

func (r *removal) remedy() string {
	switch r.there {
	case 0:
		return "the objects are deleted by now"
	case r.segments:
		return fmt.Sprintf("all of the objects are still there, and --log-until %d reads them", r.entry-1)
	}
	return fmt.Sprintf("%d of the objects are still there, and --log-until %d reads them", r.there, r.entry-1)
}
