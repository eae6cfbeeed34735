package main

import (
	"fmt"
	"net"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/metrics"
)

// newMetrics returns those of a backupd run with the configuration.
func newMetrics(g *cli.Globals) *metrics.Metrics {
	c := g.Config
	m := metrics.Config{
		Version: cli.Version, PointEvery: time.Duration(c.Points.Every), VerifyEvery: time.Duration(c.Verify.Every), VerifyLevel: c.Verify.Level,
		PruneEvery: time.Duration(c.Retention.Every), MergeEvery: time.Duration(c.Merge.Every), Window: time.Duration(c.Retention.Window), MinPoints: c.Retention.MinPoints,
	}
	for i := range c.Replicas {
		m.Replicas = append(m.Replicas, c.Replicas[i].URL)
	}
	return metrics.New(m)
}

// listenHTTP returns the listener for monitoring, or nil if there is to be none.
func listenHTTP(g *cli.Globals) (net.Listener, error) {
	address := g.Config.HTTP.Listen
	if address == "" {
		g.Log.Info("no metrics and no probes, since http.listen is not set")
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	g.Log.Info("http listener: /metrics, /livez, /readyz", "address", l.Addr().String())
	return l, nil
}
