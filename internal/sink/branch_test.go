package sink

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// An unclean election rewrites many partitions at once. The log says that all of them had records which the leaders do not have.
func TestOnceBranchesEveryRewrittenPartition(t *testing.T) {
	s, _ := newSink(t)
	topics, err := s.Cluster.Topics(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.Repository.OpenLog(t.Context(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	count := len(topics[0].Partitions)
	_, err = log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
		e := &manifest.Entry{
			Topics:   []manifest.TopicChange{{Topic: manifest.Topic{ID: topics[0].ID, Name: topics[0].Name, Partitions: int32(count), ReplicationFactor: 1}}},
			Segments: []manifest.Segment{{Counter: 1, Ref: segment.Ref{Size: 1000, FooterLength: 100}}},
		}
		for p := range count {
			e.Streams = append(e.Streams, manifest.NewStream{Partition: int32(p), Parent: -1})
			e.Ranges = append(e.Ranges, manifest.Range{Stream: p, LeaderEpoch: 9, EpochGiven: true, Spans: []manifest.Span{{Offsets: 1000, Records: 1000}}})
		}
		return e, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&said, nil))
	point, err := s.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said.String()) {
		if strings.Count(line, "rewritten offsets from") > 1 {
			t.Errorf("said more than once: %s", line)
		}
	}
	state, err := s.Repository.Read(t.Context(), point, nil)
	if err != nil {
		t.Fatal(err)
	}
	for p := range count {
		if state.Streams[p].Child < 0 {
			t.Errorf("partition %d has no branch: %+v", p, state.Streams)
		}
	}
}
