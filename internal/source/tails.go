package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// A restore skips as many records as it finds behind its start. Whether they are
// its own, offsets do not tell: a producer that has been waiting for the topic
// may have been faster.

// checkUntouched makes sure that topics which this run begins to restore end
// where the plan found them.
func (r *Runner) checkUntouched(ctx context.Context, topics []*TopicPlan) error {
	var parts []kafka.TopicPartition
	var starts []int64
	for _, t := range topics {
		parts = append(parts, partitionsOf(t)...)
		starts = append(starts, t.starts...)
	}
	ends, err := r.settledEnds(ctx, parts)
	if err != nil {
		return err
	}
	for i, end := range ends {
		if end != starts[i] {
			return fmt.Errorf("%s-%d ends at %d instead of %d: somebody else writes to the topic; stop them, delete it and run again", parts[i].Topic, parts[i].Partition, end, starts[i])
		}
	}
	return nil
}

// checkTails makes sure that the targets of a restore which goes on end with a
// batch of its own, in its place.
func (r *Runner) checkTails(ctx context.Context, lanes map[*track]*lane) error {
	fetcher, err := r.Cluster.NewFetcher()
	if err != nil {
		return err
	}
	defer fetcher.Close()
	unread := make(map[string]bool)
	for _, ln := range lanes {
		if ln.topic.Action != ActionResume || ln.topic.filled || ln.skip == 0 {
			continue
		}
		h, err := r.lastBatch(ctx, fetcher, ln)
		if errors.Is(err, kafka.ErrAuthorization) {
			if !unread[ln.topic.Target] {
				r.Log.Warn("that all records in the target are those of this restore cannot be proved without the right to read it", "topic", ln.topic.Target)
			}
			unread[ln.topic.Target] = true
			continue
		}
		if err != nil {
			return fmt.Errorf("read the end of %s-%d: %w", ln.topic.Target, ln.partition, err)
		}
		if !ln.isOwn(h, ln.skip) {
			return fmt.Errorf("%s-%d: the records before offset %d are not those of this restore: somebody else has written to the topic; delete it and run again",
				ln.topic.Target, ln.partition, ln.start+ln.skip)
		}
	}
	return nil
}

// lastBatch reads the header of the batch that the target ends with. It is empty
// if retention or compaction have taken the batch already, under the real configs.
func (r *Runner) lastBatch(ctx context.Context, fetcher *kafka.Fetcher, ln *lane) (batch.Header, error) {
	deadline := time.Now().Add(visibleWithin)
	for {
		h, err := r.fetchLast(ctx, fetcher, ln)
		passes := errors.Is(err, kafka.ErrRetriable) || errors.Is(err, kafka.ErrNotLeader) || errors.Is(err, kafka.ErrUnknownTopic)
		if !passes || time.Now().After(deadline) {
			return h, err
		}
		select {
		case <-ctx.Done():
			return h, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

func (r *Runner) fetchLast(ctx context.Context, fetcher *kafka.Fetcher, ln *lane) (batch.Header, error) {
	topics, err := r.Cluster.Topics(ctx, []string{ln.topic.Target})
	if err != nil {
		return batch.Header{}, err
	}
	t := topics[0]
	if t.Err != nil || int(ln.partition) >= len(t.Partitions) || t.Partitions[ln.partition].Err != nil {
		return batch.Header{}, fmt.Errorf("%w: no leader", kafka.ErrRetriable)
	}
	return ln.last(ctx, r.Cluster, fetcher, t.Partitions[ln.partition].Leader, ln.skip)
}

// isOwn says whether a batch is the restore's own that ends at a relative offset;
// of one that is not there any more, nobody can say.
func (ln *lane) isOwn(h batch.Header, end int64) bool {
	return h.Count == 0 || producerID{h.ProducerID, h.ProducerEpoch} == ln.topic.producer && h.BaseSequence == sequence(end-int64(h.Count))
}

// last asks a leader for the header of the batch that ends at a relative offset.
func (ln *lane) last(ctx context.Context, cluster *kafka.Cluster, fetcher *kafka.Fetcher, leader int32, end int64) (batch.Header, error) {
	tp := kafka.TopicPartition{Topic: ln.topic.Target, Partition: ln.partition}
	resp, err := fetcher.Fetch(ctx, leader, kafka.FetchRequest{MaxBytes: 1, Partitions: []kafka.FetchPartition{{
		Topic: tp.Topic, TopicID: ln.topic.id, Partition: tp.Partition, Offset: ln.start + end - 1, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1,
	}}})
	switch {
	case err != nil:
		return batch.Header{}, err
	case len(resp.Partitions) == 0:
		return batch.Header{}, fmt.Errorf("%w: no answer", kafka.ErrRetriable)
	case resp.Partitions[0].Err == nil && len(resp.Partitions[0].Records) == 0, errors.Is(resp.Partitions[0].Err, kafka.ErrOffsetOutOfRange):
		return batch.Header{}, checkGone(ctx, cluster, tp, ln.start+end)
	case resp.Partitions[0].Err != nil:
		return batch.Header{}, resp.Partitions[0].Err
	}
	h, _, _, err := batch.Next(resp.Partitions[0].Records)
	return h, err
}

// checkGone makes sure that no records are left before the end of a partition
// whose leader gives none: it may just not give them now.
func checkGone(ctx context.Context, cluster *kafka.Cluster, tp kafka.TopicPartition, end int64) error {
	first, err := cluster.ListStartOffsets(ctx, []kafka.TopicPartition{tp})
	if err != nil {
		return err
	}
	if first[0].Err == nil && first[0].Offset < end {
		return fmt.Errorf("%w: the leader does not give the record before offset %d", kafka.ErrRetriable, end)
	}
	return first[0].Err
}
