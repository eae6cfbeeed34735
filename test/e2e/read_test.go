//go:build e2e

package e2e_test

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// The tests read topics with code of their own: raw fetches, of which the broker says what is aborted, as Kafka's own
// consumer does it. The client library's consumer overflows on timestamps far from now.

// readTopic returns what a topic holds now, as consumers that read committed records see it: up to the last stable
// offset, which an open transaction holds back. Nobody must compact or trim the topic meanwhile.
func readTopic(t testing.TB, c *cluster.Cluster, topic string) oracle.History {
	t.Helper()
	r := &reader{t: t, client: c.Client(t), decoder: batch.NewDecoder()}
	defer r.client.Close()
	h := make(oracle.History)
	for _, p := range r.lookUp(topic) {
		h[p.Partition] = r.read(p)
	}
	return h
}

// logStart returns where a partition begins now.
func logStart(t testing.TB, c *cluster.Cluster, topic string, partition int32) int64 {
	t.Helper()
	r := &reader{t: t, client: c.Client(t)}
	defer r.client.Close()
	return r.offset(place{topic: topic, Partition: partition}, -2)
}

// reader reads partitions for one test.
type reader struct {
	t       testing.TB
	client  *kgo.Client
	decoder *batch.Decoder
	open    map[int64][]int // by producer id: the records of its transaction so far, by their index in the log
}

// place is a partition and who leads it.
type place struct {
	topic     string
	id        [16]byte
	leader    int32
	Partition int32
}

// lookUp waits until all partitions of a topic have leaders.
func (r *reader) lookUp(topic string) []place {
	r.t.Helper()
	var places []place
	eventually(r.t, "leaders of "+topic, func() bool {
		topics, err := kadm.NewClient(r.client).ListTopics(r.t.Context(), topic)
		if err != nil || topics[topic].Err != nil {
			return false
		}
		places = nil
		for _, p := range topics[topic].Partitions.Sorted() {
			if p.Err != nil {
				return false
			}
			places = append(places, place{topic, topics[topic].ID, p.Leader, p.Partition})
		}
		return len(places) > 0
	})
	return places
}

// read reads a partition from its start to its last stable offset.
func (r *reader) read(p place) oracle.Log {
	r.t.Helper()
	r.open = make(map[int64][]int)
	l := oracle.Log{Start: r.offset(p, -2), End: r.offset(p, -1)}
	for next := l.Start; next < l.End; {
		answer := r.fetch(p, next)
		if answer.ErrorCode != 0 {
			r.t.Fatalf("fetch %s-%d at %d: %v", p.topic, p.Partition, next, kerr.ErrorForCode(answer.ErrorCode))
		}
		at := next
		if next = r.take(&l, answer, next); next == at && next < l.End {
			r.t.Fatalf("fetch %s-%d at %d: nothing before %d", p.topic, p.Partition, next, l.End)
		}
	}
	return l
}

// offset returns the log start (-2) or the last stable offset (-1).
func (r *reader) offset(p place, which int64) int64 {
	r.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = 1
	topic, part := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p.Partition, which, -1
	topic.Topic, topic.Partitions = p.topic, []kmsg.ListOffsetsRequestTopicPartition{part}
	req.Topics = []kmsg.ListOffsetsRequestTopic{topic}
	var offset int64
	eventually(r.t, "offsets of "+p.topic, func() bool {
		resp, err := req.RequestWith(r.t.Context(), r.client)
		if err != nil || len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
			return false
		}
		offset = resp.Topics[0].Partitions[0].Offset
		return true
	})
	return offset
}

// fetch reads from an offset. It waits while the leader is not there.
func (r *reader) fetch(p place, offset int64) *kmsg.FetchResponseTopicPartition {
	r.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 500, 1, 8<<20, 1
	topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Partition, offset, 8<<20
	topic.Topic, topic.TopicID, topic.Partitions = p.topic, p.id, []kmsg.FetchRequestTopicPartition{part}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		raw, err := r.client.Broker(int(p.leader)).Request(r.t.Context(), req)
		if err == nil {
			answer := &raw.(*kmsg.FetchResponse).Topics[0].Partitions[0]
			if err = kerr.ErrorForCode(answer.ErrorCode); err == nil || !kerr.IsRetriable(err) {
				return answer
			}
			if errors.Is(err, kerr.NotLeaderForPartition) {
				p.leader = r.lookUp(p.topic)[p.Partition].leader
			}
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("fetch %s-%d at %d: %v", p.topic, p.Partition, offset, err)
		}
	}
}

// take adds the batches of an answer to the log and returns where to go on.
func (r *reader) take(l *oracle.Log, answer *kmsg.FetchResponseTopicPartition, next int64) int64 {
	r.t.Helper()
	open := abortedTransactions(answer)
	for rest := answer.RecordBatches; next < l.End; {
		h, raw, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrCut) {
			break
		}
		if err != nil {
			r.t.Fatal(err)
		}
		rest = after
		aborted := open.aborts(r.t, &h, raw)
		switch {
		case h.IsControl():
			r.commit(l, &h)
		default:
			r.add(l, &h, raw, next, aborted)
		}
		next = max(next, h.NextOffset())
	}
	return next
}

// commit tells the records of the producer's transaction where it ended.
func (r *reader) commit(l *oracle.Log, h *batch.Header) {
	for _, i := range r.open[h.ProducerID] {
		l.Records[i].Marker = h.BaseOffset
	}
	delete(r.open, h.ProducerID)
}

// add adds the records of a batch that lie at or after an offset.
func (r *reader) add(l *oracle.Log, h *batch.Header, raw []byte, from int64, aborted bool) {
	r.t.Helper()
	err := r.decoder.Decode(raw, func(record *batch.Record) error {
		if record.Offset < from || record.Offset >= l.End {
			return nil
		}
		seen := oracle.Record{Offset: record.Offset, Identity: oracle.Identify(record.Timestamp, record)}
		if aborted {
			l.Aborted = append(l.Aborted, seen)
			return nil
		}
		seen.Producer = h.ProducerID
		l.Records = append(l.Records, seen)
		if h.IsTransactional() {
			r.open[h.ProducerID] = append(r.open[h.ProducerID], len(l.Records)-1)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// abortions are the aborted transactions of an answer: those that begin later, in order, and the producers of those
// that are under way.
type abortions struct {
	waiting []kmsg.FetchResponseTopicPartitionAbortedTransaction
	open    map[int64]bool
}

func abortedTransactions(answer *kmsg.FetchResponseTopicPartition) *abortions {
	a := &abortions{waiting: slices.Clone(answer.AbortedTransactions), open: make(map[int64]bool)}
	slices.SortFunc(a.waiting, func(x, y kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(x.FirstOffset, y.FirstOffset)
	})
	return a
}

// aborts says whether the batch belongs to an aborted transaction. Batches must come in order.
func (a *abortions) aborts(t testing.TB, h *batch.Header, raw []byte) bool {
	t.Helper()
	for len(a.waiting) > 0 && a.waiting[0].FirstOffset < h.NextOffset() {
		a.open[a.waiting[0].ProducerID] = true
		a.waiting = a.waiting[1:]
	}
	if !h.IsControl() {
		return h.IsTransactional() && a.open[h.ProducerID]
	}
	marker, err := batch.Marker(raw)
	if err != nil && !errors.Is(err, batch.ErrNoMarker) {
		t.Fatal(err)
	}
	if err == nil && marker.Type == batch.Abort {
		delete(a.open, h.ProducerID)
	}
	return false
}

// requireSame fails the test unless a copy has exactly the records of its source.
func requireSame(t testing.TB, source, copied oracle.History) {
	t.Helper()
	if faults := oracle.Compare(source, copied); len(faults) > 0 {
		t.Fatalf("the copy differs in %d records: %v", len(faults), faults)
	}
}
