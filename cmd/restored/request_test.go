package main

import (
	"slices"
	"strings"
	"testing"

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
