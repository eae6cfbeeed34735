package manifest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// A reader that somebody else has given the keys while the log is open gets nothing, be it of the same generation or of
// another one, until it is retired.
func TestNothingIsSealedForAForeignReader(t *testing.T) {
	for name, again := range map[string]bool{"a generation stated again": true, "a new generation": false} {
		t.Run(name, func(t *testing.T) {
			s, foreign := newSealed(t), identity(t)
			repo := s.as(t, s.writer)
			repo.SealOnlyFor([]string{holder(s.reader).Recipient})
			daemon := openLog(t, repo)
			appendSealed(t, daemon, "bills")
			other := openLog(t, s.as(t, s.reader))
			if again {
				if _, _, err := other.AddKey(t.Context(), agentOne, holder(foreign), false); err != nil {
					t.Fatal(err)
				}
			} else {
				readers := []manifest.KeyHolder{holder(s.reader), holder(foreign)}
				slices.SortFunc(readers, func(a, b manifest.KeyHolder) int { return strings.Compare(a.Recipient, b.Recipient) })
				if err := other.AddGeneration(t.Context(), agentOne, readers, []manifest.KeyHolder{holder(s.writer)}); err != nil {
					t.Fatal(err)
				}
			}
			refused := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, manifest.ErrKeyHolder) || !strings.Contains(err.Error(), holder(foreign).Recipient+" could read what is written") {
					t.Errorf("%s: %v", what, err)
				}
			}
			before := len(daemon.State().Topics)
			_, err := daemon.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
				return &manifest.Entry{Time: 1, Note: &manifest.Note{Kind: "test", Text: "{}"}}, nil
			})
			refused("an entry", err)
			_, err = repo.NewSeal(daemon.Writer(), 1)
			refused("a segment", err)
			_, err = repo.SealObject(daemon.State(), "reports/x", []byte("x"))
			refused("another object", err)
			if len(daemon.State().Topics) != before {
				t.Error("the state has changed")
			}
			if _, err := openLog(t, s.as(t, s.reader)).RetireKey(t.Context(), agentOne, holder(foreign).Recipient, false); err != nil {
				t.Fatal(err)
			}
			appendSealed(t, openLog(t, repo), "invoices")
		})
	}
}
