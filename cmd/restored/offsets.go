package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

func offsetsCommand(g *cli.Globals) *cobra.Command {
	var s selection
	var groups, extra []string
	format := "csv"
	cmd := &cobra.Command{
		Use:   "offsets",
		Short: "Translate source offsets into target offsets, for groups or for checkpoints of your own",
		Long: "Translate source offsets into target offsets. With --bootstrap-server the targets are those of the restore in that\n" +
			"cluster; without, those of a restore into new topics.",
		Example: "  restored offsets --repo s3://my-backups/prod --group billing\n" +
			"  restored offsets -c restored.yaml --offset orders:0:15 --format json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := translate(cmd, g, &s, groups, extra)
			if err != nil {
				return err
			}
			return printOffsets(cmd, format, list)
		},
	}
	s.register(cmd)
	cmd.Flags().StringSliceVar(&groups, "group", nil, "only these `GROUPS` (default all, or none with --offset)")
	cmd.Flags().StringSliceVar(&extra, "offset", nil, "translate `TOPIC:PARTITION:OFFSET` (repeatable)")
	cmd.Flags().StringVar(&format, "format", format, "`FORMAT` of the output: csv or json")
	return cmd
}

func translate(cmd *cobra.Command, g *cli.Globals, s *selection, groups, extra []string) ([]source.Translation, error) {
	cli.LimitMemory(memoryLimit)
	s.adopt(&g.Config.Restore)
	req, err := s.request()
	if err != nil {
		return nil, err
	}
	asked, err := parseExtra(extra)
	if err != nil {
		return nil, err
	}
	repo, err := g.Repository(cmd.Context())
	if err != nil {
		return nil, err
	}
	hold := pinnedBack(cmd.Context(), g, repo, "offsets")
	defer hold.release(cmd.Context())
	var cluster *kafka.Cluster
	if g.HasCluster() {
		if cluster, err = g.Connect(cmd.Context(), "restored"); err != nil {
			return nil, err
		}
		defer cluster.Close()
	}
	plan, err := prepare(cmd.Context(), g, repo, cluster, req)
	if err != nil {
		return nil, err
	}
	if err := refusal(plan); err != nil {
		return nil, err // a target that is not this restore's has other offsets
	}
	if err := knownGroups(plan, groups); err != nil {
		return nil, err
	}
	list, err := plan.Offsets(cmd.Context(), asked)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(t source.Translation) bool {
		return len(groups)+len(extra) > 0 && t.Group != "" && !slices.Contains(groups, t.Group)
	}), nil
}

// knownGroups wants each of the groups to have offsets in the plan.
func knownGroups(plan *source.Plan, groups []string) error {
	var errs []error
	for _, name := range groups {
		if !slices.ContainsFunc(plan.Groups, func(g source.GroupPlan) bool { return g.Group == name }) {
			errs = append(errs, fmt.Errorf("%w: group %s has no offsets in the selected topics at point %d", source.ErrNothing, name, plan.Snapshot.Point.Sequence))
		}
	}
	return errors.Join(errs...)
}

func parseExtra(texts []string) ([]source.Extra, error) {
	var list []source.Extra
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) != 3 {
			return nil, cli.Usagef("--offset %q: want TOPIC:PARTITION:OFFSET", text)
		}
		partition, err1 := strconv.ParseInt(parts[1], 10, 32)
		offset, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, cli.Usagef("--offset %q: want TOPIC:PARTITION:OFFSET", text)
		}
		list = append(list, source.Extra{Topic: parts[0], Partition: int32(partition), Offset: offset})
	}
	return list, nil
}

func printOffsets(cmd *cobra.Command, format string, list []source.Translation) error {
	switch format {
	case "json":
		type row struct {
			Group     string `json:"group,omitempty"`
			Type      string `json:"type,omitempty"`
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Source    int64  `json:"sourceOffset"`
			Target    string `json:"targetTopic"`
			Offset    int64  `json:"targetOffset"`
			Note      string `json:"note,omitempty"`
			Point     uint64 `json:"point,omitempty"`
		}
		rows := []row{}
		for _, t := range list {
			rows = append(rows, row{t.Group, t.Type, t.Topic, t.Partition, t.Source, t.Target, t.Offset, t.Note, t.Point})
		}
		return cli.WriteJSON(cli.Out(cmd), map[string]any{"schemaVersion": 1, "offsets": rows})
	case "csv":
		w := csv.NewWriter(cli.Out(cmd))
		head := []string{"group", "type", "topic", "partition", "source_offset", "target_topic", "target_offset", "note"}
		own := slices.ContainsFunc(list, func(t source.Translation) bool { return t.Point > 0 })
		if own {
			head = append(head, "point")
		}
		w.Write(head)
		for _, t := range list {
			w.Write(csvRow(t, own))
		}
		w.Flush()
		return w.Error()
	}
	return cli.Usagef("--format %q: want csv or json", format)
}

// csvRow is a line of the CSV; with own, it ends with the topic's point if that
// is not the restore's.
func csvRow(t source.Translation, own bool) []string {
	row := []string{t.Group, t.Type, t.Topic, fmt.Sprint(t.Partition), fmt.Sprint(t.Source), t.Target, fmt.Sprint(t.Offset), t.Note}
	if !own {
		return row
	}
	point := ""
	if t.Point > 0 {
		point = fmt.Sprint(t.Point)
	}
	return append(row, point)
}
