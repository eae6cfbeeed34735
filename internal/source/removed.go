package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// removedPart is what a track lacks because the backup has it no longer.
type removedPart struct {
	track    *track
	from, to int64
	key      string // of the segment that had it
	why      error  // errRemoved or errLost
}

// errRemoved: something that is to be read is no longer in the backup.
var errRemoved = errors.New("removed from the backup by its retention")

// loadHead makes known what the whole log says, also behind the point, or as much of
// it as is not damaged: what comes before may still be restored.
func (s *Snapshot) loadHead(ctx context.Context) (err error) {
	if s.head != nil {
		return nil
	}
	s.head, err = s.Repository.State(ctx, 0)
	var d *manifest.Damage
	if errors.As(err, &d) {
		if sound, ok := d.Sound(); ok && sound > 0 {
			s.head, err = s.Repository.State(ctx, sound)
		}
	}
	return err
}

// isRemoved says whether nobody may read a segment any more, which the log names up to
// the head that is known.
func (s *Snapshot) isRemoved(key string) bool {
	writer, counter, ok := manifest.ParseSegmentKey(key)
	return ok && !s.head.Readable(writer, counter)
}

// lack notes that the stretches are of a segment that is removed, or lost. Without a past to
// note it in, it is an error, unless the plan has accepted it.
func (s *Snapshot) lack(why error, key string, stretches []stretch, past *past) error {
	for i := range stretches {
		w := &stretches[i]
		switch {
		case past != nil:
			past.removed = append(past.removed, removedPart{w.track, max(w.start, w.lo), min(w.next, w.hi), key, why})
		case !s.lacking:
			return fmt.Errorf("%w: offsets [%d,%d) of partition %d", why, w.start, w.next, w.track.partition)
		}
	}
	return nil
}

// onMissing looks whether an object that is not there has been removed since it was
// last asked what is.
func (s *Snapshot) onMissing(ctx context.Context, err error) error {
	var d *manifest.Damage
	if !errors.As(err, &d) || !strings.HasPrefix(d.Key, manifest.SegmentPrefix) {
		return err
	}
	if n := s.Repository.ReadsUntil(); n > 0 {
		return gone(ctx, s.Repository, d)
	}
	now := &Snapshot{Repository: s.Repository}
	if now.loadHead(ctx) != nil || !now.isRemoved(d.Key) {
		return err
	}
	return fmt.Errorf("%w: %s was removed by the backup's retention or a merge and deleted meanwhile: retention.grace was shorter than this took; begin again", ErrRefused, d.Key)
}

// removedReason says of what was removed when that was.
type removedReason string

func (r removedReason) String() string { return string(r) }

// addRemoved notes what the walk has not found any more, and which points are whole.
func (p *Plan) addRemoved(ctx context.Context) error {
	p.last().lacking = p.Request.AcceptGap
	if len(p.past.removed) == 0 {
		return nil
	}
	repo, head := p.Snapshot.Repository, p.last().head
	removals := make(map[string]removedReason) // by segment
	_, err := repo.Read(ctx, head.Sequence, func(_ *manifest.State, e *manifest.Entry) error {
		for _, part := range p.past.removed {
			writer, counter, _ := manifest.ParseSegmentKey(part.key)
			if e.Removed != nil && e.Removed.Segments.Has(writer, counter) {
				removals[part.key] = removedReason(fmt.Sprintf("%v (log entry %d of %s)", errRemoved, e.Sequence, Clock(e.Time)))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	rest, err := readRemnants(ctx, repo, head)
	if err != nil {
		return err
	}
	told, lost := make(map[int]bool), false
	for _, part := range p.past.removed {
		t := p.Topics[part.track.topic]
		reason := removals[part.key]
		if errors.Is(part.why, errLost) {
			lost = true
			reason = cmp.Or(lossReason(head, part.track, part.from), reason, removedReason(errLost.Error()))
		}
		p.Gaps = append(p.Gaps, GapNote{t.Source.Name, part.track.partition, part.from, part.to, reason.String()})
		p.lose(t, part.track.partition, part.from, part.to, reason)
		if n := t.Source.Number; !told[n] {
			told[n] = true
			p.note("%s", rest.wholePoints(n, t.Source.Label(), pointsOf(&head.Lives[n], head.Points)))
		}
	}
	if lost {
		p.note("a copy of the repository that still has what is damaged gives it back: backupd repair --from COPY")
	}
	return nil
}

// remnants say which topics have been partly removed at which points.
type remnants map[int][]uint64 // ids of points by topic number, ascending

// whole returns those of the points that have the topic without a loss.
func (r remnants) whole(topic int, points []manifest.PointRef) []manifest.PointRef {
	return slices.DeleteFunc(slices.Clone(points), func(p manifest.PointRef) bool {
		_, partly := slices.BinarySearch(r[topic], p.Sequence)
		return partly
	})
}

// wholePoints says in words which points have a topic without a loss.
func (r remnants) wholePoints(topic int, name string, points []manifest.PointRef) string {
	whole := r.whole(topic, points)
	if len(whole) == 0 {
		return fmt.Sprintf("no point has all of %s any more", name)
	}
	first, last := whole[0], whole[len(whole)-1]
	if len(whole) == 1 {
		return fmt.Sprintf("point %d of %s has all of %s", first.Sequence, Clock(first.Time), name)
	}
	return fmt.Sprintf("%d points have all of %s, from point %d of %s to point %d of %s", len(whole), name, first.Sequence, Clock(first.Time), last.Sequence, Clock(last.Time))
}

// readRemnants finds out what removals and losses have taken from the points that there are.
func readRemnants(ctx context.Context, repo *manifest.Repository, head *manifest.State) (remnants, error) {
	if head.LastRemoval == 0 && len(head.Lost) == 0 || len(head.Points) == 0 {
		return nil, nil
	}
	lost, err := readLost(ctx, repo, head)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	r := make(remnants)
	_, err = repo.Read(ctx, head.Points[len(head.Points)-1].Sequence, func(state *manifest.State, e *manifest.Entry) error {
		if e.Point == nil || !slices.ContainsFunc(head.Points, func(p manifest.PointRef) bool { return p.Sequence == e.Sequence }) {
			return nil
		}
		snap := snapshotAt(state, e)
		for n, t := range state.Topics {
			if !t.Gone && !isLog(t) && snap.lacks(n, lost) {
				r[n] = append(r[n], e.Sequence)
			}
		}
		return nil
	})
	return r, err
}

// readLost returns, by stream, the offsets [from, to) whose data was in segments that
// are removed, or is lost, and is nowhere else.
func readLost(ctx context.Context, repo *manifest.Repository, head *manifest.State) (map[int][][2]int64, error) {
	layout, err := repo.LayoutAt(ctx, head, func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	lost := make(map[int][][2]int64)
	layout.Pieces(func(p *manifest.Piece) {
		if p.Lost || !head.Readable(p.In.Name.Writer, p.In.Name.Counter) {
			lost[p.Stream] = append(lost[p.Stream], [2]int64{p.Start, p.Next()})
		}
	})
	_, err = repo.Read(ctx, head.Sequence, func(state *manifest.State, e *manifest.Entry) error {
		for i := range e.Ranges {
			r := &e.Ranges[i]
			at := state.Start(r)
			for _, sp := range r.Spans {
				next := at + sp.Offsets
				if !sp.Gap && !head.Readable(e.Writer, e.Segments[sp.Segment].Counter) && !layout.Holds(r.Stream, at, next) {
					lost[r.Stream] = append(lost[r.Stream], [2]int64{at, next})
				}
				at = next
			}
		}
		return nil
	})
	return lost, err
}

// snapshotAt is what an entry with a point holds.
func snapshotAt(state *manifest.State, e *manifest.Entry) *Snapshot {
	s := &Snapshot{State: state, cut: make(map[int]int64)}
	for _, x := range e.Point.Exceptions {
		s.cut[x.Stream] = state.Streams[x.Stream].Next - x.Behind
	}
	return s
}

// lacks says whether some of a topic is lost.
func (s *Snapshot) lacks(topic int, lost map[int][][2]int64) bool {
	for q := range s.State.Topics[topic].Partitions {
		n, ok := s.State.Current(manifest.StreamKey{TopicID: s.State.Topics[topic].ID, Partition: q})
		if !ok {
			continue
		}
		for _, b := range s.track(n).branches {
			if slices.ContainsFunc(lost[b.stream], func(l [2]int64) bool { return max(l[0], b.lo) < min(l[1], b.hi) }) {
				return true
			}
		}
	}
	return false
}

// MarkRemoved marks the topics of a point's content of which the retention has
// removed something, or something is lost, and lists that.
func (c *Content) MarkRemoved(ctx context.Context, s *Snapshot) error {
	if err := s.loadHead(ctx); err != nil {
		return err
	}
	rest, err := readRemnants(ctx, s.Repository, s.head)
	if err != nil {
		return err
	}
	for i := range c.Topics {
		id, _ := kafka.ParseTopicID(c.Topics[i].TopicID)
		if n, ok := s.head.TopicNumber(id); ok {
			_, c.Topics[i].PartlyRemoved = slices.BinarySearch(rest[n], c.Point)
		}
	}
	losses, err := Losses(ctx, s.Repository, s.head)
	for i := range losses {
		l := &losses[i]
		n, there := s.State.TopicNumber(l.Key.TopicID)
		if there && s.lacks(n, map[int][][2]int64{l.inStreams[0]: {{l.From, l.To}}}) {
			c.Losses = append(c.Losses, l.Content())
		}
	}
	return err
}
