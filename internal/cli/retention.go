package cli

import (
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/source"
)

// RetentionPolicy translates the rules of the configuration.
func (g *Globals) RetentionPolicy() (*retention.Policy, error) {
	c := &g.Config.Retention
	zone, err := c.Location()
	if err != nil {
		return nil, err
	}
	p := &retention.Policy{Rules: retentionRules(c.Window, &c.Keep), MinPoints: c.MinPoints, LegalHold: c.LegalHold, Zone: zone}
	for i := range c.Topics {
		t := &c.Topics[i]
		topics, err := t.Patterns()
		if err != nil {
			return nil, err
		}
		for _, text := range t.Include {
			one, err := pattern.Parse([]string{text})
			if err != nil {
				return nil, err
			}
			p.Patterns = append(p.Patterns, retention.NamedPattern{Text: text, Topics: one})
		}
		p.Topics = append(p.Topics, retention.TopicRules{Name: strings.Join(t.Include, ","), Topics: topics, Rules: retentionRules(t.Window, &t.Keep)})
	}
	return p, nil
}

func retentionRules(window config.Span, k *config.Keep) retention.Rules {
	return retention.Rules{Window: time.Duration(window), Last: k.Last, Hourly: k.Hourly, Daily: k.Daily, Weekly: k.Weekly, Monthly: k.Monthly, Yearly: k.Yearly}
}

// Keeping says to a verification which points the rules keep for which topics. Where
// all topics have the same rules, nothing may be missing at a point that is there.
func (g *Globals) Keeping() (func([]manifest.PointRef) source.Keeping, error) {
	if len(g.Config.Retention.Topics) == 0 {
		return nil, nil
	}
	policy, err := g.RetentionPolicy()
	return func(points []manifest.PointRef) source.Keeping { return policy.Keeping(points, time.Now()) }, err
}

// LogNeeds says to a verification what the rules keep of the log of groups.
func (g *Globals) LogNeeds() (func(manifest.PointRef) source.LogNeeds, error) {
	policy, err := g.RetentionPolicy()
	return func(newest manifest.PointRef) source.LogNeeds { return policy.GroupLog(newest, time.Now()) }, err
}
