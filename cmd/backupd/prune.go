package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func pruneCommand(g *cli.Globals) *cobra.Command {
	var dry, force bool
	var dropped []string
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the recovery points that the retention does not keep, and what only they needed",
		Example: "  backupd prune -c backupd.yaml --dry-run\n" +
			"  backupd prune --repo s3://my-backups/prod -X retention.window=7d -X retention.keep.monthly=12",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			p, err := pruner(g, repo)
			if err != nil {
				return err
			}
			p.Force, p.DropPins = force, dropped
			do := p.Prune
			if dry {
				do = p.Plan
			}
			report, err := do(cmd.Context())
			if report == nil {
				return err
			}
			if werr := printPrune(cmd, g, describePrune(report, dry, errors.Is(err, retention.ErrShare))); werr != nil {
				return werr
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	cmd.Flags().BoolVar(&force, "force", false, "even if more would be removed than retention.maxRemovedShare allows, or a point needs what is removed")
	cmd.Flags().StringSliceVar(&dropped, "drop-pin", nil, "delete the pins with these `IDS`, of restores that are known to be dead")
	g.OutputFlag(cmd)
	return cmd
}

// pruner returns one by the rules of the configuration.
func pruner(g *cli.Globals, repo *manifest.Repository) (*retention.Pruner, error) {
	c := &g.Config.Retention
	policy, err := g.RetentionPolicy()
	if err != nil {
		return nil, err
	}
	return &retention.Pruner{Repository: repo, Policy: *policy, Grace: time.Duration(c.Grace), MaxShare: float64(c.MaxRemovedShare), Agent: g.Agent("backupd", "prune"), Now: time.Now}, nil
}

// pruneJSON is the JSON of backupd prune.
type pruneJSON struct {
	SchemaVersion int                 `json:"schemaVersion"`
	DryRun        bool                `json:"dryRun"`
	TooMuch       bool                `json:"tooMuch"` // it was refused, or would be, and has changed nothing
	Entry         uint64              `json:"entry,omitempty"`
	Points        []prunedPoint       `json:"points"`            // the newest first
	LostNames     []prunedName        `json:"lostNames"`         // of points that are not kept, the newest first
	Unmatched     []string            `json:"unmatchedPatterns"` // of retention.topics[].include
	LostTopics    []string            `json:"lostTopics"`        // that no point has any more
	Stored        amountJSON          `json:"stored"`
	Removed       amountJSON          `json:"removed"`
	Forced        bool                `json:"forced"` // so much that it takes --force again to delete it
	Deleted       amountJSON          `json:"deleted"`
	Waiting       amountJSON          `json:"waiting"`
	WaitingUntil  *time.Time          `json:"waitingUntil"`
	Refused       []refusedJSON       `json:"refused"`
	Pins          []source.PinContent `json:"pins"`
	Held          int                 `json:"heldRemovals"`
}

type prunedPoint struct {
	source.PointInfo
	Keep    bool     `json:"keep"`
	Reasons []string `json:"reasons"`
}

type prunedName struct {
	ID   uint64 `json:"id"`
	Name string `json:"name"`
}

type amountJSON struct {
	Segments int64 `json:"segments"`
	Bytes    int64 `json:"bytes"`
}

type refusedJSON struct {
	Object string `json:"object"`
	Error  string `json:"error"`
}

func describePrune(r *retention.Report, dry, tooMuch bool) *pruneJSON {
	j := &pruneJSON{
		SchemaVersion: 1, DryRun: dry, TooMuch: tooMuch, Entry: r.Entry, Points: []prunedPoint{}, LostNames: []prunedName{}, Unmatched: append([]string{}, r.Unmatched...), LostTopics: append([]string{}, r.Lost...), Refused: []refusedJSON{}, Pins: source.PinContents(r.Pins, time.Now()), Held: r.Held,
		Stored: amountJSON(r.Stored), Removed: amountJSON(r.Removed), Forced: r.Forced, Deleted: amountJSON(r.Deleted), Waiting: amountJSON(r.Waiting),
	}
	if !r.Until.IsZero() {
		until := r.Until.UTC()
		j.WaitingUntil = &until
	}
	for i := len(r.Decisions) - 1; i >= 0; i-- {
		d := &r.Decisions[i]
		j.Points = append(j.Points, prunedPoint{source.Info(d.Point), d.Keep, d.Reasons})
		if !d.Keep && d.Point.Name != "" {
			j.LostNames = append(j.LostNames, prunedName{d.Point.Sequence, d.Point.Name})
		}
	}
	for _, x := range r.Refused {
		j.Refused = append(j.Refused, refusedJSON{x.Key, x.Err.Error()})
	}
	return j
}

func printPrune(cmd *cobra.Command, g *cli.Globals, j *pruneJSON) error {
	if g.Output == "json" {
		return cli.WriteJSON(cli.Out(cmd), j)
	}
	w := tabwriter.NewWriter(cli.Out(cmd), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "POINT\tTIME\tNAME\tKEPT\tWHY")
	for _, p := range j.Points {
		kept := "no"
		if p.Keep {
			kept = "yes"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", p.ID, source.Clock(p.Time.UnixMilli()), p.Name, kept, strings.Join(p.Reasons, "; "))
	}
	for _, text := range j.Unmatched {
		fmt.Fprintf(w, "WARNING\tretention.topics: %q matches no topic of the repository: is it spelled right?\n", text)
	}
	for _, p := range j.LostNames {
		fmt.Fprintf(w, "LOST\tthe named point %s (%d)\n", p.Name, p.ID)
	}
	for _, topic := range j.LostTopics {
		fmt.Fprintf(w, "LOST\tno recovery point has topic %s any more\n", topic)
	}
	for _, x := range j.Refused {
		fmt.Fprintf(w, "REFUSED\t%s\t%s\n", x.Object, x.Error)
	}
	for i := range j.Pins {
		fmt.Fprintf(w, "PIN\t%s\n", &j.Pins[i])
	}
	if j.Held > 0 {
		fmt.Fprintf(w, "HELD\twhat %s removed is not deleted yet, since a restore may be reading it\n", english.Plural(j.Held, "log entry", "log entries"))
	}
	if j.Forced {
		fmt.Fprintf(w, "FORCED\tso much is removed that it takes --force again to delete it, when the grace is over: prunes without it do nothing from then on\n")
	}
	if j.TooMuch {
		fmt.Fprintf(w, "TOO MUCH\tnothing is done\n")
	}
	verb := map[bool]string{true: "would be ", false: ""}[j.DryRun || j.TooMuch]
	fmt.Fprintf(w, "\n%sremoved\t%s\n%sdeleted\t%s\n", verb, amount(j.Removed), verb, amount(j.Deleted))
	waiting := amount(j.Waiting)
	if j.WaitingUntil != nil {
		waiting += ", the first until " + j.WaitingUntil.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "waiting for the grace of %s\t%s\n", g.Config.Retention.Grace, waiting)
	return w.Flush()
}

func amount(a amountJSON) string {
	return fmt.Sprintf("%s, %s", english.Plural(int(a.Segments), "segment", ""), humanize.IBytes(uint64(a.Bytes)))
}

// firstPrune is how soon after its start a daemon prunes, so that one which is
// often started anew does, too.
const firstPrune = time.Minute

// pruneEvery prunes as often as the configuration says. Whatever goes wrong is a
// warning: the capture goes on.
func pruneEvery(ctx context.Context, g *cli.Globals, m *metrics.Metrics) {
	every, warned := time.Duration(g.Config.Retention.Every), false
	for pause := min(firstPrune, every); ; pause = every {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		r, err := pruneOnce(ctx, g)
		if ctx.Err() != nil {
			return
		}
		if !warned && len(r.Unmatched) > 0 {
			g.Log.Warn("rules of retention.topics match no topic of the repository: are they spelled right?", "include", r.Unmatched)
			warned = true
		}
		m.Pruned(time.Now(), r.Deleted.Segments, r.Deleted.Bytes, err)
		if err != nil {
			g.Log.Warn("the repository could not be pruned", "error", err)
		}
	}
}

// pruneOnce opens the repository for itself: whoever captures takes the entries for
// somebody else's.
func pruneOnce(ctx context.Context, g *cli.Globals) (retention.Report, error) {
	repo, err := g.Repository(ctx)
	if err != nil {
		return retention.Report{}, err
	}
	p, err := pruner(g, repo)
	if err != nil {
		return retention.Report{}, err
	}
	r, err := p.Prune(ctx)
	if r == nil {
		return retention.Report{}, err
	}
	if r.Entry > 0 || r.Deleted.Segments > 0 {
		dropped := 0
		for i := range r.Decisions {
			if !r.Decisions[i].Keep {
				dropped++
			}
		}
		g.Log.Info("pruned", "entry", r.Entry, "points", dropped, "removed", r.Removed.Segments, "deleted", r.Deleted.Segments, "deletedBytes", r.Deleted.Bytes)
	}
	return *r, err
}
