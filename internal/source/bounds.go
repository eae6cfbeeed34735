package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Bounds narrow down what of a point comes back. They are part of what a restore
// is: one that was interrupted goes on with the same ones only.

// cutAt returns the snapshot with the cut of the vector in the place of the
// point's, in the partitions that it names. All that is wrong with it is in the error.
func (s *Snapshot) cutAt(v Vector, chosen []Incarnation) (*Snapshot, error) {
	if v == nil {
		return s, nil
	}
	moved := *s
	moved.cut, moved.moved = maps.Clone(s.cut), make(map[int]bool)
	var errs []error
	for _, at := range v.places() {
		n, err := s.streamOf(at, v[at], chosen)
		if err == nil && n >= 0 {
			err = moved.move(n, at, v[at])
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("--at-offsets: %w", err)
	}
	return &moved, nil
}

// streamOf returns the stream that a vector's place means, or -1 if its topic
// is there but not selected, or which is empty.
func (s *Snapshot) streamOf(at Place, offset int64, chosen []Incarnation) (int, error) {
	i := slices.IndexFunc(chosen, at.means)
	if i < 0 && slices.ContainsFunc(s.Incarnations(), at.means) {
		return -1, nil
	}
	if i < 0 {
		return -1, fmt.Errorf("%w: the backup holds no topic %s at point %d%s", ErrNothing, at.Topic, s.Point.Sequence, orNear(topicNames(s.Incarnations()), at.Topic))
	}
	n, ok := s.State.Current(manifest.StreamKey{TopicID: chosen[i].ID, Partition: at.Partition})
	switch {
	case ok:
		return n, nil
	case at.Partition < chosen[i].Partitions && offset == 0:
		return -1, nil
	case at.Partition < chosen[i].Partitions:
		return -1, fmt.Errorf("%w: %s: offset %d, but point %d holds nothing of it", ErrRefused, at, offset, s.Point.Sequence)
	}
	return -1, fmt.Errorf("%w: %s: the topic has %s at point %d", ErrNothing, at, english.Plural(int(chosen[i].Partitions), "partition", ""), s.Point.Sequence)
}

// move cuts a stream at an offset. What the point does not hold cannot be inside.
func (s *Snapshot) move(n int, at Place, offset int64) error {
	t := s.track(n)
	if offset < t.lo || offset > t.hi {
		return fmt.Errorf("%w: %s: offset %d, but point %d holds [%d,%d) of it: choose another point with --at", ErrRefused, at, offset, s.Point.Sequence, t.lo, t.hi)
	}
	if offset < t.hi {
		s.cut[n], s.moved[n] = offset, true
	}
	return nil
}

// bounds says, for the state of a restore, what narrows down a topic.
func (p *Plan) bounds(t *TopicPlan) string {
	var list []string
	if n := p.Snapshot.Repository.ReadsUntil(); n > 0 { // what is read may be stored, or be, something else later
		list = append(list, fmt.Sprintf("log=%d", n))
	}
	if t.Until != nil {
		list = append(list, fmt.Sprintf("until=%d", *t.Until))
	}
	var own strings.Builder
	for _, at := range p.Request.Vector.places() {
		if t.From == p.Snapshot && at.means(t.Source) {
			fmt.Fprintf(&own, "%d:%d,", at.Partition, p.Request.Vector[at])
		}
	}
	if own.Len() > 0 {
		list = append(list, fmt.Sprintf("offsets=%x", sha256.Sum256([]byte(own.String()))))
	}
	return strings.Join(list, ";")
}

// inWords says what somebody has to give to have the bounds again.
func inWords(bounds string) string {
	if bounds == "" {
		return "without --until-timestamp, --at-offsets and --log-until"
	}
	var words []string
	for b := range strings.SplitSeq(bounds, ";") {
		kind, value, _ := strings.Cut(b, "=")
		switch kind {
		case "log":
			words = append(words, "with --log-until "+value)
		case "until":
			words = append(words, "with --until-timestamp "+value)
		default:
			words = append(words, "with an --at-offsets FILE (its digest "+value[:min(8, len(value))]+")")
		}
	}
	return strings.Join(words, " and ")
}

// noteBounds says what the bounds mean for what comes back.
func (p *Plan) noteBounds() {
	if n := p.Snapshot.Repository.ReadsUntil(); n > 0 {
		p.note("the repository is read as it was after log entry %d (--log-until): nothing that came later counts", n)
	}
	if p.Request.Until != nil {
		p.note("records with a timestamp after %s are left out", Clock(*p.Request.Until))
	}
	for _, text := range p.OwnEnds() {
		p.note("%s", text)
	}
}

// OwnEnds says what --at-offsets means for what comes back.
func (p *Plan) OwnEnds() (list []string) {
	if p.Request.Vector == nil {
		return nil
	}
	named, moved := 0, 0
	for _, t := range p.tracks {
		topic := p.Topics[t.topic].Source
		_, byName := p.Request.Vector[Place{topic.Name, t.partition}]
		_, byLabel := p.Request.Vector[Place{topic.Label(), t.partition}]
		if p.Topics[t.topic].From == p.Snapshot && (byName && !topic.Gone || byLabel) {
			named++
		}
		if t.moved {
			moved++
		}
	}
	list = append(list, fmt.Sprintf("%s at offsets of one's own, %d of them before the point: transactions that wrote to several partitions may come back in part",
		english.Plural(named, "partition ends", "partitions end"), moved))
	if rest := len(p.tracks) - named; rest > 0 {
		list = append(list, english.Plural(rest, "partition is", "partitions are")+" not named in --at-offsets and "+english.PluralWord(rest, "ends", "end")+" at the point")
	}
	return append(list, p.clamped()...)
}

// clamped says which groups are set back to the offsets of one's own.
func (p *Plan) clamped() (list []string) {
	ends := make(map[place]int64)
	for _, t := range p.tracks {
		if t.moved {
			ends[place{t.topic, t.partition}] = t.hi
		}
	}
	for _, g := range p.Groups {
		n := 0
		for _, o := range g.Offsets {
			if end, ok := ends[place{o.Topic, o.Partition}]; ok && o.Offset > end {
				n++
			}
		}
		if n > 0 {
			list = append(list, fmt.Sprintf("group %s: %s beyond those of --at-offsets, and set to them", g.Group, english.Plural(n, "offset is", "offsets are")))
		}
	}
	return list
}
