package manifest

import (
	"fmt"
	"strings"
	"testing"
)

func TestEvents(t *testing.T) {
	value := func(s string) *string { return &s }
	topic := func(number int, id byte, partitions int32, gone bool, configs ...Config) TopicChange {
		return TopicChange{Number: number, Topic: Topic{ID: [16]byte{id}, Name: "orders", Partitions: partitions, ReplicationFactor: 1, Gone: gone, Configs: configs}}
	}
	s := newState(Digest{})
	h := NewHistory(func(kind, was, is string) string { return fmt.Sprintf("%s from %s to %s", kind, was, is) })
	for _, e := range []Entry{
		{
			Agent: &Agent{"backupd 1", "host", "User:b"}, Topics: []TopicChange{topic(0, 1, 2, false, Config{"a", value("1")}, Config{"b", value("2")})},
			Streams: []NewStream{{Topic: 0, Partition: 1, Parent: -1, First: 5}}, Segments: make([]Segment, 1),
			Ranges:   []Range{{Stream: 0, Spans: []Span{{Offsets: 10, Records: 10, MinTimestamp: 100, MaxTimestamp: 200}, {Gap: true, Offsets: 3}}}},
			Metadata: []MetadataChange{{"acls", value("[]")}, {"scram-users", nil}},
		},
		{Segments: []Segment{{Counter: 1}}, Ranges: []Range{{Stream: 0, Spans: []Span{{Offsets: 1, Records: 1, MinTimestamp: 900, MaxTimestamp: 950}}}}},
		{
			Topics:  []TopicChange{topic(0, 1, 3, false, Config{"b", value("3")}, Config{"c", nil})},
			Streams: []NewStream{{Topic: 0, Partition: 1, Parent: 0, First: 17}}, Metadata: []MetadataChange{{"acls", value("[1]")}},
		},
		{Topics: []TopicChange{topic(0, 1, 3, true), topic(1, 2, 1, false)}, Metadata: []MetadataChange{{"acls", nil}}},
		{Topics: []TopicChange{topic(0, 1, 3, false), topic(1, 2, 1, true)}, Metadata: []MetadataChange{{"acls", value("[2]")}, {"scram-users", value("{}")}}},
	} {
		e.Sequence, e.Previous = s.Sequence+1, s.Head
		if err := s.check(&e); err != nil {
			t.Fatal(err)
		}
		s.apply(&e, Digest{byte(e.Sequence)})
		h.Add(s, &e)
	}
	var got []string
	for _, e := range h.Events {
		got = append(got, fmt.Sprintf("%d %s %s/%d %d-%d lost %d-%d: %s", e.Entry, e.Kind, e.Topic, e.Partition, e.From, e.To, e.OldestLost, e.NewestLost, e.Text))
	}
	want := []string{
		"1 started /-1 0-0 lost 0-0: backupd 1 on host as User:b",
		"1 topic-created orders/-1 0-0 lost 0-0: incarnation 1, 2 partitions",
		"1 gap orders/1 15-18 lost 200-900: " + GapRetention.String(),
		"1 metadata-changed /-1 0-0 lost 0-0: acls: captured for the first time",
		"3 partitions-added orders/-1 0-0 lost 0-0: 3 instead of 2",
		"3 config-changed orders/-1 0-0 lost 0-0: a: the default instead of \"1\"",
		"3 config-changed orders/-1 0-0 lost 0-0: b: \"3\" instead of \"2\"",
		"3 config-changed orders/-1 0-0 lost 0-0: c: a secret instead of the default",
		"3 rewritten orders/1 17-19 lost 0-0: captured before, and kept; what replaced it is captured as a branch",
		"3 metadata-changed /-1 0-0 lost 0-0: acls: acls from [] to [1]",
		"4 topic-gone orders/-1 0-0 lost 0-0: deleted, or not selected any more",
		"4 topic-created orders/-1 0-0 lost 0-0: incarnation 2, 1 partition",
		"4 metadata-changed /-1 0-0 lost 0-0: acls: not captured any more",
		"5 topic-back orders/-1 0-0 lost 0-0: selected again",
		"5 topic-gone orders/-1 0-0 lost 0-0: deleted, or not selected any more",
		"5 metadata-changed /-1 0-0 lost 0-0: acls: captured again: acls from [1] to [2]",
		"5 metadata-changed /-1 0-0 lost 0-0: scram-users: captured for the first time",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`the default`:                  `"the default"`,
		"a\"; removed \x1b[31m\n":      `"a\"; removed \x1b[31m\n"`,
		strings.Repeat("ü", 150):       `"` + strings.Repeat("ü", 100) + `"…`,
		"x" + strings.Repeat("ü", 150): `"x` + strings.Repeat("ü", 99) + `"…`,
	} {
		if got := Quoted(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}
