package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/spf13/cobra"
)

// mergeMemory is what a merge takes, of which most are captured segments that are
// being sorted.
const mergeMemory = 160 << 20

func mergeCommand(g *cli.Globals) *cobra.Command {
	var dryRun, recompress bool
	cmd := &cobra.Command{
		Use:   "merge",
		Short: "Merge small blocks into large segments in which each partition lies together, from the repository alone",
		Example: "  backupd merge --repo s3://my-backups/prod --dry-run\n" +
			"  backupd merge -c backupd.yaml -X merge.maxBandwidth=20MiB",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.LimitMemory(mergeMemory)
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			config := mergeConfig(g)
			config.MinSegments, config.MinPieces = 2, 2 // who asks for it does not want to wait for more
			if config.Recompress = config.Recompress || recompress; config.Recompress {
				config.MinSegments = 1 // one alone is worth it
			}
			warnRecompress(g, repo, config)
			m := merge.New(repo, config, g.Agent("backupd", "merge"), g.Log, time.Now)
			if dryRun {
				list, err := m.Plan(cmd.Context())
				if err != nil {
					return err
				}
				return printPlanned(cli.Out(cmd), g, list, m.Waiting())
			}
			r, err := m.Run(cmd.Context())
			if err != nil {
				return fmt.Errorf("%w (%s written before, and %s)", err, english.Plural(r.Written, "segment was", "segments were"), english.PluralWord(r.Written, "stays", "stay"))
			}
			return printMerged(cli.Out(cmd), g, r, m.Waiting())
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be merged first, and change nothing")
	cmd.Flags().BoolVar(&recompress, "recompress", false, "store what is merged with the records of its batches uncompressed, in blocks of zstd, as merge.recompress does")
	g.OutputFlag(cmd)
	return cmd
}

func mergeConfig(g *cli.Globals) merge.Config {
	c := g.Config.Merge
	return merge.Config{TargetBytes: int64(c.TargetBytes), MinAge: time.Duration(c.MinAge), MaxBandwidth: c.MaxBandwidth.Bytes(), Recompress: c.Recompress}
}

// warnRecompress says that recompressing is asked for in vain.
func warnRecompress(g *cli.Globals, repo *manifest.Repository, c merge.Config) {
	if repo.Encrypted && c.Recompress {
		g.Log.Warn("merge.recompress does nothing in an encrypted repository: sealed blocks are moved as they are")
	}
}

// waitingJSON is the JSON of why segments are left as they are.
type waitingJSON struct {
	Young     int `json:"young"`
	Uncovered int `json:"uncovered"`
	Few       int `json:"few"`
	Merged    int `json:"merged"`
}

// reasons says why captured segments are left, or nothing.
func reasons(g *cli.Globals, w merge.Waiting) string {
	var list []string
	add := func(n int, format string, args ...any) {
		if n > 0 {
			list = append(list, english.Plural(n, "segment", "")+" "+fmt.Sprintf(format, args...))
		}
	}
	add(w.Young, "captured in the last %s (merge.minAge)", time.Duration(g.Config.Merge.MinAge))
	add(w.Uncovered, "behind the last recovery point")
	add(w.Few, "too few to be worth it, or waiting for those before")
	if len(list) == 0 {
		return ""
	}
	return "left as they are: " + strings.Join(list, ", ")
}

func printPlanned(out io.Writer, g *cli.Globals, list []merge.Planned, w merge.Waiting) error {
	if g.Output == "json" {
		type group struct {
			Sorted   bool  `json:"sorted"`
			Segments int   `json:"segments"`
			Bytes    int64 `json:"bytes"`
		}
		groups := []group{}
		for _, p := range list {
			groups = append(groups, group(p))
		}
		return cli.WriteJSON(out, map[string]any{"schemaVersion": 1, "groups": groups, "waiting": waitingJSON(w)})
	}
	if len(list) == 0 {
		fmt.Fprintln(out, "nothing to merge")
		if why := reasons(g, w); why != "" {
			fmt.Fprintln(out, why)
		}
	}
	for _, p := range list {
		kind := "as they were captured"
		if p.Sorted {
			kind = "that were merged before"
		}
		fmt.Fprintf(out, "%s %s, %s\n", english.Plural(p.Segments, "segment", ""), kind, humanize.IBytes(uint64(p.Bytes)))
	}
	return nil
}

func printMerged(out io.Writer, g *cli.Globals, r merge.Result, w merge.Waiting) error {
	if g.Output == "json" {
		return cli.WriteJSON(out, map[string]any{
			"schemaVersion": 1, "merges": r.Merges, "replaced": r.Read, "written": r.Written, "bytes": r.Bytes, "dropped": r.Dropped, "damaged": r.Damaged, "segments": r.Left,
			"reencoded": r.Reencoded, "unproven": r.Unproven, "waiting": waitingJSON(w),
		})
	}
	done := "nothing to merge"
	if r.Read+r.Written+r.Dropped+r.Damaged > 0 {
		done = fmt.Sprintf("%s merged into %d of %s", english.Plural(r.Read, "segment was", "segments were"), r.Written, humanize.IBytes(uint64(r.Bytes)))
	}
	_, err := fmt.Fprintf(out, "%s; there %s now\n", done, english.Plural(r.Left, "segment is", "segments are"))
	if why := reasons(g, w); why != "" && err == nil {
		_, err = fmt.Fprintln(out, why)
	}
	return err
}

// mergeEvery merges beside the capture until ctx ends. What goes wrong is tried
// again the next time: the capture needs none of it.
func mergeEvery(ctx context.Context, g *cli.Globals, repo *manifest.Repository, numbers *metrics.Metrics) {
	if g.Config.Merge.Every == 0 {
		return
	}
	cli.LimitMemory(memoryLimit + mergeMemory)
	warnRecompress(g, repo, mergeConfig(g))
	m := merge.New(repo, mergeConfig(g), g.Agent("backupd", "merge"), g.Log, time.Now)
	every := time.NewTicker(time.Duration(g.Config.Merge.Every))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		r, err := m.Run(ctx)
		if ctx.Err() == nil {
			numbers.Merged(r.Read, r.Written, r.Bytes, err)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			g.Log.Warn("merging failed; it will be tried again", "error", err)
		case r.Merges > 0:
			g.Log.Info("merged", "replaced", r.Read, "written", r.Written, "bytes", r.Bytes, "segments", r.Left)
		}
	}
}
