package main

import (
	"strings"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/spf13/cobra"
)

// sign lets the log's first entry say who appends it, and why if there is a reason.
func sign(log *manifest.Log, g *cli.Globals, cmd *cobra.Command, kind, reason string) (err error) {
	_, doing, _ := strings.Cut(cmd.CommandPath(), " ")
	who := g.Agent("backupd", doing)
	log.Agent = &who
	if reason != "" {
		log.Note, err = manifest.NewNote(kind, map[string]string{"reason": reason})
	}
	return err
}
