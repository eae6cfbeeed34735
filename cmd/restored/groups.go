package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func groupsCommand(g *cli.Globals) *cobra.Command {
	var at string
	var only []string
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "Show what consumer groups had committed at a moment",
		Long: "Show what consumer groups had committed at a moment, in offsets of the source.\n" +
			"Where backupd captures __consumer_offsets, that is known exactly as of every moment; else as of each recovery point.",
		Example: "  restored groups --repo s3://my-backups/prod --at 2026-11-20T14:30:00.250Z\n" +
			"  restored groups --repo s3://my-backups/prod --at=-2h --group billing -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			hold := pinnedBack(cmd.Context(), g, repo, "groups")
			defer hold.release(cmd.Context())
			then, err := source.LoadGroups(cmd.Context(), repo, at, time.Now())
			if err != nil {
				return err
			}
			if then.Future {
				g.Log.Warn("the time of --at is yet to come: this is what is known now", "at", at)
			}
			for _, id := range only {
				if then.Groups[id] == nil {
					return fmt.Errorf("%w: there was no group %s at %s", source.ErrNothing, id, source.Clock(then.Time))
				}
			}
			if len(only) > 0 {
				maps.DeleteFunc(then.Groups, func(id string, _ *manifest.Group) bool { return !slices.Contains(only, id) })
			}
			return printGroups(cli.Out(cmd), g, then)
		},
	}
	f := cmd.Flags()
	f.StringVar(&at, "at", "latest", "the moment: a time (RFC 3339, without a zone in UTC; epoch ms; -2h), or a recovery `POINT`: latest, an id, a name")
	f.StringSliceVar(&only, "group", nil, "only these `GROUPS`, separated by commas")
	g.OutputFlag(cmd)
	return cmd
}

// groupsJSON is the form of restored groups -o json.
type groupsJSON struct {
	SchemaVersion int                   `json:"schemaVersion"`
	AsOf          time.Time             `json:"asOf"`
	Exact         bool                  `json:"exact"`
	Point         uint64                `json:"point"`
	LogUntil      uint64                `json:"logUntil,omitempty"`
	Groups        []source.GroupContent `json:"groups"`
}

func printGroups(out io.Writer, g *cli.Globals, then *source.GroupsAt) error {
	content := source.GroupContents(then.Groups)
	if g.Output == "json" {
		return cli.WriteJSON(out, groupsJSON{1, time.UnixMilli(then.Time).UTC(), then.Exact, then.Point.Sequence, g.LogUntil(), content})
	}
	how := "exactly"
	if !then.Exact {
		how = fmt.Sprintf("as they were asked for at recovery point %d", then.Point.Sequence)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if n := g.LogUntil(); n > 0 {
		fmt.Fprintf(w, "%s\n\n", readUntil(n))
	}
	fmt.Fprintf(w, "As of %s, %s\n\nGROUP\tTYPE\tTOPIC\tPARTITION\tOFFSET\n", source.Clock(then.Time), how)
	for _, c := range content {
		for _, o := range c.Offsets {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", c.Group, c.Type, o.Topic, o.Partition, o.Offset)
		}
	}
	return w.Flush()
}
