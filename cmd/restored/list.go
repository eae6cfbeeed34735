package main

import (
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
		Short:   "List the recovery points, newest first, and for each topic which of them have it",
		Example: "  restored list --repo s3://my-backups/prod",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return cli.Usagef("--limit %d: must not be negative", limit)
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			window, err := source.ReadWindow(cmd.Context(), repo, limit)
			if err != nil {
				return err
			}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), window)
			}
			return printWindow(tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0), window)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "show `N` points, 0 for all")
	g.OutputFlag(cmd)
	return cmd
}

func printWindow(w *tabwriter.Writer, window *source.Window) error {
	fmt.Fprintln(w, "POINT\tTIME\tNAME\tSTATE")
	for _, p := range window.Points {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name, p.State())
	}
	if n := window.Total - len(window.Points); n > 0 {
		fmt.Fprintf(w, "… and %d older ones (--limit 0 shows all)\n", n)
	}
	fmt.Fprintln(w, "\nTOPIC\tFIRST POINT\tOF\tLAST POINT\tOF\tGAPS\tSTATE")
	for _, t := range window.Topics {
		state := "there"
		if t.Gone {
			state = "gone"
		}
		fmt.Fprintf(w, "%s@%d\t%s\t%s\t%d\t%s\n", t.Topic, t.Incarnation, cell(t.First), cell(t.Last), len(t.Gaps), state)
	}
	return w.Flush()
}

// cell is a point in two cells of a table.
func cell(p *source.PointInfo) string {
	if p == nil {
		return "none\t"
	}
	return fmt.Sprintf("%d\t%s", p.ID, source.Clock(p.Time.UnixMilli()))
}
