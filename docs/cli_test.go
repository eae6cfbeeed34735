package docs_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
)

// Every command and every flag of it is in its section of the page, and no other flag.
func TestCommandsAndFlags(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	text := page(t, "cli.md")
	for _, program := range []string{"backupd", "restored"} {
		commands := section(help(t, bin, program), "Available Commands:")
		compareCommands(t, text, bin, program, commands)
	}
	globals, _, _ := strings.Cut(text[strings.Index(text, "\n## Flags of every command\n")+1:], "\n## ")
	compareFlags(t, "every command", globals, section(help(t, bin, "backupd", "run"), "Global Flags:"))
}

// compareCommands does so for the commands that a help text lists, and for those below them.
func compareCommands(t *testing.T, text, bin, program, listed string, above ...string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^  (\w+)`).FindAllStringSubmatch(listed, -1) {
		if m[1] == "help" || m[1] == "completion" {
			continue
		}
		words := append(slices.Clone(above), m[1])
		name := program + " " + strings.Join(words, " ")
		_, after, ok := strings.Cut(text, "\n### "+name+"\n")
		if !ok {
			t.Errorf("%s has no section", name)
			continue
		}
		after, _, _ = strings.Cut(after, "\n### ")
		after, _, _ = strings.Cut(after, "\n## ")
		own := help(t, bin, program, words...)
		compareFlags(t, name, after, section(own, "Flags:"))
		compareCommands(t, text, bin, program, section(own, "Available Commands:"), words...)
	}
}

func help(t *testing.T, bin, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, program), append(args, "--help")...).Output()
	if err != nil {
		t.Fatalf("%s --help: %v", program, err)
	}
	return string(out)
}

// section returns the lines of a help text below a heading.
func section(help, heading string) string {
	_, after, _ := strings.Cut(help, "\n"+heading+"\n")
	lines, _, _ := strings.Cut(after, "\n\n")
	return lines
}

// compareFlags compares the flags of which the page has table rows with those of a help text.
func compareFlags(t *testing.T, command, documented, help string) {
	t.Helper()
	rows := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `(?:-\\w, )?(--[\\w-]+)").FindAllStringSubmatch(documented, -1) {
		rows[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(help, -1) {
		if m[1] != "--help" && !rows[m[1]] {
			t.Errorf("%s: flag %s is not in the page", command, m[1])
		}
		delete(rows, m[1])
	}
	for flag := range rows {
		t.Errorf("%s: the page has a flag %s, which is none", command, flag)
	}
}

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
