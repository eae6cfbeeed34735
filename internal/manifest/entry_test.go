package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// entries generates entries that any decoder accepts. Whether they follow a
// state is not their business.
func entries() *rapid.Generator[*manifest.Entry] {
	return rapid.Custom(func(t *rapid.T) *manifest.Entry {
		e := &manifest.Entry{Sequence: rapid.Uint64().Draw(t, "sequence"), Time: rapid.Int64().Draw(t, "time")}
		copy(e.Previous[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "previous"))
		e.Nonce, e.Writer = manifest.ID{1, 2}, manifest.ID{3}
		if rapid.Bool().Draw(t, "agent") {
			e.Agent = &manifest.Agent{Program: text(t), Host: text(t), Principal: text(t)}
		}
		e.Topics = list(t, "topics", topic)
		e.Streams = list(t, "streams", func(t *rapid.T) manifest.NewStream {
			return manifest.NewStream{Topic: number(t), Partition: partition(t), Parent: rapid.IntRange(-1, 1<<24-1).Draw(t, "parent"), First: offset(t)}
		})
		e.Segments = list(t, "segments", segmentRef)
		if len(e.Segments) > 0 {
			e.Ranges = list(t, "ranges", func(t *rapid.T) manifest.Range { return streamRange(t, e) })
			after := -1
			for i := range e.Ranges {
				after += rapid.IntRange(1, 1000).Draw(t, "step")
				e.Ranges[i].Stream = after
			}
		}
		e.LogStarts = list(t, "log starts", func(t *rapid.T) manifest.LogStart { return manifest.LogStart{Offset: offset(t)} })
		for i := range e.LogStarts {
			e.LogStarts[i].Stream = i * 3
		}
		e.Groups = list(t, "groups", group)
		for i := range e.Groups {
			e.Groups[i].ID = fmt.Sprint(i) + e.Groups[i].ID
		}
		if rapid.Bool().Draw(t, "point") {
			e.Point = &manifest.Point{Name: text(t), Time: rapid.Int64().Draw(t, "point time")}
			e.Point.Exceptions = list(t, "exceptions", func(t *rapid.T) manifest.CutException { return manifest.CutException{Behind: offset(t)} })
			for i := range e.Point.Exceptions {
				e.Point.Exceptions[i].Stream = 5 + i*7
			}
		}
		e.PointChanges = list(t, "point changes", func(t *rapid.T) manifest.PointChange {
			flags := rapid.IntRange(0, 4).Draw(t, "flags")
			return manifest.PointChange{Pinned: flags == 1 || flags == 4, Deleted: flags == 2, Held: flags > 2}
		})
		for i := range e.PointChanges {
			e.PointChanges[i].Point = uint64(i) * 300
		}
		e.Removed, e.Deleted = lot(t), lot(t)
		e.Fences = list(t, "fences", func(t *rapid.T) manifest.ID { return manifest.ID{1} })
		for i := range e.Fences {
			e.Fences[i][0] = byte(i)
		}
		if len(e.Segments) > 0 && rapid.Bool().Draw(t, "moves") {
			e.Moves = moves(t, e)
		}
		if e.Point != nil && rapid.Bool().Draw(t, "closing") {
			e.Closing = &manifest.Closing{Millis: offset(t), Marks: 1 + offset(t)/2, Unproven: offset(t)}
		}
		if rapid.Bool().Draw(t, "note") {
			e.Note = &manifest.Note{Kind: rapid.StringMatching(`[a-z-]{1,9}`).Draw(t, "kind"), Text: fmt.Sprintf(`{"reason":%q}`, rapid.StringMatching(`[a-z ]{0,9}`).Draw(t, "reason"))}
		}
		if rapid.Bool().Draw(t, "verification") {
			e.Verification = &manifest.Verification{
				Level: manifest.Level(rapid.IntRange(0, 3).Draw(t, "level")), First: 1, Last: 1 + uint64(offset(t)), Share: 1 + offset(t)%manifest.WholeShare,
				Seed: rapid.Uint64().Draw(t, "seed"), Segments: offset(t), Bytes: offset(t), Damages: offset(t), Text: rapid.StringN(0, 100, 1024).Draw(t, "found"),
			}
		}
		if rapid.Bool().Draw(t, "promotion") {
			e.Promotion = &manifest.Promotion{Mark: manifest.Digest{rapid.Byte().Draw(t, "mark")}, Archive: rapid.Bool().Draw(t, "archive")}
		}
		return e
	})
}

// list is nil when it is empty, as in a decoded entry.
func list[T any](t *rapid.T, what string, one func(*rapid.T) T) []T {
	var l []T
	for range rapid.IntRange(0, 4).Draw(t, what) {
		l = append(l, one(t))
	}
	return l
}

func text(t *rapid.T) string      { return rapid.StringN(0, 12, -1).Draw(t, "text") }
func number(t *rapid.T) int       { return rapid.IntRange(0, 1<<24).Draw(t, "number") }
func partition(t *rapid.T) int32  { return rapid.Int32Range(0, math.MaxInt32).Draw(t, "partition") }
func offset(t *rapid.T) int64     { return rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "offset") }
func topicName(t *rapid.T) string { return rapid.StringMatching(`[a-z.]{1,9}`).Draw(t, "topic name") }

func topic(t *rapid.T) manifest.TopicChange {
	c := manifest.TopicChange{Number: number(t)}
	c.ID[5], c.Name, c.Gone = 9, topicName(t), rapid.Bool().Draw(t, "gone")
	c.Partitions, c.ReplicationFactor = rapid.Int32Range(0, 1<<24).Draw(t, "partitions"), rapid.Int32Range(0, 1<<15).Draw(t, "replicas")
	c.Configs = make([]manifest.Config, rapid.IntRange(0, 3).Draw(t, "configs"))
	for i := range c.Configs {
		c.Configs[i].Name = fmt.Sprintf("config.%d", i)
		if rapid.Bool().Draw(t, "readable") {
			v := text(t)
			c.Configs[i].Value = &v
		}
	}
	return c
}

func segmentRef(t *rapid.T) manifest.Segment {
	s := manifest.Segment{Counter: rapid.Uint64().Draw(t, "counter")}
	s.FooterLength = rapid.Int64Range(0, segment.MaxFooter).Draw(t, "footer")
	s.Size = s.FooterLength + 24 + rapid.Int64Range(0, 1<<40).Draw(t, "size")
	s.FooterDigest[31] = 8
	return s
}

func streamRange(t *rapid.T, e *manifest.Entry) manifest.Range {
	var r manifest.Range
	if r.EpochGiven = rapid.Bool().Draw(t, "epoch given"); r.EpochGiven {
		r.LeaderEpoch = rapid.Int32().Draw(t, "epoch")
	}
	r.Spans = make([]manifest.Span, rapid.IntRange(1, 3).Draw(t, "spans"))
	for i := range r.Spans {
		s := &r.Spans[i]
		s.Offsets = rapid.Int64Range(1, math.MaxInt64-1).Draw(t, "offsets")
		if s.Gap = rapid.Bool().Draw(t, "gap"); s.Gap {
			s.Reason = manifest.GapReason(rapid.IntRange(0, 1).Draw(t, "reason"))
			continue
		}
		s.Segment = rapid.IntRange(0, len(e.Segments)-1).Draw(t, "segment")
		if s.Records = rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "records"); s.Records > 0 {
			s.MaxTimestamp = rapid.Int64().Draw(t, "timestamp")
			s.MinTimestamp = rapid.Int64Range(math.MinInt64, s.MaxTimestamp).Draw(t, "timestamp")
		}
	}
	return r
}

func moves(t *rapid.T, e *manifest.Entry) *manifest.Moves {
	m := &manifest.Moves{After: rapid.Uint64().Draw(t, "after")}
	stream, next := 0, int64(0)
	for range rapid.IntRange(1, 4).Draw(t, "moves") {
		v := manifest.Move{Stream: stream, Start: next + rapid.Int64Range(0, 1<<40).Draw(t, "start")}
		v.Span = manifest.Span{Segment: rapid.IntRange(0, len(e.Segments)-1).Draw(t, "segment"), Offsets: rapid.Int64Range(1, 1<<40).Draw(t, "offsets")}
		if v.Span.Records = rapid.Int64Range(0, 1<<40).Draw(t, "records"); v.Span.Records > 0 {
			v.Span.MaxTimestamp = rapid.Int64().Draw(t, "timestamp")
			v.Span.MinTimestamp = rapid.Int64Range(math.MinInt64, v.Span.MaxTimestamp).Draw(t, "timestamp")
		}
		m.List = append(m.List, v)
		if next = v.Next(); rapid.Bool().Draw(t, "next stream") {
			stream, next = stream+rapid.IntRange(1, 1000).Draw(t, "step"), 0
		}
	}
	return m
}

func group(t *rapid.T) manifest.GroupChange {
	g := manifest.GroupChange{ID: text(t), Gone: rapid.Bool().Draw(t, "gone")}
	if g.Gone {
		return g
	}
	g.Type, g.ProtocolType = "classic", text(t)
	g.Offsets = make([]manifest.OffsetChange, rapid.IntRange(0, 3).Draw(t, "offsets"))
	for i := range g.Offsets {
		o := &g.Offsets[i]
		o.Topic, o.Partition = "t"+topicName(t), int32(i)
		if o.Committed = rapid.Bool().Draw(t, "committed"); o.Committed {
			o.Offset, o.Epoch, o.Metadata = offset(t), rapid.Int32().Draw(t, "epoch"), text(t)
		}
	}
	manifest.SortOffsets(g.Offsets)
	return g
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := entries().Draw(t, "entry")
		b, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := manifest.DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("it is encoded differently again (%v)", err)
		}
	})
}

// full has every section in it, and is long enough to be compressed.
func full() *manifest.Entry {
	value := strings.Repeat("compresses ", 40)
	e := &manifest.Entry{
		Sequence: 7, Previous: sha256.Sum256([]byte("x")), Nonce: manifest.ID{1}, Writer: manifest.ID{2}, Time: 1_700_000_000_000,
		Agent: &manifest.Agent{Program: "backupd 0.1.0", Host: "h", Principal: "User:backup"},
		Topics: []manifest.TopicChange{{Number: 0, Topic: manifest.Topic{
			ID: [16]byte{1}, Name: "orders", Partitions: 2, ReplicationFactor: 3, Configs: []manifest.Config{{Name: "a", Value: &value}, {Name: "b"}},
		}}},
		Streams: []manifest.NewStream{{Topic: 0, Partition: 0, Parent: -1, First: 4}, {Topic: 0, Partition: 1, Parent: -1}},
		Ranges: []manifest.Range{
			{Stream: 0, EpochGiven: true, LeaderEpoch: 5, Spans: []manifest.Span{{Offsets: 10, Records: 9, MinTimestamp: 1, MaxTimestamp: 2}}},
			{Stream: 1, Spans: []manifest.Span{{Gap: true, Reason: manifest.GapEmpty, Offsets: 3}, {Offsets: 1}}},
		},
		LogStarts: []manifest.LogStart{{Stream: 0, Offset: 4}},
		Groups: []manifest.GroupChange{{ID: "g", Type: "classic", ProtocolType: "consumer", Offsets: []manifest.OffsetChange{
			{Topic: "orders", Partition: 0, Committed: true, Offset: 8, Epoch: -1, Metadata: "m"}, {Topic: "orders", Partition: 1},
		}}, {ID: "h", Gone: true}},
		Point: &manifest.Point{Name: "p", Time: 3, Exceptions: []manifest.CutException{{Stream: 1, Behind: 2}}},

		Transactions: []manifest.Transaction{
			{Stream: 0, ProducerID: -1, Epoch: -1, Offset: 3},
			{Stream: 0, ProducerID: 9, Kind: manifest.TxnDecided, Epoch: 32767, Offset: 9},
			{Stream: 0, ProducerID: 9, Kind: manifest.TxnUndone, Epoch: 4, Offset: 5},
			{Stream: 1, ProducerID: 2, Kind: manifest.TxnOpen, Offset: 1},
		},
		PointChanges: []manifest.PointChange{{Point: 4, Pinned: true}, {Point: 5, Held: true}, {Point: 6, Deleted: true}},
		Removed:      &manifest.SegmentLot{Segments: manifest.SegmentSet{{3}: {{1, 4}, {6, 6}}, {4}: {{0, 0}}}, Bytes: 9},
		Fences:       []manifest.ID{{5}, {6}},
		Deleted:      &manifest.SegmentLot{Segments: manifest.SegmentSet{{3}: {{0, 0}}}, Bytes: 1 << 40},
		Closing:      &manifest.Closing{Millis: 23, Marks: 2, Unproven: 1},
		Verification: &manifest.Verification{Level: manifest.LevelDecode, First: 1, Last: 6, Share: 50_000, Seed: 1 << 63, Segments: 3, Bytes: 4, Damages: 1, Text: "data/…"},
	}
	e.Segments = []manifest.Segment{{Counter: 1}}
	e.Segments[0].Size, e.Segments[0].FooterLength = 1000, 100
	return e
}

func mustEncode(t testing.TB, e *manifest.Entry) []byte {
	t.Helper()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEveryBitAndLengthOfAnEntry: nothing but the entry itself is accepted.
func TestEveryBitAndLengthOfAnEntry(t *testing.T) {
	short := full()
	short.Topics[0].Configs = nil
	for name, e := range map[string]*manifest.Entry{"compressed": full(), "as it is": short} {
		b := mustEncode(t, e)
		if codec := binary.BigEndian.Uint32(b[88:]); (codec == 1) != (name == "compressed") {
			t.Fatalf("the entry meant to be %s has codec %d", name, codec)
		}
		if _, err := manifest.DecodeEntry(b); err != nil {
			t.Fatal(err)
		}
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				if _, err := manifest.DecodeEntry(c); err == nil {
					t.Errorf("%s: byte %d bit %d: accepted", name, i, bit)
				}
			}
			if _, err := manifest.DecodeEntry(b[:i]); err == nil {
				t.Errorf("%s: cut at %d: accepted", name, i)
			}
		}
		if _, err := manifest.DecodeEntry(append(b, 0)); err == nil {
			t.Errorf("%s: a byte behind: accepted", name)
		}
	}
}

func TestLogKeys(t *testing.T) {
	for seq, want := range map[uint64]string{
		1: "log/00000000/000000000001", 9999: "log/00000000/000000009999", 10000: "log/00000001/000000010000",
		123456789012: "log/12345678/123456789012", 999999999999: "log/99999999/999999999999",
	} {
		if got := manifest.LogKey(seq); got != want {
			t.Errorf("key of %d is %s, want %s", seq, got, want)
		}
		if got, ok := manifest.ParseLogKey(want); got != seq || !ok {
			t.Errorf("%s is number %d, %v", want, got, ok)
		}
	}
	for _, key := range []string{
		"", "log/", "log/00000000/1", "log/00000001/000000000001", "log/00000000/00000000000x", "log/00000000/0000000000010",
		"000000000001", "x/00000000/000000000001", "log/0/000000000001", "log/00000000/000000000001/",
	} {
		if seq, ok := manifest.ParseLogKey(key); ok {
			t.Errorf("%q is taken for entry %d", key, seq)
		}
	}
	if got, want := manifest.SegmentKey(manifest.ID{0xab}, 7), "data/ab000000000000000000000000000000/00000007"; got != want {
		t.Errorf("segment key is %s, want %s", got, want)
	}
}

// TestEntryOfManyStreams is the promise of DESIGN.md: 10,000 active streams in
// an entry take less than 100 KB.
func TestEntryOfManyStreams(t *testing.T) {
	const streams = 10_000
	random := rand.New(rand.NewPCG(1, 2))
	e := &manifest.Entry{Sequence: 1000, Time: 1_700_000_000_000, Nonce: manifest.NewID(), Writer: manifest.NewID(), Segments: full().Segments}
	for i := range streams {
		s := manifest.Span{Offsets: 1 + random.Int64N(20_000)}
		s.Records = s.Offsets
		if random.IntN(10) == 0 { // transactional: markers have offsets
			s.Records -= random.Int64N(s.Offsets)
		}
		s.MaxTimestamp = e.Time - random.Int64N(12_000)
		s.MinTimestamp = s.MaxTimestamp - random.Int64N(10_000)
		r := manifest.Range{Stream: i, Spans: []manifest.Span{s}}
		if random.IntN(100) == 0 { // a broker was restarted
			r.EpochGiven, r.LeaderEpoch = true, random.Int32N(50)
		}
		e.Ranges = append(e.Ranges, r)
	}
	e.Point = &manifest.Point{Time: e.Time}
	b := mustEncode(t, e)
	t.Logf("%d streams: %d bytes, %d before compression", streams, len(b), len(e.Body()))
	if len(b) >= 100_000 {
		t.Errorf("an entry of %d streams has %d bytes", streams, len(b))
	}
	got, err := manifest.DecodeEntry(b)
	if err != nil || !slices.EqualFunc(got.Ranges, e.Ranges, func(a, b manifest.Range) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("it does not decode to the same ranges (%v)", err)
	}
}
