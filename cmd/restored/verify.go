package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func verifyCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Read everything in the repository and check it",
		Example: "  restored verify --repo s3://my-backups/prod",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.LimitMemory(memoryLimit)
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			progress := g.NewProgress("verifying", "bytes", 0)
			report, err := source.Verify(cmd.Context(), repo, progress.Set)
			progress.End()
			if err != nil {
				return err
			}
			return printReport(cmd, g, report)
		},
	}
	g.OutputFlag(cmd)
	return cmd
}

// reportJSON is the JSON of a verification.
type reportJSON struct {
	SchemaVersion int          `json:"schemaVersion"`
	OK            bool         `json:"ok"`
	Entries       uint64       `json:"entries"`
	Points        int          `json:"points"`
	Segments      int64        `json:"segments"`
	Bytes         int64        `json:"storedBytes"`
	Blocks        int64        `json:"blocks"`
	Batches       int64        `json:"batches"`
	Records       int64        `json:"records"`
	Gaps          []gapJSON    `json:"gaps"`
	Damages       []damageJSON `json:"damages"`
	Orphans       []orphanJSON `json:"orphans"`
}

type gapJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Reason    string `json:"reason"`
}

type damageJSON struct {
	Object string   `json:"object"`
	Reason string   `json:"reason"`
	Lost   []string `json:"lost"`
}

type orphanJSON struct {
	Object string `json:"object"`
	Bytes  int64  `json:"bytes"`
	Newer  bool   `json:"newerThanLog"`
}

func reportAsJSON(r *source.Report) reportJSON {
	j := reportJSON{
		SchemaVersion: 1, OK: len(r.Damages) == 0, Entries: r.Entries, Points: r.Points, Segments: r.Segments, Bytes: r.Bytes,
		Blocks: r.Blocks, Batches: r.Batches, Records: r.Records, Gaps: []gapJSON{}, Damages: []damageJSON{}, Orphans: []orphanJSON{},
	}
	for _, gap := range r.Gaps {
		j.Gaps = append(j.Gaps, gapJSON{gap.Topic, gap.Partition, gap.From, gap.To, gap.Reason})
	}
	for _, d := range r.Damages {
		j.Damages = append(j.Damages, damageJSON{d.Key, d.Reason, append([]string{}, d.Lost...)})
	}
	for _, o := range r.Orphans {
		j.Orphans = append(j.Orphans, orphanJSON{o.Key, o.Bytes, o.Newer})
	}
	return j
}

// printOrphans says what the segments may mean that no log entry names.
func printOrphans(out io.Writer, orphans []source.Orphan) {
	if len(orphans) == 0 {
		return
	}
	var bytes uint64
	newer := 0
	for _, o := range orphans {
		bytes += uint64(o.Bytes)
		if o.Newer {
			newer++
		}
	}
	fmt.Fprintf(out, "orphans: %d segments (%s) that no log entry names, as a backupd leaves them that is killed or was not the first; -o json names them\n", len(orphans), humanize.IBytes(bytes))
	if newer > 0 {
		fmt.Fprintf(out, "  %d of them newer than the last log entry: unless a backupd is running, or was killed then, entries may have been removed from the end of the log\n", newer)
	}
}

// printReport ends with an error if there is damage.
func printReport(cmd *cobra.Command, g *cli.Globals, r *source.Report) error {
	out := cli.Out(cmd)
	if g.Output == "json" {
		if err := cli.WriteJSON(out, reportAsJSON(r)); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d log entries, %d recovery points, %d segments (%s), %d blocks, %d batches, %d records checked\n",
			r.Entries, r.Points, r.Segments, humanize.IBytes(uint64(r.Bytes)), r.Blocks, r.Batches, r.Records)
		for _, gap := range r.Gaps {
			fmt.Fprintf(out, "gap: %s-%d [%d,%d): %s\n", gap.Topic, gap.Partition, gap.From, gap.To, gap.Reason)
		}
		printOrphans(out, r.Orphans)
		for _, d := range r.Damages {
			fmt.Fprintf(out, "DAMAGED: %s: %s\n  lost: %s\n", d.Key, d.Reason, cmp.Or(strings.Join(d.Lost, ", "), "nothing"))
		}
	}
	if n := len(r.Damages); n > 0 {
		return fmt.Errorf("%w: %d objects", manifest.ErrDamaged, n)
	}
	return nil
}
