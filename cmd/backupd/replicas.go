package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store"
)

// checkReplicas returns an error if the repository is to be copied onto itself, or if the
// settings of a replica are such that it can never be opened. It asks no store.
func checkReplicas(ctx context.Context, g *cli.Globals) error {
	if err := checkItself(g); err != nil {
		return err
	}
	for i := range g.Config.Replicas {
		if _, err := g.StoreAt(ctx, g.Config.Replicas[i].URL); err != nil {
			return fmt.Errorf("replicas[%d]: %w", i, err)
		}
	}
	return nil
}

// checkItself returns an error if a replica is the repository itself, or lies in it or around it.
func checkItself(g *cli.Globals) error {
	for i := range g.Config.Replicas {
		if r := &g.Config.Replicas[i]; r.IsAt(g.Config.Store.URL) || g.IsRepository(r.URL) {
			return fmt.Errorf("%w: replicas[%d].url: %s is the repository, or lies in it or around it: give another place", config.ErrInvalid, i, r.URL)
		}
	}
	return nil
}

// keepReplicas copies the repository to all replicas until ctx ends. It has nothing
// in common with the capture but the process.
func keepReplicas(ctx context.Context, g *cli.Globals, repo *manifest.Repository, m *metrics.Metrics) {
	var all sync.WaitGroup
	for i := range g.Config.Replicas {
		r := &g.Config.Replicas[i]
		all.Go(func() { keepReplica(ctx, g, repo, r, m) })
	}
	all.Wait()
}

func keepReplica(ctx context.Context, g *cli.Globals, repo *manifest.Repository, r *config.Replica, m *metrics.Metrics) {
	log := g.Log.With("replica", r.URL)
	ended := func(err error) { m.Copied(r.URL, err) }
	st := openReplicaStore(ctx, g, r.URL, log, ended)
	if st == nil {
		return
	}
	// One segment at a time: an upload has up to 24 MiB in memory.
	c := &replica.Copier{From: repo, To: st, Log: log, Parallel: 1, Grace: time.Duration(g.Config.Retention.Grace)}
	c.Reached = func(entry uint64, time int64) { m.Reached(r.URL, entry, time) }
	(&replica.Follower{Copier: c, Every: r.Interval(), Log: log, Ended: ended}).Run(ctx)
}

// Pauses before a store is opened again; doubled from one to the next.
const (
	firstOpenPause = time.Second
	mostOpenPause  = 5 * time.Minute
)

// openReplicaStore opens a store as often as it takes, or returns nil when ctx ends.
func openReplicaStore(ctx context.Context, g *cli.Globals, url string, log *slog.Logger, ended func(error)) store.Store {
	for pause := firstOpenPause; ctx.Err() == nil; pause = min(2*pause, mostOpenPause) {
		st, err := g.StoreAt(ctx, url)
		if err == nil {
			return st
		}
		ended(err)
		log.Warn("the replica cannot be opened", "error", err, "again in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// replicaStatus is the JSON of one.
type replicaStatus struct {
	URL string `json:"url"`
	// Behind the repository, or nil if that is not known.
	LagEntries *uint64  `json:"lagEntries"`
	LagSeconds *float64 `json:"lagSeconds"`
	Error      string   `json:"error,omitempty"`
}

// lookAtReplicas says how far each is behind.
func lookAtReplicas(ctx context.Context, g *cli.Globals, repo *manifest.Repository, state *manifest.State) []replicaStatus {
	list := []replicaStatus{}
	for i := range g.Config.Replicas {
		r := replicaStatus{URL: g.Config.Replicas[i].URL}
		if g.Config.Replicas[i].IsAt(g.Config.Store.URL) {
			r.Error = "it is the repository itself, and no copy of it"
			list = append(list, r)
			continue
		}
		lag, err := lookAtReplica(ctx, g, r.URL, repo, state)
		if err != nil {
			r.Error = err.Error()
		} else {
			seconds := lag.Time.Seconds()
			r.LagEntries, r.LagSeconds = &lag.Entries, &seconds
		}
		list = append(list, r)
	}
	return list
}

func lookAtReplica(ctx context.Context, g *cli.Globals, url string, repo *manifest.Repository, state *manifest.State) (replica.Lag, error) {
	ctx, cancel := context.WithTimeout(ctx, cli.LookPatience)
	defer cancel()
	st, err := g.StoreAt(ctx, url)
	if err != nil {
		return replica.Lag{}, err
	}
	return replica.Look(ctx, repo, state, st)
}

func (r *replicaStatus) String() string {
	switch {
	case r.Error != "":
		return r.URL + ": not known: " + r.Error
	case *r.LagEntries == 0:
		return r.URL + ": up to date"
	}
	return fmt.Sprintf("%s: %s, %s behind", r.URL, english.Plural(int(*r.LagEntries), "log entry", "log entries"), time.Duration(*r.LagSeconds*float64(time.Second)).Round(time.Second))
}
