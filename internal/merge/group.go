package merge

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// group is what is merged at once.
type group struct {
	inputs []*input
	steps  []step // in the order in which they are written
}

// step is a part of a stream that lies in one piece in an input.
type step struct {
	of     segment.Stream
	stream int
	in     *input
	blocks []segment.Block
	piece  *manifest.Piece // where it was moved to before, or nil
}

func (s *step) start() int64 { return s.blocks[0].Start }
func (s *step) next() int64  { return s.blocks[len(s.blocks)-1].Next }

// groupCaptured prepares to sort captured segments.
func (m *Merger) groupCaptured(ctx context.Context, list []captured) (*group, error) {
	g := &group{}
	var apart []manifest.SegmentName
	for _, c := range list {
		in := newInput(m.repo.Store(), c.name, c.ref)
		in.atOnce = c.ref.Size <= m.config.SortBytes
		footer, err := m.repo.ReadFooter(ctx, in.key, c.ref)
		if err != nil {
			return nil, err
		}
		steps, ok, err := m.inv.steps(footer, in, c.entry)
		if err != nil {
			return nil, err
		}
		alone := len(footer.Streams) == 1 && c.ref.Size >= m.enough() && !m.config.Recompress
		if !ok || alone {
			apart = append(apart, c.name)
			continue
		}
		g.inputs, g.steps = append(g.inputs, in), append(g.steps, steps...)
	}
	if len(g.steps) == 0 {
		for _, in := range g.inputs {
			apart = append(apart, in.name)
		}
	}
	m.inv.setApart(apart)
	if len(g.steps) == 0 {
		return nil, fmt.Errorf("%w: nothing is left of %d segments", errStale, len(list))
	}
	g.order(m.chain.State())
	return g, nil
}

// steps returns what of a captured segment was not moved. It is not ok where
// something was moved of what lies together: there is no telling apart.
func (v *inventory) steps(footer *segment.Footer, in *input, entry uint64) (list []step, ok bool, err error) {
	for i := range footer.Streams {
		s := &footer.Streams[i]
		n, known := v.stream(manifest.StreamKey{TopicID: s.TopicID, Partition: s.Partition}, entry)
		if !known {
			return nil, false, &manifest.Damage{Key: in.key, Err: fmt.Errorf("%w: the log does not know %s-%d, which it holds", segment.ErrCorrupt, s.Topic, s.Partition)}
		}
		for from, to := 0, 1; from < len(s.Blocks); from, to = to, to+1 {
			for to < len(s.Blocks) && s.Blocks[to].Start == s.Blocks[to-1].Next {
				to++
			}
			st := step{of: s.Stream, stream: n, in: in, blocks: s.Blocks[from:to]}
			switch {
			case !v.layout.Holds(n, st.start(), st.next()):
				list = append(list, st)
			case !v.layout.Covers(n, st.start(), st.next()):
				return nil, false, nil
			}
		}
	}
	return list, true, nil
}

// setApart forgets captured segments that are not to be merged.
func (v *inventory) setApart(names []manifest.SegmentName) {
	v.captured = slices.DeleteFunc(v.captured, func(c captured) bool { return slices.Contains(names, c.name) })
}

// setBad forgets a segment that cannot be read.
func (v *inventory) setBad(key string) {
	v.bad[key] = true
	v.captured = slices.DeleteFunc(v.captured, func(c captured) bool { return c.name.Key() == key })
}

// groupSorted prepares to merge sorted segments.
func (m *Merger) groupSorted(ctx context.Context, list []*sorted) (*group, error) {
	g := &group{}
	for _, s := range list {
		in := newInput(m.repo.Store(), s.home.Name, s.home.Ref)
		footer, err := m.repo.ReadFooter(ctx, in.key, s.home.Ref)
		if err != nil {
			return nil, err
		}
		of := make(map[manifest.StreamKey]*segment.StreamBlocks, len(footer.Streams))
		for i := range footer.Streams {
			of[manifest.StreamKey{TopicID: footer.Streams[i].TopicID, Partition: footer.Streams[i].Partition}] = &footer.Streams[i]
		}
		for _, p := range s.pieces {
			blocks := of[m.chain.State().Key(p.Stream)]
			if blocks == nil {
				return nil, &manifest.Damage{Key: in.key, Err: fmt.Errorf("%w: the log says that it holds stream %d, which its footer does not name", segment.ErrCorrupt, p.Stream)}
			}
			held, err := p.Span.Blocks(blocks, p.Start)
			if err != nil {
				return nil, &manifest.Damage{Key: in.key, Err: err}
			}
			g.steps = append(g.steps, step{of: blocks.Stream, stream: p.Stream, in: in, blocks: held, piece: p})
		}
		g.inputs = append(g.inputs, in)
	}
	g.order(m.chain.State())
	return g, nil
}

// order puts the steps into the order in which all sorted segments are: the
// partitions of a topic beside each other. The inputs learn what is asked of them.
func (g *group) order(state *manifest.State) {
	slices.SortFunc(g.steps, func(a, b step) int {
		s, t := &state.Streams[a.stream], &state.Streams[b.stream]
		return cmp.Or(cmp.Compare(s.Topic, t.Topic), cmp.Compare(s.Partition, t.Partition), cmp.Compare(a.stream, b.stream), cmp.Compare(a.start(), b.start()))
	})
	for i := range g.steps {
		s := &g.steps[i]
		for j := range s.blocks {
			s.in.plan = append(s.in.plan, &s.blocks[j])
		}
		s.in.steps++
	}
}

// close gives up what is open.
func (g *group) close() {
	for _, in := range g.inputs {
		in.close()
	}
}
