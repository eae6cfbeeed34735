package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func listCommand(g *cli.Globals) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the recovery points, newest first",
		Example: "  restored list --repo s3://my-backups/prod",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			state, err := repo.Read(cmd.Context(), 0, nil)
			if err != nil {
				return err
			}
			list := source.Newest(state.Points, limit)
			if g.Output == "json" {
				enc := json.NewEncoder(cli.Out(cmd))
				enc.SetIndent("", "  ")
				return enc.Encode(map[string]any{"schemaVersion": 1, "points": list, "total": len(state.Points)})
			}
			w := tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "POINT\tTIME\tNAME\tSTATE")
			for _, p := range list {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name, p.State())
			}
			if n := len(state.Points) - len(list); n > 0 {
				fmt.Fprintf(w, "… and %d older ones (--limit 0 shows all)\n", n)
			}
			return w.Flush()
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "show `N` points, 0 for all")
	g.OutputFlag(cmd)
	return cmd
}
