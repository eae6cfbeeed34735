package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// A batch without a certain answer may have been appended. A broker that is sent
// it again tells a repetition only as long as it remembers the producer. It
// forgets one whose last records are older than producer.id.expiration.ms, by
// their own timestamps: with those of a backup, any restart may be enough. So
// the target is asked before anything is sent again.

// errAbsent: the target does not have the batch.
var errAbsent = errors.New("not appended")

// ascertain finds out what became of the first batch of each lane.
func (l *lanes) ascertain(ctx context.Context, broker int32, chosen []*lane) ([]kafka.Produced, error) {
	fetcher, err := l.cluster.NewFetcher()
	if err != nil {
		return nil, err
	}
	defer fetcher.Close()
	heads := l.heads(chosen)
	parts := make([]kafka.TopicPartition, len(chosen))
	for i, ln := range chosen {
		parts[i] = kafka.TopicPartition{Topic: ln.topic.Target, Partition: ln.partition}
	}
	ends, err := l.cluster.ListEndOffsets(ctx, parts)
	if err != nil {
		return nil, err
	}
	high, err := l.cluster.ListHighWatermarks(ctx, parts)
	if err != nil {
		return nil, err
	}
	fates := make([]kafka.Produced, len(chosen))
	for i, ln := range chosen {
		fates[i].BaseOffset = ln.start + heads[i].rel
		if fates[i].Err = ln.compare(heads[i], ends[i], high[i]); fates[i].Err == nil {
			fates[i].Err = l.checkOwn(ctx, fetcher, broker, ln, heads[i])
		}
	}
	return fates, nil
}

// compare judges by the end of the log whether a batch was appended: without an
// error if so, errAbsent if not, kafka.ErrRetriable if that is not certain yet.
func (ln *lane) compare(out outgoing, end, high kafka.PartitionOffset) error {
	before := ln.start + out.rel
	after := before + int64(out.records)
	switch err := cmp.Or(end.Err, high.Err); {
	case err != nil:
		return err
	case end.Offset > after:
		return fmt.Errorf("it ends at %d instead of %d: %w", end.Offset, after, errForeign)
	case end.Offset != high.Offset:
		return fmt.Errorf("%w: it ends at %d, of which %d are replicated", kafka.ErrRetriable, end.Offset, high.Offset)
	case end.Offset == before:
		return errAbsent
	case end.Offset != after:
		return fmt.Errorf("%w: it ends at %d instead of %d or %d", kafka.ErrRetriable, end.Offset, before, after)
	}
	return nil
}

// checkOwn makes sure that what was appended is the batch. Without the right to
// read it, its place has to do.
func (l *lanes) checkOwn(ctx context.Context, fetcher *kafka.Fetcher, broker int32, ln *lane, out outgoing) error {
	end := out.rel + int64(out.records)
	h, err := ln.last(ctx, l.cluster, fetcher, broker, end)
	if errors.Is(err, kafka.ErrAuthorization) {
		return nil
	}
	if err == nil && !ln.isOwn(h, end) {
		return fmt.Errorf("the records before %d are not those of this restore: %w", ln.start+end, errForeign)
	}
	return err
}
