package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// branches has offsets that the source wrote twice, as after an unclean leader election: the broker loses the end of two logs that
// had been captured, and writes as many or fewer records there.
func branches(s *source) {
	const topic = "rewritten"
	s.create(topic, 3, map[string]string{"segment.ms": "1000"})
	for p := range int32(3) {
		s.produce(s.client, topic, p, textRecords("kept by some", 6)...)
	}
	for p := range int32(3) {
		lost := textRecords("lost", 5)
		for _, r := range lost {
			r.Timestamp = r.Timestamp.Add(time.Minute) // more than segment.ms: a new segment begins
		}
		s.produce(s.client, topic, p, lost...)
	}
	s.quietPoint()

	s.lose(func() error {
		return errors.Join(s.removeFiles(topic, 0, 6), s.removeFiles(topic, 1, 6))
	})
	s.produce(s.client, topic, 0, textRecords("written anew", 5)...)
	s.produce(s.client, topic, 1, textRecords("written anew", 2)...)
	s.produce(s.client, topic, 2, textRecords("goes on", 2)...)
	s.quietPoint()
}

// lose stops the broker, does something to its files, and starts it again.
func (s *source) lose(fn func() error) {
	if s.err != nil {
		return
	}
	s.fail("stop the broker", s.bed.Stop(s.ctx, 0))
	s.fail("lose files", fn())
	s.fail("start the broker", s.bed.Start(0))
	s.fail("start the broker", s.bed.WaitReady(s.ctx))
	s.reconnect()
}

// removeFiles removes what a partition's log has from an offset on, at which a segment must begin.
func (s *source) removeFiles(topic string, partition int32, from int64) error {
	dir := s.bed.PartitionDir(0, topic, partition)
	files, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%020d.*", from)))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no segment begins at %d: %v", from, err)
	}
	snapshots, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
	for _, f := range append(files, snapshots...) {
		if err := os.RemoveAll(f); err != nil {
			return err
		}
	}
	return err
}
