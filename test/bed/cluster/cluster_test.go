//go:build e2e

package cluster_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestRecordsGoInAndOut(t *testing.T) {
	for name, options := range map[string]cluster.Options{
		"4.3 one broker":    {Version: cluster.Kafka43},
		"4.3 three brokers": {Version: cluster.Kafka43, Brokers: 3},
		"3.9 one broker":    {Version: cluster.Kafka39},
		"3.9 three brokers": {Version: cluster.Kafka39, Brokers: 3},
		"4.3 benchmark":     {Version: cluster.Kafka43, Benchmark: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			c := cluster.Start(t, options)
			t.Logf("up after %v", time.Since(began).Round(time.Millisecond))
			createTopic(t, c, "orders")
			produce(t, c, "orders", "one")
			expectValues(t, c, "orders", "one")
		})
	}
}

func TestBadPropertyIsReportedWithTheLog(t *testing.T) {
	t.Parallel()
	options := cluster.Options{Properties: map[string]string{"log.segment.bytes": "many"}}
	_, err := cluster.Up(t.Context(), t.TempDir(), options)
	if err == nil {
		t.Fatal("a cluster with a broken property started")
	}
	if !strings.Contains(err.Error(), "Invalid value many") {
		t.Errorf("error does not hold the broker's log:\n%v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, options := range map[string]cluster.Options{
		"two brokers":      {Brokers: 2},
		"unknown version":  {Version: "2.8"},
		"unknown listener": {Listeners: []cluster.Listener{"GSSAPI"}},
		"repeated":         {Listeners: []cluster.Listener{cluster.Plaintext}},
		"quoted password":  {Users: []cluster.User{{Name: "a", Password: `"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := cluster.Up(t.Context(), t.TempDir(), options); err == nil {
				c.Close()
				t.Error("accepted")
			}
		})
	}
}

func createTopic(t *testing.T, c *cluster.Cluster, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(c.Client(t)).CreateTopic(t.Context(), 1, int16(c.Size()), nil, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

func produce(t *testing.T, c *cluster.Cluster, topic, value string) {
	t.Helper()
	record := &kgo.Record{Topic: topic, Value: []byte(value)}
	if err := c.Client(t).ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
}

// expectValues reads topic from its start until it has seen as many records as are wanted.
func expectValues(t *testing.T, c *cluster.Cluster, topic string, want ...string) {
	t.Helper()
	client := c.Client(t, kgo.ConsumeTopics(topic))
	var got []string
	for len(got) < len(want) {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume %s: %v", topic, err)
		}
		for _, r := range fetches.Records() {
			got = append(got, string(r.Value))
		}
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: record %d is %q, want %q", topic, i, got[i], want[i])
		}
	}
}

func TestClustersStartSideBySide(t *testing.T) {
	const clusters = 3
	dirs := make([]string, clusters)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	var wait sync.WaitGroup
	for _, dir := range dirs {
		wait.Go(func() {
			c, err := cluster.Up(t.Context(), dir, cluster.Options{HeapMB: 256})
			if err != nil {
				t.Errorf("start: %v", err)
				return
			}
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wait.Wait()
}
