//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// The restored topic equals the source, the second run has nothing to do.
func TestRestoreTwice(t *testing.T) {
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 2, nil)
	p := producer(t, source)
	for i := range 100 {
		produce(t, p, &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: []byte(fmt.Sprint(i))})
	}
	r := newRepository(t)
	r.backup(source)
	first := r.restore(target)
	want := readTopic(t, source, "orders")
	requireSame(t, want, readTopic(t, target, "orders"))

	second := r.restore(target)
	if second.Point != first.Point || second.Topics[0].Action != "none" {
		t.Errorf("the second run did %+v", second)
	}
	requireSame(t, want, readTopic(t, target, "orders"))
}
