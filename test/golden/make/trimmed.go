package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/golden"
)

// cleanOften makes the cleaner look for work all the time.
var cleanOften = map[string]string{"log.cleaner.backoff.ms": "100"}

// trimmed has what the source deletes from a log: below its start, inside it, and between two backups.
func trimmed(s *source) {
	s.create("compacted", 1, map[string]string{"cleanup.policy": "compact", "segment.ms": "300", "min.cleanable.dirty.ratio": "0.001"})
	s.create("cut", 2, nil)
	s.create("gap", 2, nil)
	s.create("emptied", 1, nil)
	packed, err := s.newClient(kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		s.fail("connect", err)
		return
	}
	defer packed.Close()

	s.compact(packed)
	s.produce(packed, "cut", 0, textRecords("cut", 10)...)
	s.produce(s.client, "cut", 0, textRecords("whole", 5)...)
	s.produce(s.client, "cut", 1, textRecords("first", 4)...)
	s.produce(s.client, "cut", 1, textRecords("second", 4)...)
	s.trim("cut", 0, 4) // inside the first batch
	s.produce(s.client, "emptied", 0, textRecords("emptied", 6)...)
	s.trim("emptied", 0, 6)
	for p := range int32(2) {
		s.produce(s.client, "gap", p, textRecords("before", 5)...)
	}
	s.quietPoint()

	s.trim("cut", 1, 6) // inside a batch that has been captured
	for p := range int32(2) {
		s.produce(s.client, "gap", p, textRecords("never captured", 5)...)
		s.produce(packed, "gap", p, textRecords("after", 8)...)
	}
	s.trim("gap", 0, 10) // the gap is [5,10)
	s.trim("gap", 1, 13) // the gap is [5,13) and ends inside a batch
	s.quietPoint()
}

// compact fills the compacted topic and waits until the cleaner has made holes in and between its batches.
func (s *source) compact(packed *kgo.Client) {
	keys := func(label string, from, step int) []*kgo.Record {
		list := textRecords(label, 12)
		var chosen []*kgo.Record
		for i := from; i < len(list); i += step {
			list[i].Key = fmt.Append(nil, "key ", i)
			chosen = append(chosen, list[i])
		}
		return chosen
	}
	s.produce(s.client, "compacted", 0, keys("old", 0, 1)...)
	s.produce(packed, "compacted", 0, keys("nothing is left of it", 0, 2)...)
	s.produce(packed, "compacted", 0, keys("newer", 0, 2)...)
	s.produce(packed, "compacted", 0, keys("newest", 0, 4)...)
	deleted := keys("deleted", 1, 6)
	for _, r := range deleted {
		r.Value = nil
	}
	s.produce(s.client, "compacted", 0, deleted...)
	time.Sleep(400 * time.Millisecond) // segment.ms
	s.produce(s.client, "compacted", 0, &kgo.Record{Key: []byte("the active segment"), Value: []byte("is not cleaned")})
	for deadline := time.Now().Add(time.Minute); s.err == nil; time.Sleep(200 * time.Millisecond) {
		if distinct(slices.DeleteFunc(s.consume(s.ends()), func(r golden.Record) bool { return r.Topic != "compacted" })) {
			return
		}
		if time.Now().After(deadline) {
			s.fail("compact", errors.New("the cleaner does nothing"))
		}
	}
}

// distinct says whether all keys differ.
func distinct(list []golden.Record) bool {
	seen := make(map[string]bool)
	for _, r := range list {
		if seen[string(r.Key)] {
			return false
		}
		seen[string(r.Key)] = true
	}
	return true
}
