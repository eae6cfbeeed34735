package main

import (
	"encoding/json"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/spf13/cobra"
)

func onceCommand(g *cli.Globals) *cobra.Command {
	var topics []string
	cmd := &cobra.Command{
		Use:        "once",
		Short:      "Capture everything up to the high watermarks of now, make one recovery point, exit",
		Example:    "  backupd once --repo /backups/prod --bootstrap-server kafka:9092 --topics 'orders,payments-*'",
		Args:       cobra.NoArgs,
		SuggestFor: []string{"backup", "capture"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, closeAll, err := open(cmd.Context(), g, topics, false)
			if err != nil {
				return err
			}
			defer closeAll()
			progress := g.NewProgress("capturing", "offsets", 0)
			s.Progress = progress.Set
			point, err := s.Once(cmd.Context())
			progress.End()
			if err != nil {
				return err
			}
			pinReports(cmd.Context(), g, s.Repository, map[string]bool{})
			if n := len(g.Config.Replicas); n > 0 {
				g.Log.Warn("the replicas do not have it yet: backupd run keeps them, and backupd copy --to brings one up to date", "replicas", n)
			}
			if g.Output == "json" {
				return json.NewEncoder(cli.Out(cmd)).Encode(map[string]any{"schemaVersion": 1, "point": point, "repository": s.Repository.ID.String()})
			}
			_, err = fmt.Fprintf(cli.Out(cmd), "recovery point %d\n", point)
			return err
		},
	}
	topicsFlag(cmd, &topics)
	g.OutputFlag(cmd)
	return cmd
}
