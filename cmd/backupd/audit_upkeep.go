package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/retention"
)

// noted tells people what a note says: in words if it is of a prune or a sweep.
func (x *action) noted() string {
	var prune retention.PruneNote
	var sweep retention.SweepNote
	switch {
	case x.Kind == manifest.NotePrune && json.Unmarshal(x.Note, &prune) == nil:
		return pruneWords(&prune)
	case x.Kind == manifest.NoteSweep && json.Unmarshal(x.Note, &sweep) == nil:
		return fmt.Sprintf("%s to delete, %s; %s spared", english.Plural(sweep.Orphans, "orphan", ""), humanize.IBytes(uint64(sweep.Bytes)), english.Plural(sweep.Spared, "other", ""))
	}
	return string(x.Note)
}

func pruneWords(n *retention.PruneNote) string {
	var parts []string
	if n.Points != nil {
		parts = append(parts, fmt.Sprintf("points: %d dropped%s, %d kept%s", n.Points.Dropped, byRule(n.Rules, func(r *retention.RuleCount) int { return r.Dropped }),
			n.Points.Kept, byRule(n.Rules, func(r *retention.RuleCount) int { return r.Kept })))
	}
	if n.Removed != nil {
		parts = append(parts, "removed "+humanize.IBytes(uint64(n.Removed.Bytes)))
	}
	if n.Deleted != nil {
		parts = append(parts, "deleted "+humanize.IBytes(uint64(n.Deleted.Bytes)))
	}
	if n.Refused > 0 {
		parts = append(parts, english.Plural(n.Refused, "object", "")+" not deleted")
	}
	if n.Force {
		parts = append(parts, "--force")
	}
	for _, id := range n.DropPins {
		parts = append(parts, "--drop-pin "+id)
	}
	return strings.Join(parts, "; ")
}

// byRule tells for how many points each rule is a reason.
func byRule(rules []retention.RuleCount, of func(*retention.RuleCount) int) string {
	var parts []string
	for i := range rules {
		if n := of(&rules[i]); n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", rules[i].Rule, n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
