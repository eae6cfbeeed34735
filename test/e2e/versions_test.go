//go:build e2e

package e2e_test

import (
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// A backup of the newest Kafka comes back in the oldest supported one, and the reverse.
func TestVersions(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{{cluster.Kafka43, cluster.Kafka39}, {cluster.Kafka39, cluster.Kafka43}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) {
			source, target := cluster.Start(t, cluster.Options{Version: pair[0]}), cluster.Start(t, cluster.Options{Version: pair[1]})
			testVersions(t, source, target)
		})
	}
}

func testVersions(t *testing.T, source, target *cluster.Cluster) {
	cfg := configs{"max.message.bytes": "2000000", "retention.ms": "-1"}
	createTopic(t, source, "orders", int32(len(codecs)), cfg)
	p := newRawProducer(t, source, "orders")
	for i, codec := range codecs {
		fillShapes(p, int32(i), codec)
	}
	createTopic(t, source, "payments", 1, nil)
	good, bad := beginTransaction(t, source, "good"), beginTransaction(t, source, "bad")
	for range 10 {
		good.write(t, "payments", 0, 4000)
		bad.write(t, "payments", 0, 4000)
	}
	good.end(t, kgo.TryCommit)
	bad.end(t, kgo.TryAbort)
	newRawProducer(t, source, "payments").send(0, batch.Zstd, numbered("plain", 10)...)
	want := map[string]oracle.History{"orders": readTopic(t, source, "orders"), "payments": readTopic(t, source, "payments")}
	groups := commitEverywhere(t, source, want)

	r := newRepository(t)
	r.backup(source)
	result := r.restore(target)
	if !result.Complete || len(result.Groups) != len(groups) {
		t.Errorf("%d of %d groups, complete: %v", len(result.Groups), len(groups), result.Complete)
	}
	got := make(map[string]oracle.History)
	renamed := make(map[string]string)
	for topic := range want {
		got[topic], renamed[topic] = readTopic(t, target, topic), topic
		requireSame(t, want[topic], got[topic])
		for p := range want[topic] {
			requireVerbatim(t, r, source, topic, p)
		}
	}
	for group, offsets := range groups {
		checkCommitted(t, target, group, offsets, renamed, want, got)
	}
	checkNextRecords(t, target, "group-2", groups["group-2"], renamed, want)
	if back := topicConfigs(t, target, "orders"); !maps.Equal(back, cfg) {
		t.Errorf("configs %v, want %v", back, cfg)
	}
	checkAgain(t, r, target)
}

// checkAgain restores a second time.
func checkAgain(t *testing.T, r *repository, target *cluster.Cluster, args ...string) {
	t.Helper()
	for _, topic := range r.restore(target, args...).Topics {
		if topic.Action != "none" {
			t.Errorf("the second run of %s does: %s", topic.Target, topic.Action)
		}
	}
}
