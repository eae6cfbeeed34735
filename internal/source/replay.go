package source

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Bounds of the reading side.
const (
	replayWorkers = 2
	readBytes     = 16 << 20 // blocks read and not yet converted
)

// skipBytes is how much is read and thrown away rather than asking anew. Only a
// benchmark changes it, in which everything is smaller.
var skipBytes int64 = 1 << 20

// job is a block for the worker that has its track.
type job struct {
	key    string
	part   part
	stored *buffer
	weight int64
}

// replay reads the plan's blocks and feeds each to the converter of its track,
// in order. Converters are driven by one worker each; finish is called for all
// of them at the end.
func (p *Plan) replay(ctx context.Context, converters map[*track]*converter) error {
	g, ctx := errgroup.WithContext(ctx)
	budget := semaphore.NewWeighted(readBytes)
	var pool sync.Pool
	var queues [replayWorkers]chan job
	of := make(map[*track]int)
	seed := maphash.MakeSeed()
	for _, t := range p.tracks {
		of[t] = int(maphash.Comparable(seed, t.key) % replayWorkers)
	}
	for i := range queues {
		queues[i] = make(chan job, 64)
		g.Go(func() error { return p.convert(ctx, converters, queues[i], budget) })
	}
	g.Go(func() error {
		defer func() {
			for _, q := range queues {
				close(q)
			}
		}()
		return p.last().walk(ctx, p.byStream, nil, func(key string, parts []part) error {
			return p.Snapshot.read(ctx, key, parts, budget, &pool, func(j job) error {
				select {
				case queues[of[j.part.track]] <- j:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for _, t := range p.tracks {
		if err := converters[t].finish(); err != nil {
			return fmt.Errorf("%s-%d: %w", p.Topics[t.topic].Source.Name, t.partition, err)
		}
	}
	return nil
}

// read reads the parts of one segment, in one request where they lie close.
func (s *Snapshot) read(ctx context.Context, key string, parts []part, budget *semaphore.Weighted, pool *sync.Pool, send func(job) error) error {
	var body io.ReadCloser
	defer func() {
		if body != nil {
			body.Close()
		}
	}()
	var at int64
	for i := range parts {
		k := parts[i].block
		weight := min(max(k.StoredLength, k.RawLength), readBytes)
		if err := budget.Acquire(ctx, weight); err != nil {
			return err
		}
		if body != nil && k.Position-at > skipBytes {
			body.Close()
			body = nil
		}
		if body == nil {
			var err error
			if body, at, err = s.open(ctx, key, parts[i:]); err != nil {
				return manifest.BlockError(key, k, err)
			}
		}
		if _, err := io.CopyN(io.Discard, body, k.Position-at); err != nil {
			return manifest.BlockError(key, k, err)
		}
		stored := newBuffer(pool, k.StoredLength)
		if err := stored.fill(body, k.StoredLength); err != nil {
			return manifest.BlockError(key, k, err)
		}
		at = k.Position + k.StoredLength
		if err := send(job{key, parts[i], stored, weight}); err != nil {
			return err
		}
	}
	return nil
}

// open asks for the first of the parts and those close to it. at is the byte of
// the object with which the body begins. A header that is close is checked.
func (s *Snapshot) open(ctx context.Context, key string, parts []part) (body io.ReadCloser, at int64, err error) {
	at = parts[0].block.Position
	first := at == segment.HeaderSize
	if first {
		at = 0
	}
	body, err = s.Repository.Store().Get(ctx, key, at, parts[0].block.Position-at+runLength(parts))
	if err != nil || !first {
		return body, at, err
	}
	header, err := segment.ReadExactly(body, segment.HeaderSize)
	if err == nil {
		err = segment.CheckHeader(header)
	}
	if err != nil {
		body.Close()
		return nil, 0, err
	}
	return body, segment.HeaderSize, nil
}

// runLength is how many bytes to ask for, so that parts which lie close to
// each other come in one request.
func runLength(parts []part) int64 {
	first := parts[0].block
	end := first.Position + first.StoredLength
	for _, q := range parts[1:] {
		if q.block.Position-end > skipBytes {
			break
		}
		end = q.block.Position + q.block.StoredLength
	}
	return end - first.Position
}

// convert is one worker.
func (p *Plan) convert(ctx context.Context, converters map[*track]*converter, queue <-chan job, budget *semaphore.Weighted) error {
	dec, err := segment.NewDecoder()
	if err != nil {
		return err
	}
	tools := newTools()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j, ok := <-queue:
			if !ok {
				return nil
			}
			if err := p.convertOne(converters[j.part.track], dec, tools, &j); err != nil {
				return err
			}
			budget.Release(j.weight)
		}
	}
}

func (p *Plan) convertOne(c *converter, dec *segment.Decoder, tools *tools, j *job) error {
	defer j.stored.done()
	from := j.stored
	if k := j.part.block; k.Codec != segment.Stored {
		from = newBuffer(from.pool, k.RawLength)
		defer from.done()
	}
	raw, err := dec.Decode(j.part.block, j.stored.b, from.b)
	if err == nil {
		from.b = raw
		c.tools = tools
		err = c.take(raw, from, j.part.block, j.part.lo, j.part.hi)
	}
	if err == nil {
		return nil
	}
	t := j.part.track
	err = fmt.Errorf("%s-%d offsets [%d,%d): %w", p.Topics[t.topic].Source.Name, t.partition, j.part.block.Start, j.part.block.Next, err)
	if isCorrupt(err) {
		return &manifest.Damage{Key: j.key, Err: err}
	}
	return err
}
