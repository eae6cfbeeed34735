package manifest

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/offsite-kafka/offsite/internal/wire"
)

// secNote is a section that readers may skip.
const secNote = 130

// maxNote bounds the text of a note, in bytes.
const maxNote = 1 << 20

// Kinds of the notes of a prune and a sweep.
const (
	NotePrune = "prune"
	NoteSweep = "sweep"
)

// Note says for an audit what an entry was written for, and why. It changes
// nothing of what a restore yields.
type Note struct {
	Kind string // lower-case letters and dashes
	Text string // a JSON object
}

// NewNote returns a note with the JSON of content, which must be an object.
func NewNote(kind string, content any) (*Note, error) {
	text, err := json.Marshal(content)
	if err == nil && len(text) > maxNote {
		err = fmt.Errorf("%d bytes are above the limit of %d", len(text), maxNote)
	}
	if err != nil {
		return nil, fmt.Errorf("note of a %s: %w", kind, err)
	}
	return &Note{kind, string(text)}, nil
}

var noteKind = regexp.MustCompile(`\A[a-z-]{1,64}\z`)

func (e *Entry) appendNote() (b []byte) {
	if e.Note == nil {
		return nil
	}
	return wire.AppendString(wire.AppendString(nil, e.Note.Kind), e.Note.Text)
}

func (e *Entry) parseNote(r *wire.Reader) {
	n := &Note{r.String("kind of a note", maxName), r.String("note", maxNote)}
	if !noteKind.MatchString(n.Kind) {
		r.Failf("a note of kind %q", n.Kind)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(n.Text), &object) != nil || object == nil {
		r.Failf("a note that is not a JSON object")
	}
	e.Note = n
}
