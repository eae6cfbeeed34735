package manifest_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

func TestMovesBounds(t *testing.T) {
	held := segmentOf(100, 10)
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"one", join(held, section(13, uv(5, 1, 2, 10, 0, 7, 14))), true},
		{"none", join(held, section(13, uv(5, 0))), false},
		{"two of a stream", join(held, section(13, uv(5, 2, 2, 10, 0, 7, 14, 0, 0, 0, 1, 2))), true},
		{"into a segment that is not there", join(held, section(13, uv(5, 1, 2, 10, 2, 7, 14))), false},
		{"without a segment", section(13, uv(5, 1, 2, 10, 0, 7, 14)), false},
		{"a gap", join(held, section(13, uv(5, 1, 2, 10, 1, 7))), false},
		{"no offsets", join(held, section(13, uv(5, 1, 2, 10, 0, 0, 0))), false},
		{"beyond the last offset", join(held, section(13, uv(5, 1, 2, math.MaxInt64-2, 0, 2, 4))), false},
		{"up to the last offset", join(held, section(13, uv(5, 1, 2, math.MaxInt64-2, 0, 1, 2))), true},
		{"cut short", join(held, section(13, uv(5, 1, 2, 10, 0, 7))), false},
		{"left over", join(held, section(13, uv(5, 1, 2, 10, 0, 7, 14, 0))), false},
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

// moving is an entry that moves a range of a stream, and says by what was known when.
func moving(after uint64, stream int, start, next int64) manifest.Entry {
	return manifest.Entry{
		Segments: []manifest.Segment{{Counter: 2, Ref: segment.Ref{Size: 100}}},
		Moves: &manifest.Moves{After: after, List: []manifest.Move{
			{Stream: stream, Start: start, Span: manifest.Span{Offsets: next - start}},
		}},
	}
}

func TestCheckMoves(t *testing.T) {
	s := manifest.NewState()
	follow(t, s, manifest.Entry{
		Topics:   []manifest.TopicChange{{Topic: manifest.Topic{Name: "a", Partitions: 1}}},
		Streams:  []manifest.NewStream{{Parent: -1, First: 5}},
		Segments: []manifest.Segment{{Ref: segment.Ref{Size: 100}}},
		Ranges:   []manifest.Range{{Spans: []manifest.Span{{Offsets: 10}}}},
	})
	for _, tc := range []struct {
		name  string
		entry manifest.Entry
		want  string // "" if it is allowed
	}{
		{"all of it", moving(0, 0, 5, 15), ""},
		{"below its first offset", moving(0, 0, 4, 15), "which has [5,15)"},
		{"beyond its position", moving(0, 0, 5, 16), "which has [5,15)"},
		{"no such stream", moving(0, 1, 5, 15), "stream 1 of 1"},
		{"by what was known later", moving(1, 0, 5, 15), "known after entry 1"},
	} {
		e := tc.entry
		e.Sequence, e.Previous = s.Sequence+1, s.Head
		if err := s.Check(&e); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	follow(t, s, moving(0, 0, 5, 15))
	if s.Moved != 2 {
		t.Errorf("moved by entry %d", s.Moved)
	}
	e := moving(0, 0, 5, 15)
	e.Segments[0].Counter = 3
	e.Sequence, e.Previous = s.Sequence+1, s.Head
	if err := s.Check(&e); err == nil || !strings.Contains(err.Error(), "entry 2 has moved some since then") {
		t.Errorf("moves by what was known before: %v", err)
	}
}
