//go:build e2e

package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestRecordsSurviveRestart(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	createTopic(t, c, "orders")
	produce(t, c, "orders", "one")

	down(t, c, 0, c.Kill(0))
	up(t, c, 0)
	produce(t, c, "orders", "two")

	down(t, c, 0, c.Stop(t.Context(), 0))
	up(t, c, 0)
	expectValues(t, c, "orders", "one", "two")
}

func TestClusterSurvivesOneBroker(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Brokers: 3})
	createTopic(t, c, "orders")
	produce(t, c, "orders", "one")

	leader := leaderOf(t, c, "orders")
	down(t, c, leader, c.Kill(leader))
	produce(t, c, "orders", "two")
	expectValues(t, c, "orders", "one", "two")
	up(t, c, leader)
	produce(t, c, "orders", "three")
	expectValues(t, c, "orders", "one", "two", "three")
}

func TestPausedBrokerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	if err := c.Pause(0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); err == nil {
		t.Error("a paused broker answers")
	}
	if err := c.Resume(0); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
}

func TestPartitionDirHoldsTheBatch(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	createTopic(t, c, "orders")
	produce(t, c, "orders", "one")
	segment := filepath.Join(c.PartitionDir(0, "orders", 0), "00000000000000000000.log")
	info, err := os.Stat(segment)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 {
		t.Errorf("%s is empty", segment)
	}
}

func leaderOf(t *testing.T, c *cluster.Cluster, topic string) int {
	t.Helper()
	topics, err := kadm.NewClient(c.Client(t)).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatalf("list topics: %v", err)
	}
	return int(topics[topic].Partitions[0].Leader)
}

// down checks that a broker is down after an attempt to bring it down.
func down(t *testing.T, c *cluster.Cluster, id int, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if pid := c.PID(id); pid != 0 {
		t.Fatalf("broker %d still runs as process %d", id, pid)
	}
}

func up(t *testing.T, c *cluster.Cluster, id int) {
	t.Helper()
	began := time.Now()
	if err := c.Start(id); err != nil {
		t.Fatal(err)
	}
	ready(t, c)
	t.Logf("broker %d is back after %v", id, time.Since(began).Round(time.Millisecond))
}

func ready(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}
