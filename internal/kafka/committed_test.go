package kafka_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// What a consumer that reads committed records needs: where the log ends for it, and which transactions were aborted.
func TestFetchCommitted(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	c := connectFake(t, f)
	topic := topicOf(t, c, "t")
	begin := func(id string) *kgo.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"), kgo.DisableClientMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("of "+id)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		return cl
	}
	if err := begin("aborted").EndTransaction(t.Context(), kgo.TryAbort); err != nil { // 0, and the marker 1
		t.Fatal(err)
	}
	begin("open") // 2
	if got := produceTo(t, newProducer(t, c), topic, build(t, batch.None, anonymous, "behind")); got.Err != nil || got.BaseOffset != 3 {
		t.Fatalf("produced %+v", got)
	}
	ends, err := c.ListStableOffsets(t.Context(), []kafka.TopicPartition{{Topic: "t"}, {Topic: "nope"}})
	if err != nil || ends[0].Err != nil || ends[0].Offset != 2 || ends[1].Err == nil {
		t.Errorf("stable offsets %+v, %v, want 2 and an error", ends, err)
	}
	req := fetchFrom(topic, 0)
	if all := fetchOne(t, newFetcher(t, c), topic.Partitions[0].Leader, req); len(all.Aborted) != 0 || len(bases(t, all.Records)) != 4 {
		t.Errorf("uncommitted: aborted %v, batches %v", all.Aborted, bases(t, all.Records))
	}
	req.Committed = true
	got := fetchOne(t, newFetcher(t, c), topic.Partitions[0].Leader, req)
	h, _, _, err := batch.Next(got.Records)
	if err != nil {
		t.Fatal(err)
	}
	if want := []kafka.AbortedTransaction{{ProducerID: h.ProducerID, FirstOffset: 0}}; !slices.Equal(got.Aborted, want) || !slices.Equal(bases(t, got.Records), []int64{0, 1}) {
		t.Errorf("committed: aborted %v, want %v; batches %v", got.Aborted, want, bases(t, got.Records))
	}
}

// bases returns where the batches of an answer begin.
func bases(t *testing.T, records []byte) (list []int64) {
	t.Helper()
	for {
		h, _, rest, err := batch.Next(records)
		if err != nil {
			return list
		}
		list, records = append(list, h.BaseOffset), rest
	}
}
