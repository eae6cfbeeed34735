package main

import (
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
)

// Reasons are listed once, one per line.
func TestPlanListsRefusals(t *testing.T) {
	plan := &source.Plan{Snapshot: &source.Snapshot{Point: manifest.PointRef{Sequence: 1}}, Notes: []string{"a note"}, Refusals: []string{"first reason", "second reason"}}
	var out strings.Builder
	if err := printPlan(&out, &cli.Globals{Output: "text"}, plan); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "\nnote: a note\n\nREFUSED: first reason\nREFUSED: second reason\n") {
		t.Errorf("got\n%s", out.String())
	}
	if text := errAbove.Error(); strings.Contains(text, "reason") {
		t.Errorf("the error says %q", text)
	}
}
