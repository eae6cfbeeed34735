//go:build e2e

package e2e_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// Many partitions have more to give than one response holds, so that a broker answers for most of them without a
// batch, many times in a row. That is not the end of a partition, nor a gap.
func TestBacklogOfManyPartitions(t *testing.T) {
	t.Parallel()
	const partitions, batches, size = 64, 5, 700 << 10
	source := cluster.Start(t, cluster.Options{})
	createTopic(t, source, "wide", partitions, nil)
	p := producer(t, source, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, size)
	rand.Read(value)
	for b := range batches {
		var records []*kgo.Record
		for i := range int32(partitions) {
			records = append(records, &kgo.Record{Topic: "wide", Partition: i, Key: fmt.Append(nil, b), Value: value})
		}
		produce(t, p, records...)
	}
	r := newRepository(t)
	o := r.backup(source)
	if strings.Contains(o.stderr, "gap") {
		t.Errorf("there is a gap in the backup:\n%s", tail(o.stderr))
	}
	shown := decodeJSON[pointContent](t, r.run("restored", nil, "show", "-o", "json"))
	for _, p := range shown.Topics[0].Partitions {
		if p.To != batches {
			t.Errorf("the backup of partition %d ends at %d, want %d", p.Partition, p.To, batches)
		}
	}
}
