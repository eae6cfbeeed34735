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
	keep := func(string, uint64) bool { return true }
	if v.scope.Keeping != nil {
		keep = v.scope.Keeping(v.head.Points) // it keeps what it does not know, too
	}
	needed := make(taken)
	err := v.eachNeed(ctx, keep, v.taken, func(_ manifest.PointRef, stream int, from, to int64) {
		if list := needed[stream]; len(list) == 0 || list[len(list)-1] != [2]int64{from, to} { // point after point needs the same
			needed[stream] = append(list, [2]int64{from, to})
		}
	})
	if err != nil || len(needed) == 0 {
		return err
	}
	needed.sort()
	list, err := v.removalsOf(ctx, needed)
	if err != nil {
		return err
	}
	for _, r := range list {
		if err := v.eachNeed(ctx, keep, r.lost, func(p manifest.PointRef, _ int, _, _ int64) { r.meet(p) }); err != nil {
			return err
		}
		v.report.Damages = append(v.report.Damages, r.note(v.newest))
	}
	return nil
}

// eachNeed calls fn for all that points need of some offsets, in the order of the points,
// and then, without a point, for what is needed whatever points there still are.
func (v *verifier) eachNeed(ctx context.Context, keep Keeping, of taken, fn func(p manifest.PointRef, stream int, from, to int64)) error {
	var ends []int64 // by stream: from there on all is needed
	var log LogNeeds
	if v.scope.LogNeeds != nil {
		log = v.scope.LogNeeds(manifest.PointRef{Sequence: v.newest, Time: v.latest})
	}
	archive := v.head.IsArchive()
	_, err := v.Read(ctx, max(v.newest, 1), func(state *manifest.State, e *manifest.Entry) error {
		if log != nil {
			log.Entry(state, e)
		}
		i, there := slices.BinarySearchFunc(v.head.Points, e.Sequence, func(p manifest.PointRef, id uint64) int { return cmp.Compare(p.Sequence, id) })
		var point manifest.PointRef
		switch {
		case e.Point == nil || !there && (archive || e.Sequence != v.newest):
			return nil
		case there:
			point = v.head.Points[i]
		}
		if e.Sequence == v.newest {
			ends = endsOf(state, e, log)
		}
		v.eachOfPoint(state, e, keep, of, func(stream int, from, to int64) { fn(point, stream, from, to) })
		return nil
	})
	if archive { // nothing comes after its points
		return err
	}
	for stream := range of {
		from := int64(0)
		if stream < len(ends) {
			from = ends[stream]
		}
		for _, r := range of.within(stream, from, math.MaxInt64) {
			fn(manifest.PointRef{}, stream, r[0], r[1])
		}
	}
	return err
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
