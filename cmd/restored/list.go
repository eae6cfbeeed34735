package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func listCommand(g *cli.Globals) *cobra.Command {
	var asked source.Listing
	var from, to string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the recovery points, newest first, and for each topic which of them have it",
		Example: "  restored list --repo s3://my-backups/prod --from=-24h --named",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked.Limit < 0 {
				return cli.Usagef("--limit %d: must not be negative", asked.Limit)
			}
			if err := between(&asked, from, to); err != nil {
				return err
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			window, err := source.ReadWindow(cmd.Context(), repo, asked)
			if err != nil {
				return err
			}
			pins, err := repo.Pins(cmd.Context())
			if err != nil {
				return err
			}
			all := listing{window, g.LogUntil(), source.PinContents(pins, time.Now())}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), all)
			}
			return all.print(tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0))
		},
	}
	f := cmd.Flags()
	f.IntVar(&asked.Limit, "limit", 50, "show `N` points, 0 for all")
	f.StringVar(&from, "from", "", "only points of `TIME` or later, written as for --at of \"restored plan\"")
	f.StringVar(&to, "to", "", "only points of `TIME` or earlier")
	f.BoolVar(&asked.Named, "named", false, "only points that have a name or are pinned or held")
	g.OutputFlag(cmd)
	return cmd
}

// between reads the times between which points are listed.
func between(asked *source.Listing, from, to string) error {
	now := time.Now()
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"--from", from, &asked.From}, {"--to", to, &asked.To}} {
		if bound.text == "" {
			continue
		}
		var err error
		if *bound.at, err = source.ParseTime(bound.text, now); err != nil {
			return cli.Usagef("%s %q: %v", bound.flag, bound.text, err)
		}
	}
	if from != "" && to != "" && asked.To.Before(asked.From) {
		return cli.Usagef("--from %s is after %s, up to which points are to be listed", from, to)
	}
	return nil
}

// listing is the JSON of restored list.
type listing struct {
	*source.Window
	LogUntil uint64              `json:"logUntil,omitempty"`
	Pins     []source.PinContent `json:"pins"`
}

func (l *listing) print(w *tabwriter.Writer) error {
	window := l.Window
	fmt.Fprintln(w, "POINT\tTIME\tNAME\tSTATE")
	for _, p := range window.Points {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name, p.State())
	}
	if n := window.Total - len(window.Points); n > 0 {
		fmt.Fprintf(w, "… and %d without a name or a pin (--limit 0 shows all)\n", n)
	}
	fmt.Fprintln(w, "\nTOPIC\tFIRST POINT\tOF\tLAST POINT\tOF\tGAPS\tSTATE")
	for _, t := range window.Topics {
		state := "there"
		if t.Gone {
			state = "gone"
		}
		if t.PartlyRemoved > 0 {
			state += ", " + english.Plural(t.PartlyRemoved, "more point has", "more points have") + " it in part"
		}
		fmt.Fprintf(w, "%s@%d\t%s\t%s\t%d\t%s\n", t.Topic, t.Incarnation, cell(t.First), cell(t.Last), len(t.Gaps), state)
	}
	printLosses(w, window.Losses)
	if l.LogUntil > 0 {
		fmt.Fprintf(w, "\n%s\n", readUntil(l.LogUntil))
	}
	for i := range l.Pins {
		fmt.Fprintf(w, "\nPIN: %s\n", &l.Pins[i])
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

// printLosses says what can no longer be restored, and from which points.
func printLosses(w io.Writer, losses []source.LossContent) {
	for i := range losses {
		fmt.Fprintf(w, "\nLOST: %s", &losses[i])
	}
	if len(losses) > 0 {
		fmt.Fprintln(w)
	}
}
