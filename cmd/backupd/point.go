package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func pointCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "point",
		Short: "Make, list, pin, hold and delete recovery points",
	}
	cli.HelpOnly(cmd)
	cmd.AddCommand(createPointCommand(g), listPointsCommand(g), showPointCommand(g), pinPointCommand(g, true), pinPointCommand(g, false), holdPointCommand(g, true), holdPointCommand(g, false), deletePointCommand(g))
	return cmd
}

func listPointsCommand(g *cli.Globals) *cobra.Command {
	var limit int
	var named bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the recovery points, newest first, from the repository alone",
		Example: "  backupd point list --repo s3://my-backups/prod --named",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			state, err := repo.State(cmd.Context(), 0)
			if err != nil {
				return err
			}
			points := state.Points
			if named {
				points = nil
				for _, p := range state.Points {
					if p.Name != "" || p.Protected() {
						points = append(points, p)
					}
				}
			}
			return printPoints(cli.Out(cmd), g, source.Newest(points, limit), len(points))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "show `N` points, 0 for all")
	cmd.Flags().BoolVar(&named, "named", false, "only those that have a name or are pinned or held")
	g.OutputFlag(cmd)
	return cmd
}

func printPoints(out io.Writer, g *cli.Globals, list []source.PointInfo, total int) error {
	if g.Output == "json" {
		return cli.WriteJSON(out, map[string]any{"schemaVersion": 1, "points": list, "total": total})
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "POINT\tTIME\tNAME\tSTATE")
	for _, p := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name, p.State())
	}
	if n := total - len(list); n > 0 {
		fmt.Fprintf(w, "… and %d without a name or a pin (--limit 0 shows all)\n", n)
	}
	return w.Flush()
}

func showPointCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show POINT",
		Short:   "Show one recovery point, named as for restored --at, from the repository alone",
		Example: "  backupd point show --repo s3://my-backups/prod before-the-upgrade",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			snap, err := source.Load(cmd.Context(), repo, args[0], time.Now())
			if err != nil {
				return err
			}
			if snap.Future() {
				g.Log.Warn("the time is yet to come: this is the newest recovery point that there is now", "at", args[0])
			}
			return printPoint(cli.Out(cmd), g, snap)
		},
	}
	g.OutputFlag(cmd)
	return cmd
}

func printPoint(out io.Writer, g *cli.Globals, snap *source.Snapshot) error {
	c := snap.Content()
	if g.Output == "json" {
		return cli.WriteJSON(out, c)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "recovery point\t%d\ntime\t%s\nname\t%s\npinned\t%t\nheld\t%t\ngroups\t%d\n", c.Point, source.Clock(c.Time.UnixMilli()), c.Name, c.Pinned, c.Held, len(c.Groups))
	fmt.Fprintf(w, "\nTOPIC\tPARTITIONS\tOFFSETS\n")
	for _, t := range c.Topics {
		var offsets int64
		for _, p := range t.Partitions {
			offsets += p.To - p.From
		}
		if !t.Gone {
			fmt.Fprintf(w, "%s\t%d\t%d\n", t.Topic, len(t.Partitions), offsets)
		}
	}
	return w.Flush()
}

func pinPointCommand(g *cli.Globals, pin bool) *cobra.Command {
	verb, short := "pin", "Protect a recovery point from being deleted"
	if !pin {
		verb, short = "unpin", "End the protection of a recovery point"
	}
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " POINT",
		Short:   short,
		Example: "  backupd point " + verb + " --repo s3://my-backups/prod before-the-upgrade",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changePoint(cmd, g, args[0], verb+"ned", reason, func(log *manifest.Log, point manifest.FindPoint) (manifest.PointRef, error) {
				return log.PinPoint(cmd.Context(), point, pin)
			})
		},
	}
	reasonFlag(cmd, &reason)
	g.OutputFlag(cmd)
	return cmd
}

func holdPointCommand(g *cli.Globals, hold bool) *cobra.Command {
	verb, done, short := "hold", "held", "Put a recovery point under a legal hold, which only release ends"
	if !hold {
		verb, done, short = "release", "released", "End the legal hold of a recovery point"
	}
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " POINT",
		Short:   short,
		Example: "  backupd point " + verb + " --repo s3://my-backups/prod before-the-audit",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changePoint(cmd, g, args[0], done, reason, func(log *manifest.Log, point manifest.FindPoint) (manifest.PointRef, error) {
				return log.HoldPoint(cmd.Context(), point, hold)
			})
		},
	}
	reasonFlag(cmd, &reason)
	g.OutputFlag(cmd)
	return cmd
}

func deletePointCommand(g *cli.Globals) *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:        "delete POINT",
		SuggestFor: []string{"rm", "remove"},
		Short:      "Delete a recovery point, unless it is pinned or held: it can no longer be restored to",
		Example:    "  backupd point delete --repo s3://my-backups/prod before-the-upgrade --yes",
		Args:       cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			point := args[0]
			if !yes {
				var err error
				if point, err = confirmDelete(cmd, g, point); err != nil {
					return err
				}
			}
			return changePoint(cmd, g, point, "deleted", reason, func(log *manifest.Log, point manifest.FindPoint) (manifest.PointRef, error) {
				return log.DeletePoint(cmd.Context(), point)
			})
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, if the point has a name, or is the newest or the only one")
	g.OutputFlag(cmd)
	return cmd
}

// confirmDelete asks whether a point is to be deleted that somebody has given a name, or that is the newest or the only one, and
// returns its id. A pinned or held one is refused anyway.
func confirmDelete(cmd *cobra.Command, g *cli.Globals, point string) (id string, err error) {
	repo, err := g.Repository(cmd.Context())
	if err != nil {
		return "", err
	}
	state, err := repo.State(cmd.Context(), 0)
	if err != nil {
		return "", err
	}
	p, err := source.NamedPoint(state.Points, point)
	if err != nil {
		return point, err
	}
	why, question := deleteQuestion(state.Points, p)
	if question == "" {
		return fmt.Sprint(p.Sequence), nil
	}
	if !cli.Terminal(os.Stdin) {
		return "", cli.Usagef("recovery point %d %s, and there is no terminal to confirm on: give --yes", p.Sequence, why)
	}
	return fmt.Sprint(p.Sequence), cli.Ask(question)
}

// deleteQuestion is what is asked before a point is deleted, and why, or empty.
func deleteQuestion(points []manifest.PointRef, p manifest.PointRef) (why, question string) {
	switch {
	case p.Protected():
		return "", ""
	case len(points) == 1:
		return "is the only one that there is", fmt.Sprintf("Delete recovery point %d of %s? It is the only one: nothing can be restored any more.", p.Sequence, source.Clock(p.Time))
	case p.Name != "":
		return "has a name, " + p.Name, fmt.Sprintf("Delete recovery point %d, %s, of %s? Nothing can be restored to it any more.", p.Sequence, p.Name, source.Clock(p.Time))
	case p.Sequence == points[len(points)-1].Sequence:
		before := points[len(points)-2]
		return "is the newest", fmt.Sprintf("Delete recovery point %d of %s? It is the newest: until there is another one, nothing can be restored that came after point %d of %s.", p.Sequence, source.Clock(p.Time), before.Sequence, source.Clock(before.Time))
	}
	return "", ""
}

// called finds the point with an id or a name, and no other by mistake: the latest one
// is the one that is found first, whatever is made meanwhile. It notes what the point was.
func called(text string, was *manifest.PointRef) manifest.FindPoint {
	return func(s *manifest.State) (p manifest.PointRef, err error) {
		*was, err = source.NamedPoint(s.Points, text)
		if err == nil && text == "latest" {
			text = fmt.Sprint(was.Sequence)
		}
		return *was, err
	}
}

// reasonFlag adds --reason to a command that appends to the log.
func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, as `TEXT` that \"backupd audit\" shows")
}

// changePoint appends to the log, which fences nobody, and says what was done.
func changePoint(cmd *cobra.Command, g *cli.Globals, point, done, reason string, change func(*manifest.Log, manifest.FindPoint) (manifest.PointRef, error)) error {
	repo, err := g.Repository(cmd.Context())
	if err != nil {
		return err
	}
	log, err := repo.OpenLog(cmd.Context(), time.Now)
	if err != nil {
		return err
	}
	if err := sign(log, g, cmd, "point", reason); err != nil {
		return err
	}
	var was manifest.PointRef
	p, err := change(log, called(point, &was))
	if err != nil {
		return err
	}
	return printMade(cmd, g, p, done, p != was || done == "deleted")
}

// unchanged says that a point was as it should be: nothing was written.
func unchanged(done string) string {
	switch done {
	case "unpinned":
		return "was not pinned"
	case "released":
		return "was not held"
	}
	return "was " + done + " already"
}

// printMade prints a point and what has been done with it, or that it was so before.
func printMade(cmd *cobra.Command, g *cli.Globals, p manifest.PointRef, done string, changed bool) error {
	if g.Output == "json" {
		return json.NewEncoder(cli.Out(cmd)).Encode(map[string]any{
			"schemaVersion": 1, "point": p.Sequence, "name": p.Name, "time": time.UnixMilli(p.Time).UTC(), "pinned": p.Pinned, "held": p.Held, "done": done, "changed": changed,
		})
	}
	if !changed {
		done = unchanged(done)
	}
	name := ""
	if p.Name != "" {
		name = ", " + p.Name + ","
	}
	_, err := fmt.Fprintf(cli.Out(cmd), "recovery point %d%s of %s %s\n", p.Sequence, name, source.Clock(p.Time), done)
	return err
}
