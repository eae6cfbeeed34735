//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// A topic that comes faster than the line to the store takes it is told to lag, and another one is not; then all is there.
func TestTopicLag(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 10, "quiet")
	createTopic(t, c, "busy", 1, nil)
	r, m := newRepository(t), newMonitor(t)
	daemon := r.start("backupd", c, append([]string{"run", "-X", "store.maxUpload=256KiB", "-X", "segment.maxAge=1s", "-X", "segment.maxBytes=1MiB", "-X", "points.every=1s", "-X", "retention.window=7d"}, m.flags()...)...)
	const lag, committed = `backupd_topic_lag_records{topic="%s"}`, `backupd_topic_committed_timestamp_seconds{topic="%s"}`
	before := m.await("the first point", func(v map[string]float64) bool {
		return v[fmt.Sprintf(lag, "quiet")] == 0 && v[fmt.Sprintf(committed, "quiet")] > 0 && v["backupd_points"] > 0
	})
	if h := before["backupd_recovery_window_headroom_seconds"]; h > -600_000 || h < -604_800 {
		t.Errorf("the headroom of a young repository is %v", h)
	}
	p := producer(t, c)
	for range 40 {
		produce(t, p, &kgo.Record{Topic: "busy", Value: incompressible(100 << 10)})
	}
	late := m.await("the lag", func(v map[string]float64) bool {
		return v[fmt.Sprintf(lag, "busy")] > 0 && v[fmt.Sprintf(committed, "quiet")] > v[fmt.Sprintf(committed, "busy")]
	})
	if late[fmt.Sprintf(lag, "quiet")] != 0 {
		t.Errorf("what nobody writes to lags by %v", late[fmt.Sprintf(lag, "quiet")])
	}
	m.await("all of it", func(v map[string]float64) bool {
		return v[fmt.Sprintf(lag, "busy")] == 0 && v[fmt.Sprintf(committed, "busy")] > late[fmt.Sprintf(committed, "busy")]
	})
	daemon.stop(t)
}
