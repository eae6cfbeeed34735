package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

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
			type point struct {
				ID   uint64    `json:"id"`
				Time time.Time `json:"time"`
				Name string    `json:"name,omitempty"`
			}
			list := []point{}
			for i := len(state.Points) - 1; i >= 0 && (limit == 0 || len(list) < limit); i-- {
				p := state.Points[i]
				list = append(list, point{p.Sequence, time.UnixMilli(p.Time).UTC(), p.Name})
			}
			if g.Output == "json" {
				enc := json.NewEncoder(cli.Out(cmd))
				enc.SetIndent("", "  ")
				return enc.Encode(map[string]any{"schemaVersion": 1, "points": list, "total": len(state.Points)})
			}
			w := tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "POINT\tTIME\tNAME")
			for _, p := range list {
				fmt.Fprintf(w, "%d\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name)
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
