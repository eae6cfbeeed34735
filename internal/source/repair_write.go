package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// write puts a segment with what can be had, if there is anything, and appends the
// entry that says where everything is, unless that would say nothing new.
func (r *Repairer) write(ctx context.Context, job *relocation) error {
	had := slices.ContainsFunc(job.parts, func(p salvaged) bool { return p.block != nil || p.cut != nil || p.again != nil })
	if r.DryRun || !had && r.chain.State().Quarantined(job.name.Writer, job.name.Counter) {
		return nil
	}
	own := manifest.Segment{}
	if had {
		r.count++
		own.Counter = r.count
		var err error
		if own.Ref, err = r.put(ctx, job, manifest.SegmentName{Writer: r.chain.Writer(), Counter: r.count}); err != nil {
			return err
		}
	}
	e, err := r.chain.Append(ctx, func(state *manifest.State) (*manifest.Entry, error) { return r.entry(state, job, own) })
	if errors.Is(err, errMoved) && had {
		_ = r.Repository.Store().Delete(ctx, manifest.SegmentKey(r.chain.Writer(), own.Counter)) // without the right to, it stays as an orphan
	}
	if err != nil {
		return err
	}
	return r.layout.Add(e)
}

// entry states where the parts are from now on, and what is lost.
func (r *Repairer) entry(state *manifest.State, job *relocation, own manifest.Segment) (*manifest.Entry, error) {
	if !state.Readable(job.name.Writer, job.name.Counter) {
		return nil, fmt.Errorf("%w: %s was removed", errMoved, job.name.Key())
	}
	e := &manifest.Entry{Time: time.Now().UnixMilli(), Agent: &r.Agent}
	var moves []manifest.Move
	for i := range job.parts {
		p := &job.parts[i]
		if piece := r.layout.At(p.stream, p.start); piece != nil && piece.In.Name != job.name {
			return nil, fmt.Errorf("%w: offsets [%d,%d) of %s-%d", errMoved, p.start, p.next, p.track.name, p.track.key.Partition)
		}
		start, span := p.start, p.span
		if p.again != nil {
			start, span = p.again.from, p.again.span
		} else if p.block == nil && p.cut == nil {
			continue
		}
		if n := len(moves); n == 0 || moves[n-1].Stream != p.stream || moves[n-1].Next() != start {
			moves = append(moves, manifest.Move{Stream: p.stream, Start: start})
		}
		moves[len(moves)-1].Span.Join(segment.Summary{Next: span.Offsets, Records: span.Records, MinTimestamp: span.MinTimestamp, MaxTimestamp: span.MaxTimestamp})
	}
	if len(moves) > 0 {
		e.Segments, e.Moves = []manifest.Segment{own}, &manifest.Moves{After: state.Moved, List: moves}
	}
	if losses := job.losses(); len(losses) > 0 {
		e.Losses = &manifest.Losses{After: state.Moved, List: losses}
	} else {
		e.Removed = &manifest.SegmentLot{Segments: make(manifest.SegmentSet), Bytes: job.size}
		e.Removed.Segments.Add(job.name.Writer, job.name.Counter)
	}
	return e, nil
}

// put writes the segment, which becomes visible as a whole.
func (r *Repairer) put(ctx context.Context, job *relocation, name manifest.SegmentName) (ref segment.Ref, err error) {
	reader, writer := io.Pipe()
	written := make(chan error, 1)
	go func() {
		var err error
		ref, err = r.compose(ctx, writer, job, name)
		writer.CloseWithError(err)
		written <- err
	}()
	_, err = r.Repository.Store().Put(ctx, name.Key(), reader, store.PutOptions{})
	reader.CloseWithError(io.ErrClosedPipe)
	if werr := <-written; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	if err != nil {
		err = fmt.Errorf("put segment %s: %w", name.Key(), err)
	}
	return ref, err
}

// compose writes header, blocks and footer.
func (r *Repairer) compose(ctx context.Context, out io.Writer, job *relocation, name manifest.SegmentName) (segment.Ref, error) {
	seal, err := r.Repository.NewSeal(name.Writer, name.Counter)
	if err != nil {
		return segment.Ref{}, err
	}
	w, err := segment.NewSealedWriter(out, seal)
	if err != nil {
		return segment.Ref{}, err
	}
	enc, err := segment.NewEncoder(segment.DefaultLevel)
	if err != nil {
		return segment.Ref{}, err
	}
	for i := range job.parts {
		p := &job.parts[i]
		of := segment.Stream{TopicID: p.track.key.TopicID, Topic: p.track.name, Partition: p.track.key.Partition}
		anew := func(sum segment.Summary, raw []byte) error {
			k := segment.Block{Summary: sum}
			seal.Take(&k, &of)
			stored, err := enc.Encode(&k, raw, true)
			if err != nil {
				return err
			}
			return w.WriteBlock(of, k, stored)
		}
		switch {
		case p.block != nil:
			err = copyBlock(ctx, w, of, p, job.name.Key())
		case p.again != nil:
			err = r.reader.blocks(ctx, &p.stretch, p.again, anew)
		case p.cut != nil:
			err = anew(p.cut.sum, p.cut.raw)
		}
		if err != nil {
			return segment.Ref{}, err
		}
	}
	ref, _, err := w.Finish()
	return ref, err
}

// copyBlock copies a block as it is, sealed or not.
func copyBlock(ctx context.Context, w *segment.Writer, of segment.Stream, p *salvaged, key string) error {
	stored, err := readBlock(ctx, p.from, key, p.block)
	if err != nil {
		return err
	}
	return w.WriteBlock(of, *p.block, stored)
}

// readBlock returns the stored bytes of a block, which are checked.
func readBlock(ctx context.Context, st store.Store, key string, k *segment.Block) ([]byte, error) {
	body, err := st.Get(ctx, key, k.Position, k.StoredLength)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	defer body.Close()
	stored, err := segment.ReadExactly(body, k.StoredLength)
	if err == nil {
		err = k.Check(stored)
	}
	if err != nil {
		return nil, manifest.BlockError(key, k, err)
	}
	return stored, nil
}
