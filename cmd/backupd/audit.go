package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// audit is the JSON of backupd audit.
type audit struct {
	SchemaVersion int      `json:"schemaVersion"`
	Repository    string   `json:"repository"`
	Head          string   `json:"head"`
	KeptHead      string   `json:"keptHead,omitempty"` // that was found in the log
	LeftOut       int      `json:"leftOut"`            // points without a name
	Actions       []action `json:"actions"`

	Reports []auditedReport `json:"reports"` // of restores
}

// action is the JSON of one.
type action struct {
	Entry     uint64              `json:"entry"`
	SHA256    string              `json:"sha256"`
	Time      cli.Moment          `json:"time"`
	Kind      manifest.ActionKind `json:"action"`
	Program   string              `json:"program,omitempty"`
	Host      string              `json:"host,omitempty"`
	Principal string              `json:"principal,omitempty"`
	Writer    string              `json:"writer"`
	Point     uint64              `json:"point,omitempty"`
	Name      string              `json:"name,omitempty"`
	Segments  int64               `json:"segments,omitempty"`

	Keys    []manifest.KeyChange `json:"keys,omitempty"`
	Details []string             `json:"details,omitempty"`

	Note json.RawMessage `json:"note,omitempty"`
}

// wantedActions says which actions are shown.
type wantedActions struct {
	since string
	all   bool
	kept  string
}

func auditCommand(g *cli.Globals) *cobra.Command {
	var w wantedActions
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List who did what with the repository, and check that its log hangs together",
		Example: "  backupd audit --repo s3://my-backups/prod --since=-24h\n" +
			"  backupd audit --repo s3://my-backups/prod --head 12:5f0c…   # as an earlier audit printed it",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, kept, err := w.parse(time.Now())
			if err != nil {
				return err
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			a := &audit{SchemaVersion: 1, Repository: repo.ID.String(), Actions: []action{}, KeptHead: w.kept}
			pins := make(map[string]pin)
			head, err := repo.Audit(cmd.Context(), kept, func(x manifest.Action) {
				notePins(pins, &x)
				switch {
				case x.Time < since.UnixMilli():
				case x.Kind == manifest.ActionPoint && x.Name == "" && !w.all:
					a.LeftOut++
				default:
					a.Actions = append(a.Actions, actionOf(&x))
				}
			})
			if err != nil {
				return err
			}
			a.Head = head.String()
			if a.Reports, err = auditReports(cmd.Context(), repo, pins, since); err != nil {
				return err
			}
			if g.Output == "json" {
				err = cli.WriteJSON(cli.Out(cmd), a)
			} else {
				err = a.print(cli.Out(cmd))
			}
			if err != nil {
				return err
			}
			return wrongReports(a.Reports)
		},
	}
	cmd.Flags().StringVar(&w.since, "since", "", "only what was done after this `TIME`")
	cmd.Flags().BoolVar(&w.all, "all", false, "recovery points without a name, too")
	cmd.Flags().StringVar(&w.kept, "head", "", "prove that the log still has all that it had when `SEQ:SHA256` was its head")
	g.OutputFlag(cmd)
	return cmd
}

func (w *wantedActions) parse(now time.Time) (since time.Time, kept *manifest.Head, err error) {
	since = time.UnixMilli(0)
	if w.since != "" {
		if since, err = source.ParseTime(w.since, now); err != nil {
			return since, nil, cli.Usagef("--since %s: %v", w.since, err)
		}
	}
	if w.kept != "" {
		h, err := manifest.ParseHead(w.kept)
		if err != nil {
			return since, nil, cli.Usagef("--head: %v", err)
		}
		kept = &h
	}
	return since, kept, nil
}

func actionOf(x *manifest.Action) action {
	a := action{
		Entry: x.Head.Sequence, SHA256: x.Head.Digest.String(), Time: cli.MomentAt(x.Time), Kind: x.Kind,
		Writer: x.Writer.String(), Point: x.Point, Name: x.Name, Segments: x.Segments, Keys: x.Keys, Details: x.Details,
	}
	if x.Agent != nil {
		a.Program, a.Host, a.Principal = x.Agent.Program, x.Agent.Host, x.Agent.Principal
	}
	if x.Note != nil {
		a.Note = json.RawMessage(x.Note.Text)
	}
	return a
}

// print shows one line for each action: what is not fit to be printed is
// escaped.
func (a *audit) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tENTRY\tSHA-256\tACTION\tPOINT\tWHO\tNOTE")
	for i := range a.Actions {
		x := &a.Actions[i]
		point := ""
		if x.Point > 0 {
			point = fmt.Sprint(x.Point)
		}
		if x.Name != "" {
			point += " " + x.Name
		}
		fmt.Fprintf(w, "%s\t%d\t%s…\t%s\t%s\t%s\t%s\n", source.Clock(x.Time.UnixMilli()), x.Entry, x.SHA256[:12], x.Kind, point, cli.Printable(x.who()), cli.Printable(x.what()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := printReports(out, a.Reports); err != nil {
		return err
	}
	if a.LeftOut > 0 {
		fmt.Fprintf(out, "%s without a name %s left out (--all shows them)\n", english.Plural(a.LeftOut, "recovery point", ""), english.PluralWord(a.LeftOut, "is", "are"))
	}
	if a.KeptHead != "" {
		fmt.Fprintf(out, "the log still has all that it had with head %s\n", a.KeptHead)
	}
	_, err := fmt.Fprintf(out, "the log hangs together; head %s\n", a.Head)
	return err
}

// what is said of it for people.
func (x *action) what() string {
	var parts []string
	if x.Segments > 0 {
		parts = append(parts, english.Plural(int(x.Segments), "segment", ""))
	}
	for i := range x.Keys {
		parts = append(parts, x.Keys[i].String())
	}
	parts = append(parts, x.Details...)
	if x.Note != nil {
		parts = append(parts, x.noted())
	}
	return strings.Join(parts, "; ")
}

func (x *action) who() string {
	if x.Program == "" {
		return "writer " + x.Writer
	}
	text := x.Program + " on " + x.Host
	if x.Principal != "" {
		text += " as " + x.Principal
	}
	return text
}
