package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func repairCommand(g *cli.Globals) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Mend damaged segments with what the cluster still has",
		Long: "Verify every digest of the repository, read from the cluster again what is damaged, and put it in its place where it is the same, byte by byte.\n" +
			"The cluster is only read from. What cannot be mended is listed, and the recovery points that lack it.",
		Example: "  backupd repair -c backupd.yaml --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			res, err := repair(cmd.Context(), g, dry)
			if err != nil {
				return err
			}
			if g.Output == "json" {
				err = cli.WriteJSON(cli.Out(cmd), repairAsJSON(res, dry))
			} else {
				printRepair(cli.Out(cmd), res, dry)
			}
			if n := len(res.Report.Damages); err == nil && n > 0 {
				return fmt.Errorf("%w: %d objects that cannot be mended, or not wholly", manifest.ErrDamaged, n)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what could be mended")
	g.OutputFlag(cmd)
	return cmd
}

// repairPatience is how long the cluster is asked again.
const repairPatience = time.Minute

func repair(ctx context.Context, g *cli.Globals, dry bool) (*source.Repair, error) {
	cli.LimitMemory(memoryLimit)
	repo, err := g.Repository(ctx)
	if err != nil {
		return nil, err
	}
	cluster, err := g.Connect(ctx, "backupd")
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	if cluster.ID() != repo.ClusterID {
		return nil, fmt.Errorf("%w: it was made for cluster %s, this one is %s", manifest.ErrOtherCluster, repo.ClusterID, cluster.ID())
	}
	progress := g.NewProgress("verifying", "bytes", 0)
	defer progress.End()
	r := source.Repairer{Repository: repo, Cluster: cluster, DryRun: dry, Log: g.Log, Patience: repairPatience, Progress: progress.Set}
	res, err := r.Run(ctx)
	if err != nil || dry || len(res.Damages) == 0 {
		return res, err
	}
	return res, recordRepair(ctx, g, repo, res.Report)
}

// recordRepair tells the log what a verification would find now.
func recordRepair(ctx context.Context, g *cli.Globals, repo *manifest.Repository, r *source.Report) error {
	outcome := r.Outcome()
	if outcome == nil || r.Damages != nil && r.Damages[0].Entries > 0 {
		return nil
	}
	log, err := repo.OpenLog(ctx, time.Now)
	if err == nil {
		_, err = log.Record(ctx, *outcome, g.Agent("backupd", "repair"))
	}
	if err != nil {
		return fmt.Errorf("record the repair: %w", err)
	}
	return nil
}

// repairJSON is the JSON of backupd repair.
type repairJSON struct {
	SchemaVersion int          `json:"schemaVersion"`
	DryRun        bool         `json:"dryRun"`
	OK            bool         `json:"ok"`
	Damages       []mendedJSON `json:"damages"`
	Restorable    []lacksJSON  `json:"restorable"`
}

type mendedJSON struct {
	Object string   `json:"object"`
	Mended []string `json:"mended"`
	Lost   []string `json:"lost"`
	Reason string   `json:"reason"`
}

type lacksJSON struct {
	First  uint64   `json:"firstPoint"`
	Last   uint64   `json:"lastPoint"`
	Points int      `json:"points"`
	Topics []string `json:"incompleteTopics"`
}

func repairAsJSON(res *source.Repair, dry bool) repairJSON {
	j := repairJSON{SchemaVersion: 1, DryRun: dry, OK: len(res.Report.Damages) == 0, Damages: []mendedJSON{}, Restorable: []lacksJSON{}}
	for i := range res.Damages {
		m := &res.Damages[i]
		j.Damages = append(j.Damages, mendedJSON{m.Key, inWords(m.Done), inWords(m.Left), m.Why})
	}
	for _, run := range res.Report.Restorable {
		j.Restorable = append(j.Restorable, lacksJSON{run.First.Sequence, run.Last.Sequence, run.Count, append([]string{}, run.Topics...)})
	}
	return j
}

func inWords(list []source.LostRange) []string {
	words := make([]string, len(list))
	for i, l := range list {
		words[i] = l.String()
	}
	return words
}

func printRepair(out io.Writer, res *source.Repair, dry bool) {
	if len(res.Damages) == 0 {
		fmt.Fprintln(out, "nothing is damaged")
	}
	done := "mended"
	if dry {
		done = "can be mended"
	}
	for i := range res.Damages {
		m := &res.Damages[i]
		if m.Why == "" || len(m.Done) > 0 {
			fmt.Fprintf(out, "%s: %s %s\n", m.Key, done, strings.Join(inWords(m.Done), ", "))
		}
		if m.Why != "" {
			fmt.Fprintf(out, "%s: LOST: %s\n  %s\n", m.Key, strings.Join(inWords(m.Left), ", "), m.Why)
		}
	}
	if len(res.Report.Damages) == 0 {
		return
	}
	for _, run := range res.Report.Restorable {
		text := "everything"
		if len(run.Topics) > 0 {
			text = "all but " + strings.Join(run.Topics, ", ")
		}
		fmt.Fprintf(out, "recovery points %d to %d (%d): %s can be restored\n", run.First.Sequence, run.Last.Sequence, run.Count, text)
	}
}
