// Package cli is what backupd and restored have in common as commands: flags,
// exit codes, logging, progress and output.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// Exit codes, as docs/cli.md explains them.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitIncomplete   = 3
	ExitNoRepository = 10
	ExitFenced       = 11
	ExitDamaged      = 13
	ExitRefused      = 14
	ExitCancelled    = 130
)

// errUsage is wrapped by errors about the command line.
var errUsage = errors.New("usage")

// Usagef returns an error about the command line.
func Usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// exitCode says how the program ends for an error.
func exitCode(err error) int {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return ExitOK
	case is(context.Canceled):
		return ExitCancelled
	case is(errUsage, config.ErrInvalid):
		return ExitUsage
	case is(source.ErrIncomplete):
		return ExitIncomplete
	case is(manifest.ErrNoRepository):
		return ExitNoRepository
	case is(manifest.ErrFenced):
		return ExitFenced
	case is(manifest.ErrDamaged, segment.ErrCorrupt):
		return ExitDamaged
	case is(source.ErrRefused, source.ErrNothing, source.ErrNoPoint, sink.ErrUnreadable, manifest.ErrOtherCluster, kafka.ErrAuthorization):
		return ExitRefused
	}
	return ExitFailed
}

// Main runs a program and exits. The first SIGINT or SIGTERM cancels the
// context, the second ends the process at once.
func Main(root *cobra.Command) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitCancelled)
	}()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%v; see \"%s --help\"", err, cmd.CommandPath())
	})
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		report(cmd, root.Name(), err)
	}
	os.Exit(exitCode(err))
}

// report prints an error in the form that the user asked for.
func report(cmd *cobra.Command, program string, err error) {
	code := exitCode(err)
	if f := cmd.Flags().Lookup("output"); f != nil && f.Value.String() == "json" {
		json.NewEncoder(os.Stderr).Encode(map[string]any{"schemaVersion": 1, "error": err.Error(), "exitCode": code})
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
}
