package source

import (
	"context"
	"fmt"
	"slices"
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
		g := GroupPlan{Offsets: []OffsetPlan{{Topic: i, Partition: x.Partition}}}
		g.Offsets[0].Offset = x.Offset
		p.Groups = append(p.Groups, g)
	}
	nowhere := func([]byte, int32, *buffer) error { return nil }
	converters := p.newConverters(func(*track) emit { return nowhere })
	if err := p.replay(ctx, converters); err != nil {
		return nil, err
	}
	return p.translations(converters), nil
}
