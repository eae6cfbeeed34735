package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/source"
)

// A principal of a hostile backup stays within its line and does not speak to the terminal.
func TestDifferencesArePrintable(t *testing.T) {
	nasty := "User:\x1b[2Ja\nacls\tUser:b\u202e"
	var out bytes.Buffer
	printDifferences(&out, []source.Difference{{Kind: "acls", Object: nasty, Setting: nasty, Backup: &nasty, Todo: nasty}})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 || strings.Count(lines[1], "\t") != 5 || strings.ContainsAny(lines[1], "\x1b\u202e") {
		t.Errorf("printed %q", lines)
	}
}
