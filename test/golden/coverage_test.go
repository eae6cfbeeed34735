package golden_test

import (
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// The golden repositories are worth nothing if what they are made for is not in them.
func TestGoldenHoldsEveryCase(t *testing.T) {
	found := make(map[string]bool)
	for _, folder := range repositories(t) {
		c := &cases{t: t, found: found, repo: open(t, folder)}
		state, err := c.repo.Read(t.Context(), 0, c.entry)
		if err != nil {
			t.Fatal(err)
		}
		c.state(state)
	}
	for _, want := range []string{
		"codec none", "codec gzip", "codec snappy", "codec lz4", "codec zstd", "block stored", "block zstd", "plain block", "batch to restore as it is",
		"LogAppendTime", "delete horizon", "transactional", "commit marker", "abort marker", "open transaction", "hole in a batch", "hole between batches",
		"log start in a batch", "log start moved", "gap", "position in a batch", "entry without a segment", "second entry", "compressed entry",
		"two incarnations", "topic gone", "topic changed", "empty partition", "group of type classic", "group of type consumer", "group gone", "offset removed",
		"commit metadata", "commit epoch", "branch", "point with a name", "point pinned", "point unpinned", "point deleted",
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
	t     *testing.T
	repo  *manifest.Repository
	found map[string]bool
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
	for _, p := range e.PointChanges {
		c.note("point pinned", p.Pinned)
		c.note("point deleted", p.Deleted)
		c.note("point unpinned", !p.Pinned && !p.Deleted)
	}
	c.note("compressed entry", c.object(manifest.LogKey(e.Sequence))[91] == 1)
	for i := range e.Segments {
		c.segment(state, c.object(manifest.SegmentKey(e.Writer, e.Segments[i].Counter)), e.Segments[i].Ref)
	}
	return nil
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
	footer, err := ref.Open(object[ref.Size-ref.TailLength():])
	if err != nil {
		c.t.Fatal(err)
	}
	decoder, err := segment.NewDecoder()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range footer.InFileOrder() {
		k := l.Block
		raw, err := decoder.Decode(k, object[k.Position:][:k.StoredLength], nil)
		if err != nil {
			c.t.Fatal(err)
		}
		c.note("block zstd", k.Codec == segment.Zstd)
		c.note("block stored", k.Codec == segment.Stored)
		c.note("plain block", k.Plain)
		n, _ := state.Current(manifest.StreamKey{TopicID: l.Stream.TopicID, Partition: l.Stream.Partition})
		c.batches(k, raw, &state.Streams[n])
		c.transactions(k.Events)
	}
}

func (c *cases) batches(k *segment.Block, raw []byte, s *manifest.Stream) {
	next := k.Start
	for len(raw) > 0 {
		h, one, rest, err := batch.Next(raw)
		if err != nil {
			c.t.Fatal(err)
		}
		c.note("codec "+h.Codec().String(), true)
		c.note("LogAppendTime", h.IsLogAppendTime())
		c.note("delete horizon", h.HasDeleteHorizon())
		c.note("transactional", h.IsTransactional())
		c.note("hole in a batch", !h.IsDense())
		c.note("hole between batches", h.BaseOffset > next)
		c.note("position in a batch", h.BaseOffset < k.Start)
		c.note("log start in a batch", h.BaseOffset < s.LogStart && h.NextOffset() > s.LogStart)
		c.note("batch to restore as it is", h.IsDense() && !h.IsLogAppendTime() && len(one) >= 8<<10)
		next, raw = h.NextOffset(), rest
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
