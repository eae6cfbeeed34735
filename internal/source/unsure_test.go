package source

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// deaf is a cluster that appends batches whose acknowledgement gets lost.
type deaf struct {
	appended map[string]int // how often each batch came, by what tells it from others
	repeated []string
}

// loseAnswers lets every other produce request be appended without an answer.
func loseAnswers(t *testing.T, f *kfake.Cluster) *deaf {
	d := &deaf{appended: make(map[string]int)}
	proxy, requests := client(t, f), 0
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		if r.TimeoutMillis == 1 { // the proxy's
			return nil, nil, false
		}
		d.count(r)
		if requests++; requests%2 == 0 {
			return nil, nil, false
		}
		again := *r
		again.TimeoutMillis = 1
		var err error
		f.SleepControl(func() { _, err = again.RequestWith(context.Background(), proxy) })
		return nil, errors.Join(errors.New("connection lost"), err), true
	})
	return d
}

func (d *deaf) count(r *kmsg.ProduceRequest) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			h, _, _, err := batch.Next(p.Records)
			key := fmt.Sprintf("%x-%d from %d, %v", t.TopicID[:4], p.Partition, h.BaseSequence, err)
			if d.appended[key]++; d.appended[key] > 1 {
				d.repeated = append(d.repeated, key)
			}
		}
	}
}

// What was appended is not sent again: the broker may have forgotten by whom it was.
func TestAppendedBatchIsNotSentAgain(t *testing.T) {
	st, truth := manyRequests(t)
	target := fake(t)
	d := loseAnswers(t, target)
	if err := restore(t.Context(), st, connect(t, target), ""); err != nil {
		t.Fatal(err)
	}
	if err := restoredRight(t, target, "", truth); err != nil {
		t.Error(err)
	}
	if len(d.repeated) > 0 || len(d.appended) < 10 {
		t.Errorf("%d batches, sent again: %q", len(d.appended), d.repeated)
	}
}

// What was not appended is sent again, and so is what nobody answered for.
func TestLostBatchIsSentAgain(t *testing.T) {
	t.Parallel()
	st, truth := manyRequests(t)
	target := fake(t)
	requests := 0
	target.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		target.KeepControl()
		requests++
		return nil, errors.New("connection lost"), requests%2 == 1
	})
	if err := restore(t.Context(), st, connect(t, target), ""); err != nil {
		t.Fatal(err)
	}
	if err := restoredRight(t, target, "", truth); err != nil {
		t.Error(err)
	}
}

// A batch for offsets 110 to 119 may have been appended.
func TestEndOfTheLogTellsWhatBecameOfABatch(t *testing.T) {
	ln := &lane{start: 100}
	out := outgoing{rel: 10, records: 10}
	for _, c := range []struct {
		end, high int64
		err       error
	}{
		{120, 120, nil},
		{110, 110, errAbsent},
		{120, 110, kafka.ErrRetriable}, // not replicated
		{120, 0, kafka.ErrRetriable},
		{110, 105, kafka.ErrRetriable},
		{115, 115, kafka.ErrRetriable},
		{105, 105, kafka.ErrRetriable},
		{121, 120, errForeign},
	} {
		err := ln.compare(out, kafka.PartitionOffset{Offset: c.end}, kafka.PartitionOffset{Offset: c.high})
		if !errors.Is(err, c.err) {
			t.Errorf("end %d, high watermark %d: %v, want %v", c.end, c.high, err, c.err)
		}
	}
	if err := ln.compare(out, kafka.PartitionOffset{Offset: -1, Err: kafka.ErrNotLeader}, kafka.PartitionOffset{Offset: 120}); !errors.Is(err, kafka.ErrNotLeader) {
		t.Errorf("without an answer: %v", err)
	}
}

// As many foreign records as the batch has, in its place, are not the batch.
func TestForeignBatchIsNotAcknowledged(t *testing.T) {
	f := fake(t)
	createTopic(t, f, "orders", 1, nil)
	if err := client(t, f).ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("foreign")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	topic := &TopicPlan{Target: "orders", id: kafka.TopicID(f.TopicInfo("orders").TopicID), producer: producerID{77, 0}}
	ln := &lane{topic: topic, unsure: true, queue: []outgoing{{raw: make([]byte, 100), records: 1}}}
	l := newLanes(connect(t, f), nil, []*lane{ln}, nil)
	l.pending = 1
	if err := l.send(t.Context()); !errors.Is(err, errForeign) {
		t.Errorf("the sender ended with %v, want %v", err, errForeign)
	}
}
