package source

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// retryPause is how long a partition rests after an error that passes.
const retryPause = 200 * time.Millisecond

// settle deals with the answer to a request. An error of the whole request
// holds for each of its batches.
func (l *lanes) settle(chosen []*lane, results []kafka.Produced, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Broadcast()
	for i, ln := range chosen {
		ln.inFlight = false
		answer := kafka.Produced{Err: err}
		if err == nil {
			answer = results[i]
		}
		if err := l.settleOne(ln, answer); err != nil {
			return err
		}
	}
	return nil
}

// settleOne takes an acknowledged batch off its lane, or leaves it there, to be
// asked about or sent again with the same sequence.
func (l *lanes) settleOne(ln *lane, answer kafka.Produced) error {
	out := ln.queue[0]
	switch err := answer.Err; {
	case err == nil:
		if want := ln.start + out.rel; answer.BaseOffset != want {
			return fmt.Errorf("%s-%d: the batch for offset %d was appended at %d: %w", ln.topic.Target, ln.partition, want, answer.BaseOffset, errForeign)
		}
	case errors.Is(err, errAbsent):
		ln.unsure = false
		return nil
	case errors.Is(err, kafka.ErrTopicRecreated): // deleted, or a broker has not heard of the new topic yet
		if l.patience(ln, goneLimit) {
			return nil
		}
		return fmt.Errorf("%s: %w: %w", ln.topic.Target, errDeleted, err)
	case errors.Is(err, kafka.ErrRetriable), errors.Is(err, kafka.ErrNotLeader), errors.Is(err, kafka.ErrUnknownTopic), errors.Is(err, kafka.ErrUnreachable):
		// Also who was the leader when it appended the batch answers ErrNotLeader.
		ln.unsure = true
		if l.patience(ln, stallLimit) {
			return nil
		}
		return fmt.Errorf("%s-%d: no progress for %s; run again to go on: %w", ln.topic.Target, ln.partition, stallLimit, err)
	case errors.Is(err, kafka.ErrMessageTooLarge):
		return fmt.Errorf("produce to %s-%d at offset %d: %w of %s: %w: set max.message.bytes (and segment.bytes) of the topic higher than that, and compression.type to producer if it is something else, and run again to go on",
			ln.topic.Target, ln.partition, ln.start+out.rel, errTooLarge, english.Plural(len(out.raw), "byte", ""), err)
	default:
		return fmt.Errorf("produce to %s-%d at offset %d: %w", ln.topic.Target, ln.partition, ln.start+out.rel, err)
	}
	if out.from != nil {
		out.from.done()
	}
	ln.queue[0] = outgoing{}
	ln.queue = ln.queue[1:]
	ln.bytes -= len(out.raw)
	ln.failing, ln.unsure = time.Time{}, false
	ln.acked = out.rel + int64(out.records)
	l.pending--
	l.flight.Release(min(int64(len(out.raw)), flightBytes))
	if l.progress != nil {
		l.progress(int64(out.records))
	}
	return nil
}

// patience says whether a lane that has failed may be sent again, and lets it
// wait for that.
func (l *lanes) patience(ln *lane, limit time.Duration) bool {
	if ln.failing.IsZero() {
		ln.failing = time.Now()
	}
	ln.after, l.stale = time.Now().Add(retryPause), true
	return time.Since(ln.failing) <= limit
}
