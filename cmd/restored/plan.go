package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func planCommand(g *cli.Globals) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:     "plan",
		Short:   "Show everything that run would do, and every check that would refuse",
		Example: "  restored plan --repo s3://my-backups/prod --bootstrap-server kafka:9092 --at 2026-11-20T14:30:00Z",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			hold := &pin{}
			defer func() { hold.release(cmd.Context()) }()
			plan, cluster, err := t.prepare(cmd.Context(), g, func(repo *manifest.Repository) { hold = pinnedBack(cmd.Context(), g, repo, "plan") })
			if err != nil {
				return err
			}
			defer cluster.Close()
			if err := printPlan(cli.Out(cmd), g, plan); err != nil {
				return err
			}
			if len(plan.Refusals) > 0 && g.Output != "json" {
				return errAbove
			}
			return refusal(plan)
		},
	}
	t.register(cmd)
	g.OutputFlag(cmd)
	return cmd
}

// errAbove ends a command that has listed why.
var errAbove = fmt.Errorf("%w for what is listed above", source.ErrRefused)

// refusal is the error of a plan that run would refuse, with all reasons.
func refusal(p *source.Plan) error {
	if len(p.Refusals) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", source.ErrRefused, strings.Join(p.Refusals, "; "))
}

// planJSON is the JSON of a plan.
type planJSON struct {
	SchemaVersion int         `json:"schemaVersion"`
	Point         uint64      `json:"point"`
	PointTime     time.Time   `json:"pointTime"`
	LogUntil      uint64      `json:"logUntil,omitempty"`
	Topics        []topicJSON `json:"topics"`
	Groups        []groupJSON `json:"groups"`
	Segments      int         `json:"segments"`
	Bytes         int64       `json:"storedBytes"`
	Until         *cli.Moment `json:"untilTimestamp,omitempty"`
	Missing       []gapJSON   `json:"missing"`
	Refusals      []string    `json:"refusals"`
	Notes         []string    `json:"notes"`

	Verifications []source.VerifiedContent `json:"verifications"`
	Metadata      []source.Difference      `json:"metadata"`
}

type topicJSON struct {
	Source            string            `json:"source"`
	Incarnation       int               `json:"incarnation"`
	Target            string            `json:"target"`
	Action            source.Action     `json:"action"`
	Partitions        int32             `json:"partitions"`
	ReplicationFactor int16             `json:"replicationFactor"`
	Records           int64             `json:"recordsAtMost"`
	Bytes             int64             `json:"bytes"`
	Reencoded         int64             `json:"reencodedBytes,omitempty"`
	Configs           map[string]string `json:"configs"`
	Kept              map[string]string `json:"configsKept"`
	Expiring          int64             `json:"recordsBeyondRetention"`
	HoldUntil         *time.Time        `json:"holdUntil,omitempty"`
	ownJSON
}

// ownJSON is what an override gives a topic of its own.
type ownJSON struct {
	Point     uint64      `json:"point,omitempty"`
	PointTime *time.Time  `json:"pointTime,omitempty"`
	Until     *cli.Moment `json:"untilTimestamp,omitempty"`
}

func ownOf(p *source.Plan, t *source.TopicPlan) (j ownJSON) {
	if point, own := p.OwnPoint(t); own {
		at := time.UnixMilli(point.Time).UTC()
		j.Point, j.PointTime = point.Sequence, &at
	}
	if t.Until != nil && t.Until != p.Request.Until {
		until := cli.MomentAt(*t.Until)
		j.Until = &until
	}
	return j
}

type groupJSON struct {
	Group   string `json:"group"`
	Type    string `json:"type"`
	Offsets int    `json:"offsets"`
	Problem string `json:"problem,omitempty"`
}

// missing are the gaps that cost the restore records.
func missing(p *source.Plan) []gapJSON {
	list := []gapJSON{}
	for _, g := range p.Lost {
		list = append(list, gapJSON(g))
	}
	return list
}

func planAsJSON(p *source.Plan, logUntil uint64) planJSON {
	j := planJSON{
		SchemaVersion: 1, Point: p.Snapshot.Point.Sequence, PointTime: time.UnixMilli(p.Snapshot.Point.Time).UTC(), LogUntil: logUntil,
		Topics: []topicJSON{}, Groups: []groupJSON{}, Metadata: append([]source.Difference{}, p.Metadata...), Segments: p.Segments, Bytes: p.Bytes, Missing: missing(p),
		Refusals: append([]string{}, p.Refusals...), Notes: append([]string{}, p.Notes...), Verifications: append([]source.VerifiedContent{}, p.Verified...),
	}
	if p.Request.Until != nil {
		until := cli.MomentAt(*p.Request.Until)
		j.Until = &until
	}
	for _, t := range p.Topics {
		tj := topicJSON{t.Source.Name, t.Source.Nth, t.Target, t.Action, t.Partitions, t.ReplicationFactor, t.Records, t.Bytes, t.Reencoded, map[string]string{}, map[string]string{}, t.Expiring, nil, ownOf(p, t)}
		for _, list := range [][]kafka.ConfigEntry{t.Configs, t.Held} {
			for _, c := range list {
				tj.Configs[c.Name] = *c.Value
			}
		}
		for _, c := range t.Kept {
			tj.Kept[c.Name] = valueOf(c)
		}
		if !t.HoldUntil.IsZero() {
			tj.HoldUntil = &t.HoldUntil
		}
		j.Topics = append(j.Topics, tj)
	}
	for _, gr := range p.Groups {
		j.Groups = append(j.Groups, groupJSON{gr.Group, gr.Type, len(gr.Offsets), gr.Problem})
	}
	return j
}

// valueOf is the value of a config, as far as brokers tell it.
func valueOf(c kafka.ConfigEntry) string {
	if c.Value == nil {
		return "(secret)"
	}
	return *c.Value
}

func printPlan(out io.Writer, g *cli.Globals, p *source.Plan) error {
	if g.Output == "json" {
		return cli.WriteJSON(out, planAsJSON(p, g.LogUntil()))
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "Recovery point %d of %s, %s, %s to read\n%s\n\n", p.Snapshot.Point.Sequence, source.Clock(p.Snapshot.Point.Time), english.Plural(p.Segments, "segment", ""), humanize.IBytes(uint64(p.Bytes)), lastVerified(p.Verified, time.Now()))
	if len(p.Topics) > 0 {
		fmt.Fprintln(w, "TOPIC\tTARGET\tACTION\tPARTITIONS\tREPLICAS\tRECORDS (AT MOST)\tBYTES\tCONFIGS")
	}
	for _, t := range p.Topics {
		var configs []string
		for _, c := range t.Configs {
			configs = append(configs, c.Name+"="+*c.Value)
		}
		for _, c := range t.Held {
			configs = append(configs, c.Name+"="+*c.Value+" (held)")
		}
		for _, c := range t.Kept {
			configs = append(configs, c.Name+"="+valueOf(c)+" (kept)")
		}
		for _, name := range t.Unset {
			configs = append(configs, name+" (unset)")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", named(p, t, t.Source.Label()), t.Target, t.Action, t.Partitions, t.ReplicationFactor, t.Records, humanize.IBytes(uint64(t.Bytes)), strings.Join(configs, " "))
	}
	if len(p.Groups) > 0 {
		fmt.Fprintln(w, "\nGROUP\tTYPE\tOFFSETS\tPROBLEM")
		for _, gr := range p.Groups {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", gr.Group, gr.Type, len(gr.Offsets), gr.Problem)
		}
	}
	if len(p.Metadata) > 0 {
		fmt.Fprintln(w)
		printDifferences(w, p.Metadata)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "\nnote: %s", n)
	}
	if len(p.Notes) > 0 {
		fmt.Fprintln(w)
	}
	if len(p.Refusals) > 0 {
		fmt.Fprintln(w)
		printRefusals(w, p)
	}
	return w.Flush()
}

// lastVerified says what was verified last, of whatever level.
func lastVerified(list []source.VerifiedContent, now time.Time) string {
	if len(list) == 0 {
		return "The log tells of no verification of the repository: \"restored verify\""
	}
	last := slices.MaxFunc(list, func(a, b source.VerifiedContent) int { return cmp.Compare(a.Entry, b.Entry) })
	return "Verified last: " + last.Text(now)
}

// named adds its own point to a topic's name if it has one.
func named(p *source.Plan, t *source.TopicPlan, name string) string {
	if point, own := p.OwnPoint(t); own {
		return fmt.Sprintf("%s (point %d)", name, point.Sequence)
	}
	return name
}

// printRefusals prints one line for each.
func printRefusals(w io.Writer, p *source.Plan) {
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "REFUSED: %s\n", r)
	}
}
