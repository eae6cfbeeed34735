package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/spf13/cobra"
)

// comparison are the flags that say what is held against what.
type comparison struct {
	selection
	against          string // a configuration file
	againstBootstrap string
	parts            []string
}

func compareCommand(g *cli.Globals) *cobra.Command {
	var c comparison
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Prove that a cluster holds what a recovery point, or another cluster, holds",
		Long: "Compare every record, where every group goes on, and everything that diff compares: of a cluster with a recovery point,\n" +
			"or with another cluster that --against names.",
		Example: "  restored compare --repo s3://my-backups/prod --bootstrap-server kafka:9092\n" +
			"  restored compare --bootstrap-server kafka:9092 --against-bootstrap-server old-kafka:9092 -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.LimitMemory(memoryLimit)
			if err := c.check(cmd); err != nil {
				return err
			}
			report, err := c.run(cmd.Context(), g)
			if err != nil {
				return err
			}
			if err := report.print(cli.Out(cmd), g); err != nil {
				return err
			}
			if !report.Equal() {
				return fmt.Errorf("%w from %s: %s", source.ErrDifferent, report.reference(), english.Plural(report.Differing(), "difference", ""))
			}
			return nil
		},
	}
	c.register(cmd)
	f := cmd.Flags()
	f.Lookup("topics").Usage = "only topics that fit these `PATTERNS`, and not those that are on the cluster only"
	f.Lookup("rename").Usage = "compare a topic with one of another name, `OLD=NEW` (repeatable)"
	f.Lookup("accept-gap").Usage = "compare although records are missing that the source deleted before they were captured"
	f.StringVar(&c.against, "against", "", "compare with the cluster that the kafka section of a second configuration `FILE` names, instead of with a recovery point")
	f.StringVar(&c.againstBootstrap, "against-bootstrap-server", "", "compare with the cluster at `HOST:PORT`, instead of with a recovery point; wins over --against")
	f.StringSliceVar(&c.parts, "parts", nil, "compare only these `PARTS`: "+strings.Join(source.ComparedParts(), ", ")+" (default all)")
	g.OutputFlag(cmd)
	return cmd
}

// clusters says whether two clusters are compared.
func (c *comparison) clusters() bool { return c.against != "" || c.againstBootstrap != "" }

// check refuses flags that mean nothing.
func (c *comparison) check(cmd *cobra.Command) error {
	for _, part := range c.parts {
		if !slices.Contains(source.ComparedParts(), part) {
			return cli.Usagef("--parts %s: want some of %s, separated by commas", part, strings.Join(source.ComparedParts(), ", "))
		}
	}
	for _, name := range []string{"at", "at-offsets", "until-timestamp", "accept-gap", "log-until"} {
		if c.clusters() && cmd.Flags().Changed(name) {
			return cli.Usagef("--%s is about a recovery point, and two clusters are compared: give it, or --against", name)
		}
	}
	return nil
}

func (c *comparison) run(ctx context.Context, g *cli.Globals) (*compareReport, error) {
	if !c.clusters() {
		c.adopt(&g.Config.Restore)
	}
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	if c.clusters() {
		return c.runClusters(ctx, g, req)
	}
	repo, err := g.Repository(ctx)
	if err != nil {
		return nil, err
	}
	hold := pinnedBack(ctx, g, repo, "compare")
	defer hold.release(ctx)
	cluster, err := g.Connect(ctx, "restored")
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	plan, err := source.PrepareCompared(ctx, repo, cluster, req, time.Now())
	if err != nil {
		return nil, err
	}
	if err := refusal(plan); err != nil {
		return nil, err
	}
	report := &compareReport{logUntil: g.LogUntil(), snapshot: plan.Snapshot, cluster: cluster.ID()}
	report.Comparison, err = c.with(g, cluster, func(with *source.Comparer) (*source.Comparison, error) { return with.Point(ctx, plan) })
	return report, err
}

func (c *comparison) runClusters(ctx context.Context, g *cli.Globals, req source.Request) (*compareReport, error) {
	cluster, err := g.Connect(ctx, "restored")
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	against, err := g.ConnectTo(ctx, c.against, c.againstBootstrap, "restored")
	if err != nil {
		return nil, err
	}
	defer against.Close()
	report := &compareReport{against: against.ID(), cluster: cluster.ID()}
	report.Comparison, err = c.with(g, cluster, func(with *source.Comparer) (*source.Comparison, error) { return with.Clusters(ctx, against, req) })
	return report, err
}

// with compares, and shows how far it is.
func (c *comparison) with(g *cli.Globals, cluster *kafka.Cluster, compare func(*source.Comparer) (*source.Comparison, error)) (*source.Comparison, error) {
	progress := g.NewProgress("comparing", "offsets", 0)
	defer progress.End()
	return compare(&source.Comparer{Cluster: cluster, Log: g.Log, Patience: patience, Progress: progress.Set, Parts: c.parts})
}
