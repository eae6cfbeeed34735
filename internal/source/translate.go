package source

import (
	"context"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize/english"
)

// Extra asks for the translation of an offset that no group has committed, for
// checkpoints that applications keep themselves.
type Extra struct {
	Topic     string // at the source
	Partition int32
	Offset    int64
}

// Offsets translates the plan's group offsets, and the extra ones, without
// producing anything: it reads the repository only.
func (p *Plan) Offsets(ctx context.Context, extra []Extra) ([]Translation, error) {
	for _, x := range extra {
		i := slices.IndexFunc(p.Topics, func(t *TopicPlan) bool { return t.Source.Name == x.Topic || t.Source.Label() == x.Topic })
		if i < 0 {
			return nil, fmt.Errorf("%w: topic %s is not selected or not in the backup", ErrNothing, x.Topic)
		}
		if t := p.Topics[i]; x.Partition >= t.Partitions {
			return nil, fmt.Errorf("%w: topic %s has %s, and no partition %d", ErrNothing, x.Topic, english.Plural(int(t.Partitions), "partition", ""), x.Partition)
		}
		g := GroupPlan{Offsets: []OffsetPlan{{Topic: i, Partition: x.Partition}}}
		g.Offsets[0].Offset = x.Offset
		p.Groups = append(p.Groups, g)
	}
	nowhere := func([]byte, int32, *buffer) error { return nil }
	converters := p.newConverters(func(*track) emit { return nowhere })
	if err := p.replay(ctx, converters); err != nil {
		return nil, err
	}
	list := p.translations(converters)
	for i := range list {
		if tr := &list[i]; tr.Note == "" && tr.Source < tr.low {
			tr.Note = fmt.Sprintf("before the first offset that comes back, %d; set to that", tr.low)
		}
	}
	return list, nil
}
