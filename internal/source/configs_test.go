package source

import (
	"math"
	"testing"
	"time"
)

// No timestamp is so old that the retention which holds its record overflows.
func TestHoldOfAbsurdTimestamps(t *testing.T) {
	const day = 24 * time.Hour
	for oldest, want := range map[int64]string{
		now.Add(-400 * day).UnixMilli(): "34646400000", // 401 days
		now.Add(day).UnixMilli():        "86400000",
		-1:                              "1795435200001",
		math.MinInt64:                   forever,
		math.MinInt64 + now.UnixMilli(): forever,
	} {
		p := &TopicPlan{Expiring: 1, Oldest: oldest, Target: "orders"}
		p.hold(day, now, false)
		if got := *p.Held[1].Value; p.Held[1].Name != "retention.ms" || got != want {
			t.Errorf("oldest %d: %s=%s, want %s", oldest, p.Held[1].Name, got, want)
		}
	}
}
