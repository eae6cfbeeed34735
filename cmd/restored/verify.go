package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// verification are the flags of restored verify.
type verification struct {
	level     string
	sample    config.Sample
	seed      string
	sinceLast bool
	record    bool

	at        string
	topics    []string
	acceptGap bool
}

func verifyCommand(g *cli.Globals) *cobra.Command {
	v := verification{sample: config.WholeSample}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the repository: its index, its digests, every record, or a restore",
		Long: "Check the repository: its index, its digests, every record, or a restore of it. That is made into a cluster in this process and compared with the\n" +
			"recovery point; or, with --bootstrap-server, into that cluster, in topics of its own, which are deleted afterwards.",
		Example: "  restored verify --repo s3://my-backups/prod\n" +
			"  restored verify --repo s3://my-backups/prod --level digest --sample 5%\n" +
			"  restored verify --repo s3://my-backups/prod --level replay --at latest --topics orders",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.LimitMemory(memoryLimit)
			scope, err := v.scope(cmd)
			if err != nil {
				return err
			}
			if v.record && g.LogUntil() > 0 {
				return cli.Usagef("--record with --log-until: the log is not the one that there is")
			}
			if scope.Keeping, err = g.Keeping(); err != nil {
				return err
			}
			if scope.LogNeeds, err = g.LogNeeds(); err != nil {
				return err
			}
			repo, err := g.Repository(cmd.Context())
			if err != nil {
				return err
			}
			if v.record {
				if err := mayRecord(cmd.Context(), repo); err != nil {
					return err
				}
			}
			hold := pinnedBack(cmd.Context(), g, repo, "verify")
			defer hold.release(cmd.Context())
			report, err := verify(cmd.Context(), g, repo, scope)
			if err != nil {
				return err
			}
			if scope.Level == manifest.LevelReplay && len(report.Damages) == 0 {
				if report.Rehearsed, err = v.rehearse(cmd, g, repo, scope); err != nil {
					return err
				}
			}
			if v.record {
				if err := recordReport(cmd.Context(), g, repo, report); err != nil {
					return err
				}
			}
			return printReport(cmd, g, report)
		},
	}
	f := cmd.Flags()
	f.StringVar(&v.level, "level", "decode", "how deep: `LEVEL` index, digest, decode or replay")
	f.TextVar(&v.sample, "sample", v.sample, "read only this share of the segments, chosen at random: `PERCENT` such as 5%")
	f.StringVar(&v.seed, "seed", "", "choose the sample as the one that printed this `NUMBER`")
	f.BoolVar(&v.sinceLast, "since-last", false, "only what was committed since the last verification of this level, or a deeper one, that is recorded in the log, was whole and found no damage")
	f.BoolVar(&v.record, "record", false, "record the result in the repository's log, which needs the right to write there")
	f.StringVar(&v.at, "at", "latest", "level replay: restore this recovery `POINT`")
	f.StringArrayVar(&v.topics, "topics", nil, "level replay: restore only these topics, by `PATTERNS`")
	f.BoolVar(&v.acceptGap, "accept-gap", false, "level replay: although records are missing that the source deleted before they were captured")
	g.OutputFlag(cmd)
	return cmd
}

// scope says what the flags mean.
func (v *verification) scope(cmd *cobra.Command) (s source.Scope, err error) {
	s = source.Scope{Share: int64(v.sample), Seed: rand.Uint64() >> 32, SinceLast: v.sinceLast} // short enough to be typed
	if s.Level, err = manifest.ParseLevel(v.level); err != nil {
		return s, cli.Usagef("--level %v", err)
	}
	for _, name := range []string{"at", "topics", "accept-gap", "bootstrap-server"} {
		if cmd.Flags().Changed(name) && s.Level != manifest.LevelReplay {
			return s, cli.Usagef("--%s is about a restore: give --level replay", name)
		}
	}
	if v.seed != "" {
		if s.Seed, err = strconv.ParseUint(v.seed, 10, 64); err != nil {
			return s, cli.Usagef("--seed %q: want the number that an earlier verification printed", v.seed)
		}
	}
	return s, nil
}

func verify(ctx context.Context, g *cli.Globals, repo *manifest.Repository, scope source.Scope) (*source.Report, error) {
	progress := g.NewProgress("verifying", "bytes", 0)
	defer progress.End()
	return source.Verify(ctx, repo, scope, progress.Set)
}

// rehearse restores and compares: into a cluster that is named on the command
// line, since that of the configuration may be one that nobody wants to try things on.
func (v *verification) rehearse(cmd *cobra.Command, g *cli.Globals, repo *manifest.Repository, scope source.Scope) (*source.Rehearsed, error) {
	r := source.Rehearsal{Repository: repo, At: v.at, AcceptGap: v.acceptGap, Scope: scope, Log: g.Log, Patience: patience}
	for _, list := range v.topics {
		r.Topics = append(r.Topics, pattern.Split(list)...)
	}
	if cmd.Flags().Changed("bootstrap-server") {
		cluster, err := g.Connect(cmd.Context(), "restored")
		if err != nil {
			return nil, err
		}
		defer cluster.Close()
		r.Cluster = cluster
	} else {
		cli.LimitMemory(rehearsalMemory)
	}
	progress := g.NewProgress("restoring", "records", 0)
	defer progress.End()
	r.Progress = progress.Add
	return r.Run(cmd.Context())
}

// rehearsalMemory is for a process with a cluster in it.
const rehearsalMemory = 1 << 30

// mayRecord refuses before the work what could not be recorded after it. What is damaged
// is for the verification to say.
func mayRecord(ctx context.Context, repo *manifest.Repository) error {
	log, err := repo.OpenLog(ctx, time.Now)
	if err == nil {
		err = log.MayAppend()
	}
	if err == nil || errors.Is(err, manifest.ErrDamaged) {
		return nil
	}
	return fmt.Errorf("record the verification: %w", err)
}

// recordReport tells the log, in an entry that disturbs no backupd.
func recordReport(ctx context.Context, g *cli.Globals, repo *manifest.Repository, r *source.Report) error {
	outcome := r.Outcome()
	if outcome == nil {
		return nil
	}
	log, err := repo.OpenLog(ctx, time.Now)
	if err != nil {
		return fmt.Errorf("record the verification: %w", err)
	}
	if _, err := log.Record(ctx, *outcome, g.Agent("restored", "verify")); err != nil {
		return fmt.Errorf("record the verification: %w", err)
	}
	return nil
}

// printReport ends with an error if there is damage.
func printReport(cmd *cobra.Command, g *cli.Globals, r *source.Report) error {
	if g.Output == "json" {
		if err := cli.WriteJSON(cli.Out(cmd), reportAsJSON(r)); err != nil {
			return err
		}
	} else {
		printReportText(cli.Out(cmd), r)
	}
	if n := len(r.Damages); n > 0 {
		return fmt.Errorf("%w: %s, %s", manifest.ErrDamaged, english.Plural(n, "object", ""), strings.Join(runsInWords(r.Restorable), "; "))
	}
	if n := r.Differing(); n > 0 {
		return fmt.Errorf("%w from recovery point %d, which was restored into it: %d differences", source.ErrDifferent, r.Rehearsed.Point.Sequence, n)
	}
	if len(r.Losses) > 0 {
		return fmt.Errorf("%w, as the log says since it could not be repaired, and nothing else is: %s", source.ErrLost, strings.Join(runsInWords(r.Restorable), "; "))
	}
	return nil
}
