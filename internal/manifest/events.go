package manifest

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventStarted    EventKind = "started"          // a program began to write
	EventCreated    EventKind = "topic-created"    // or selected for the first time
	EventGone       EventKind = "topic-gone"       // deleted, or no longer selected
	EventBack       EventKind = "topic-back"       // the same one, selected again
	EventPartitions EventKind = "partitions-added" // to a topic
	EventConfig     EventKind = "config-changed"   // of a topic, the replication factor among it
	EventGap        EventKind = "gap"              // offsets that were not there any more when they were to be read
	EventRewritten  EventKind = "rewritten"        // offsets that an unclean leader election replaced
	EventMetadata   EventKind = "metadata-changed" // of the cluster
)

// Event is something that happened to the source, or to its capture.
type Event struct {
	Entry     uint64 // of the log, that states it
	Time      int64  // ms since 1970, of the entry: when it was noticed
	Kind      EventKind
	Topic     string // with TopicID, if it is about one
	TopicID   [16]byte
	Partition int32 // -1 if it is not about one
	From, To  int64 // offsets [From, To) of EventGap and EventRewritten
	// OldestLost and NewestLost are what is known of the timestamps of an
	// EventGap's records: the newest one before it and the oldest one after it,
	// in ms since 1970; 0 where nothing is known.
	OldestLost, NewestLost int64
	Text                   string
}

// Events reads what happened from the log, the oldest first.
func (r *Repository) Events(ctx context.Context) ([]Event, error) {
	h := history{metadata: make(map[string]*string), newest: make(map[int]int64), open: make(map[int]int)}
	if _, err := r.Read(ctx, 0, func(state *State, e *Entry) error {
		h.add(state, e)
		return nil
	}); err != nil {
		return nil, err
	}
	return h.events, nil
}

// history gathers events from one entry after the other.
type history struct {
	events   []Event
	topics   []Topic            // as of the entry before
	metadata map[string]*string // likewise
	newest   map[int]int64      // by stream: the newest timestamp so far
	open     map[int]int        // by stream: its last gap, with nothing after it yet
}

func (h *history) note(e *Entry, kind EventKind, text string) *Event {
	h.events = append(h.events, Event{Entry: e.Sequence, Time: e.Time, Kind: kind, Partition: -1, Text: text})
	return &h.events[len(h.events)-1]
}

func (h *history) add(state *State, e *Entry) {
	if a := e.Agent; a != nil {
		h.note(e, EventStarted, fmt.Sprintf("%s on %s as %s", a.Program, a.Host, a.Principal))
	}
	for i := range e.Topics {
		h.addTopic(e, &e.Topics[i])
	}
	for _, n := range e.Streams {
		if n.Parent >= 0 {
			parent := &state.Streams[n.Parent]
			x := h.notePartition(state, e, n.Parent, EventRewritten, "captured before, and kept; what replaced it is captured as a branch")
			x.From, x.To = n.First, parent.Next
		}
	}
	for i := range e.Ranges {
		h.addRange(state, e, &e.Ranges[i])
	}
	for _, m := range e.Metadata {
		if was, ok := h.metadata[m.Kind]; ok || m.Content != nil {
			h.note(e, EventMetadata, m.Kind+difference(was, m.Content))
		}
		h.metadata[m.Kind] = m.Content
	}
}

func difference(was, is *string) string {
	switch {
	case is == nil:
		return ": not captured any more"
	case was == nil:
		return ": captured for the first time"
	}
	return ""
}

func (h *history) notePartition(state *State, e *Entry, stream int, kind EventKind, text string) *Event {
	st := &state.Streams[stream]
	x := h.note(e, kind, text)
	x.Topic, x.TopicID, x.Partition = state.Topics[st.Topic].Name, state.Topics[st.Topic].ID, st.Partition
	return x
}

func (h *history) addTopic(e *Entry, t *TopicChange) {
	note := func(kind EventKind, format string, args ...any) {
		x := h.note(e, kind, fmt.Sprintf(format, args...))
		x.Topic, x.TopicID = t.Name, t.ID
	}
	if t.Number == len(h.topics) {
		h.topics = append(h.topics, t.Topic)
		nth := 0
		for i := range h.topics {
			if h.topics[i].Name == t.Name {
				nth++
			}
		}
		note(EventCreated, "incarnation %d, %d partitions", nth, t.Partitions)
		return
	}
	was := h.topics[t.Number]
	h.topics[t.Number] = t.Topic
	switch {
	case t.Gone && !was.Gone:
		note(EventGone, "deleted, or not selected any more")
		return
	case was.Gone && !t.Gone:
		note(EventBack, "selected again")
	}
	if t.Partitions != was.Partitions {
		note(EventPartitions, "%d instead of %d", t.Partitions, was.Partitions)
	}
	if t.ReplicationFactor != was.ReplicationFactor {
		note(EventConfig, "replication factor: %d instead of %d", t.ReplicationFactor, was.ReplicationFactor)
	}
	before, after := configMap(was.Configs), configMap(t.Configs)
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if b, a := setting(before, name), setting(after, name); b != a {
			note(EventConfig, "%s: %s instead of %s", name, a, b)
		}
	}
}

func configMap(list []Config) map[string]*string {
	m := make(map[string]*string, len(list))
	for _, c := range list {
		m[c.Name] = c.Value
	}
	return m
}

func setting(m map[string]*string, name string) string {
	switch v, ok := m[name]; {
	case !ok:
		return "the default"
	case v == nil:
		return "a secret"
	default:
		return *v
	}
}

func (h *history) addRange(state *State, e *Entry, r *Range) {
	at := state.Start(r)
	for _, s := range r.Spans {
		switch {
		case s.Gap:
			x := h.notePartition(state, e, r.Stream, EventGap, s.Reason.String())
			x.From, x.To, x.OldestLost = at, at+s.Offsets, h.newest[r.Stream]
			h.open[r.Stream] = len(h.events) - 1
		case s.Records > 0:
			if i, ok := h.open[r.Stream]; ok {
				h.events[i].NewestLost = s.MinTimestamp
				delete(h.open, r.Stream)
			}
			h.newest[r.Stream] = max(h.newest[r.Stream], s.MaxTimestamp)
		}
		at += s.Offsets
	}
}
