// Package cli is what backupd and restored have in common as commands: flags,
// exit codes, logging, progress and output.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/admin"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/retention"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/storecheck"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes, as docs/cli.md explains them.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitIncomplete   = 3
	ExitDifferent    = 4
	ExitLost         = 5
	ExitNoRepository = 10
	ExitFenced       = 11
	ExitForged       = 12
	ExitDamaged      = 13
	ExitRefused      = 14
	ExitCancelled    = 130
)

// usageError is an error about the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Usagef returns an error about the command line.
func Usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// exitCode says how the program ends for an error.
func exitCode(err error) int {
	var usage *usageError
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
	case errors.As(err, &usage), is(config.ErrInvalid, store.ErrInvalid, manifest.ErrPointName, admin.ErrAddress):
		return ExitUsage
	case is(source.ErrIncomplete):
		return ExitIncomplete
	case is(source.ErrDifferent):
		return ExitDifferent
	case is(source.ErrLost):
		return ExitLost
	case is(manifest.ErrNoRepository):
		return ExitNoRepository
	case is(manifest.ErrFenced, sink.ErrRunning):
		return ExitFenced
	case is(manifest.ErrHead):
		return ExitForged
	case is(manifest.ErrDamaged, segment.ErrCorrupt, replica.ErrSpoilt):
		return ExitDamaged
	case is(retention.ErrKept): // the rest is done, whatever the store has refused to delete for
		return ExitFailed
	case is(store.ErrAuth, source.ErrRefused, source.ErrNothing, source.ErrNoPoint, manifest.ErrNameTaken, manifest.ErrDiverged, replica.ErrAhead, manifest.ErrReplica, manifest.ErrArchive, manifest.ErrNoReplica, manifest.ErrPinned, manifest.ErrHeld, sink.ErrUnreadable, sink.ErrNoTopics, manifest.ErrOtherCluster, manifest.ErrVersion, manifest.ErrNoEntry, manifest.ErrLocked, manifest.ErrNotEncrypted, manifest.ErrUntrusted, manifest.ErrNoSigningKey, manifest.ErrKeyHolder, kafka.ErrAuthorization, storecheck.ErrNoFence, storecheck.ErrUnfit, retention.ErrShare, retention.ErrNoPin):
		return ExitRefused
	case is(context.Canceled): // last: what else is wrong counts more
		return ExitCancelled
	}
	return ExitFailed
}

// errAbandoned is the end by a second signal.
var errAbandoned = fmt.Errorf("a second signal: what was not committed yet is left undone (%w)", context.Canceled)

// Main runs a program and exits. The first SIGINT or SIGTERM cancels the
// context, the second ends the process at once.
func Main(root *cobra.Command, g *Globals) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		report(os.Stderr, g, root, errAbandoned)
		os.Exit(ExitCancelled)
	}()
	explainUsage(root)
	stopProfile := startProfile()
	cmd, err := root.ExecuteContextC(ctx)
	stopProfile()
	if err != nil {
		report(os.Stderr, g, cmd, err)
	}
	os.Exit(exitCode(err))
}

// explainUsage makes every mistake on the command line an error of ours.
func explainUsage(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%s; see \"%s --help\"", flagMistake(cmd, err), cmd.CommandPath())
	})
	HelpOnly(root)
	explainArguments(root)
}

// HelpOnly makes a command whose only use is that it has subcommands.
func HelpOnly(parent *cobra.Command) {
	parent.SuggestionsMinimumDistance = 2
	parent.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	parent.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return Usagef("unknown command %q; did you mean %q?", args[0], near[0])
		}
		return Usagef("unknown command %q; see \"%s --help\"", args[0], cmd.CommandPath())
	}
}

// explainArguments does so for the arguments of all commands below one.
func explainArguments(parent *cobra.Command) {
	for _, sub := range parent.Commands() {
		explainArguments(sub)
		if accepts := sub.Args; accepts != nil {
			sub.Args = func(cmd *cobra.Command, args []string) error {
				err, usage := accepts(cmd, args), (*usageError)(nil)
				switch {
				case err == nil || errors.As(err, &usage):
					return err
				case len(args) < len(arguments(cmd)):
					missing := arguments(cmd)[len(args)]
					return Usagef("%s is missing: \"%s\"; see \"%s --help\"", missing, strings.Join(append([]string{cmd.CommandPath()}, arguments(cmd)...), " "), cmd.CommandPath())
				}
				if name := wantsEquals(cmd); name != "" {
					return Usagef("unexpected argument %q: a value of --%s follows after =, as in --%[2]s=%[1]s; see \"%[3]s --help\"", args[len(args)-1], name, cmd.CommandPath())
				}
				return Usagef("unexpected argument %q; see \"%s --help\"", args[len(args)-1], cmd.CommandPath())
			}
		}
	}
}

// flagMistake says what is wrong with a flag, and which one may have been meant.
func flagMistake(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		bare := func(name string) string { return strings.ReplaceAll(strings.ToLower(name), "-", "") }
		near := ""
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if bare(f.Name) == bare(unknown.GetSpecifiedName()) {
				near = fmt.Sprintf("; did you mean --%s?", f.Name)
			}
		})
		return err.Error() + near
	case errors.As(err, &value) && value.GetFlag().Value.Type() == "bool":
		return fmt.Sprintf("--%s=%s: want true or false", value.GetFlag().Name, value.GetValue())
	case errors.As(err, &value) && errors.Is(err, strconv.ErrSyntax):
		return fmt.Sprintf("invalid argument %q for --%s: want a number", value.GetValue(), value.GetFlag().Name)
	}
	return err.Error()
}

// wantsEquals is a flag that was given without a value and takes one after = only, or empty.
func wantsEquals(cmd *cobra.Command) (name string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.NoOptDefVal != "" && f.Value.Type() != "bool" && f.Value.String() == f.NoOptDefVal {
			name = f.Name
		}
	})
	return name
}

// arguments are what a command wants, by the names that its help has for them.
func arguments(cmd *cobra.Command) []string { return strings.Fields(cmd.Use)[1:] }

// report prints an error in the form that the user asked for: as one line, or where there are several of them and
// a person reads it, with a line for each.
func report(w io.Writer, g *Globals, cmd *cobra.Command, err error) {
	var more store.Detailed
	if errors.As(err, &more) && g.Log != nil {
		g.Log.Debug("what the store said in full", "detail", more.Detail())
	}
	errs := strings.Split(strings.Trim(uncancelled(err), "\n"), "\n")
	todo := hint(err, g.repositoryURL())
	text := strings.TrimPrefix(strings.Join(errs, "; ")+todo, "; ")
	if code := exitCode(err); wantsJSON(cmd) {
		_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 1, "error": text, "exitCode": code})
	} else if g.Log != nil && g.Config.Log.Format == "json" {
		g.Log.Error("failed", "error", text, "exitCode", code)
	} else if name := cmd.Root().Name(); len(errs) == 1 {
		fmt.Fprintf(w, "%s: %s\n", name, text)
	} else {
		fmt.Fprintf(w, "%s: %d errors:\n  - %s\n", name, len(errs), strings.Join(errs, "\n  - "))
		if todo != "" {
			fmt.Fprintf(w, "  %s\n", strings.TrimPrefix(todo, "; "))
		}
	}
}

// uncancelled is the text of an error without Go's word for an interruption, which
// the hint explains.
func uncancelled(err error) string {
	text, word := err.Error(), context.Canceled.Error()
	if !errors.Is(err, context.Canceled) {
		return text
	}
	return strings.TrimPrefix(strings.NewReplacer(": "+word, "", " ("+word+")", "").Replace(text), word)
}

// wantsJSON says whether the command was asked for JSON on standard output.
func wantsJSON(cmd *cobra.Command) bool {
	for _, name := range []string{"output", "format"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Value.String() == "json" {
			return true
		}
	}
	return false
}
