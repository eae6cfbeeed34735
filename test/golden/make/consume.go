package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/golden"
)

// consume returns what a consumer of committed records is served up to the given offsets. No transaction may be open below them.
func (s *source) consume(ends kadm.ListedOffsets) []golden.Record {
	if s.err != nil || len(ends) == 0 {
		return nil
	}
	starts, err := s.admin.ListStartOffsets(s.ctx, s.topicNames()...)
	s.fail("list start offsets", err)
	from := make(map[string]map[int32]kgo.Offset)
	left := 0
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		if start.Offset >= end.Offset {
			return
		}
		if from[end.Topic] == nil {
			from[end.Topic] = make(map[int32]kgo.Offset)
		}
		from[end.Topic][end.Partition] = kgo.NewOffset().AtStart()
		left++
	})
	if s.err != nil || left == 0 {
		return nil
	}
	// Control records show how far a partition has been read that ends with one.
	client, err := s.newClient(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		s.fail("consume", err)
		return nil
	}
	defer client.Close()
	return s.poll(client, ends, left)
}

// poll reads until as many partitions as there are left have been read to their end.
func (s *source) poll(client *kgo.Client, ends kadm.ListedOffsets, left int) []golden.Record {
	var list []golden.Record
	for left > 0 && s.err == nil {
		fetches := client.PollFetches(s.ctx)
		s.fail("consume", fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			end, _ := ends.Lookup(r.Topic, r.Partition)
			if r.Offset >= end.Offset {
				return
			}
			if r.Offset == end.Offset-1 {
				left--
			}
			if !r.Attrs.IsControl() {
				list = append(list, s.line(r))
			}
		})
	}
	slices.SortFunc(list, func(a, b golden.Record) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return list
}

func (s *source) line(r *kgo.Record) golden.Record {
	i := slices.IndexFunc(s.topics, func(t golden.Topic) bool { return t.Topic == r.Topic })
	if i < 0 {
		s.fail("consume", fmt.Errorf("topic %s is not known", r.Topic))
		return golden.Record{}
	}
	l := golden.Record{
		Topic: r.Topic, ID: s.topics[i].ID, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(),
		Key: r.Key, Value: r.Value,
	}
	for _, h := range r.Headers {
		l.Headers = append(l.Headers, golden.Header{golden.Bytes(h.Key), h.Value})
	}
	return l
}
