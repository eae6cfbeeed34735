package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

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
	Missing       int64  `json:"missing"`  // objects of the copy that were sent again
	Damaged       int64  `json:"damaged"`  // and those that were replaced
	Verified      int64  `json:"verified"` // segments that were read back
	Unhealed      int    `json:"unhealed"` // objects that could not be sent
}

func copyCommand(g *cli.Globals) *cobra.Command {
	var to string
	var dryRun, verify bool
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy the repository to another store, or add to a copy what it lacks",
		Example: "  backupd copy --repo s3://my-backups/prod --to /mnt/second/prod\n" +
			"  backupd copy --repo s3://my-backups/prod --to gs://elsewhere/prod --verify\n" +
			"  backupd copy --repo s3://my-backups/prod --to gs://elsewhere/prod --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCopier(cmd, g, to)
			if err != nil {
				return err
			}
			progress := g.NewProgress("copying", "bytes", 0)
			c.Progress, c.Verify = progress.Set, verify
			result, err := copyOrLook(cmd, c, dryRun)
			progress.End()
			var unhealed *replica.UnhealedError
			if err != nil {
				err = fmt.Errorf("copy to %s: %w", to, err)
			}
			if err != nil && !errors.As(err, &unhealed) {
				return err
			}
			return errors.Join(printCopied(cmd, g, c, to, dryRun, result, unhealed), err)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`URL` of the copy, as --repo")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "compare what is there, and say what would be copied")
	cmd.Flags().BoolVar(&verify, "verify", false, "also read back all that the copy has, and replace what is damaged")
	g.OutputFlag(cmd)
	return cmd
}

func printCopied(cmd *cobra.Command, g *cli.Globals, c *replica.Copier, to string, dryRun bool, r replica.Result, unhealed *replica.UnhealedError) error {
	j := copied{1, c.From.ID.String(), to, dryRun, c.Source().String(), r.Entries, r.Segments, r.Bytes, r.Missing, r.Damaged, r.Verified, 0}
	if unhealed != nil {
		j.Unhealed = unhealed.Objects
	}
	if g.Output == "json" {
		return cli.WriteJSON(cli.Out(cmd), j)
	}
	return j.print(cli.Out(cmd))
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
	return &replica.Copier{From: repo, To: st, Log: g.Log, Grace: time.Duration(g.Config.Retention.Grace)}, nil
}

func copyOrLook(cmd *cobra.Command, c *replica.Copier, dryRun bool) (replica.Result, error) {
	if dryRun {
		return c.Survey(cmd.Context())
	}
	return c.Copy(cmd.Context())
}

func (j *copied) print(out io.Writer) error {
	what, then := "copied", "the copy is complete up to"
	switch {
	case j.DryRun:
		what, then = "to copy", "which would complete it up to"
	case j.Unhealed > 0:
		then = fmt.Sprintf("the copy lacks %s, and has all else up to", english.Plural(j.Unhealed, "object", ""))
	}
	if j.Verified > 0 {
		fmt.Fprintf(out, "read back: %s\n", english.Plural(int(j.Verified), "segment", ""))
	}
	if j.Missing+j.Damaged > 0 {
		fmt.Fprintf(out, "the copy had lost objects: %d missing, %d damaged; %s\n", j.Missing, j.Damaged, map[bool]string{false: "sent again", true: "to send again"}[j.DryRun])
	}
	_, err := fmt.Fprintf(out, "%s: %s, %s, %s; %s entry %s\n", what, english.Plural(int(j.Entries), "log entry", "log entries"), english.Plural(int(j.Segments), "segment", ""), humanize.IBytes(uint64(j.Bytes)), then, j.Head)
	return err
}
