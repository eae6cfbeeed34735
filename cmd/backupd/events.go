package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// event is the JSON of one.
type event struct {
	Entry     uint64             `json:"entry"`
	Time      cli.Moment         `json:"time"`
	Kind      manifest.EventKind `json:"kind"`
	Topic     string             `json:"topic,omitempty"`
	TopicID   string             `json:"topicId,omitempty"`
	Partition *int32             `json:"partition,omitempty"`
	From      *int64             `json:"from,omitempty"`
	To        *int64             `json:"to,omitempty"`
	// The lost records of a gap lie between these, as far as that is known.
	After  *cli.Moment `json:"after,omitempty"`
	Before *cli.Moment `json:"before,omitempty"`
	Text   string      `json:"text"`
}

func eventsCommand(g *cli.Globals) *cobra.Command {
	var topics string
	var limit int
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "List what happened to the source: topics, configs, gaps, rewritten offsets",
		Example: "  backupd events --repo s3://my-backups/prod --topics 'orders*'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var patterns []string
			if topics != "" {
				patterns = pattern.Split(topics)
			}
			list, err := pattern.Parse(patterns)
			if err != nil {
				return cli.Usagef("--topics: %v", err)
			}
			if limit < 0 {
				return cli.Usagef("--limit %d: must not be negative", limit)
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			all, err := repo.Events(cmd.Context(), func(kind, was, is string) string {
				return metadata.Changes(metadata.Kind(kind), was, is)
			})
			if err != nil {
				return err
			}
			if topics != "" {
				all = slices.DeleteFunc(all, func(e manifest.Event) bool { return e.Topic == "" || !list.Match(e.Topic) })
			}
			total := len(all)
			if limit > 0 && total > limit {
				all = all[total-limit:]
			}
			return printEvents(cli.Out(cmd), g, all, total)
		},
	}
	cmd.Flags().StringVar(&topics, "topics", "", "only those of the topics that these `PATTERNS` select")
	cmd.Flags().IntVar(&limit, "limit", 100, "show the `N` newest, 0 for all")
	g.OutputFlag(cmd)
	return cmd
}

func printEvents(out io.Writer, g *cli.Globals, list []manifest.Event, total int) error {
	if g.Output == "json" {
		events := make([]event, len(list))
		for i := range list {
			events[i] = eventOf(&list[i])
		}
		return cli.WriteJSON(out, map[string]any{"schemaVersion": 1, "events": events, "total": total})
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if n := total - len(list); n > 0 {
		fmt.Fprintf(w, "… and %d older ones (--limit 0 shows all)\n", n)
	}
	fmt.Fprintln(w, "TIME\tENTRY\tWHAT\tTOPIC\tOFFSETS\tDETAIL")
	for i := range list {
		e := &list[i]
		topic, offsets := e.Topic, ""
		if e.Partition >= 0 {
			topic = fmt.Sprintf("%s-%d", e.Topic, e.Partition)
		}
		if e.To > 0 {
			offsets = fmt.Sprintf("[%d,%d)", e.From, e.To)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", source.Clock(e.Time), e.Entry, e.Kind, topic, offsets, e.Text+source.Lost(e))
	}
	return w.Flush()
}

func eventOf(e *manifest.Event) event {
	x := event{Entry: e.Entry, Time: cli.MomentAt(e.Time), Kind: e.Kind, Topic: e.Topic, Text: e.Text, After: moment(e.OldestLost), Before: moment(e.NewestLost)}
	if e.Topic != "" {
		x.TopicID = kafka.TopicID(e.TopicID).String()
	}
	if e.Partition >= 0 {
		x.Partition = &e.Partition
	}
	if e.To > 0 {
		x.From, x.To = &e.From, &e.To
	}
	return x
}

func moment(ms int64) *cli.Moment {
	if ms == 0 {
		return nil
	}
	t := cli.MomentAt(ms)
	return &t
}
