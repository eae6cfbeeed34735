package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/source"
)

// verifyRetry is how long after a verification that could not be made there is
// another, unless they are closer together anyway.
const verifyRetry = 10 * time.Minute

// keepVerifying verifies the repository as often as the configuration says, and
// records what it finds, until ctx ends. Nothing that it meets ends the capture.
func keepVerifying(ctx context.Context, g *cli.Globals, repo *manifest.Repository, m *metrics.Metrics) {
	every := time.Duration(g.Config.Verify.Every)
	if every == 0 {
		return
	}
	wait, err := untilDue(ctx, repo, every)
	for {
		if err != nil && ctx.Err() == nil {
			wait = min(every, verifyRetry)
			g.Log.Error("the repository could not be verified", "error", err, "again", wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait, err = every, verifyOnce(ctx, g, repo, m)
	}
}

// untilDue is how long it takes until the next verification: a restart is no
// reason for one.
func untilDue(ctx context.Context, repo *manifest.Repository, every time.Duration) (time.Duration, error) {
	state, err := repo.Read(ctx, 0, nil)
	if err != nil {
		return 0, err
	}
	var last int64
	for _, v := range state.Verified {
		last = max(last, v.Time)
	}
	return max(0, min(every, time.Until(time.UnixMilli(last).Add(every)))), nil
}

// verifyOnce reads one segment at a time, so that capture does not suffer.
func verifyOnce(ctx context.Context, g *cli.Globals, repo *manifest.Repository, m *metrics.Metrics) error {
	level, err := manifest.ParseLevel(g.Config.Verify.Level)
	if err != nil {
		return err
	}
	scope := source.Scope{Level: level, Share: int64(g.Config.Verify.Sample), Seed: rand.Uint64() >> 32, Workers: 1}
	if scope.Keeping, err = g.Keeping(); err != nil {
		return err
	}
	if scope.LogNeeds, err = g.LogNeeds(); err != nil {
		return err
	}
	report, err := source.Verify(ctx, repo, scope, nil)
	if err != nil {
		if ctx.Err() == nil {
			m.Verified(level.String(), 0, err)
		}
		return err
	}
	m.Verified(level.String(), len(report.Damages), nil)
	for i := range report.Damages {
		g.Log.Error("the repository is damaged", "object", report.Damages[i].Key, "reason", report.Damages[i].Reason)
	}
	g.Log.Info("verified the repository", "level", level.String(), "sample", g.Config.Verify.Sample.String(), "seed", scope.Seed, "segments", report.Segments, "bytes", report.Read, "damaged", len(report.Damages))
	if err = recordVerified(ctx, g, repo, report, m); err != nil || report.Entries == 0 {
		m.Unrecorded(level, len(report.Damages))
	}
	return err
}

// recordVerified tells the log, if there is something that it can be told.
func recordVerified(ctx context.Context, g *cli.Globals, repo *manifest.Repository, report *source.Report, m *metrics.Metrics) error {
	outcome := report.Outcome()
	if outcome == nil {
		return nil
	}
	log, err := repo.OpenLog(ctx, time.Now)
	if err == nil {
		_, err = log.Record(ctx, *outcome, g.Agent("backupd", "verify"))
	}
	if err == nil {
		m.State(log.State())
	}
	return err
}
