package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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

	Points []uint64 `json:"points,omitempty"` // the chosen ones
	Entry  uint64   `json:"entry,omitempty"`  // that made it a repository of its own
}

func copyCommand(g *cli.Globals) *cobra.Command {
	var to string
	var points []string
	var dryRun, verify bool
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy the repository to another store, or add to a copy what it lacks",
		Example: "  backupd copy --repo s3://my-backups/prod --to /mnt/second/prod\n" +
			"  backupd copy --repo s3://my-backups/prod --to gs://elsewhere/prod --verify\n" +
			"  backupd copy --repo s3://my-backups/prod --to gs://elsewhere/prod --dry-run\n" +
			"  backupd copy --repo s3://my-backups/prod --to /mnt/archive/2026 --points year-end,before-migration",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCopier(cmd, g, to)
			if err != nil {
				return err
			}
			var chosen *choice
			if len(points) > 0 {
				if chosen, err = choose(cmd, g, c, points); err != nil {
					return err
				}
			}
			j, err := runCopy(cmd, g, c, chosen, dryRun, verify)
			if err != nil {
				err = fmt.Errorf("copy to %s: %w", to, err)
			}
			if j == nil {
				return err
			}
			j.To = to
			if g.Output == "json" {
				return errors.Join(cli.WriteJSON(cli.Out(cmd), j), err)
			}
			return errors.Join(j.print(cli.Out(cmd)), err)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`URL` of the copy, as --repo")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "compare what is there, and say what would be copied")
	cmd.Flags().BoolVar(&verify, "verify", false, "also read back all that the copy has, and replace what is damaged")
	cmd.Flags().StringSliceVar(&points, "points", nil, "copy only what these recovery points need, and make it a repository of its own: `POINTS`, names or ids, separated by commas")
	g.OutputFlag(cmd)
	return cmd
}

// runCopy copies, or looks what there is to copy. It returns nothing if it was
// interrupted on the way.
func runCopy(cmd *cobra.Command, g *cli.Globals, c *replica.Copier, chosen *choice, dryRun, verify bool) (*copied, error) {
	if chosen != nil && chosen.entry > 0 {
		if verify { // it is a repository of its own, and its log may have gone on
			return nil, cli.Usagef("this archive was completed before, by entry %d at the latest: \"restored verify --level digest\" reads it back, \"backupd copy\" does not", chosen.entry)
		}
		return chosen.told(c), nil
	}
	progress := g.NewProgress("copying", "bytes", 0)
	c.Progress, c.Verify = progress.Set, verify
	r, err := copyOrLook(cmd, c, dryRun)
	progress.End()
	var unhealed *replica.UnhealedError
	if err != nil && !errors.As(err, &unhealed) {
		return nil, err
	}
	if dryRun && r.Missing+r.Damaged > 0 {
		err = fmt.Errorf("%w: %d missing, %d damaged", replica.ErrSpoilt, r.Missing, r.Damaged)
	}
	j := &copied{
		SchemaVersion: 1, Repository: c.From.ID.String(), DryRun: dryRun, Head: c.Source().String(), Entries: r.Entries, Segments: r.Segments, Bytes: r.Bytes,
		Missing: r.Missing, Damaged: r.Damaged, Verified: r.Verified,
	}
	if unhealed != nil {
		j.Unhealed = unhealed.Objects
	}
	if chosen != nil {
		j.Points = chosen.ids()
		if err == nil && !dryRun {
			j.Entry, err = chosen.promote(cmd, g, c)
		}
	}
	return j, err
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
	if len(j.Points) > 0 {
		then = strings.Replace(then, "the copy is complete", "the copy has what "+english.Plural(len(j.Points), "recovery point needs", "recovery points need"), 1)
	}
	_, err := fmt.Fprintf(out, "%s: %s, %s, %s; %s entry %s\n", what, english.Plural(int(j.Entries), "log entry", "log entries"), english.Plural(int(j.Segments), "segment", ""), humanize.IBytes(uint64(j.Bytes)), then, j.Head)
	if err == nil && j.Entry > 0 {
		_, err = fmt.Fprintf(out, "a repository of its own from entry %d on, with these points and no others; nothing can be captured into it\n", j.Entry)
	}
	return err
}
