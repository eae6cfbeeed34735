package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/storecheck"
	"github.com/spf13/cobra"
)

// checkReport is the JSON of backupd check.
type checkReport struct {
	SchemaVersion int                 `json:"schemaVersion"`
	Store         string              `json:"store"`
	Checks        []storecheck.Result `json:"checks"`
	Left          []string            `json:"left"`
}

func checkCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try whether the object store is what a repository needs, with small objects that are removed",
		Example: "  backupd check --repo s3://my-backups/prod\n" +
			"  backupd check -c backupd.yaml -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// What fails is to be seen, not repeated.
			st, err := g.PlainStore(cmd.Context())
			if err != nil {
				return err
			}
			out := cli.Out(cmd)
			r := &checkReport{SchemaVersion: 1, Store: g.Config.Store.URL, Checks: []storecheck.Result{}, Left: []string{}}
			left, err := storecheck.Run(cmd.Context(), st, func(c storecheck.Result) {
				r.Checks = append(r.Checks, c)
				if g.Output != "json" {
					printCheck(out, c)
				}
			})
			r.Left = append(r.Left, left...)
			if err != nil {
				return fmt.Errorf("%s: %w%s", r.Store, err, r.remains())
			}
			return r.end(out, g.Output == "json")
		},
	}
	g.OutputFlag(cmd)
	return cmd
}

// printCheck prints a result as soon as it is there.
func printCheck(out io.Writer, c storecheck.Result) {
	state, fix := string(c.State), ""
	if c.State == storecheck.Failed {
		state = strings.ToUpper(state)
	}
	if c.Fix != "" {
		fix = "; " + c.Fix
	}
	fmt.Fprintf(out, "%-9s  %-16s  %s%s\n", state, c.Check, c.Detail, fix)
}

// end prints what there is to say about all checks.
func (r *checkReport) end(out io.Writer, asJSON bool) error {
	count := make(map[storecheck.State]int)
	for _, c := range r.Checks {
		count[c.State]++
	}
	summary := fmt.Sprintf("%d of %d checks failed, %s", count[storecheck.Failed], len(r.Checks), english.Plural(count[storecheck.Warning], "warning", ""))
	if asJSON {
		if err := cli.WriteJSON(out, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "\n%s: %s%s\n", r.Store, summary, r.remains())
	}
	if count[storecheck.Failed] > 0 {
		return fmt.Errorf("%w: %s", storecheck.ErrUnfit, summary)
	}
	return nil
}

// remains says what could not be removed.
func (r *checkReport) remains() string {
	if len(r.Left) == 0 {
		return ""
	}
	return fmt.Sprintf("; objects that stay behind, of no use to anybody: %s", strings.Join(r.Left, ", "))
}
