//go:build e2e

package cluster_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestRecordsGoInAndOut(t *testing.T) {
	for _, options := range []cluster.Options{
		{Brokers: 1, Version: cluster.Kafka43},
		{Brokers: 1, Version: cluster.Kafka39},
		{Brokers: 3, Version: cluster.Kafka43},
	} {
		t.Run(options.Version+name(options.Brokers), func(t *testing.T) {
			began := time.Now()
			c := cluster.Start(t, options)
			t.Logf("up after %v", time.Since(began).Round(time.Millisecond))
			createTopic(t, c, "orders", int16(options.Brokers))
			produce(t, c, "orders", "one")
			expectValues(t, c, "orders", "one")
		})
	}
}

func name(brokers int) string {
	if brokers == 1 {
		return " with 1 broker"
	}
	return " with 3 brokers"
}

func createTopic(t *testing.T, c *cluster.Cluster, topic string, replicas int16) {
	t.Helper()
	if _, err := kadm.NewClient(c.Client(t)).CreateTopic(t.Context(), 1, replicas, nil, topic); err != nil {
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
