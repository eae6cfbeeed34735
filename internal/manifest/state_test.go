package manifest_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

func topicNamed(number int, id byte, name string, gone bool) manifest.TopicChange {
	return manifest.TopicChange{Number: number, Topic: manifest.Topic{ID: [16]byte{id}, Name: name, Gone: gone, Partitions: 3, ReplicationFactor: 1}}
}

func advance(stream int, offsets int64) manifest.Range {
	return manifest.Range{Stream: stream, Spans: []manifest.Span{{Offsets: offsets, Records: offsets}}}
}

// follow applies an entry with the given sections.
func follow(t testing.TB, s *manifest.State, e manifest.Entry) {
	t.Helper()
	e.Sequence, e.Previous = s.Sequence+1, s.Head
	if err := s.Check(&e); err != nil {
		t.Fatalf("entry %d: %v", e.Sequence, err)
	}
	s.Apply(&e, sha256.Sum256([]byte(fmt.Sprint(e.Sequence))))
}

// history is a state with two topics, one of them gone, and a stream (1) that
// has a child (2).
func history(t testing.TB) *manifest.State {
	s := manifest.NewState()
	follow(t, s, manifest.Entry{
		Topics:   []manifest.TopicChange{topicNamed(0, 1, "orders", false), topicNamed(1, 2, "gone", false)},
		Streams:  []manifest.NewStream{{Topic: 0, Partition: 0, Parent: -1, First: 5}, {Topic: 0, Partition: 1, Parent: -1}},
		Segments: make([]manifest.Segment, 1),
		Ranges:   []manifest.Range{advance(0, 10), advance(1, 20)},
	})
	follow(t, s, manifest.Entry{
		Topics:  []manifest.TopicChange{topicNamed(1, 2, "gone", true)},
		Streams: []manifest.NewStream{{Topic: 0, Partition: 1, Parent: 1, First: 12}},
	})
	return s
}

// TestCheckRefuses breaks each rule of docs/format.md once. What is just
// allowed is there, too.
func TestCheckRefuses(t *testing.T) {
	stream := func(topic int, partition int32, parent int) []manifest.NewStream {
		return []manifest.NewStream{{Topic: topic, Partition: partition, Parent: parent}}
	}
	for _, tc := range []struct {
		name  string
		entry manifest.Entry
		want  string // "" if it is allowed
	}{
		{"nothing at all", manifest.Entry{}, ""},
		{"the same number again", manifest.Entry{Sequence: 2}, "sequence number 2 after 2"},
		{"a number left out", manifest.Entry{Sequence: 4}, "sequence number 4 after 2"},
		{"another predecessor", manifest.Entry{Previous: manifest.Digest{1}}, "predecessor"},

		{"a new topic", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "new", false)}}, ""},
		{"a topic number left out", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(3, 3, "new", false)}}, "topic 3 of 2"},
		{"a new topic with a known id", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 1, "new", false)}}, "id of new is known"},
		{"two new topics with one id", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "a", false), topicNamed(3, 3, "b", false)}}, "id of b is known"},
		{"another id", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, 3, "orders", false)}}, "changes its identity"},
		{"another name", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, 1, "orders2", false)}}, "changes its identity"},
		{"fewer partitions", manifest.Entry{Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "orders", Partitions: 2}}}}, "2 partitions instead of 3"},
		{"more partitions", manifest.Entry{Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "orders", Partitions: 4}}}}, ""},
		{"a new topic twice", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "a", false), topicNamed(2, 3, "a", false)}}, "changes its identity"},
		{"two topics of one name", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "orders", false)}}, "two topics called orders"},
		{"two new topics of one name", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "a", false), topicNamed(3, 4, "a", false)}}, "two topics called a"},
		{"a topic that comes back beside its successor", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(1, 2, "gone", false), topicNamed(2, 3, "gone", false)}}, "two topics called gone"},
		{"the name of a topic that is gone", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "gone", false)}}, ""},
		{"a topic that goes and its successor", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(0, 1, "orders", true), topicNamed(2, 3, "orders", false)}}, ""},
		{"the successor before the topic that goes", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "orders", false), topicNamed(0, 1, "orders", true)}}, ""},

		{"a stream of a known topic", manifest.Entry{Streams: stream(1, 0, -1)}, ""},
		{"a stream of a new topic", manifest.Entry{Topics: []manifest.TopicChange{topicNamed(2, 3, "new", false)}, Streams: stream(2, 0, -1)}, ""},
		{"a stream of no topic", manifest.Entry{Streams: stream(2, 0, -1)}, "stream of topic 2 of 2"},
		{"a stream that is there", manifest.Entry{Streams: stream(0, 0, -1)}, "partition 0 with parent -1"},
		{"a new stream twice", manifest.Entry{Streams: append(stream(1, 0, -1), stream(1, 0, -1)...)}, "partition 0 with parent -1"},
		{"a branch", manifest.Entry{Streams: stream(0, 0, 0)}, ""},
		{"a branch of a branch", manifest.Entry{Streams: stream(0, 1, 2)}, ""},
		{"a branch of what has one", manifest.Entry{Streams: stream(0, 1, 1)}, "partition 1 with parent 1"},
		{"a branch of another partition", manifest.Entry{Streams: stream(0, 0, 2)}, "partition 0 with parent 2"},
		{"a branch of nothing", manifest.Entry{Streams: stream(1, 0, 9)}, "partition 0 with parent 9"},
		{"a branch of a stream of the same entry", manifest.Entry{Streams: append(stream(1, 0, -1), stream(1, 0, 3)...)}, "partition 0 with parent 3"},
		{"two branches", manifest.Entry{Streams: append(stream(0, 0, 0), stream(0, 0, 0)...)}, "partition 0 with parent 0"},

		{"a range", manifest.Entry{Ranges: []manifest.Range{advance(0, 1), advance(2, 1)}}, ""},
		{"a range of a new stream", manifest.Entry{Streams: stream(1, 0, -1), Ranges: []manifest.Range{advance(3, 1)}}, ""},
		{"a range of no stream", manifest.Entry{Ranges: []manifest.Range{advance(3, 1)}}, "range of stream 3 of 3"},
		{"a range of a stream with a branch", manifest.Entry{Ranges: []manifest.Range{advance(1, 1)}}, "stream 1, which has been superseded"},
		{"a range of a stream that gets a branch", manifest.Entry{Streams: stream(0, 0, 0), Ranges: []manifest.Range{advance(0, 1)}}, "stream 0, which has been superseded"},
		{"a range to the last offset", manifest.Entry{Ranges: []manifest.Range{advance(0, math.MaxInt64-1-15)}}, ""},
		{"a range beyond the last offset", manifest.Entry{Ranges: []manifest.Range{advance(0, math.MaxInt64-15)}}, "beyond the last offset"},
		{"spans beyond the last offset", manifest.Entry{Ranges: []manifest.Range{{Stream: 0, Spans: []manifest.Span{{Offsets: math.MaxInt64 - 16}, {Offsets: 1}}}}}, "beyond the last offset"},

		{"a log start", manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 2, Offset: 1}}}, ""},
		{"a log start of no stream", manifest.Entry{LogStarts: []manifest.LogStart{{Stream: 3}}}, "log start of stream 3 of 3"},
		{"a cut at the beginning", manifest.Entry{Point: &manifest.Point{Exceptions: []manifest.CutException{{Stream: 0, Behind: 15}}}}, ""},
		{"a cut after this entry's ranges", manifest.Entry{Ranges: []manifest.Range{advance(0, 4)}, Point: &manifest.Point{Exceptions: []manifest.CutException{{Stream: 0, Behind: 19}}}}, ""},
		{"a cut below offset 0", manifest.Entry{Point: &manifest.Point{Exceptions: []manifest.CutException{{Stream: 0, Behind: 16}}}}, "cut of stream 0"},
		{"a cut of no stream", manifest.Entry{Point: &manifest.Point{Exceptions: []manifest.CutException{{Stream: 3}}}}, "cut of stream 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, e := history(t), tc.entry
			if e.Sequence == 0 {
				e.Sequence = s.Sequence + 1
			}
			if e.Previous == (manifest.Digest{}) {
				e.Previous = s.Head
			}
			err := s.Check(&e)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
			if !reflect.DeepEqual(s, history(t)) {
				t.Error("check has changed the state")
			}
		})
	}
}

func TestApply(t *testing.T) {
	s := history(t)
	follow(t, s, manifest.Entry{
		Time: 99, Agent: &manifest.Agent{Program: "backupd"}, Segments: []manifest.Segment{{Counter: 1}, {Counter: 2}},
		Ranges: []manifest.Range{
			{Stream: 0, EpochGiven: true, LeaderEpoch: 4, Spans: []manifest.Span{{Offsets: 5, Records: 4}, {Gap: true, Offsets: 100}, {Segment: 1, Offsets: 1, Records: 1}}},
			advance(2, 3),
		},
		LogStarts: []manifest.LogStart{{Stream: 0, Offset: 7}, {Stream: 2, Offset: 13}},
		Point:     &manifest.Point{Name: "nightly", Time: 98},
	})
	want := []manifest.Stream{
		{Topic: 0, Partition: 0, Parent: -1, Child: -1, First: 5, Next: 121, LogStart: 7, LeaderEpoch: 4, Records: 15},
		{Topic: 0, Partition: 1, Parent: -1, Child: 2, First: 0, Next: 20, LogStart: 0, LeaderEpoch: -1, Records: 20},
		{Topic: 0, Partition: 1, Parent: 1, Child: -1, First: 12, Next: 15, LogStart: 13, LeaderEpoch: -1, Records: 3},
	}
	if !reflect.DeepEqual(s.Streams, want) {
		t.Errorf("streams are\n%+v, want\n%+v", s.Streams, want)
	}
	if s.Sequence != 3 || s.Time != 99 || s.SegmentCount != 3 || s.Agent.Program != "backupd" {
		t.Errorf("got %+v", s)
	}
	if want := []manifest.PointRef{{Sequence: 3, Time: 98, Name: "nightly"}}; !reflect.DeepEqual(s.Points, want) {
		t.Errorf("points are %+v", s.Points)
	}
	if n, ok := s.Current(manifest.StreamKey{TopicID: [16]byte{1}, Partition: 1}); n != 2 || !ok {
		t.Errorf("the partition is captured by stream %d, %v, want its branch, 2", n, ok)
	}
	if n, ok := s.TopicNumber([16]byte{2}); n != 1 || !ok || !s.Topics[1].Gone {
		t.Errorf("topic 2 is number %d, %v, %+v", n, ok, s.Topics[1])
	}
	if k := s.Key(2); k != (manifest.StreamKey{TopicID: [16]byte{1}, Partition: 1}) {
		t.Errorf("stream 2 belongs to %+v", k)
	}
}

func TestApplyGroups(t *testing.T) {
	s := manifest.NewState()
	change := func(g manifest.GroupChange) { follow(t, s, manifest.Entry{Groups: []manifest.GroupChange{g}}) }
	commit := func(partition int32, offset int64) manifest.OffsetChange {
		return manifest.OffsetChange{Topic: "t", Partition: partition, Committed: true, Offset: offset, Epoch: 2, Metadata: "m"}
	}
	change(manifest.GroupChange{ID: "g", Type: "classic", Offsets: []manifest.OffsetChange{commit(10, 1), commit(9, 2)}})
	change(manifest.GroupChange{ID: "h", Type: "consumer"})
	change(manifest.GroupChange{ID: "g", Type: "consumer", ProtocolType: "p", Offsets: []manifest.OffsetChange{commit(10, 5), {Topic: "t", Partition: 9}, commit(2, 3)}})
	change(manifest.GroupChange{ID: "h", Gone: true})
	g := s.Groups["g"]
	if len(s.Groups) != 1 || g.Type != "consumer" || g.ProtocolType != "p" {
		t.Fatalf("groups are %+v", s.Groups)
	}
	want := []manifest.OffsetKey{{Topic: "t", Partition: 2}, {Topic: "t", Partition: 10}}
	if got := g.SortedOffsets(); !reflect.DeepEqual(got, want) {
		t.Errorf("offsets are %v, want %v", got, want)
	}
	if got := g.Offsets[want[1]]; got != (manifest.CommittedOffset{Offset: 5, Epoch: 2, Metadata: "m"}) {
		t.Errorf("partition 10 is at %+v", got)
	}
}
