package main

import (
	"context"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// reportsEvery is how often a running backupd looks for new reports of restores.
const reportsEvery = time.Minute

// keepReports pins the digests of new reports in the log until ctx ends.
func keepReports(ctx context.Context, g *cli.Globals, repo *manifest.Repository) {
	known := make(map[string]bool)
	for ctx.Err() == nil {
		pinReports(ctx, g, repo, known)
		select {
		case <-ctx.Done():
		case <-time.After(reportsEvery):
		}
	}
}

// pinReports does so once. What keeps it from that is no failure of the capture.
func pinReports(ctx context.Context, g *cli.Globals, repo *manifest.Repository, known map[string]bool) {
	n, err := repo.PinReports(ctx, known, g.Agent("backupd", "pin reports"), time.Now)
	if err != nil && ctx.Err() == nil {
		g.Log.Warn("reports of restores cannot be pinned now", "error", err)
	}
	if n > 0 {
		g.Log.Info("reports of restores are pinned in the log", "reports", n)
	}
}
