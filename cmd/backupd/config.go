package main

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/sink"
)

// sinkConfig puts the file's settings into those of the capture.
func sinkConfig(g *cli.Globals, topics pattern.List) sink.Config {
	c := sink.Defaults()
	c.Topics = topics
	c.SegmentBytes = int64(g.Config.Segment.MaxBytes)
	c.SegmentAge = time.Duration(g.Config.Segment.MaxAge)
	c.PointEvery = time.Duration(g.Config.Points.Every)
	c.Groups = sink.GroupCapture(g.Config.Groups.Capture)
	c.KindsEvery = time.Duration(g.Config.Metadata.Every)
	c.SnapshotEvery = uint64(g.Config.Snapshots.Every)
	return c
}
