package retention

import (
	"cmp"
	"maps"
	"regexp"
	"slices"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// PruneNote is the content of the note of a prune: of the entry that deletes points
// and removes segments, or of the one that tells which objects are deleted.
type PruneNote struct {
	Points   *PointCount  `json:"points,omitempty"`
	Rules    []RuleCount  `json:"rules,omitempty"`
	Removed  *NotedAmount `json:"removed,omitempty"`
	Deleted  *NotedAmount `json:"deleted,omitempty"`
	Refused  int          `json:"refused,omitempty"` // objects that the store did not delete
	Force    bool         `json:"force,omitempty"`
	DropPins []string     `json:"dropPins,omitempty"`
}

// PointCount is how many points stay and go.
type PointCount struct {
	Kept    int `json:"kept"`
	Dropped int `json:"dropped"`
}

// RuleCount is how many points a rule is a reason for. One point may have several.
type RuleCount struct {
	Rule    string `json:"rule"`
	Kept    int    `json:"kept"`
	Dropped int    `json:"dropped"`
}

// NotedAmount is a number of segments, and their size.
type NotedAmount struct {
	Segments int64 `json:"segments"`
	Bytes    int64 `json:"bytes"`
}

// SweepNote is the content of the note of a sweep.
type SweepNote struct {
	Orphans int   `json:"orphans"` // to be deleted
	Bytes   int64 `json:"bytes"`
	Spared  int   `json:"spared"`
	Fenced  int   `json:"fenced"` // writers
}

// Bounds of what a note has of rules: those of many topics may be long.
const (
	mostRules = 200
	ruleChars = 200
)

func (p *Pruner) noteRemoval(plan *plan) (*manifest.Note, error) {
	removed := NotedAmount(plan.Removed)
	n := PruneNote{Points: &PointCount{}, Rules: countRules(plan.Decisions), Removed: &removed, Force: p.Force, DropPins: p.DropPins}
	for i := range plan.Decisions {
		if plan.Decisions[i].Keep {
			n.Points.Kept++
		} else {
			n.Points.Dropped++
		}
	}
	return manifest.NewNote(manifest.NotePrune, n)
}

func (p *Pruner) noteDeletion(d *deleter) (*manifest.Note, error) {
	deleted := NotedAmount(d.amount)
	return manifest.NewNote(manifest.NotePrune, PruneNote{Deleted: &deleted, Refused: len(d.refused), Force: p.Force, DropPins: p.DropPins})
}

func (r *Sweep) note() (*manifest.Note, error) {
	n := SweepNote{Orphans: len(r.Orphans), Spared: len(r.Spared), Fenced: len(r.Fenced)}
	for _, o := range r.Orphans {
		n.Bytes += o.Size
	}
	return manifest.NewNote(manifest.NoteSweep, n)
}

// countRules counts for how many points each rule was a reason, the most frequent
// first.
func countRules(decisions []Decision) []RuleCount {
	counts := make(map[string]RuleCount)
	for i := range decisions {
		d := &decisions[i]
		for _, reason := range d.Reasons {
			rule := ruleOf(reason)
			n := counts[rule]
			n.Rule = rule
			if d.Keep {
				n.Kept++
			} else {
				n.Dropped++
			}
			counts[rule] = n
		}
	}
	list := slices.SortedFunc(maps.Values(counts), func(a, b RuleCount) int {
		return cmp.Or(cmp.Compare(b.Kept+b.Dropped, a.Kept+a.Dropped), cmp.Compare(a.Rule, b.Rule))
	})
	return list[:min(len(list), mostRules)]
}

// What of a reason is of a single point.
var (
	ofPoint  = regexp.MustCompile(`, which is point \d+$`)
	ofPeriod = regexp.MustCompile(`\b(hourly|daily|weekly|monthly|yearly) \d[\dTWZ:+-]*$`)
)

func ruleOf(reason string) string {
	rule := ofPeriod.ReplaceAllString(ofPoint.ReplaceAllString(reason, ""), "$1")
	if chars := []rune(rule); len(chars) > ruleChars {
		return "…" + string(chars[len(chars)-ruleChars:])
	}
	return rule
}
