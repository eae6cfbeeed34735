// Command restored brings a repository back into a Kafka cluster.
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
		Use:     "restored",
		Short:   "Restore an Apache Kafka cluster from a backup by backupd",
		Version: cli.Version,
	}
	g := &cli.Globals{}
	g.Register(root)
	g.LogUntilFlag(root)
	root.AddCommand(listCommand(g), showCommand(g), groupsCommand(g), diffCommand(g), compareCommand(g), planCommand(g), runCommand(g), offsetsCommand(g), verifyCommand(g))
	return root, g
}
