package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func runCommand(g *cli.Globals) *cobra.Command {
	var t target
	var yes bool
	cmd := &cobra.Command{
		Use:        "run",
		SuggestFor: []string{"restore", "replay"},
		Short:      "Restore; after an interruption the same command goes on, exactly once",
		Example: "  restored run --repo s3://my-backups/prod --bootstrap-server kafka:9092 --yes\n" +
			"  restored run -c restored.yaml --topics orders --rename orders=orders-yesterday --at=-24h",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hold := &pin{}
			defer func() { hold.release(cmd.Context()) }()
			plan, cluster, err := t.prepare(cmd.Context(), g, func(repo *manifest.Repository) { hold = pinned(cmd.Context(), g, repo, "run") })
			if err != nil {
				return err
			}
			defer cluster.Close()
			hold.names(cmd.Context(), plan.Snapshot.Point.Sequence)
			if len(plan.Refusals) > 1 && g.Output != "json" {
				printRefusals(os.Stderr, plan)
				return errAbove
			}
			if err := refusal(plan); err != nil {
				return err
			}
			if !yes {
				if err := confirm(g, plan, cluster.ID()); err != nil {
					return err
				}
			}
			progress := g.NewProgress("restoring", "records", plan.Records())
			runner := &source.Runner{Cluster: cluster, Log: g.Log, Progress: progress.Add, Patience: patience}
			begun := time.Now()
			result, err := runner.Run(cmd.Context(), plan)
			progress.End()
			leaveReport(cmd.Context(), g, plan, cluster.ID(), begun, result, err)
			if err != nil {
				return err
			}
			if err := printResult(cli.Out(cmd), g, plan, result); err != nil {
				return err
			}
			if !result.Complete() {
				return fmt.Errorf("%w: what the problems above name could not be applied", source.ErrIncomplete)
			}
			return nil
		},
	}
	t.register(cmd)
	g.OutputFlag(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm shows the plan and asks, where there is somebody to ask.
func confirm(g *cli.Globals, plan *source.Plan, cluster string) error {
	if !cli.Terminal(os.Stdin) {
		return cli.Usagef("there is no terminal to confirm on: look at \"restored plan\", then give --yes")
	}
	text := *g
	text.Output = "text"
	if err := printPlan(os.Stderr, &text, plan); err != nil {
		return err
	}
	return cli.Ask(fmt.Sprintf("\nRestore into cluster %s?", cluster))
}

// readUntil says what --log-until means for an answer.
func readUntil(entry uint64) string {
	return fmt.Sprintf("the repository was read as it was after log entry %d: nothing that came later counts", entry)
}

type resultJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	Point         uint64            `json:"point"`
	LogUntil      uint64            `json:"logUntil,omitempty"`
	Complete      bool              `json:"complete"`
	Topics        []topicResultJSON `json:"topics"`
	Groups        []groupResultJSON `json:"groups"`
	Missing       []gapJSON         `json:"missing"`

	Metadata []metadataResultJSON `json:"metadata"`
}

type metadataResultJSON struct {
	Kind     string   `json:"kind"`
	Applied  int      `json:"applied"`
	Problems []string `json:"problems"`
}

type topicResultJSON struct {
	Source        string        `json:"source"`
	Target        string        `json:"target"`
	Action        source.Action `json:"action"`
	Records       int64         `json:"records"`
	Aborted       int64         `json:"recordsOfAbortedTransactions"`
	Later         int64         `json:"recordsAfterUntil"`
	Rebuilt       int64         `json:"recordsRebuilt"`
	LiftRetention string        `json:"liftRetention,omitempty"`
	LiftAfter     *time.Time    `json:"liftAfter,omitempty"`
	ownJSON
}

type groupResultJSON struct {
	Group     string   `json:"group"`
	Type      string   `json:"type"`
	Committed int      `json:"committed"`
	Clamped   int      `json:"clamped"`
	Problems  []string `json:"problems"`
}

func printResult(out io.Writer, g *cli.Globals, p *source.Plan, r *source.Result) error {
	if g.Output == "json" {
		j := resultJSON{1, p.Snapshot.Point.Sequence, g.LogUntil(), r.Complete(), []topicResultJSON{}, []groupResultJSON{}, missing(p), []metadataResultJSON{}}
		for i, t := range r.Topics {
			tj := topicResultJSON{t.Source, t.Target, t.Action, t.Kept, t.Aborted, t.Later, t.Rebuilt, t.LiftRetention, nil, ownOf(p, p.Topics[i])}
			if !t.LiftAfter.IsZero() {
				tj.LiftAfter = &t.LiftAfter
			}
			j.Topics = append(j.Topics, tj)
		}
		for _, gr := range r.Groups {
			j.Groups = append(j.Groups, groupResultJSON{gr.Group, gr.Type, gr.Committed, gr.Clamped, append([]string{}, gr.Problems...)})
		}
		for _, m := range r.Metadata {
			j.Metadata = append(j.Metadata, metadataResultJSON{m.Kind, m.Applied, append([]string{}, m.Problems...)})
		}
		return cli.WriteJSON(out, j)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "Restored to recovery point %d of %s\n", p.Snapshot.Point.Sequence, source.Clock(p.Snapshot.Point.Time))
	if n := g.LogUntil(); n > 0 {
		fmt.Fprintf(w, "Note: %s\n", readUntil(n))
	}
	if text := p.Held(); text != "" {
		fmt.Fprintf(w, "Note: %s\n", text)
	}
	for _, text := range p.OwnEnds() {
		fmt.Fprintf(w, "Note: %s\n", text)
	}
	if len(r.Topics) > 0 {
		fmt.Fprintln(w, "\nTOPIC\tTARGET\tRECORDS\tABORTED, LEFT OUT\tREBUILT\tSTATE")
	}
	for i, t := range r.Topics {
		state := "restored"
		if t.Action == source.ActionNone {
			state = "was complete already: nothing to do"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", named(p, p.Topics[i], t.Source), t.Target, t.Kept, t.Aborted, t.Rebuilt, state)
	}
	if len(r.Groups) > 0 {
		fmt.Fprintln(w, "\nGROUP\tTYPE\tOFFSETS COMMITTED\tPROBLEMS")
		for _, gr := range r.Groups {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", gr.Group, gr.Type, gr.Committed, strings.Join(gr.Problems, "; "))
		}
	}
	for i, t := range r.Topics {
		if t.Later > 0 {
			fmt.Fprintf(w, "\n%s: left out %s after %s\n", t.Target, english.Plural(int(t.Later), "record", ""), source.Clock(*p.Topics[i].Until))
		}
	}
	for _, m := range p.Lost {
		fmt.Fprintf(w, "\nMissing, as accepted: %s-%d offsets [%d,%d): %s\n", m.Topic, m.Partition, m.From, m.To, m.Reason)
	}
	if len(r.Metadata) > 0 {
		fmt.Fprintln(w, "\nMETADATA\tSETTINGS APPLIED\tPROBLEMS")
		for _, m := range r.Metadata {
			fmt.Fprintf(w, "%s\t%d\t%s\n", m.Kind, m.Applied, strings.Join(m.Problems, "; "))
		}
	}
	for _, t := range r.Topics {
		if t.LiftRetention != "" {
			fmt.Fprintf(w, "\nRetention of %s is held. From %s on, set the real one:\n  %s\n", t.Target, t.LiftAfter.UTC().Format(time.RFC3339), t.LiftRetention)
		}
	}
	return w.Flush()
}
