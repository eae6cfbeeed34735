// Package clitest holds docs/cli.md against the commands of a program.
package clitest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Documented wants every command of a program, and every flag of it, in its section of the page at path, and no
// other flag there. The flags of every command are in a section of their own, those of every command of this program in
// the program's section, before its commands.
func Documented(t *testing.T, root *cobra.Command, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	compareCommands(t, page, root)
	globals := between(page, "\n## Flags of every command\n") + between(page, "\n## "+root.Name()+"\n")
	compareFlags(t, "every command", globals, root.PersistentFlags())
}

// between returns what is between a heading and the next one, or nothing.
func between(page, heading string) string {
	_, section, _ := strings.Cut(page, heading)
	section, _, _ = strings.Cut(section, "\n### ")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// compareCommands does so for the commands below one.
func compareCommands(t *testing.T, page string, above *cobra.Command) {
	t.Helper()
	for _, c := range above.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "completion" {
			continue
		}
		heading := "\n### " + c.CommandPath() + "\n"
		if !strings.Contains(page, heading) {
			t.Errorf("%s has no section", c.CommandPath())
			continue
		}
		compareFlags(t, c.CommandPath(), between(page, heading), c.LocalFlags())
		compareCommands(t, page, c)
	}
}

// compareFlags compares the flags of which a section has table rows with those that there are.
func compareFlags(t *testing.T, command, section string, flags *pflag.FlagSet) {
	t.Helper()
	rows := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `(?:-\\w, )?--([\\w-]+)").FindAllStringSubmatch(section, -1) {
		rows[m[1]] = true
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		if !rows[f.Name] {
			t.Errorf("%s: flag --%s is not in the page", command, f.Name)
		}
		delete(rows, f.Name)
	})
	for flag := range rows {
		t.Errorf("%s: the page has a flag --%s, which is none", command, flag)
	}
}
