package main

import (
	"errors"
	"strings"
	"testing"
	"time"

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
	if !strings.Contains(out.String(), "\nThe log tells of no verification") {
		t.Errorf("it says nothing of verifications:\n%s", out.String())
	}
	if text := errAbove.Error(); strings.Contains(text, "reason") {
		t.Errorf("the error says %q", text)
	}
}

// The newest verification is named in the text, and all are in the JSON.
func TestPlanTellsOfVerifications(t *testing.T) {
	at := time.Now().Add(-3 * time.Hour)
	plan := &source.Plan{Snapshot: &source.Snapshot{}, Verified: []source.VerifiedContent{
		{Level: "digest", Entry: 9, Time: at, First: 1, Last: 8, Sample: 100}, {Level: "decode", Entry: 7, Time: at, Damages: 2},
	}}
	var text, json strings.Builder
	if err := errors.Join(printPlan(&text, &cli.Globals{Output: "text"}, plan), printPlan(&json, &cli.Globals{Output: "json"}, plan)); err != nil {
		t.Fatal(err)
	}
	if want := "\nVerified last: digest, 100 % of entries 1 to 8, 3 hours ago: 0 damaged objects\n"; !strings.Contains(text.String(), want) || strings.Count(json.String(), "damagedObjects") != 2 {
		t.Errorf("got\n%s and\n%s", text.String(), json.String())
	}
}
