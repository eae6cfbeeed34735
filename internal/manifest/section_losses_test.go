package manifest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

func TestLossesBounds(t *testing.T) {
	one := func(change func(*manifest.Loss)) []byte {
		l := manifest.Loss{Stream: 2, Start: 10, Offsets: 7, Records: 6, MinTimestamp: 3, MaxTimestamp: 4, Epoch: -1, In: manifest.SegmentName{Writer: manifest.ID{1}, Counter: 9}, Reason: "gone"}
		change(&l)
		return (&manifest.Entry{Losses: &manifest.Losses{After: 5, List: []manifest.Loss{l}}}).Body()
	}
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"one", one(func(*manifest.Loss) {}), true},
		{"without a record", one(func(l *manifest.Loss) { l.Records = 0 }), true},
		{"none", section(17, uv(5, 0)), false},
		{"no offsets", one(func(l *manifest.Loss) { l.Offsets = 0 }), false},
		{"fewer records than none", one(func(l *manifest.Loss) { l.Records = -1 }), false},
		{"an epoch below none", one(func(l *manifest.Loss) { l.Epoch = -2 }), false},
		{"a long reason", one(func(l *manifest.Loss) { l.Reason = strings.Repeat("x", 1025) }), false},
		{"beyond the last offset", one(func(l *manifest.Loss) { l.Start = 1<<63 - 5 }), false},
		{"left over", section(17, append(one(func(*manifest.Loss) {})[2:], 0)), false},
	} {
		e, err := manifest.DecodeEntry(plain(tc.body))
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err == nil && !bytes.Equal(e.Body(), tc.body) {
			t.Errorf("%s: it is encoded as % x", tc.name, e.Body())
		}
	}
}

// losing is an entry that gives up a range of stream 0 that a segment of the first entry held.
func losing(after uint64, in manifest.SegmentName, start, next int64) manifest.Entry {
	return manifest.Entry{Losses: &manifest.Losses{After: after, List: []manifest.Loss{{Start: start, Offsets: next - start, In: in}}}}
}

func TestLossesInForce(t *testing.T) {
	s := manifest.NewState()
	follow(t, s, manifest.Entry{
		Topics:   []manifest.TopicChange{{Topic: manifest.Topic{Name: "a", Partitions: 1}}},
		Streams:  []manifest.NewStream{{Parent: -1, First: 5}},
		Segments: []manifest.Segment{{Ref: segment.Ref{Size: 100}}},
		Ranges:   []manifest.Range{{Spans: []manifest.Span{{Offsets: 10}}}},
	})
	in := manifest.SegmentName{}
	for _, tc := range []struct {
		name  string
		entry manifest.Entry
		want  string // "" if it is allowed
	}{
		{"all of it", losing(0, in, 5, 15), ""},
		{"below its first offset", losing(0, in, 4, 15), "which has [5,15)"},
		{"beyond its position", losing(0, in, 5, 16), "which has [5,15)"},
		{"in a segment that is not there", losing(0, manifest.SegmentName{Counter: 1}, 5, 15), "which is not there"},
		{"by what was known later", losing(1, in, 5, 15), "known after entry 1"},
	} {
		e := tc.entry
		e.Sequence, e.Previous = s.Sequence+1, s.Head
		if err := s.Check(&e); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	inForce := func(want ...[2]int64) {
		t.Helper()
		var got [][2]int64
		for _, l := range s.Lost {
			got = append(got, [2]int64{l.Start, l.Next()})
		}
		if !slices.Equal(got, want) || s.Quarantined(in.Writer, in.Counter) != (len(want) > 0) {
			t.Errorf("after entry %d: lost is %v, want %v", s.Sequence, got, want)
		}
	}
	follow(t, s, losing(0, in, 5, 15))
	inForce([2]int64{5, 15})
	lifting := moving(2, 0, 12, 15)
	lifting.Losses = losing(2, in, 5, 12).Losses
	follow(t, s, lifting)
	inForce([2]int64{5, 12})
	lifted := moving(3, 0, 5, 12)
	lifted.Segments[0].Counter = 3
	follow(t, s, lifted)
	inForce()
	follow(t, s, losing(4, in, 5, 12))
	follow(t, s, manifest.Entry{Removed: &manifest.SegmentLot{Segments: manifest.SegmentSet{in.Writer: {{}}}, Bytes: 100}})
	inForce()
}

// A span may be held by several pieces, and a piece that a merge makes of them may begin or end inside it.
func TestLayoutOfParts(t *testing.T) {
	l := manifest.NewLayout(func(int) bool { return true })
	span := func(offsets, records, least, most int64) manifest.Span {
		return manifest.Span{Offsets: offsets, Records: records, MinTimestamp: least, MaxTimestamp: most}
	}
	add := func(seq uint64, losses []manifest.Loss, moves ...manifest.Move) error {
		e := &manifest.Entry{Sequence: seq, Segments: []manifest.Segment{{Counter: seq}}}
		if losses != nil {
			e.Losses = &manifest.Losses{List: losses}
		}
		if moves != nil {
			e.Moves = &manifest.Moves{List: moves}
		}
		return l.Add(e)
	}
	pieces := func(start int64, sp manifest.Span) string {
		t.Helper()
		found, err := l.Find(0, start, sp)
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		for _, p := range found {
			b.WriteString(map[bool]string{true: "lost ", false: "moved "}[p.Lost])
		}
		return b.String()
	}
	first, second := span(100, 90, 1, 50), span(100, 80, 20, 70)
	if err := add(3, []manifest.Loss{{Start: 40, Offsets: 20, Records: 15, MinTimestamp: 1, MaxTimestamp: 50}}, manifest.Move{Start: 0, Span: span(40, 40, 1, 30)}, manifest.Move{Start: 60, Span: span(40, 35, 2, 50)}); err != nil {
		t.Fatal(err)
	}
	if got := pieces(0, first); got != "moved lost moved " {
		t.Errorf("the first span: %s", got)
	}
	if err := add(4, nil, manifest.Move{Start: 60, Span: span(140, 115, 2, 70)}); err != nil {
		t.Fatal(err)
	}
	if a, b := pieces(0, first), pieces(100, second); a != "moved lost moved " || b != "moved " {
		t.Errorf("after a merge: %s, %s", a, b)
	}
	if err := add(5, nil, manifest.Move{Start: 50, Span: span(20, 10, 1, 2)}); err == nil || !strings.Contains(err.Error(), "moved together") {
		t.Errorf("a part of what was moved together: %v", err)
	}
	if err := add(6, nil, manifest.Move{Start: 40, Span: span(20, 14, 1, 50)}); err != nil {
		t.Fatal(err)
	}
	if a, b := pieces(0, first), pieces(100, second); a != "moved moved moved " || !strings.Contains(b, "170 records") && !strings.Contains(b, "169 records") {
		t.Errorf("with a record too few: %s, %s", a, b)
	}
}
