package manifest

import (
	"unicode/utf8"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secMetadata is the section of the cluster's metadata besides topics.
const secMetadata = 11

// MaxMetadata bounds the content of one kind of metadata.
const MaxMetadata = 16 << 20

// MetadataChange is the new content of a kind of metadata of the cluster. What
// the kinds are and what their content says is not the log's business.
type MetadataChange struct {
	Kind    string
	Content *string // nil: not captured, or not any more
}

// Metadata is the content of a kind as it was last seen.
type Metadata struct {
	Content  *string // nil: not captured
	Sequence uint64  // of the entry that changed it last
	Time     int64   // ms since 1970, by the clock of that entry's writer
}

func (e *Entry) appendMetadata() (b []byte) {
	if len(e.Metadata) == 0 {
		return nil
	}
	b = wire.AppendUvarint(b, uint64(len(e.Metadata)))
	for _, m := range e.Metadata {
		b = wire.AppendString(b, m.Kind)
		b = wire.AppendOptional(b, m.Content)
	}
	return b
}

func (e *Entry) parseMetadata(r *wire.Reader) {
	e.Metadata = make([]MetadataChange, count(r, "kinds of metadata", 2))
	for i := range e.Metadata {
		m := &e.Metadata[i]
		m.Kind = r.String("kind of metadata", maxName)
		m.Content = r.Optional("metadata", MaxMetadata)
		if i > 0 && m.Kind <= e.Metadata[i-1].Kind {
			r.Failf("kinds of metadata out of order")
		}
		if m.Content != nil && !utf8.ValidString(*m.Content) {
			r.Failf("metadata that is not UTF-8")
		}
	}
}

func (s *State) applyMetadata(e *Entry) {
	for _, m := range e.Metadata {
		s.Metadata[m.Kind] = Metadata{m.Content, e.Sequence, e.Time}
	}
}
