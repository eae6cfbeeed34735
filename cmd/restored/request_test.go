package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// A comma between braces belongs to the pattern.
func TestTopicsFlag(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string // nil for a usage error
	}{
		"one":             {[]string{"--topics", "a-{b,c}"}, []string{"a-{b,c}"}},
		"several":         {[]string{"--topics", "a-{b,c},!d", "--topics", "e@1"}, []string{"a-{b,c}", "!d", "e@1"}},
		"an open brace":   {[]string{"--topics", "a-{b,c"}, nil},
		"an empty one":    {[]string{"--topics", "a,"}, nil},
		"nothing at all":  {[]string{"--topics", ""}, nil},
		"a bad character": {[]string{"--topics", "a,/[/"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var s selection
			cmd := &cobra.Command{}
			s.register(cmd)
			if err := cmd.ParseFlags(tc.args); err != nil {
				t.Fatal(err)
			}
			r, err := s.request()
			if tc.want == nil {
				if err == nil || !strings.Contains(err.Error(), "--topics") {
					t.Errorf("got %q, %v", r.Topics, err)
				}
				return
			}
			if err != nil || !slices.Equal(r.Topics, tc.want) {
				t.Errorf("got %q, %v, want %q", r.Topics, err, tc.want)
			}
		})
	}
}

// What contradicts itself, or cannot be, is told with the flag's name, before anything is read.
func TestWrongFlags(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"show", "1", "--at", "2"}, "give one"},
		{[]string{"list", "--from", "2h"}, "--from \"2h\""},
		{[]string{"list", "--from=-1h", "--to=-2h"}, "--from -1h is after -2h"},
		{[]string{"plan", "--hold-retention=-5h"}, "--hold-retention -5h0m0s"},
		{[]string{"plan", "--replication-factor=-1"}, "--replication-factor -1"},
	} {
		g := &cli.Globals{}
		root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
		g.Register(root)
		root.AddCommand(listCommand(g), showCommand(g), planCommand(g))
		root.SetArgs(tc.args)
		if err := root.Execute(); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), "--") != 1 {
			t.Errorf("%v: %v, want %q", tc.args, err, tc.want)
		}
	}
}

// A group that the plan does not know is nothing to translate.
func TestKnownGroups(t *testing.T) {
	plan := &source.Plan{Snapshot: &source.Snapshot{}, Groups: []source.GroupPlan{{Group: "billing"}}}
	for name, known := range map[string]bool{"billing": true, "nosuch": false} {
		if err := knownGroups(plan, []string{"billing", name}); (err == nil) != known || !known && !errors.Is(err, source.ErrNothing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
