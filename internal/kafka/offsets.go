package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// listTries bounds how often stale routing and elections are waited out.
	listTries = 8
	listWait  = 500 * time.Millisecond

	// Timestamps of a ListOffsets request that mean an end of the log.
	timestampLatest   = -1
	timestampEarliest = -2
	timestampLocal    = -4

	// replicaDebug is the replica id under which the latest offset is the log
	// end and not the high watermark; Describe on the topic is enough for it.
	// Followers answer it as well: only the leader epoch that goes along
	// makes sure that the answer is the leader's.
	replicaDebug = -2

	// replicaConsumer is the replica id of clients, for whom the log ends at
	// the high watermark.
	replicaConsumer = -1

	// isolationCommitted lets a consumer's log end at the last stable offset.
	isolationCommitted = 1
)

// logEnd says which end of the log is asked for, and as whom.
type logEnd struct {
	timestamp int64
	replica   int32
	isolation int8
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// PartitionOffset is an offset that a leader reported, or Err.
type PartitionOffset struct {
	TopicPartition
	Offset      int64 // -1 when Err is set
	LeaderEpoch int32 // of the last record before Offset; -1 when there is none
	Err         error
}

// ListEndOffsets asks the leaders for the log end offsets: the next offset to
// be written, whether or not the records before it are replicated yet. Results
// are in the order of parts. Moving leaders are waited for a few seconds.
func (c *Cluster) ListEndOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return c.listOffsets(ctx, parts, logEnd{timestampLatest, replicaDebug, 0})
}

// ListHighWatermarks asks the leaders for the high watermarks: below them, all
// in-sync replicas have every record. A leader that has just been elected and
// does not know it yet is waited for a few seconds. Results are in the order of
// parts.
func (c *Cluster) ListHighWatermarks(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return c.listOffsets(ctx, parts, logEnd{timestampLatest, replicaConsumer, 0})
}

// ListStableOffsets asks the leaders for the last stable offsets: where the log
// ends for consumers that read committed records, since from there on a
// transaction may still be open. Otherwise it is like ListHighWatermarks.
func (c *Cluster) ListStableOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return c.listOffsets(ctx, parts, logEnd{timestampLatest, replicaConsumer, isolationCommitted})
}

// ListStartOffsets asks the leaders for the log start offsets. Results are in
// the order of parts. Moving leaders are waited for a few seconds.
func (c *Cluster) ListStartOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return c.listOffsets(ctx, parts, logEnd{timestampEarliest, replicaDebug, 0})
}

// ListLocalStartOffsets asks the leaders for the first offsets that they have on
// their own disks; what lies before them, if anything, is in tiered storage.
// Results are in the order of parts. Moving leaders are waited for a few seconds.
func (c *Cluster) ListLocalStartOffsets(ctx context.Context, parts []TopicPartition) ([]PartitionOffset, error) {
	return c.listOffsets(ctx, parts, logEnd{timestampLocal, replicaConsumer, 0})
}

// listOffsets asks until every partition has an answer or an error that
// waiting does not cure. What is not cured in time keeps its error.
func (c *Cluster) listOffsets(ctx context.Context, parts []TopicPartition, end logEnd) ([]PartitionOffset, error) {
	answers := make(map[TopicPartition]PartitionOffset, len(parts))
	for _, tp := range parts {
		answers[tp] = PartitionOffset{TopicPartition: tp, Err: errNoAnswer}
	}
	for try := range listTries {
		var left []TopicPartition
		for tp, a := range answers {
			if passes(a.Err) {
				left = append(left, tp)
			}
		}
		if len(left) == 0 {
			break
		}
		if try > 0 {
			if err := sleep(ctx, listWait); err != nil {
				return nil, err
			}
		}
		if err := c.listOnce(ctx, left, end, answers); err != nil {
			return nil, fmt.Errorf("list offsets: %w", err)
		}
	}
	out := make([]PartitionOffset, len(parts))
	for i, tp := range parts {
		out[i] = answers[tp]
		if out[i].Err != nil {
			out[i].Offset, out[i].LeaderEpoch = -1, -1
		}
	}
	return out, nil
}

// passes reports whether an error is of the kind that goes away.
func passes(err error) bool {
	return errors.Is(err, ErrRetriable) || errors.Is(err, ErrNotLeader) ||
		errors.Is(err, ErrFencedLeaderEpoch) || errors.Is(err, ErrUnknownLeaderEpoch)
}

// listOnce sends one request to each leader and replaces the answers.
func (c *Cluster) listOnce(ctx context.Context, parts []TopicPartition, end logEnd, answers map[TopicPartition]PartitionOffset) error {
	requests, err := c.listRequests(ctx, parts, end, answers)
	if err != nil {
		return err
	}
	set := func(topic string, partition int32, offset int64, epoch int32, err error) {
		tp := TopicPartition{topic, partition}
		if _, asked := answers[tp]; asked {
			answers[tp] = PartitionOffset{tp, offset, epoch, err}
		}
	}
	for _, broker := range slices.Sorted(maps.Keys(requests)) {
		req := requests[broker]
		raw, err := c.cl.Broker(int(broker)).Request(ctx, req)
		if err = requestError(ctx, c.cl, err); err != nil {
			if !errors.Is(err, ErrRetriable) {
				return fmt.Errorf("broker %d: %w", broker, err)
			}
			for _, t := range req.Topics {
				for _, p := range t.Partitions {
					set(t.Topic, p.Partition, -1, -1, err)
				}
			}
			continue
		}
		for _, t := range raw.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				var err error
				if p.ErrorCode != 0 {
					err = brokerError(p.ErrorCode, nil, denied{"Describe", t.Topic})
				}
				set(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, err)
			}
		}
	}
	return nil
}

// listRequests reads who leads the partitions and makes one request for each
// leader. Partitions that nobody leads get their error.
func (c *Cluster) listRequests(ctx context.Context, parts []TopicPartition, end logEnd, answers map[TopicPartition]PartitionOffset) (map[int32]*kmsg.ListOffsetsRequest, error) {
	byTopic := make(map[string][]int32)
	for _, tp := range parts {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Partition)
	}
	topics, err := c.Topics(ctx, slices.Sorted(maps.Keys(byTopic)))
	if err != nil {
		return nil, err
	}
	requests := make(map[int32]*kmsg.ListOffsetsRequest)
	for _, t := range topics {
		for _, index := range byTopic[t.Name] {
			n, found := slices.BinarySearchFunc(t.Partitions, index, func(p Partition, i int32) int { return cmp.Compare(p.Index, i) })
			if !found {
				tp := TopicPartition{t.Name, index}
				answers[tp] = PartitionOffset{TopicPartition: tp, Err: cmp.Or(t.Err, ErrUnknownTopic)}
				continue
			}
			p := t.Partitions[n]
			if p.Err != nil {
				tp := TopicPartition{t.Name, index}
				answers[tp] = PartitionOffset{TopicPartition: tp, Err: p.Err}
				continue
			}
			if requests[p.Leader] == nil {
				requests[p.Leader] = kmsg.NewPtrListOffsetsRequest()
				requests[p.Leader].ReplicaID = end.replica
				requests[p.Leader].IsolationLevel = end.isolation
			}
			addPartition(requests[p.Leader], t.Name, p, end.timestamp)
		}
	}
	return requests, nil
}

// addPartition expects the partitions topic by topic.
func addPartition(req *kmsg.ListOffsetsRequest, topic string, part Partition, timestamp int64) {
	n := len(req.Topics) - 1
	if n < 0 || req.Topics[n].Topic != topic {
		n++
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		req.Topics = append(req.Topics, t)
	}
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.Timestamp = part.Index, part.LeaderEpoch, timestamp
	req.Topics[n].Partitions = append(req.Topics[n].Partitions, p)
}
