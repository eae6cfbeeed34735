package main

import (
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
)

// A negative age is a mistake.
func TestSweepWithNegativeAge(t *testing.T) {
	cmd := sweepCommand(&cli.Globals{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"--older-than", "-1h"})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "--older-than -1h0m0s: cannot be negative") {
		t.Errorf("got %v", err)
	}
}
