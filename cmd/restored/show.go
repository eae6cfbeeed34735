package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func showCommand(g *cli.Globals) *cobra.Command {
	at := "latest"
	cmd := &cobra.Command{
		Use:   "show [POINT]",
		Short: "Show what a recovery point holds: topics, incarnations, offsets, groups, metadata",
		Example: "  restored show --repo s3://my-backups/prod 1234\n" +
			"  restored show --repo s3://my-backups/prod --at=-2h",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if cmd.Flags().Changed("at") {
					return cli.Usagef("%q and --at %s: give one", args[0], at)
				}
				at = args[0]
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			snap, err := source.Load(cmd.Context(), repo, at, time.Now())
			if err != nil {
				return err
			}
			if snap.Future() {
				g.Log.Warn("the time of --at is yet to come: this is the newest recovery point that there is now", "at", at)
			}
			content := snap.Content()
			if err := content.MarkRemoved(cmd.Context(), snap); err != nil {
				return err
			}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), contentJSON{content, g.LogUntil()})
			}
			if n := g.LogUntil(); n > 0 {
				fmt.Fprintf(cli.Out(cmd), "%s\n\n", readUntil(n))
			}
			return printContent(tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0), content)
		},
	}
	cmd.Flags().StringVar(&at, "at", at, "recovery `POINT`: latest, an id, a name, or a time")
	g.OutputFlag(cmd)
	return cmd
}

// contentJSON is the JSON of restored show.
type contentJSON struct {
	*source.Content
	LogUntil uint64 `json:"logUntil,omitempty"`
}

func printContent(w *tabwriter.Writer, c *source.Content) error {
	fmt.Fprintf(w, "Recovery point %d of %s %s\n\nTOPIC\tSTATE\tPARTITION\tFROM\tTO\n", c.Point, c.Time.Format("2006-01-02T15:04:05.000Z"), c.Name)
	for _, t := range c.Topics {
		state := "there"
		if t.Gone {
			state = "gone"
		}
		switch lost := slices.ContainsFunc(c.Losses, func(l source.LossContent) bool { return l.TopicID == t.TopicID }); {
		case lost:
			state += ", partly lost"
		case t.PartlyRemoved:
			state += ", partly removed by the retention"
		}
		for _, p := range t.Partitions {
			fmt.Fprintf(w, "%s@%d\t%s\t%d\t%d\t%d\n", t.Topic, t.Incarnation, state, p.Partition, p.From, p.To)
		}
	}
	fmt.Fprintln(w, "\nGROUP\tTYPE\tTOPIC\tPARTITION\tOFFSET")
	for _, g := range c.Groups {
		for _, o := range g.Offsets {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", g.Group, g.Type, o.Topic, o.Partition, o.Offset)
		}
	}
	if t := c.Transactions; t.Marks > 0 {
		fmt.Fprintf(w, "\nTransactions, by partition: %d inside before their commit marker, %d outside in spite of it, %d open; closed in %d ms\n", t.Decided, t.Undone, len(t.Open), t.ClosingMillis)
	}
	fmt.Fprintln(w, "\nMETADATA\tOBJECTS\tSINCE\tENTRY")
	for _, m := range c.Metadata {
		objects := fmt.Sprint(m.Objects)
		if !m.Captured {
			objects = "not captured (needs " + m.Needs + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", m.Kind, objects, m.Changed.Format("2006-01-02T15:04:05.000Z"), m.Entry)
	}
	printLosses(w, c.Losses)
	return w.Flush()
}
