package retention

import (
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
)

// NamedPattern is a pattern as the configuration has it.
type NamedPattern struct {
	Text   string
	Topics pattern.List
}

// unmatched returns the patterns of rules that no topic of the repository has the name
// for, now or before: the rules may be meant for one that is spelled differently, and
// other rules count for that.
func (p *Policy) unmatched(head *manifest.State) (texts []string) {
	for _, one := range p.Patterns {
		if !slices.ContainsFunc(head.Topics, func(t manifest.Topic) bool { return one.Topics.Match(t.Name) }) {
			texts = append(texts, one.Text)
		}
	}
	return texts
}
