package sink

import (
	"context"
	"maps"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// smallPiece is the size below which a piece is copied and waits for more of
// its stream, so that thousands of slow partitions make blocks that compress.
const smallPiece = 128 << 10

// compressFrom is the share of a block (one in so many bytes) that must be
// uncompressed by the producer for zstd to be tried.
const compressFrom = 4

// gatherer turns pieces into blocks and decides when a segment ends. One
// goroutine owns it.
type gatherer struct {
	ses      *session
	waiting  map[*stream]*gathered
	bytes    int64  // in waiting
	counter  uint64 // of segments
	covered  covered
	segment  *openSegment // that blocks go to now, or nil
	opened   time.Time    // when the first piece of the segment came
	unproven bool         // that a point may split transactions has been said
}

// openSegment is a segment that blocks are being sent to.
type openSegment struct {
	counter uint64
	seal    *segment.Seal // of its blocks, which the gatherer numbers; nil without encryption
}

// gathered are small pieces of one stream, joined.
type gathered struct {
	piece piece
	buf   []byte
}

// covered is what a segment, and so a log entry, covers of each stream.
type covered struct {
	streams map[*stream]*coverage
	cut     *cut             // the recovery point to commit with it
	topics  []manifest.Topic // of the cluster when it ended
	until   time.Time        // when it ended
	txns    []held           // open after it, and how its recovery point ends them
}

// coverage is what one stream advances by.
type coverage struct {
	start    int64
	epoch    int32
	logStart int64
	spans    []manifest.Span
}

func newGatherer(ses *session) *gatherer {
	return &gatherer{ses: ses, waiting: make(map[*stream]*gathered), covered: newCovered()}
}

func newCovered() covered { return covered{streams: make(map[*stream]*coverage)} }

// gather runs until pieces is closed, then seals what there is.
func (ses *session) gather(ctx context.Context) error {
	g := newGatherer(ses)
	defer close(ses.steps)
	defer close(ses.toEncode)
	tick := time.NewTicker(ses.Config.SegmentAge / 20)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case pieces, ok := <-ses.pieces:
			if !ok {
				return g.seal(ctx)
			}
			err = g.takeAll(ctx, pieces)
		case c := <-ses.cuts:
			g.covered.cut = c
			err = g.seal(ctx)
		case <-tick.C:
			err = g.sealIfOld(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// sealIfOld seals a segment that has reached its age. A recovery point that is
// about to be complete seals it as well: one seal for both saves a request.
func (g *gatherer) sealIfOld(ctx context.Context) error {
	if g.opened.IsZero() {
		return nil
	}
	limit := g.ses.Config.SegmentAge
	if m := g.ses.marking.Load(); m != nil && m.first != nil {
		limit += limit / 2
	}
	if time.Since(g.opened) < limit {
		return nil
	}
	return g.seal(ctx)
}

func (g *gatherer) takeAll(ctx context.Context, pieces []piece) error {
	for i := range pieces {
		if err := g.take(ctx, &pieces[i]); err != nil {
			return err
		}
	}
	if g.bytes > g.ses.Config.GatherBytes {
		return g.flushLarge(ctx)
	}
	if g.ses.segmentBytes.Load()+g.bytes >= g.ses.Config.SegmentBytes {
		return g.seal(ctx)
	}
	return nil
}

// take adds one piece.
func (g *gatherer) take(ctx context.Context, p *piece) error {
	if g.opened.IsZero() {
		g.opened = time.Now()
	}
	g.cover(p)
	if p.raw == nil { // a gap, which no block covers, or a stream's first sight
		return g.flush(ctx, p.stream)
	}
	if len(p.raw) >= smallPiece {
		if err := g.flush(ctx, p.stream); err != nil {
			return err
		}
		return g.send(ctx, p, p.raw, []*grant{p.grant})
	}
	w := g.waiting[p.stream]
	if w == nil {
		w = &gathered{piece: piece{stream: p.stream, sum: p.sum}}
		g.waiting[p.stream] = w
	} else {
		w.piece.sum.Join(p.sum)
	}
	w.buf = append(w.buf, p.raw...)
	w.piece.loose += p.loose
	g.bytes += int64(len(p.raw))
	p.grant.done()
	if len(w.buf) >= g.ses.Config.BlockBytes {
		return g.flush(ctx, p.stream)
	}
	return nil
}

// cover notes what the stream advances by.
func (g *gatherer) cover(p *piece) {
	c := g.covered.streams[p.stream]
	if c == nil {
		c = &coverage{start: p.sum.Start, epoch: -1, logStart: -1}
		g.covered.streams[p.stream] = c
	}
	if p.logStart >= 0 {
		c.logStart = p.logStart
	}
	if p.gap {
		c.spans = append(c.spans, manifest.Span{Gap: true, Reason: p.reason, Offsets: p.sum.Next - p.sum.Start})
		return
	}
	if p.raw == nil {
		return
	}
	if len(p.sum.Events) > 0 {
		g.ses.ledger.take(p.stream.key, p.sum.Events, g.ses.marking.Load())
	}
	if p.stream.topic == kafka.GroupLogTopic {
		g.ses.groups.take(p.stream.key, p.raw, p.sum.Start, g.ses.marking.Load())
	}
	c.epoch = max(c.epoch, p.sum.LeaderEpoch)
	if n := len(c.spans); n > 0 && !c.spans[n-1].Gap {
		c.spans[n-1].Join(p.sum)
		return
	}
	span := manifest.Span{}
	span.Join(p.sum)
	c.spans = append(c.spans, span)
}

// flush sends what waits of one stream.
func (g *gatherer) flush(ctx context.Context, s *stream) error {
	w := g.waiting[s]
	if w == nil {
		return nil
	}
	delete(g.waiting, s)
	g.bytes -= int64(len(w.buf))
	return g.send(ctx, &w.piece, w.buf, nil)
}

// flushLarge makes room: first the streams that have gathered a useful amount,
// then, if that is not enough, all.
func (g *gatherer) flushLarge(ctx context.Context) error {
	for _, least := range []int{g.ses.Config.BlockBytes / 8, 0} {
		for s, w := range g.waiting {
			if len(w.buf) < least {
				continue
			}
			if err := g.flush(ctx, s); err != nil {
				return err
			}
		}
		if g.bytes <= g.ses.Config.GatherBytes/2 {
			return nil
		}
	}
	return nil
}

// send passes a block to the encoders and, in order, to the writer.
func (g *gatherer) send(ctx context.Context, p *piece, raw []byte, grants []*grant) error {
	if g.segment == nil {
		g.counter++
		seal, err := g.ses.seal(g.counter)
		if err != nil {
			return err
		}
		g.segment = &openSegment{g.counter, seal}
	}
	b := &block{
		segment:  g.segment,
		stream:   segment.Stream{TopicID: p.stream.key.TopicID, Topic: p.stream.topic, Partition: p.stream.key.Partition},
		meta:     segment.Block{Summary: p.sum},
		raw:      raw,
		compress: p.loose*compressFrom >= len(raw),
		grants:   grants,
		done:     make(chan struct{}),
	}
	g.segment.seal.Take(&b.meta, &b.stream)
	select {
	case g.ses.toEncode <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.step(ctx, step{block: b})
}

func (g *gatherer) step(ctx context.Context, st step) error {
	select {
	case g.ses.steps <- st:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seal ends the segment. Without anything covered and without a cut there is
// nothing to commit.
func (g *gatherer) seal(ctx context.Context) error {
	for s := range g.waiting {
		if err := g.flush(ctx, s); err != nil {
			return err
		}
	}
	if len(g.covered.streams) == 0 && g.covered.cut == nil {
		return nil
	}
	c := g.covered
	c.until = time.Now()
	if c.topics = g.ses.view(); c.cut != nil {
		c.topics = c.cut.topics
		if err := g.close(c.cut, &c); err != nil {
			return err
		}
	} else {
		c.txns = g.ses.ledger.opened(g.ses.marking.Load() != nil)
	}
	g.covered, g.opened, g.segment = newCovered(), time.Time{}, nil
	return g.step(ctx, step{seal: &seal{c}})
}

// close says how a recovery point ends the transactions, and what groups have
// committed at it.
func (g *gatherer) close(c *cut, covered *covered) error {
	v := g.ses.ledger.settle(c)
	covered.txns = v.list
	if len(v.list) > 0 || len(c.marks) > 1 {
		c.closed = &manifest.Closing{Millis: c.closing.Milliseconds(), Marks: int64(len(c.marks)), Unproven: int64(v.unproven)}
	}
	if c.logBound != nil {
		committed, err := g.ses.groups.settle(c, v.list)
		if err != nil {
			return err
		}
		maps.Copy(committed.list, c.groups.list)
		c.groups = committed
	}
	g.ses.marking.CompareAndSwap(c.marking, nil) // or the next point has been begun
	if v.decided+v.undone > 0 {
		g.ses.Log.Debug("transactions closed", "decided", v.decided, "undone", v.undone, "marks", len(c.marks), "took", c.closing)
	}
	if v.unproven > 0 && !g.unproven {
		g.unproven = true
		g.ses.Log.Warn("a recovery point may split transactions of producers that keep their epoch (Kafka clients before 4.0): "+
			"the coordinator does not tell where they are; allow Describe on the transactional ids", "producers", v.unproven)
	}
	return nil
}
