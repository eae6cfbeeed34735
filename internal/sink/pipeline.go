package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// block is a block on its way through the encoders.
type block struct {
	segment  *openSegment // that it goes to
	stream   segment.Stream
	meta     segment.Block
	raw      []byte
	stored   []byte
	compress bool
	grants   []*grant
	err      error
	done     chan struct{} // closed by the encoder
}

// seal asks for the end of the segment; everything before it is covered.
type seal struct {
	covered covered
}

// step is what flows, in order, to the writer: a block or a seal.
type step struct {
	block *block
	seal  *seal
}

// encode is one encoder.
func (ses *session) encode(ctx context.Context) error {
	enc, err := segment.NewEncoder(ses.Config.ZstdLevel)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-ses.toEncode:
			if !ok {
				return nil
			}
			b.stored, b.err = enc.Encode(&b.meta, b.raw, b.compress)
			b.raw = nil
			close(b.done)
		}
	}
}

// write lays the encoded blocks into segments, in order, and hands sealed
// segments to the committer.
func (ses *session) write(ctx context.Context) error {
	defer close(ses.sealed)
	var up *upload
	defer func() {
		if up != nil {
			up.abort(context.Canceled)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case st, ok := <-ses.steps:
			if !ok {
				return nil
			}
			if st.block != nil && up == nil {
				var err error
				if up, err = ses.startUpload(ctx, st.block.segment); err != nil {
					return err
				}
			}
			if st.block != nil {
				if err := up.writeBlock(ctx, st.block, &ses.segmentBytes); err != nil {
					return err
				}
				continue
			}
			if err := ses.finish(ctx, up, st.seal); err != nil {
				return err
			}
			up = nil
		}
	}
}

// finish ends the upload, if there is one, and passes the seal on.
func (ses *session) finish(ctx context.Context, up *upload, s *seal) error {
	done := sealedSegment{covered: s.covered, upload: up}
	if up != nil {
		ref, _, err := up.writer.Finish()
		if err != nil {
			return errors.Join(err, up.failure())
		}
		up.close()
		done.segment = &manifest.Segment{Counter: up.counter, Ref: ref}
	}
	ses.segmentBytes.Store(0)
	select {
	case ses.sealed <- done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// upload is a segment on its way into the store: a pipe whose writing end
// takes whole slices without copying them.
type upload struct {
	writer  *segment.Writer
	counter uint64
	ctx     context.Context
	chunks  chan []byte
	rest    []byte
	ended   chan struct{} // closed when Put has returned
	err     error         // of Put; read after ended
	broken  error         // why the reading end must fail; set before chunks is closed
	once    sync.Once     // closes chunks
}

func (ses *session) startUpload(ctx context.Context, to *openSegment) (*upload, error) {
	up := &upload{counter: to.counter, ctx: ctx, chunks: make(chan []byte, 4), ended: make(chan struct{})}
	key := manifest.SegmentKey(ses.log.Writer(), up.counter)
	go func() {
		defer close(up.ended)
		if _, err := ses.Repository.Store().Put(ctx, key, up, store.PutOptions{}); err != nil {
			up.err = fmt.Errorf("put segment %s: %w", key, err)
		}
	}()
	var err error
	if up.writer, err = segment.NewSealedWriter(up, to.seal); err != nil {
		up.abort(err)
		return nil, errors.Join(err, up.failure())
	}
	return up, nil
}

// writeBlock waits for the block to be encoded and writes it.
func (up *upload) writeBlock(ctx context.Context, b *block, size *atomic.Int64) error {
	select {
	case <-b.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.err != nil {
		return b.err
	}
	if err := up.writer.WriteBlock(b.stream, b.meta, b.stored); err != nil {
		return errors.Join(err, up.failure())
	}
	for _, g := range b.grants {
		g.done()
	}
	size.Store(up.writer.Size())
	return nil
}

// Write implements io.Writer. It keeps p.
func (up *upload) Write(p []byte) (int, error) {
	select {
	case up.chunks <- p:
		return len(p), nil
	case <-up.ended:
		return 0, errors.New("the upload has ended early")
	case <-up.ctx.Done():
		return 0, up.ctx.Err()
	}
}

// WriteTo implements io.WriterTo, so that a store can write large slices as
// they are.
func (up *upload) WriteTo(w io.Writer) (n int64, err error) {
	for {
		p, err := up.nextChunk()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(p)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// Read implements io.Reader for stores that fill buffers of their own.
func (up *upload) Read(p []byte) (int, error) {
	for len(up.rest) == 0 {
		var err error
		if up.rest, err = up.nextChunk(); err != nil {
			return 0, err
		}
	}
	n := copy(p, up.rest)
	up.rest = up.rest[n:]
	return n, nil
}

func (up *upload) nextChunk() ([]byte, error) {
	select {
	case p, ok := <-up.chunks:
		switch {
		case ok:
			return p, nil
		case up.broken != nil:
			return nil, up.broken
		}
		return nil, io.EOF
	case <-up.ctx.Done():
		return nil, up.ctx.Err()
	}
}

// close ends the body; wait tells how Put ended.
func (up *upload) close() { up.once.Do(func() { close(up.chunks) }) }

// abort makes Put fail, so that nothing becomes visible, and waits for it.
func (up *upload) abort(why error) {
	up.once.Do(func() {
		up.broken = why
		close(up.chunks)
	})
	<-up.ended
}

// wait returns the outcome of Put.
func (up *upload) wait() error {
	<-up.ended
	return up.err
}

// failure returns the error of a Put that has ended already, if it has.
func (up *upload) failure() error {
	select {
	case <-up.ended:
		return up.err
	default:
		return nil
	}
}
