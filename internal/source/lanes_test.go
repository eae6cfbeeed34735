package source

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// A broker that has not heard of a new topic yet answers as if it had been deleted.
func TestBrokerHasNotHeardOfTheTopic(t *testing.T) {
	t.Parallel()
	f, truths := threeDays(t)
	target := fake(t)
	fault := target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownTopicID, Count: 4})
	if err := restore(t.Context(), f, connect(t, target), ""); err != nil {
		t.Fatal(err)
	}
	if err := restoredRight(t, target, "", truths[len(truths)-1]); err != nil {
		t.Error(err)
	}
	if fault.Hits() == 0 {
		t.Error("no request met the fault")
	}
}

// While a leader is looked up, the other senders wait for that, and not for a moment that has passed.
func TestNobodyWaitsForThePast(t *testing.T) {
	now := time.Now()
	ln := &lane{queue: []outgoing{{raw: make([]byte, 100)}}, leader: -1, after: now.Add(-time.Second)}
	l := newLanes(nil, nil, []*lane{ln}, nil)
	if _, chosen, next := l.ready(now); chosen != nil || !next.IsZero() {
		t.Errorf("ready chose %v and waits until %v, want neither", chosen, next)
	}
	ln.after = now.Add(time.Second)
	if _, chosen, next := l.ready(now); chosen != nil || !next.Equal(ln.after) {
		t.Errorf("ready chose %v and waits until %v, want %v", chosen, next, ln.after)
	}
}

// Who waits for room in a lane hears of it when the last sender has given up.
func TestEnqueueHearsOfTheEnd(t *testing.T) {
	f := fake(t)
	gone := &lane{
		topic: &TopicPlan{Target: "gone", id: kafka.TopicID{9}}, leader: -1, failing: time.Now().Add(-time.Hour),
		queue: []outgoing{{raw: make([]byte, 100)}}, bytes: laneBytes,
	}
	l := newLanes(connect(t, f), nil, []*lane{gone}, nil)
	l.pending = 1
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- l.enqueue(ctx, gone, make([]byte, 100), 1, nil) }()
	for l.flight.TryAcquire(flightBytes) { // until enqueue has its share of it
		l.flight.Release(flightBytes)
		runtime.Gosched()
	}
	err := l.send(ctx)
	cancel() // as the group of senders does
	if !errors.Is(err, errDeleted) {
		t.Fatalf("the sender ended with %v, want %v", err, errDeleted)
	}
	select {
	case err := <-waiting:
		if !errors.Is(err, errDeleted) {
			t.Errorf("enqueue ended with %v, want %v", err, errDeleted)
		}
	case <-time.After(10 * time.Second):
		t.Error("enqueue waits for ever")
		l.stop(errDeleted)
	}
}
