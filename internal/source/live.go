package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Bounds of reading from a cluster.
const (
	liveReaders    = 3
	liveFetch      = 4 << 20 // bytes that each asks for; a larger batch comes whole
	liveFetchWait  = 500 * time.Millisecond
	liveEmptyLimit = 20 // answers without a batch, after which it is asked why
)

// live is a cluster as one of two sides: its partitions as they are when the
// comparison begins, which is all that is read of them.
type live struct {
	cluster  *kafka.Cluster
	patience Patience
	parts    []livePartition
	commits  map[commitPlace]kafka.GroupOffset
	notes    []string
}

// livePartition is a partition of which the offsets [from, to) are compared.
type livePartition struct {
	kafka.TopicPartition
	id       kafka.TopicID
	leader   int32 // when it was last asked for; -1 to ask anew
	base     int64 // where a restore into it began; 0 if none is known
	from, to int64
}

func (p *livePartition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// locate finds the partitions of the places on the cluster, under their topics' names.
func (l *live) locate(ctx context.Context, places []place, name func(place) string) error {
	names := []string{}
	for _, at := range places {
		names = append(names, name(at))
	}
	topics, err := l.cluster.Topics(ctx, slices.Compact(names))
	if err != nil {
		return fmt.Errorf("look up topics: %w", err)
	}
	byName := make(map[string]kafka.Topic)
	for _, t := range topics {
		if t.Err != nil {
			return fmt.Errorf("topic %s of cluster %s: %w", t.Name, l.cluster.ID(), t.Err)
		}
		byName[t.Name] = t
	}
	for _, at := range places {
		t := byName[name(at)]
		part := livePartition{TopicPartition: kafka.TopicPartition{Topic: name(at), Partition: at.partition}, id: t.ID, leader: -1}
		if int(at.partition) < len(t.Partitions) {
			part.leader = t.Partitions[at.partition].Leader
		}
		l.parts = append(l.parts, part)
	}
	return nil
}

// begin fixes what is compared: first where groups are, then where the records end,
// so that no group can be behind its records.
func (l *live) begin(ctx context.Context) error {
	return l.patience.Do(ctx, "look where groups and partitions are", func() error {
		l.notes = nil
		if err := l.readCommits(ctx); err != nil {
			return fmt.Errorf("read the offsets of groups: %w", err)
		}
		return l.bound(ctx)
	})
}

// bound looks where the partitions begin and end for a consumer that reads
// committed records. A base that is already set is where they begin at least.
func (l *live) bound(ctx context.Context) error {
	names := make([]kafka.TopicPartition, len(l.parts))
	for i := range l.parts {
		names[i] = l.parts[i].TopicPartition
	}
	starts, err := l.cluster.ListStartOffsets(ctx, names)
	if err != nil {
		return err
	}
	// In this order: what is appended meanwhile is no sign of an open transaction.
	high, err := l.cluster.ListHighWatermarks(ctx, names)
	if err != nil {
		return err
	}
	ends, err := l.cluster.ListStableOffsets(ctx, names)
	if err != nil {
		return err
	}
	for i := range l.parts {
		p := &l.parts[i]
		for _, answer := range []kafka.PartitionOffset{starts[i], ends[i], high[i]} {
			if answer.Err != nil {
				return fmt.Errorf("offsets of %s: %w", p, answer.Err)
			}
		}
		p.from = max(starts[i].Offset, p.base)
		p.to = max(p.from, ends[i].Offset)
		if ends[i].Offset < high[i].Offset {
			l.notes = append(l.notes, fmt.Sprintf("%s: offsets [%d,%d) are not compared: a transaction is open at the first of them", p, ends[i].Offset, high[i].Offset))
		}
	}
	return nil
}

func (l *live) sections() []section {
	list := make([]section, len(l.parts))
	for i, p := range l.parts {
		list[i] = section{i, p.from, p.to}
	}
	return list
}

// digest reads everything.
func (l *live) digest(ctx context.Context, digests []*digest, progress func(int64)) error {
	for i, list := range l.wanted() {
		digests[i].wanted = list
	}
	return l.read(ctx, l.sections(), func(i int) func(*batch.Record) error { return digests[i].add }, progress)
}

// read implements side.
func (l *live) read(ctx context.Context, sections []section, each func(int) func(*batch.Record) error, progress func(int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan int)
	g.Go(func() error {
		defer close(queue)
		for i := range sections {
			select {
			case queue <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(liveReaders, len(sections)) {
		g.Go(func() error {
			fetcher, err := l.cluster.NewFetcher()
			if err != nil {
				return err
			}
			defer fetcher.Close()
			decoder := batch.NewDecoder()
			for i := range queue {
				part := &l.parts[sections[i].place]
				reader := &committedReader{decoder: decoder, to: sections[i].to, fn: each(i)}
				if err := l.readSection(ctx, fetcher, part, sections[i].from, reader, progress); err != nil {
					return fmt.Errorf("read %s of cluster %s: %w", part, l.cluster.ID(), err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// readSection reads a partition from an offset on. What its retention deletes
// meanwhile is not there.
func (l *live) readSection(ctx context.Context, fetcher *kafka.Fetcher, part *livePartition, at int64, reader *committedReader, progress func(int64)) error {
	for empty := 0; at < reader.to; {
		fp, err := l.fetch(ctx, fetcher, part, at)
		next := at
		switch {
		case errors.Is(err, kafka.ErrOffsetOutOfRange):
			next, err = l.deletedUpTo(ctx, part, at)
		case err == nil:
			next, err = reader.take(&fp, at)
		}
		if err != nil {
			return err
		}
		if empty++; next > at {
			empty = 0
		}
		if empty > liveEmptyLimit {
			if err := l.checkNothing(ctx, part, at); err != nil {
				return err
			}
			next = reader.to
		}
		progress(min(next, reader.to) - at)
		at = next
	}
	return nil
}

// fetch asks the leader for what follows an offset, patiently.
func (l *live) fetch(ctx context.Context, fetcher *kafka.Fetcher, part *livePartition, at int64) (fp kafka.FetchedPartition, err error) {
	err = l.patience.Do(ctx, "read "+part.String(), func() (err error) {
		if part.leader < 0 {
			if err := l.findLeader(ctx, part); err != nil {
				return err
			}
		}
		resp, err := l.unthrottled(ctx, fetcher, part.leader, kafka.FetchRequest{
			MaxWait: liveFetchWait, MinBytes: 1, MaxBytes: liveFetch, Committed: true,
			Partitions: []kafka.FetchPartition{{
				Topic: part.Topic, TopicID: part.id, Partition: part.Partition, Offset: at, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: liveFetch,
			}},
		})
		if err == nil && len(resp.Partitions) > 0 {
			fp = resp.Partitions[0]
			err = fp.Err
		}
		if passes(err) {
			part.leader = -1
		}
		return err
	})
	return fp, err
}

// unthrottled asks again as long as the broker answers with nothing because of a
// quota: that does not mean that there is nothing.
func (l *live) unthrottled(ctx context.Context, fetcher *kafka.Fetcher, broker int32, req kafka.FetchRequest) (kafka.FetchResponse, error) {
	for {
		resp, err := fetcher.Fetch(ctx, broker, req)
		if err != nil || resp.Throttle == 0 || slices.ContainsFunc(resp.Partitions, func(p kafka.FetchedPartition) bool { return p.Err != nil || len(p.Records) > 0 }) {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return resp, ctx.Err()
		case <-time.After(resp.Throttle):
		}
	}
}

func (l *live) findLeader(ctx context.Context, part *livePartition) error {
	topics, err := l.cluster.Topics(ctx, []string{part.Topic})
	if err != nil {
		return err
	}
	t := topics[0]
	switch {
	case t.Err != nil:
		return t.Err
	case t.ID != part.id || int(part.Partition) >= len(t.Partitions):
		return kafka.ErrTopicRecreated
	case t.Partitions[part.Partition].Err != nil:
		return t.Partitions[part.Partition].Err
	}
	part.leader = t.Partitions[part.Partition].Leader
	return nil
}

// deletedUpTo says where the partition begins by now, which must be behind an
// offset that it does not have.
func (l *live) deletedUpTo(ctx context.Context, part *livePartition, at int64) (int64, error) {
	start, err := l.cluster.ListStartOffsets(ctx, []kafka.TopicPartition{part.TopicPartition})
	if err != nil {
		return 0, err
	}
	if start[0].Err != nil {
		return 0, start[0].Err
	}
	if start[0].Offset <= at {
		return 0, fmt.Errorf("offset %d was there when the comparison began, and is not any more: the topic is being rewritten", at)
	}
	return start[0].Offset, nil
}

// checkNothing makes sure that a leader which keeps silent has nothing: what is
// in tiered storage looks empty while that storage is slow.
func (l *live) checkNothing(ctx context.Context, part *livePartition, at int64) error {
	local, err := l.cluster.ListLocalStartOffsets(ctx, []kafka.TopicPartition{part.TopicPartition})
	if err != nil {
		return err
	}
	if local[0].Err != nil {
		return local[0].Err
	}
	if local[0].Offset > at {
		return fmt.Errorf("the leader does not give the records from offset %d on, which are in tiered storage", at)
	}
	return nil
}
