package docs_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
)

// The page has a row for each exit code, and no other.
func TestExitCodes(t *testing.T) {
	codes := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(page(t, "cli.md"), -1) {
		codes[m[1]] = true
	}
	for _, code := range []string{
		strconv.Itoa(cli.ExitOK), strconv.Itoa(cli.ExitFailed), strconv.Itoa(cli.ExitUsage), strconv.Itoa(cli.ExitIncomplete), strconv.Itoa(cli.ExitDifferent), strconv.Itoa(cli.ExitLost), strconv.Itoa(cli.ExitNoRepository),
		strconv.Itoa(cli.ExitFenced), strconv.Itoa(cli.ExitForged), strconv.Itoa(cli.ExitDamaged), strconv.Itoa(cli.ExitRefused), strconv.Itoa(cli.ExitCancelled),
	} {
		if !codes[code] {
			t.Errorf("exit code %s is not in the page", code)
		}
		delete(codes, code)
	}
	for code := range codes {
		t.Errorf("the page has an exit code %s, which is none", code)
	}
}
