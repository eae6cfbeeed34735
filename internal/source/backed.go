package source

import (
	"context"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/batch"
)

// backed is a recovery point as one of two sides: what a restore of the plan
// would bring back.
type backed struct {
	plan       *Plan
	tracks     []*track // by place; nil where the backup holds nothing of a partition
	converters map[*track]*converter
	places     map[place]int
	notes      []string
}

func newBacked(p *Plan, places []place) *backed {
	b := &backed{plan: p, tracks: make([]*track, len(places)), places: make(map[place]int, len(places))}
	for i, at := range places {
		b.places[at] = i
	}
	for _, t := range p.tracks {
		if i, ok := b.places[place{t.topic, t.partition}]; ok {
			b.tracks[i] = t
		}
	}
	return b
}

func (b *backed) sections() []section {
	list := make([]section, len(b.tracks))
	for i, t := range b.tracks {
		list[i].place = i
		if t != nil {
			list[i].from, list[i].to = t.lo, t.hi
		}
	}
	return list
}

// digest reads everything, and maps the offsets that groups have committed.
func (b *backed) digest(ctx context.Context, digests []*digest, progress func(int64)) error {
	p := *b.plan
	p.tracks, p.byStream = nil, make(map[int]*track)
	for _, t := range b.tracks {
		if t != nil {
			p.include(t)
		}
	}
	var err error
	b.converters, err = p.lookAt(ctx, func(t *track) func(*batch.Record) error { return digests[b.places[place{t.topic, t.partition}]].add }, progress)
	return err
}

// read implements side.
func (b *backed) read(ctx context.Context, sections []section, each func(int) func(*batch.Record) error, progress func(int64)) error {
	p := *b.plan
	p.tracks, p.byStream, p.txns, p.Groups = nil, make(map[int]*track), make(map[*track]*txnIndex), nil
	index := make(map[*track]int)
	for i, s := range sections {
		if t := b.tracks[s.place]; t != nil && s.from < s.to {
			c := t.clip(s.from, s.to)
			p.txns[c] = b.plan.txns[t]
			p.include(c)
			index[c] = i
		}
	}
	_, err := p.lookAt(ctx, func(t *track) func(*batch.Record) error { return each(index[t]) }, progress)
	return err
}

// include adds a track to what a plan reads.
func (p *Plan) include(t *track) {
	p.tracks = append(p.tracks, t)
	for _, b := range t.branches {
		p.byStream[b.stream] = t
	}
}

// clip returns the track of a part of its offsets.
func (t *track) clip(lo, hi int64) *track {
	c := *t
	c.lo, c.hi, c.branches = lo, hi, nil
	for _, b := range t.branches {
		if b.lo, b.hi = max(b.lo, lo), min(b.hi, hi); b.lo < b.hi {
			c.branches = append(c.branches, b)
		}
	}
	return &c
}

// progressEvery is after how many records progress is told.
const progressEvery = 1024

// lookAt hands on the records that come back, of each track in order, with their
// offsets at the source. It reads the repository only.
func (p *Plan) lookAt(ctx context.Context, each func(*track) func(*batch.Record) error, progress func(int64)) (map[*track]*converter, error) {
	converters := p.newConverters(func(*track) emit { return nil })
	for t, c := range converters {
		fn, told, n := each(t), t.lo, 0
		c.only = func(r *batch.Record) error {
			if n++; n%progressEvery == 0 {
				progress(r.Offset - told)
				told = r.Offset
			}
			return fn(r)
		}
	}
	if err := p.replay(ctx, converters); err != nil {
		return nil, p.onDamage(err)
	}
	return converters, nil
}

// positions implements side. The translation is that of a restore.
func (b *backed) positions([]*digest) map[commitPlace]position {
	all := make(map[commitPlace]position)
	for _, tr := range b.plan.translations(b.converters) {
		if tr.Note != "" && !tr.Clamped {
			b.notes = append(b.notes, fmt.Sprintf("group %s: %s-%d offset %d: %s", tr.Group, tr.Topic, tr.Partition, tr.Source, tr.Note))
		}
		if i, ok := b.places[tr.at]; ok {
			all[commitPlace{tr.Group, i}] = position{tr.Source, tr.Offset, tr.metadata}
		}
	}
	return all
}
