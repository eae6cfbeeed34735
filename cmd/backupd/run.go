package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/offsite-kafka/offsite/internal/admin"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/listener"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/storecheck"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// memoryLimit keeps the process below the 160 MB that it promises.
const memoryLimit = 110 << 20

func runCommand(g *cli.Globals) *cobra.Command {
	var topics []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Capture continuously until a signal: seal, commit, exit (a second signal leaves at once)",
		Example: "  backupd run --repo s3://my-backups/prod --bootstrap-server kafka:9092\n" +
			"  backupd run -c backupd.yaml -X points.every=1m",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := newMetrics(g)
			g.Meter = m.Store()
			s, closeAll, err := open(cmd.Context(), g, topics, true)
			if err != nil {
				return err
			}
			defer closeAll()
			s.Meter = m
			m.Captures(s.Cluster.ID(), s.Repository.Created)
			g.Log.Info("capture begins", "cluster", s.Cluster.ID(), "repository", s.Repository.ID.String())
			if err := capture(cmd.Context(), g, s, m); err != nil {
				return err
			}
			g.Log.Info("capture ended")
			return nil
		},
	}
	topicsFlag(cmd, &topics)
	g.ListenFlags(cmd)
	return cmd
}

// capture runs until ctx ends, and meanwhile answers requests, tells its metrics, keeps
// replicas, merges and verifies the repository if it is to.
func capture(ctx context.Context, g *cli.Globals, s *sink.Sink, m *metrics.Metrics) error {
	monitor, err := listenHTTP(g)
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	beside, stop := context.WithCancel(ctx)
	if monitor != nil {
		work.Go(func() error { return listener.Serve(beside, monitor, "http listener", m.Handler(), g.Log) })
	}
	if g.Config.Retention.Every > 0 {
		work.Go(func() error {
			pruneEvery(beside, g, m)
			return nil
		})
	}
	if address := g.Config.Admin.Listen; address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			stop()
			return fmt.Errorf("admin.listen: %w", err)
		}
		g.Log.Info("admin listener", "address", l.Addr().String())
		s.Requests = sink.NewRequests()
		work.Go(func() error { return admin.Serve(beside, l, s.Requests, g.Log) })
	}
	work.Go(func() error {
		keepVerifying(beside, g, s.Repository, m)
		return nil
	})
	work.Go(func() error {
		keepReplicas(beside, g, s.Repository, m)
		return nil
	})
	work.Go(func() error {
		mergeEvery(beside, g, s.Repository, m)
		return nil
	})
	work.Go(func() error {
		keepReports(beside, g, s.Repository)
		return nil
	})
	work.Go(func() error {
		defer stop()
		return s.Run(ctx)
	})
	return work.Wait()
}

func topicsFlag(cmd *cobra.Command, topics *[]string) {
	cmd.Flags().StringArrayVar(topics, "topics", nil, "topics by `PATTERNS`, separated by commas: literals, globs or /regular expressions/; ! excludes (default *,!__*)")
}

// open connects the configured cluster with the configured repository. Who waits
// for topics needs none now.
func open(ctx context.Context, g *cli.Globals, topics []string, waits bool) (*sink.Sink, func(), error) {
	cli.LimitMemory(memoryLimit)
	if len(topics) > 0 {
		g.Config.Select.Topics.Include, g.Config.Select.Topics.Exclude = nil, nil
		for _, t := range pattern.Split(strings.Join(topics, ",")) {
			if bare, excluded := strings.CutPrefix(t, "!"); excluded {
				g.Config.Select.Topics.Exclude = append(g.Config.Select.Topics.Exclude, bare)
			} else {
				g.Config.Select.Topics.Include = append(g.Config.Select.Topics.Include, t)
			}
		}
	}
	selection, err := g.Config.Topics()
	if err != nil {
		return nil, nil, cli.Usagef("--topics: %v", err)
	}
	if err := checkReplicas(ctx, g); err != nil {
		return nil, nil, err
	}
	st, err := g.Store(ctx)
	if err != nil {
		return nil, nil, err
	}
	cluster, err := g.Connect(ctx, "backupd")
	if err != nil {
		return nil, nil, err
	}
	s := &sink.Sink{Cluster: cluster, Config: sinkConfig(g, selection), Agent: g.Agent("backupd", ""), Log: g.Log}
	if s.Repository, err = repository(ctx, g, st, s, waits); err != nil {
		cluster.Close()
		return nil, nil, err
	}
	return s, cluster.Close, nil
}

// repository opens the cluster's repository, or makes one as soon as it is
// certain that there is something to put into it, in a place that is fit for it.
func repository(ctx context.Context, g *cli.Globals, st store.Store, s *sink.Sink, waits bool) (*manifest.Repository, error) {
	repo, err := manifest.Open(ctx, st)
	fresh := errors.Is(err, manifest.ErrNoRepository)
	if fresh {
		if err := s.Check(ctx); err != nil && !(waits && errors.Is(err, sink.ErrNoTopics)) {
			return nil, err
		}
		err = tryStore(ctx, g, st)
	}
	if err == nil {
		repo, err = openOrCreate(ctx, g, st, s)
	}
	if err == nil && !fresh {
		err = tryRepository(ctx, g, repo)
	}
	if err == nil {
		err = g.NotBehind(ctx, repo)
	}
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", g.Config.Store.URL, err)
	}
	repo.Debug = g.Log
	if g.Config.Store.UnsafeNoFence {
		g.Log.Warn("store.unsafeNoFence: nothing keeps a second backupd, or one that was paused, from destroying this repository", "repository", g.Config.Store.URL)
	}
	return repo, nil
}

// tryStore returns ErrNoFence if a repository there would not be safe from a
// second writer.
func tryStore(ctx context.Context, g *cli.Globals, st store.Store) error {
	if g.Config.Store.UnsafeNoFence {
		return nil
	}
	left, err := storecheck.Fence(ctx, st)
	if len(left) > 0 {
		g.Log.Info("what was put to try the store stays behind, since it may not be deleted", "objects", left)
	}
	if err != nil {
		return fmt.Errorf("try the store: %w", err)
	}
	return nil
}

// tryRepository does so at little cost for one that is there, whose bucket may be
// reached by another way today. What keeps it from finding out, the capture meets
// again.
func tryRepository(ctx context.Context, g *cli.Globals, repo *manifest.Repository) error {
	if g.Config.Store.UnsafeNoFence {
		return nil
	}
	refused, err := repo.TryFence(ctx)
	if err == nil && !refused {
		return fmt.Errorf("%w: it replaced %s, by the same bytes", storecheck.ErrNoFence, manifest.RepositoryKey)
	}
	if err != nil {
		g.Log.Debug("not known if the store honours create-if-absent", "error", err)
	}
	return nil
}
