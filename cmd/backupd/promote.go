package main

import (
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/spf13/cobra"
)

// promoted is the JSON of backupd promote.
type promoted struct {
	SchemaVersion int    `json:"schemaVersion"`
	Repository    string `json:"repository"`
	Entry         uint64 `json:"entry"`
}

func promoteCommand(g *cli.Globals) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "promote",
		Short:   "Make a copy a repository of its own, after the first one is lost",
		Example: "  backupd promote --repo gs://elsewhere/prod --reason 'the first region is gone'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			e, err := repo.Promote(cmd.Context(), g.Agent("backupd", "promote"), reason, time.Now)
			if err != nil {
				return err
			}
			if err := checkItself(g); err != nil {
				g.Log.Warn("the configuration still lists it as a replica: take it out of replicas before backupd run", "url", g.Config.Store.URL)
			}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), promoted{1, repo.ID.String(), e.Sequence})
			}
			_, err = fmt.Fprintf(cli.Out(cmd), "a repository of its own from entry %d on: backupd may capture into it, and nothing is copied into it any more\n", e.Sequence)
			return err
		},
	}
	reasonFlag(cmd, &reason)
	g.OutputFlag(cmd)
	return cmd
}
