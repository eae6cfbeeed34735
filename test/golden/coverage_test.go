package golden_test

import (
	"io"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// The golden repositories are worth nothing if what they are made for is not in them.
func TestGoldenHoldsEveryCase(t *testing.T) {
	found := make(map[string]bool)
	for _, folder := range repositories(t) {
		c := &cases{t: t, found: found, repo: open(t, folder)}
		var err error
		if c.newest, err = c.repo.Read(t.Context(), 0, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.repo.Read(t.Context(), 0, c.entry); err != nil {
			t.Fatal(err)
		}
		c.state(c.newest)
	}
	for _, want := range []string{
		"codec none", "codec gzip", "codec snappy", "codec lz4", "codec zstd", "block stored", "block zstd", "plain block", "batch to restore as it is",
		"LogAppendTime", "delete horizon", "transactional", "commit marker", "abort marker", "open transaction", "hole in a batch", "hole between batches",
		"log start in a batch", "log start moved", "gap", "position in a batch", "entry without a segment", "second entry", "compressed entry",
		"two incarnations", "topic gone", "topic changed", "empty partition", "group of type classic", "group of type consumer", "group gone", "offset removed",
		"group of type share", "commit metadata", "commit epoch", "branch", "point with a name", "point pinned", "point unpinned", "point deleted",
		"log of groups", "cut below a position", "closing", "open transaction at a point", "decided transaction in the log of groups", "undone transaction in the log of groups",
		"transaction behind the cut that counts", "commit behind the cut", "move", "removal", "deletion", "snapshot", "point held", "note",
		"re-encoded block", "re-encoded gzip", "re-encoded snappy", "re-encoded lz4", "re-encoded zstd", "re-encoded transaction", "loss", "move beside a loss",
	} {
		if !found[want] {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log("there are:", slices.Sorted(maps.Keys(found)))
	}
}

// cases collects what a repository has in it.
type cases struct {
	t      *testing.T
	repo   *manifest.Repository
	newest *manifest.State
	found  map[string]bool
}

func (c *cases) note(what string, ok bool) {
	if ok {
		c.found[what] = true
	}
}

func (c *cases) entry(state *manifest.State, e *manifest.Entry) error {
	c.note("second entry", e.Sequence == 2)
	c.note("entry without a segment", len(e.Segments) == 0)
	for _, topic := range e.Topics {
		c.note("topic gone", topic.Gone)
		c.note("topic changed", e.Sequence > 1 && !topic.Gone && topic.Number < len(state.Topics)-len(e.Topics))
	}
	for _, r := range e.Ranges {
		for _, s := range r.Spans {
			c.note("gap", s.Gap)
		}
	}
	for _, l := range e.LogStarts {
		c.note("log start moved", l.Offset > state.Streams[l.Stream].First)
	}
	for _, g := range e.Groups {
		c.note("group gone", g.Gone)
		c.note("group of type "+g.Type, true)
		for _, o := range g.Offsets {
			c.note("offset removed", !o.Committed)
			c.note("commit metadata", o.Metadata != "")
			c.note("commit epoch", o.Committed && o.Epoch >= 0)
		}
	}
	c.note("point with a name", e.Point != nil && e.Point.Name != "")
	c.note("closing", e.Closing != nil)
	c.grouplog(state, e)
	for _, p := range e.PointChanges {
		c.note("point pinned", p.Pinned)
		c.note("point deleted", p.Deleted)
		c.note("point held", p.Held)
		c.note("point unpinned", !p.Pinned && !p.Deleted)
	}
	c.note("move", e.Moves != nil)
	c.note("loss", e.Losses != nil)
	c.note("move beside a loss", e.Moves != nil && e.Losses != nil)
	c.note("removal", e.Removed != nil)
	c.note("deletion", e.Deleted != nil)
	c.note("snapshot", e.Snapshot != nil)
	c.note("note", e.Note != nil)
	c.note("compressed entry", c.object(manifest.LogKey(e.Sequence))[91] == 1)
	for i := range e.Segments {
		if !c.newest.Readable(e.Writer, e.Segments[i].Counter) || c.newest.Quarantined(e.Writer, e.Segments[i].Counter) {
			continue
		}
		c.segment(state, c.object(manifest.SegmentKey(e.Writer, e.Segments[i].Counter)), e.Segments[i].Ref)
	}
	return nil
}

func (c *cases) grouplog(state *manifest.State, e *manifest.Entry) {
	isLog := func(stream int) bool { return state.Topics[state.Streams[stream].Topic].Name == kafka.GroupLogTopic }
	for n := range state.Streams {
		c.note("log of groups", isLog(n))
	}
	c.note("cut below a position", e.Point != nil && len(e.Point.Exceptions) > 0)
	for _, t := range e.Transactions {
		c.note("open transaction at a point", e.Point != nil && t.Kind == manifest.TxnOpen)
		c.note("decided transaction in the log of groups", isLog(t.Stream) && t.Kind == manifest.TxnDecided)
		c.note("undone transaction in the log of groups", isLog(t.Stream) && t.Kind == manifest.TxnUndone)
	}
	if e.Point == nil {
		return
	}
	for _, x := range e.Point.Exceptions {
		c.behind(state, e, x)
	}
}

// behind looks at what the log of groups has behind the cut.
func (c *cases) behind(state *manifest.State, e *manifest.Entry, x manifest.CutException) {
	key := state.Key(x.Stream)
	undone := make(map[int64]bool) // by producer id
	for _, t := range e.Transactions {
		if t.Stream == x.Stream && t.Kind == manifest.TxnUndone {
			undone[t.ProducerID] = true
		}
	}
	for i := range e.Segments {
		for l, raw := range c.blocks(c.object(manifest.SegmentKey(e.Writer, e.Segments[i].Counter)), e.Segments[i].Ref) {
			if (manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition}) != key {
				continue
			}
			for h, one := range c.batches(raw) {
				if h.BaseOffset < state.Streams[x.Stream].Next-x.Behind {
					continue
				}
				c.note("commit behind the cut", !h.IsTransactional())
				m, err := batch.Marker(one)
				c.note("transaction behind the cut that counts", h.IsControl() && err == nil && m.Type == batch.Commit && !undone[h.ProducerID])
			}
		}
	}
}

// blocks returns the blocks of a segment, decoded.
func (c *cases) blocks(object []byte, ref segment.Ref) iter.Seq2[segment.Located, []byte] {
	return func(yield func(segment.Located, []byte) bool) {
		footer, err := ref.Open(object[ref.Size-ref.TailLength():])
		if err != nil {
			c.t.Fatal(err)
		}
		decoder, err := segment.NewDecoder()
		if err != nil {
			c.t.Fatal(err)
		}
		for _, l := range footer.InFileOrder() {
			raw, err := decoder.Decode(l.Block, object[l.Block.Position:][:l.Block.StoredLength], nil)
			if err != nil {
				c.t.Fatal(err)
			}
			if !yield(l, raw) {
				return
			}
		}
	}
}

// batches returns the batches of a block.
func (c *cases) batches(raw []byte) iter.Seq2[batch.Header, []byte] {
	return func(yield func(batch.Header, []byte) bool) {
		for len(raw) > 0 {
			h, one, rest, err := batch.Next(raw)
			if err != nil {
				c.t.Fatal(err)
			}
			if raw = rest; !yield(h, one) {
				return
			}
		}
	}
}

func (c *cases) object(key string) []byte {
	body, err := c.repo.Store().Get(c.t.Context(), key, 0, 1<<20)
	if err != nil {
		c.t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *cases) segment(state *manifest.State, object []byte, ref segment.Ref) {
	for l, raw := range c.blocks(object, ref) {
		c.note("block zstd", l.Block.Codec == segment.Zstd)
		c.note("block stored", l.Block.Codec == segment.Stored)
		c.note("plain block", l.Block.Plain)
		c.note("re-encoded block", l.Block.Codec == segment.Reencoded)
		n, _ := state.Current(manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition})
		if l.Block.Codec == segment.Reencoded {
			c.reencoded(raw)
		} else {
			c.block(l.Block, raw, &state.Streams[n])
		}
		c.transactions(l.Block.Events)
	}
}

func (c *cases) block(k *segment.Block, raw []byte, s *manifest.Stream) {
	next := k.Start
	for h, one := range c.batches(raw) {
		c.note("codec "+h.Codec().String(), true)
		c.note("LogAppendTime", h.IsLogAppendTime())
		c.note("delete horizon", h.HasDeleteHorizon())
		c.note("transactional", h.IsTransactional())
		c.note("hole in a batch", !h.IsDense())
		c.note("hole between batches", h.BaseOffset > next)
		c.note("position in a batch", h.BaseOffset < k.Start)
		c.note("log start in a batch", h.BaseOffset < s.LogStart && h.NextOffset() > s.LogStart)
		c.note("batch to restore as it is", h.IsDense() && !h.IsLogAppendTime() && len(one) >= 8<<10)
		next = h.NextOffset()
	}
}

func (c *cases) reencoded(raw []byte) {
	for len(raw) > 0 {
		h, _, rest, origin, err := batch.NextReencoded(raw)
		if err != nil {
			c.t.Fatal(err)
		}
		c.note("re-encoded "+origin.Codec.String(), true)
		c.note("re-encoded transaction", h.IsTransactional() && !h.IsControl() && origin.Codec != batch.None)
		raw = rest
	}
}

func (c *cases) transactions(events []segment.TxnEvent) {
	open := make(map[int64]bool)
	for _, e := range events {
		open[e.ProducerID] = e.Kind == segment.TxnData
		c.note("commit marker", e.Kind == segment.TxnCommit)
		c.note("abort marker", e.Kind == segment.TxnAbort)
	}
	c.note("open transaction", slices.Contains(slices.Collect(maps.Values(open)), true))
}

func (c *cases) state(s *manifest.State) {
	names := make(map[string]int)
	for _, topic := range s.Topics {
		names[topic.Name]++
		c.note("two incarnations", names[topic.Name] > 1)
	}
	for _, stream := range s.Streams {
		c.note("branch", stream.Parent >= 0)
		c.note("empty partition", stream.First == stream.Next && stream.First == 0)
	}
}
