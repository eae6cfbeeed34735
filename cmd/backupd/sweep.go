package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/spf13/cobra"
)

func sweepCommand(g *cli.Globals) *cobra.Command {
	var dry, all bool
	olderThan := time.Hour
	cmd := &cobra.Command{
		Use:     "sweep",
		Short:   "Delete segments that no log entry names, as killed writers leave them behind",
		Example: "  backupd sweep --repo s3://my-backups/prod --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if olderThan < 0 {
				return cli.Usagef("--older-than %s: cannot be negative", olderThan)
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			w := &retention.Sweeper{Repository: repo, OlderThan: olderThan, All: all, Agent: g.Agent("backupd", "sweep"), Now: time.Now}
			found, err := w.Sweep(cmd.Context(), dry)
			if err != nil {
				return err
			}
			return printSweep(cmd, g, found, dry)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	cli.DurationFlag(cmd.Flags(), &olderThan, "older-than", "spare writers that have put a segment within this `DURATION`: they may be at work")
	cmd.Flags().BoolVar(&all, "all", false, "do not spare the writer that has captured last; if it is still at work it ends with exit code 11, and has to be started again")
	g.OutputFlag(cmd)
	return cmd
}

// sweepJSON is the JSON of backupd sweep.
type sweepJSON struct {
	SchemaVersion int         `json:"schemaVersion"`
	DryRun        bool        `json:"dryRun"`
	Orphans       []sweptJSON `json:"orphans"`
	Spared        []sweptJSON `json:"spared"`
	Kept          []sweptJSON `json:"kept"`
	Fenced        []string    `json:"fenced"`
}

type sweptJSON struct {
	Object   string    `json:"object"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
}

func sweptList(list []store.Info) []sweptJSON {
	out := []sweptJSON{}
	for _, o := range list {
		out = append(out, sweptJSON{o.Key, o.Size, o.Modified.UTC()})
	}
	return out
}

func printSweep(cmd *cobra.Command, g *cli.Globals, found *retention.Sweep, dry bool) error {
	j := &sweepJSON{SchemaVersion: 1, DryRun: dry, Orphans: sweptList(found.Orphans), Spared: sweptList(found.Spared), Kept: sweptList(found.Kept), Fenced: []string{}}
	for _, writer := range found.Fenced {
		j.Fenced = append(j.Fenced, writer.String())
	}
	if g.Output == "json" {
		return cli.WriteJSON(cli.Out(cmd), j)
	}
	w := tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0)
	done := map[bool]string{true: "would be deleted", false: "deleted"}[dry]
	var bytes int64
	for _, o := range j.Orphans {
		bytes += o.Bytes
		fmt.Fprintf(w, "%s\t%s\t%s\n", done, o.Object, humanize.IBytes(uint64(o.Bytes)))
	}
	for _, o := range j.Spared {
		fmt.Fprintf(w, "spared: its writer may be at work\t%s\t%s\n", o.Object, humanize.IBytes(uint64(o.Bytes)))
	}
	for _, o := range j.Kept {
		fmt.Fprintf(w, "kept: no orphan, the log says that it is deleted\t%s\t%s\n", o.Object, humanize.IBytes(uint64(o.Bytes)))
	}
	fmt.Fprintf(w, "%s of %s %s, %s fenced, %s spared\n", english.Plural(len(j.Orphans), "orphan", ""), humanize.IBytes(uint64(bytes)), done, english.Plural(len(j.Fenced), "writer", ""), english.Plural(len(j.Spared), "orphan", ""))
	return w.Flush()
}
