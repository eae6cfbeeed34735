package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// output is a segment that is being written.
type output struct {
	name   manifest.SegmentName
	writer *segment.Writer
	pipe   *io.PipeWriter
	put    chan error // how the Put ended
	steps  []*step
}

func (m *Merger) startOutput(ctx context.Context) (*output, error) {
	m.count++
	r, w := io.Pipe()
	o := &output{name: manifest.SegmentName{Writer: m.chain.Writer(), Counter: m.count}, pipe: w, put: make(chan error, 1)}
	go func() {
		_, err := m.repo.Store().Put(ctx, o.name.Key(), r, store.PutOptions{})
		if err != nil {
			err = fmt.Errorf("put segment %s: %w", o.name.Key(), err)
		}
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // whoever still writes learns of it
		o.put <- err
	}()
	seal, err := m.repo.NewSeal(o.name.Writer, o.name.Counter)
	if err != nil {
		return nil, o.abort(err)
	}
	if o.writer, err = segment.NewSealedWriter(w, seal); err != nil {
		return nil, o.abort(err)
	}
	return o, nil
}

// abort makes the Put fail, so that nothing becomes visible, and returns why.
func (o *output) abort(why error) error {
	o.pipe.CloseWithError(why)
	if err := <-o.put; err == nil {
		return fmt.Errorf("merge: internal error: %s is there, although writing it has failed: %w", o.name.Key(), why)
	}
	return why
}

// finish makes the segment durable.
func (o *output) finish() (segment.Ref, error) {
	ref, _, err := o.writer.Finish()
	o.pipe.CloseWithError(err) // with nil, the end of the object
	return ref, errors.Join(<-o.put, err)
}

// merge writes a group anew, one segment after the other.
func (m *Merger) merge(ctx context.Context, g *group, r *Result) error {
	defer g.close()
	j, err := newJoiner()
	if err != nil {
		return err
	}
	if m.config.Recompress {
		if j.recoder, err = newRecoder(m.log, r); err != nil {
			return err
		}
	}
	var o *output
	for i := range g.steps {
		if o == nil {
			if o, err = m.startOutput(ctx); err != nil {
				return err
			}
		}
		ended, err := m.writeStep(ctx, g, o, j, i)
		if err != nil {
			return o.abort(err)
		}
		if !ended {
			continue
		}
		if err := m.commit(ctx, g, o, r); err != nil {
			return err
		}
		o = nil
	}
	return nil
}

// writeStep copies a step, and says whether the segment ends behind it.
func (m *Merger) writeStep(ctx context.Context, g *group, o *output, j *joiner, i int) (ended bool, err error) {
	s := &g.steps[i]
	if err := m.write(ctx, o, j, s); err != nil {
		return false, err
	}
	ended = i+1 == len(g.steps) || o.writer.Size() >= m.config.TargetBytes || s.branches(&g.steps[i+1])
	if ended || s.stream != g.steps[i+1].stream {
		return ended, j.flush()
	}
	return false, nil
}

// branches says whether the next step is of another branch of the partition: a
// segment holds one branch of a partition.
func (s *step) branches(next *step) bool {
	return s.stream != next.stream && s.of.TopicID == next.of.TopicID && s.of.Partition == next.of.Partition
}

// write copies a step.
func (m *Merger) write(ctx context.Context, o *output, j *joiner, s *step) error {
	o.steps = append(o.steps, s)
	j.write = func(k segment.Block, stored []byte) error {
		if err := m.pace.wait(ctx, int64(len(stored))); err != nil {
			return err
		}
		return o.writer.WriteBlock(s.of, k, stored)
	}
	for i := range s.blocks {
		stored, err := s.in.next(ctx)
		if err != nil {
			return err
		}
		if err := m.pace.wait(ctx, int64(len(stored))); err != nil {
			return err
		}
		if err := j.add(s.blocks[i], stored); err != nil {
			return err
		}
	}
	s.in.steps--
	return nil
}

// commit makes a segment part of the repository, unless what it holds is
// not where it was any more. What was put then is deleted: its name is in no entry, and will not be.
func (m *Merger) commit(ctx context.Context, g *group, o *output, r *Result) error {
	ref, err := o.finish()
	if err != nil {
		return err
	}
	emptied := slices.DeleteFunc(slices.Clone(g.inputs), func(in *input) bool { return in.steps > 0 })
	e, err := m.chain.Append(ctx, func(state *manifest.State) (*manifest.Entry, error) {
		return m.entry(state, o, ref, emptied)
	})
	if errors.Is(err, errStale) {
		_ = m.repo.Store().Delete(ctx, o.name.Key()) // without the right to, it stays as an orphan
	}
	if err != nil {
		return err
	}
	m.agent = nil
	g.inputs = slices.DeleteFunc(g.inputs, func(in *input) bool { return in.steps == 0 })
	r.Written++
	r.Read += len(emptied)
	r.Bytes += ref.Size
	m.log.Debug("merged", "entry", e.Sequence, "segment", o.name.Key(), "moves", len(e.Moves.List), "replaced", len(emptied), "bytes", ref.Size)
	return m.inv.add(m.chain.State(), e)
}

// entry states where the data is from now on.
func (m *Merger) entry(state *manifest.State, o *output, ref segment.Ref, emptied []*input) (*manifest.Entry, error) {
	moves := &manifest.Moves{After: state.Moved}
	for _, in := range emptied {
		if !state.Readable(in.name.Writer, in.name.Counter) {
			return nil, fmt.Errorf("%w: %s was removed", errStale, manifest.SegmentKey(in.name.Writer, in.name.Counter))
		}
	}
	for _, s := range o.steps {
		// Of what was removed and is deleted by now, the inventory knows nothing any more.
		if !state.Readable(s.in.name.Writer, s.in.name.Counter) || !m.inv.holds(s) {
			return nil, fmt.Errorf("%w: offsets [%d,%d) of %s-%d", errStale, s.start(), s.next(), s.of.Topic, s.of.Partition)
		}
		if n := len(moves.List); n == 0 || moves.List[n-1].Stream != s.stream || moves.List[n-1].Next() != s.start() {
			moves.List = append(moves.List, manifest.Move{Stream: s.stream, Start: s.start()})
		}
		last := &moves.List[len(moves.List)-1]
		for i := range s.blocks {
			last.Span.Join(s.blocks[i].Summary)
		}
	}
	slices.SortStableFunc(moves.List, func(a, b manifest.Move) int { return a.Stream - b.Stream })
	return &manifest.Entry{
		Time: m.now().UnixMilli(), Agent: m.agent, Moves: moves, Removed: lot(emptied),
		Segments: []manifest.Segment{{Counter: o.name.Counter, Ref: ref}},
	}, nil
}

// lot are the segments of which nothing is left.
func lot(emptied []*input) *manifest.SegmentLot {
	if len(emptied) == 0 {
		return nil
	}
	l := &manifest.SegmentLot{Segments: make(manifest.SegmentSet)}
	for _, in := range emptied {
		l.Segments.Add(in.name.Writer, in.name.Counter)
		l.Bytes += in.ref.Size
	}
	return l
}

// holds says whether what is moved is still where it was read from.
func (v *inventory) holds(s *step) bool {
	if v.gone(s.in.name) {
		return false
	}
	if s.piece != nil {
		return v.layout.Live(s.piece)
	}
	return !v.layout.Holds(s.stream, s.start(), s.next())
}
