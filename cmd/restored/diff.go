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

func diffCommand(g *cli.Globals) *cobra.Command {
	var s selection
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Compare topics, configs, ACLs, quotas and users of a recovery point with a cluster",
		Example: "  restored diff --repo s3://my-backups/prod --bootstrap-server kafka:9092\n" +
			"  restored diff --repo s3://my-backups/prod --bootstrap-server kafka:9092 --at=-24h -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := s.request()
			if err != nil {
				return err
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			cluster, err := g.Connect(cmd.Context(), "restored")
			if err != nil {
				return err
			}
			defer cluster.Close()
			snap, err := source.Load(cmd.Context(), repo, req.At, time.Now())
			if err != nil {
				return err
			}
			d, err := snap.Diff(cmd.Context(), cluster, req)
			if err != nil {
				return err
			}
			if err := printDiff(cli.Out(cmd), g, snap, cluster.ID(), d); err != nil {
				return err
			}
			if !d.Equal() {
				return fmt.Errorf("%w from the recovery point: %s", source.ErrDifferent, english.Plural(len(d.Differences), "difference", ""))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.at, "at", "latest", "recovery `POINT`: latest, an id, a name, or a time")
	f.StringArrayVar(&s.topics, "topics", nil, "only topics that fit these `PATTERNS`, and not those that are on the cluster only")
	f.StringArrayVar(&s.rename, "rename", nil, "compare a topic with one of another name, `OLD=NEW` (repeatable)")
	g.OutputFlag(cmd)
	return cmd
}

type diffJSON struct {
	SchemaVersion int                 `json:"schemaVersion"`
	Point         uint64              `json:"point"`
	PointTime     time.Time           `json:"pointTime"`
	LogUntil      uint64              `json:"logUntil,omitempty"`
	Cluster       string              `json:"kafkaCluster"`
	Equal         bool                `json:"equal"`
	Differences   []source.Difference `json:"differences"`
	Uncompared    []source.Uncompared `json:"notCompared"`
}

func printDiff(out io.Writer, g *cli.Globals, s *source.Snapshot, cluster string, d *source.Diff) error {
	if g.Output == "json" {
		return cli.WriteJSON(out, diffJSON{
			1, s.Point.Sequence, time.UnixMilli(s.Point.Time).UTC(), g.LogUntil(), cluster, d.Equal(),
			append([]source.Difference{}, d.Differences...), append([]source.Uncompared{}, d.Uncompared...),
		})
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "Recovery point %d of %s and cluster %s\n\n", s.Point.Sequence, source.Clock(s.Point.Time), cluster)
	if n := g.LogUntil(); n > 0 {
		fmt.Fprintf(w, "%s\n\n", readUntil(n))
	}
	if unknown := !d.Equal(); len(d.Differences) == 0 && unknown {
		fmt.Fprintln(w, "no difference in what could be compared; what could not is below, and may differ")
	} else if len(d.Differences) == 0 {
		fmt.Fprintln(w, "no difference")
	} else {
		printDifferences(w, d.Differences)
	}
	for _, u := range d.Uncompared {
		fmt.Fprintf(w, "\nnot compared: %s: %s", u.Kind, u.Reason)
	}
	if len(d.Uncompared) > 0 {
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// printDifferences prints one line for each.
func printDifferences(w io.Writer, list []source.Difference) {
	fmt.Fprintln(w, "KIND\tOBJECT\tSETTING\tBACKUP\tCLUSTER\tTO DO")
	for _, x := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Kind, cli.Printable(x.Object), cli.Printable(x.Setting), printableOr(x.Backup), printableOr(x.Cluster), cli.Printable(x.Todo))
	}
}

// printableOr is the text, or a dash for none.
func printableOr(s *string) string {
	if s == nil {
		return "-"
	}
	return cli.Printable(*s)
}
