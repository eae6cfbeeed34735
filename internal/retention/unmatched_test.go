package retention_test

import (
	"slices"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// A pattern that no topic has a name for is told.
func TestUnmatchedPatterns(t *testing.T) {
	repo := openRepo(t, mem.New())
	_, err := openLog(t, repo).Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		return &manifest.Entry{Point: &manifest.Point{}, Topics: []manifest.TopicChange{{Topic: manifest.Topic{ID: [16]byte{1}, Name: "ledger-1", Partitions: 1}}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &retention.Pruner{Repository: repo, Now: time.Now}
	for _, text := range []string{"ledger-*", "leger-*", "/ledger/"} {
		list, err := pattern.Parse([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		p.Policy.Patterns = append(p.Policy.Patterns, retention.NamedPattern{Text: text, Topics: list})
	}
	r, err := p.Plan(t.Context())
	if want := []string{"leger-*", "/ledger/"}; err != nil || !slices.Equal(r.Unmatched, want) {
		t.Errorf("%+v, %v, want %q", r, err, want)
	}
}
