package source

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// converted is what a converter has made of a track.
type converted struct {
	*converter
	batches [][]byte
	counts  []int32
}

// records decodes all batches.
func (c *converted) records(t interface{ Fatal(...any) }) (list []string) {
	for i, raw := range c.batches {
		h, _, rest, err := batch.Next(raw)
		if err != nil || len(rest) > 0 || !h.IsDense() || h.IsControl() || h.IsLogAppendTime() || h.Count != c.counts[i] {
			t.Fatal(fmt.Sprintf("batch %d cannot be produced: %+v, %v", i, h, err))
		}
		got, err := identities(raw)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, got...)
	}
	return list
}

// convert runs the blocks of one track, clipped to [lo, hi), through the index
// of transactions and a converter.
func convert(lo, hi int64, wanted []int64, buildTo int, blocks [][]spec, starts []int64) (*converted, error) {
	return convertUntil(nil, lo, hi, wanted, buildTo, blocks, starts)
}

// convertUntil does so without the records that are later than until.
func convertUntil(until *int64, lo, hi int64, wanted []int64, buildTo int, blocks [][]spec, starts []int64) (*converted, error) {
	return convertToFit(0, until, lo, hi, wanted, buildTo, blocks, starts)
}

// convertToFit does so for a target that takes batches up to a size.
func convertToFit(fit int, until *int64, lo, hi int64, wanted []int64, buildTo int, blocks [][]spec, starts []int64) (*converted, error) {
	c := &converted{converter: &converter{track: &track{lo: lo, hi: hi}, txns: newTxnIndex(), wanted: wanted, at: lo, tools: newTools(), buildTo: buildTo, fit: fit, until: until}}
	c.emit = func(raw []byte, records int32, _ *buffer) error {
		c.batches = append(c.batches, raw)
		c.counts = append(c.counts, records)
		return nil
	}
	return c, c.feed(lo, hi, blocks, starts)
}

// feed drives a converter through the blocks of a log.
func (c *converted) feed(lo, hi int64, blocks [][]spec, starts []int64) error {
	type clipped struct {
		raw    []byte
		k      *segment.Block
		lo, hi int64
	}
	var parts []clipped
	for i, specs := range blocks {
		raw, k := block(starts[i], specs...)
		p := clipped{raw, k, max(k.Start, lo), min(k.Next, hi)}
		if p.lo >= p.hi {
			continue
		}
		parts = append(parts, p)
		for _, e := range k.Events {
			if e.Offset < p.hi {
				c.txns.add(e)
			}
		}
	}
	c.txns.close()
	for _, p := range parts {
		if err := c.take(p.raw, nil, p.k, p.lo, p.hi); err != nil {
			return err
		}
	}
	return c.finish()
}

// story is a partition's log, cut into blocks, of which [lo, hi) is restored.
type story struct {
	blocks [][]spec
	starts []int64
	lo, hi int64
	wanted []int64
}

func stories() *rapid.Generator[story] {
	return rapid.Custom(func(t *rapid.T) story {
		var specs []spec
		next := rapid.Int64Range(0, 50).Draw(t, "begin")
		open := make(map[int64]bool)
		for range rapid.IntRange(1, 14).Draw(t, "batches") {
			s := oneBatch(t, next+rapid.Int64Range(0, 2).Draw(t, "hole"), open)
			specs = append(specs, s)
			next = s.next()
		}
		var s story
		for len(specs) > 0 {
			n := rapid.IntRange(1, len(specs)).Draw(t, "block")
			s.blocks, s.starts = append(s.blocks, specs[:n]), append(s.starts, specs[0].base)
			specs = specs[n:]
		}
		// The first block may begin inside its first batch.
		first := &s.blocks[0][0]
		s.starts[0] += rapid.Int64Range(0, int64(first.last)).Draw(t, "start")
		s.lo = rapid.Int64Range(s.starts[0], next).Draw(t, "lo")
		s.hi = rapid.Int64Range(s.lo, next+3).Draw(t, "hi")
		s.wanted = rapid.SliceOfN(rapid.Int64Range(0, next+5), 0, 12).Draw(t, "wanted")
		slices.Sort(s.wanted)
		s.wanted = slices.Compact(s.wanted)
		return s
	})
}

// oneBatch draws a batch at base. open tells who has a transaction under way.
func oneBatch(t *rapid.T, base int64, open map[int64]bool) spec {
	s := spec{base: base, last: rapid.Int32Range(0, 5).Draw(t, "last"), codec: batch.Codec(rapid.IntRange(0, 4).Draw(t, "codec"))}
	if rapid.IntRange(0, 3).Draw(t, "large") == 0 {
		s.size = rawFrom
	}
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind < 3: // plain
	case kind == 3:
		s.logAppend = true
	case kind == 4: // compacted
		s.records = []int32{}
		for d := range s.last + 1 {
			if rapid.Bool().Draw(t, "left") {
				s.records = append(s.records, d)
			}
		}
	case kind < 8:
		s.producer = rapid.Int64Range(1, 3).Draw(t, "producer")
		open[s.producer] = true
	default:
		if len(open) == 0 {
			break
		}
		s = spec{base: base, marker: true, commit: rapid.Bool().Draw(t, "commit")}
		s.producer = rapid.SampledFrom(slices.Sorted(maps.Keys(open))).Draw(t, "producer")
		delete(open, s.producer)
	}
	return s
}

// kept is one record that a restore has to bring back.
type kept struct {
	offset int64
	id     string
}

// naive decides for each record alone whether it comes back, from the whole log.
func (s *story) naive() (list []kept) {
	all := slices.Concat(s.blocks...)
	for i, b := range all {
		if b.marker || b.producer != 0 && !committed(all[i+1:], b.producer, s.hi) {
			continue
		}
		for _, d := range b.deltas() {
			if o := b.base + int64(d); o >= s.lo && o < s.hi {
				list = append(list, kept{o, b.identity(o)})
			}
		}
	}
	return list
}

// committed finds the producer's next marker below hi.
func committed(rest []spec, producer, hi int64) bool {
	for _, b := range rest {
		if b.marker && b.producer == producer && b.base < hi {
			return b.commit
		}
	}
	return false
}

// TestConverterAgainstModel compares batches, records, translated offsets and
// counts with a model that does nothing at once.
func TestConverterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stories().Draw(t, "story")
		buildTo := rapid.SampledFrom([]int{1, 300, 16 << 10, buildTo}).Draw(t, "build to")
		fit := rapid.SampledFrom([]int{0, 1, 150, 400, 2 * rawFrom, 4 * rawFrom}).Draw(t, "fit")
		c, err := convertToFit(fit, nil, s.lo, s.hi, s.wanted, buildTo, s.blocks, s.starts)
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range c.batches {
			if fit > 0 && len(raw) > fit && c.counts[i] > 1 {
				t.Fatalf("batch %d of %d records has %d bytes, more than %d", i, c.counts[i], len(raw), fit)
			}
		}
		model := s.naive()
		var want []string
		for _, k := range model {
			want = append(want, k.id)
		}
		if got := c.records(t); !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, w := range s.wanted {
			n := slices.IndexFunc(model, func(k kept) bool { return k.offset >= w })
			if n < 0 {
				n = len(model)
			}
			if got := c.translate(w); got != int64(n) {
				t.Fatalf("offset %d is translated to %d, want %d", w, got, n)
			}
		}
		if c.converter.counts.Kept != int64(len(model)) || c.kept != int64(len(model)) || c.at != max(s.hi, s.lo) {
			t.Fatalf("counts %+v, kept %d, at %d, want %d records to %d", c.converter.counts, c.kept, c.at, len(model), s.hi)
		}
		again, err := convertToFit(fit, nil, s.lo, s.hi, s.wanted, buildTo, s.blocks, s.starts)
		if err != nil || !slices.EqualFunc(c.batches, again.batches, bytes.Equal) {
			t.Fatal("a second run makes other batches: a killed restore could not go on", err)
		}
	})
}

// TestConverterPaths: which batches go out as they are, and which are joined.
func TestConverterPaths(t *testing.T) {
	large := func(s spec) spec { s.size, s.last = rawFrom, 1; return s }
	small := func(base int64, codec batch.Codec) spec { return spec{base: base, last: 1, codec: codec} }
	const raw, built = "raw", "built"
	for _, tc := range []struct {
		name   string
		lo, hi int64
		specs  []spec
		want   []string // per batch: how, and how many records
	}{
		{"large", 0, 2, []spec{large(spec{})}, []string{"raw 2"}},
		{"large and compressed", 0, 2, []spec{large(spec{codec: batch.Zstd})}, []string{"raw 2"}},
		{"small", 0, 2, []spec{small(0, 0)}, []string{"built 2"}},
		{"small ones are joined", 0, 6, []spec{small(0, 0), small(2, 0), small(4, 0)}, []string{"built 6"}},
		{"over a hole", 0, 9, []spec{small(0, 0), small(7, 0)}, []string{"built 4"}},
		{"not over a large one", 0, 6, []spec{small(0, 0), large(spec{base: 2}), small(4, 0)}, []string{"built 2", "raw 2", "built 2"}},
		{"not over codecs", 0, 6, []spec{small(0, 0), small(2, batch.LZ4), small(4, batch.LZ4)}, []string{"built 2", "built 4"}},
		{"transactional, committed", 0, 3, []spec{large(spec{producer: 9}), {base: 2, producer: 9, marker: true, commit: true}}, []string{"raw 2"}},
		{"transactional, aborted", 0, 3, []spec{large(spec{producer: 9}), {base: 2, producer: 9, marker: true}}, nil},
		{"transactional, open at the cut", 0, 2, []spec{large(spec{producer: 9}), {base: 2, producer: 9, marker: true, commit: true}}, nil},
		{"another's abort", 0, 3, []spec{large(spec{}), {base: 2, producer: 9, marker: true}}, []string{"raw 2"}},
		{"log append time", 0, 2, []spec{large(spec{logAppend: true})}, []string{"built 2"}},
		{"compacted", 0, 2, []spec{{last: 1, records: []int32{1}, size: rawFrom}}, []string{"built 1"}},
		{"compacted to nothing", 0, 2, []spec{{last: 1, records: []int32{}}}, nil},
		{"clipped below", 1, 2, []spec{large(spec{})}, []string{"built 1"}},
		{"clipped above", 0, 1, []spec{large(spec{})}, []string{"built 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := convert(tc.lo, tc.hi, nil, buildTo, [][]spec{tc.specs}, []int64{0})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, b := range c.batches {
				how := built
				if slices.ContainsFunc(tc.specs, func(s spec) bool { return bytes.Equal(s.encode(), b) }) {
					how = raw
				}
				got = append(got, fmt.Sprintf("%s %d", how, c.counts[i]))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// Joined batches keep their codec and are closed at a size.
func TestJoinedBatches(t *testing.T) {
	var specs []spec
	for i := range int64(40) {
		specs = append(specs, spec{base: i, codec: batch.Snappy, size: 100})
	}
	c, err := convert(0, 40, nil, 1000, [][]spec{specs}, []int64{0})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.batches); n < 4 || n > 10 {
		t.Errorf("%d batches", n)
	}
	for _, raw := range c.batches {
		h, _, _, err := batch.Next(raw)
		if err != nil || h.Codec() != batch.Snappy || h.ProducerID != -1 {
			t.Errorf("got %+v, %v", h, err)
		}
	}
}

// TestConverterRefuses: the digests were right, so the writer was wrong.
func TestConverterRefuses(t *testing.T) {
	for name, change := range map[string]func(raw []byte, k *segment.Block) []byte{
		"a batch fewer":  func(raw []byte, k *segment.Block) []byte { k.Batches--; return raw },
		"a record fewer": func(raw []byte, k *segment.Block) []byte { k.Records--; return raw },
		"ends before":    func(raw []byte, k *segment.Block) []byte { k.Next--; return raw },
		"begins behind":  func(raw []byte, k *segment.Block) []byte { k.Start += 2; return raw },
		"a flipped bit":  func(raw []byte, k *segment.Block) []byte { raw[80] ^= 1; return raw },
		"cut short":      func(raw []byte, k *segment.Block) []byte { return raw[:len(raw)-1] },
		"a byte behind":  func(raw []byte, k *segment.Block) []byte { return append(raw, 0) },
		"batches out of order": func(raw []byte, k *segment.Block) []byte {
			return append(spec{base: 2, last: 1}.encode(), spec{last: 1}.encode()...)
		},
		"batches that overlap": func(raw []byte, k *segment.Block) []byte {
			return append(spec{last: 2}.encode(), spec{base: 2, last: 1}.encode()...)
		},
		"records that are not there": func(_ []byte, k *segment.Block) []byte {
			b := spec{last: 1, records: []int32{0}}.encode() // one record,
			b[60], k.Records = 2, 4                          // which says it were two
			return append(reseal(b), spec{base: 2, last: 1}.encode()...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, k := block(0, spec{last: 1}, spec{base: 2, last: 1})
			raw = change(raw, k)
			c := &converter{track: &track{hi: 4}, txns: newTxnIndex(), tools: newTools(), buildTo: buildTo, emit: func([]byte, int32, *buffer) error { return nil }}
			if err := c.take(raw, nil, k, k.Start, k.Next); !errors.Is(err, segment.ErrCorrupt) {
				t.Errorf("got %v, want damage", err)
			}
		})
	}
	t.Run("offsets twice", func(t *testing.T) {
		raw, k := block(0, spec{last: 1})
		c := &converter{track: &track{hi: 4}, at: 1, txns: newTxnIndex(), tools: newTools()}
		if err := c.take(raw, nil, k, 0, 2); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("got %v, want damage", err)
		}
	})
	t.Run("the engine's error", func(t *testing.T) {
		mine := errors.New("mine")
		raw, k := block(0, spec{last: 1, size: rawFrom})
		c := &converter{track: &track{hi: 4}, txns: newTxnIndex(), tools: newTools(), emit: func([]byte, int32, *buffer) error { return mine }}
		if err := c.take(raw, nil, k, 0, 2); !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTxnIndex(t *testing.T) {
	const data, commit, abort = segment.TxnData, segment.TxnCommit, segment.TxnAbort
	event := func(kind segment.EventKind, producer, offset int64) segment.TxnEvent {
		return segment.TxnEvent{Kind: kind, ProducerID: producer, Offset: offset}
	}
	x := newTxnIndex()
	for _, e := range []segment.TxnEvent{
		event(data, 1, 10), event(data, 2, 12), event(data, 1, 14), // the second of 1 changes nothing
		event(abort, 1, 20), event(commit, 2, 21),
		event(abort, 3, 25), // of what began before the track
		event(data, 1, 30), event(commit, 1, 35), event(data, 1, 40), event(abort, 1, 45),
		event(data, 2, 50), event(data, 1, 60),
	} {
		x.add(e)
	}
	if n := x.close(); n != 2 {
		t.Errorf("%d are open, want 2", n)
	}
	if n := x.close(); n != 0 {
		t.Errorf("%d are open after they were closed", n)
	}
	for _, tc := range []struct {
		producer, next int64 // of a batch
		drops          bool
	}{
		{1, 10, false}, {1, 11, true}, {1, 20, true}, {1, 21, false},
		{1, 31, false}, {1, 35, false}, {1, 41, true}, {1, 45, true}, {1, 46, false}, {1, 60, false}, {1, 61, true}, {1, 1 << 60, true},
		{2, 13, false}, {2, 21, false}, {2, 50, false}, {2, 51, true},
		{3, 24, false}, {4, 11, false},
	} {
		if got := x.drops(tc.producer, tc.next); got != tc.drops {
			t.Errorf("a batch of producer %d that ends at %d: dropped %v, want %v", tc.producer, tc.next, got, tc.drops)
		}
	}
}
