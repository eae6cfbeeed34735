// Package metricstest makes up numbers, so that all metrics can be looked at.
package metricstest

import (
	"errors"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
)

// State returns that of a log with something of everything: a topic orders in its
// second incarnation, and one that has gone.
func State() *manifest.State {
	s := &manifest.State{
		Sequence: 20, Time: 2_010_000,
		Topics: []manifest.Topic{
			{ID: [16]byte{1}, Name: "orders", Gone: true}, {ID: [16]byte{2}, Name: "orders"}, {ID: [16]byte{3}, Name: "gone", Gone: true},
		},
		Streams:      []manifest.Stream{{Topic: 0, Records: 5}, {Topic: 1, Records: 10}, {Topic: 1, Partition: 1, Records: 20}, {Topic: 2, Records: 9}},
		Gaps:         []manifest.Gap{{Stream: 0, From: 3, To: 10, Reason: manifest.GapRetention}, {Stream: 3, From: 0, To: 2}},
		Points:       []manifest.PointRef{{Sequence: 4, Time: 1_000_000}, {Sequence: 19, Time: 2_000_500}},
		Removals:     []manifest.Removal{{Sequence: 10, Time: 1_100_000}, {Sequence: 12, Time: 1_200_000}},
		Lost:         []manifest.Lost{{Loss: manifest.Loss{Stream: 1, Start: 2, Offsets: 1}}},
		SegmentCount: 6, SegmentBytes: 4000, RemovedBytes: 500,
	}
	s.Verified[manifest.LevelDigest] = manifest.Verified{Entry: 15, Time: 1_500_000}
	s.Verified[manifest.LevelDecode] = manifest.Verified{Entry: 16, Time: 1_600_000, Verification: manifest.Verification{Level: manifest.LevelDecode, Damages: 3}, Known: manifest.KnownDamage{Entry: 16, First: 1, Last: 15, Objects: 3}}
	return s
}

// Busy returns metrics of a process that has done everything.
func Busy() *metrics.Metrics {
	m := metrics.New(metrics.Config{
		Version: "1.2.3", PointEvery: time.Minute, VerifyEvery: time.Hour, VerifyLevel: "digest", PruneEvery: time.Hour, MergeEvery: time.Hour, Window: time.Hour, MinPoints: 7,
		Replicas: []string{"s3://second/prod"},
	})
	m.Captures("kafka-cluster-id", time.UnixMilli(500_000))
	m.State(State())
	m.Committed(time.Second, nil)
	m.Covered(time.UnixMilli(2_060_000))
	m.Stored("orders", 100, 60)
	m.Behind(map[string]int64{"orders": 12}, map[string]time.Time{"orders": time.UnixMilli(2_080_000)})
	m.Pruned(time.UnixMilli(2_000_000), 1, 100, nil)
	m.Reached("s3://second/prod", 18, 2_000_000)
	m.Copied("s3://second/prod", errors.New("unreachable"))
	m.Store().Failed("put", "other")
	return m
}
