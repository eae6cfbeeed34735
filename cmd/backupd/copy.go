package main

import (
	"fmt"
	"io"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/spf13/cobra"
)

// copied is the JSON of backupd copy.
type copied struct {
	SchemaVersion int    `json:"schemaVersion"`
	Repository    string `json:"repository"`
	To            string `json:"to"`
	DryRun        bool   `json:"dryRun"`
	Head          string `json:"head"` // of the copy, when it is done
	Entries       int64  `json:"entries"`
	Segments      int64  `json:"segments"`
	Bytes         int64  `json:"bytes"`
}

func copyCommand(g *cli.Globals) *cobra.Command {
	var to string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy the repository to another store, or add to a copy what it lacks",
		Example: "  backupd copy --repo s3://my-backups/prod --to /mnt/second/prod\n" +
			"  backupd copy --repo s3://my-backups/prod --to gs://elsewhere/prod --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCopier(cmd, g, to)
			if err != nil {
				return err
			}
			progress := g.NewProgress("copying", "bytes", 0)
			c.Progress = progress.Set
			result, err := copyOrLook(cmd, c, dryRun)
			progress.End()
			if err != nil {
				return fmt.Errorf("copy to %s: %w", to, err)
			}
			j := copied{1, c.From.ID.String(), to, dryRun, c.Source().String(), result.Entries, result.Segments, result.Bytes}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), j)
			}
			return j.print(cli.Out(cmd))
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`URL` of the copy, as --repo")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "compare what is there, and say what would be copied")
	g.OutputFlag(cmd)
	return cmd
}

func openCopier(cmd *cobra.Command, g *cli.Globals, to string) (*replica.Copier, error) {
	if to == "" {
		return nil, cli.Usagef("where to? give --to URL")
	}
	if dir, err := os.Getwd(); err == nil {
		to = config.ResolveURL(to, dir)
	}
	if g.IsRepository(to) {
		return nil, cli.Usagef("--to %s is the repository, or lies in it or around it: give another place", to)
	}
	repo, err := g.Repository(cmd.Context())
	if err != nil {
		return nil, err
	}
	st, err := g.StoreAt(cmd.Context(), to)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	return &replica.Copier{From: repo, To: st, Log: g.Log}, nil
}

func copyOrLook(cmd *cobra.Command, c *replica.Copier, dryRun bool) (replica.Result, error) {
	if dryRun {
		return c.Survey(cmd.Context())
	}
	return c.Copy(cmd.Context())
}

func (j *copied) print(out io.Writer) error {
	what, then := "copied", "the copy is complete up to"
	if j.DryRun {
		what, then = "to copy", "which would complete it up to"
	}
	_, err := fmt.Fprintf(out, "%s: %s, %s, %s; %s entry %s\n", what, english.Plural(int(j.Entries), "log entry", "log entries"), english.Plural(int(j.Segments), "segment", ""), humanize.IBytes(uint64(j.Bytes)), then, j.Head)
	return err
}
