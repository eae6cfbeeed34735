package manifest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/dustin/go-humanize/english"
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
	EventVerified   EventKind = "verified"         // the repository was, and this was found
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
	Stream    int   // that holds what was replaced, of EventRewritten
	// OldestLost and NewestLost are what is known of the timestamps of an
	// EventGap's records: the newest one before it and the oldest one after it,
	// in ms since 1970; 0 where nothing is known.
	OldestLost, NewestLost int64
	Text                   string
}

// Events reads what happened from the log, the oldest first. Changes, which may
// be nil, says what two contents of a kind of metadata differ in.
func (r *Repository) Events(ctx context.Context, changes func(kind, was, is string) string) ([]Event, error) {
	h := NewHistory(changes)
	if _, err := r.Read(ctx, 0, func(state *State, e *Entry) error {
		h.Add(state, e)
		return nil
	}); err != nil {
		return nil, err
	}
	return h.Events, nil
}

// History gathers events from one entry of the log after the other.
type History struct {
	Events []Event // so far, the oldest first

	changes  func(kind, was, is string) string
	topics   []Topic            // as of the entry before
	metadata map[string]*string // likewise
	known    map[string]string  // what was captured last of a kind, captured still or not
	newest   map[int]int64      // by stream: the newest timestamp so far
	open     map[int]int        // by stream: its last gap, with nothing after it yet
}

// NewHistory returns one without an event. Changes is as for Events.
func NewHistory(changes func(kind, was, is string) string) *History {
	if changes == nil {
		changes = func(string, string, string) string { return "" }
	}
	return &History{changes: changes, metadata: make(map[string]*string), known: make(map[string]string), newest: make(map[int]int64), open: make(map[int]int)}
}

// Begin makes the history one of what follows a state: with nothing added yet.
func (h *History) Begin(s *State) {
	h.topics = slices.Clone(s.Topics)
	for kind, m := range s.Metadata {
		if h.metadata[kind] = m.Content; m.Content != nil {
			h.known[kind] = *m.Content
		}
	}
	for n := range s.Streams {
		h.newest[n] = s.Streams[n].Newest
	}
}

func (h *History) note(e *Entry, kind EventKind, text string) *Event {
	h.Events = append(h.Events, Event{Entry: e.Sequence, Time: e.Time, Kind: kind, Partition: -1, Text: text})
	return &h.Events[len(h.Events)-1]
}

// Add adds what an entry says. The state includes it, and it follows the one
// that was added last.
func (h *History) Add(state *State, e *Entry) {
	if v := e.Verification; v != nil {
		h.note(e, EventVerified, v.words())
	} else if a := e.Agent; a != nil {
		text := fmt.Sprintf("%s on %s", a.Program, a.Host)
		if a.Principal != "" {
			text += " as " + a.Principal
		}
		h.note(e, EventStarted, text)
	}
	for i := range e.Topics {
		h.addTopic(e, &e.Topics[i])
	}
	for _, n := range e.Streams {
		if n.Parent >= 0 {
			parent := &state.Streams[n.Parent]
			x := h.notePartition(state, e, n.Parent, EventRewritten, "captured before, and kept; what replaced it is captured as a branch")
			x.From, x.To, x.Stream = n.First, parent.Next, n.Parent
		}
	}
	for i := range e.Ranges {
		h.addRange(state, e, &e.Ranges[i])
	}
	for _, m := range e.Metadata {
		if was, ok := h.metadata[m.Kind]; ok || m.Content != nil {
			h.note(e, EventMetadata, m.Kind+h.difference(m.Kind, was, m.Content))
		}
		h.metadata[m.Kind] = m.Content
		if m.Content != nil {
			h.known[m.Kind] = *m.Content
		}
	}
}

// difference says what happened to a kind of metadata that was captured before,
// or not, and is captured now, or not.
func (h *History) difference(kind string, was, is *string) string {
	known, ever := h.known[kind]
	switch {
	case is == nil:
		return ": not captured any more"
	case !ever:
		return ": captured for the first time"
	}
	text := ""
	if was == nil {
		text = ": captured again"
	}
	if changes := h.changes(kind, known, *is); changes != "" {
		text += ": " + changes
	}
	return text
}

func (h *History) notePartition(state *State, e *Entry, stream int, kind EventKind, text string) *Event {
	st := &state.Streams[stream]
	x := h.note(e, kind, text)
	x.Topic, x.TopicID, x.Partition = state.Topics[st.Topic].Name, state.Topics[st.Topic].ID, st.Partition
	return x
}

func (h *History) addTopic(e *Entry, t *TopicChange) {
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
		note(EventCreated, "incarnation %d, %s", nth, english.Plural(int(t.Partitions), "partition", ""))
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
		return Quoted(*v)
	}
}

// Quoted is a text that comes from a cluster, as events show it: in quotes, so
// that it cannot pass for what the event itself says, and cut off where it is long.
func Quoted(text string) string {
	const most = 200 // bytes
	if len(text) <= most {
		return strconv.Quote(text)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(text[:cut]) + "…"
}

func (h *History) addRange(state *State, e *Entry, r *Range) {
	at := state.Start(r)
	for _, s := range r.Spans {
		switch {
		case s.Gap:
			x := h.notePartition(state, e, r.Stream, EventGap, s.Reason.String())
			x.From, x.To, x.OldestLost = at, at+s.Offsets, h.newest[r.Stream]
			h.open[r.Stream] = len(h.Events) - 1
		case s.Records > 0:
			if i, ok := h.open[r.Stream]; ok {
				h.Events[i].NewestLost = s.MinTimestamp
				delete(h.open, r.Stream)
			}
			h.newest[r.Stream] = max(h.newest[r.Stream], s.MaxTimestamp)
		}
		at += s.Offsets
	}
}
