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
	enc.Room = ses.rooms.take
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

// chunk is a slice on its way into the store; if it is a room, it is given back then.
type chunk struct {
	bytes []byte
	room  bool
}

// upload is a segment on its way into the store: a pipe whose writing end
// takes whole slices without copying them.
type upload struct {
	writer  *segment.Writer
	counter uint64
	volumes map[string]volume // by topic
	ctx     context.Context
	chunks  chan chunk
	last    chunk // that Read has begun with
	rest    []byte
	rooms   *rooms
	room    bool          // what is written now is in one
	ended   chan struct{} // closed when Put has returned
	err     error         // of Put; read after ended
	broken  error         // why the reading end must fail; set before chunks is closed
	once    sync.Once     // closes chunks
}

func (ses *session) startUpload(ctx context.Context, to *openSegment) (*upload, error) {
	up := &upload{counter: to.counter, volumes: make(map[string]volume), ctx: ctx, chunks: make(chan chunk, 4), rooms: ses.rooms, ended: make(chan struct{})}
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
	up.room = b.inRoom()
	err := up.writer.WriteBlock(b.stream, b.meta, b.stored)
	if up.room = false; err != nil {
		return errors.Join(err, up.failure())
	}
	for _, g := range b.grants {
		g.done()
	}
	v := up.volumes[b.stream.Topic]
	up.volumes[b.stream.Topic] = volume{v.raw + b.meta.RawLength, v.stored + int64(len(b.stored))}
	size.Store(up.writer.Size())
	return nil
}

// inRoom says whether the block was sealed into a room.
func (b *block) inRoom() bool { return b.meta.Key != nil && b.meta.Codec == segment.Stored }

// Write implements io.Writer. It keeps p.
func (up *upload) Write(p []byte) (int, error) {
	select {
	case up.chunks <- chunk{p, up.room}:
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
		c, err := up.nextChunk()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(c.bytes)
		n += int64(m)
		if err != nil {
			return n, err
		}
		up.free(c)
	}
}

// Read implements io.Reader for stores that fill buffers of their own.
func (up *upload) Read(p []byte) (int, error) {
	for len(up.rest) == 0 {
		up.free(up.last)
		var err error
		if up.last, err = up.nextChunk(); err != nil {
			return 0, err
		}
		up.rest = up.last.bytes
	}
	n := copy(p, up.rest)
	up.rest = up.rest[n:]
	return n, nil
}

func (up *upload) nextChunk() (none chunk, err error) {
	select {
	case c, ok := <-up.chunks:
		switch {
		case ok:
			return c, nil
		case up.broken != nil:
			return none, up.broken
		}
		return none, io.EOF
	case <-up.ctx.Done():
		return none, up.ctx.Err()
	}
}

// free gives back what has been written, if it is a room.
func (up *upload) free(c chunk) {
	if c.room {
		up.rooms.give(c.bytes)
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
