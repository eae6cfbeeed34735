// Command backupd captures a Kafka cluster into a repository.
package main

import (
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/spf13/cobra"
)

func main() {
	root, g := program()
	cli.Main(root, g)
}

func program() (*cobra.Command, *cli.Globals) {
	root := &cobra.Command{
		Use:     "backupd",
		Short:   "Back up an Apache Kafka cluster to object storage, continuously",
		Version: cli.Version,
	}
	g := &cli.Globals{}
	g.Register(root)
	root.AddCommand(runCommand(g), onceCommand(g), statusCommand(g), eventsCommand(g), pointCommand(g), checkCommand(g), auditCommand(g), copyCommand(g), promoteCommand(g), mergeCommand(g), pruneCommand(g), sweepCommand(g), keyCommand(g), repairCommand(g))
	return root, g
}
