package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func verifyCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read everything in the repository and check it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.LimitMemory(memoryLimit)
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			progress := cli.NewProgress(g.Log, "verifying", "bytes", 0)
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

// printReport ends with an error if there is damage.
func printReport(cmd *cobra.Command, g *cli.Globals, r *source.Report) error {
	out := cli.Out(cmd)
	if g.Output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"schemaVersion": 1, "ok": len(r.Damages) == 0, "report": r}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d log entries, %d recovery points, %d segments (%s), %d blocks, %d batches, %d records checked\n",
			r.Entries, r.Points, r.Segments, humanize.IBytes(uint64(r.Bytes)), r.Blocks, r.Batches, r.Records)
		for _, gap := range r.Gaps {
			fmt.Fprintf(out, "gap: %s-%d [%d,%d): %s\n", gap.Topic, gap.Partition, gap.From, gap.To, gap.Reason)
		}
		for _, d := range r.Damages {
			fmt.Fprintf(out, "DAMAGED: %s: %s\n  lost: %s\n", d.Key, d.Reason, strings.Join(d.Lost, ", "))
		}
	}
	if n := len(r.Damages); n > 0 {
		return fmt.Errorf("%w: %d objects", manifest.ErrDamaged, n)
	}
	return nil
}
