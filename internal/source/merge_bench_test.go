package source

import (
	"encoding/binary"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/merge"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// BenchmarkOnePartitionOf2000 captures 2,000 partitions of 1 KB/s in segments of 10 s, merges them every 10 minutes as
// the daemon does, and counts the requests of a restore of one of them after each hour. Everything is 64 times smaller than by
// default, but for the number of partitions, and so for the footers, which would make up most of what is read: 8 MiB are
// 128 KiB here, which are 2.3 hours of a partition.
// OFFSITE_BENCH_HOURS is how long that goes on.
func BenchmarkOnePartitionOf2000(b *testing.B) {
	const scale, partitions, every = 64, 2000, 60
	hours := 3
	if text := os.Getenv("OFFSITE_BENCH_HOURS"); text != "" {
		var err error
		if hours, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	defer func(normally int64) { skipBytes = normally }(skipBytes)
	skipBytes /= scale
	for b.Loop() {
		st, err := dir.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		repo, err := manifest.OpenOrCreate(b.Context(), st, "cluster", firstTime)
		if err != nil {
			b.Fatal(err)
		}
		s := newScribeOf(b, repo, partitions)
		s.asIs = true
		m := merger(repo, merge.Config{TargetBytes: 128 << 20 / scale, SortBytes: 68 << 20 / scale})
		raw, k := block(0, spec{size: 70})
		began, written := time.Now(), int64(0)
		for n := 1; n <= hours*360; n++ {
			last := s.captureSame(raw, *k)
			if n%every > 0 {
				continue
			}
			r, err := m.Run(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if written += r.Bytes; n%360 > 0 {
				continue
			}
			gets, _, own := s.cost(last, 1007)
			b.Logf("after %d hours: %d requests for %d KiB; merges wrote %.2f times what was captured; %s",
				n/360, gets, own>>10, float64(written)/float64(own*partitions), time.Since(began))
		}
	}
}

// captureSame captures one block of each stream, of which only the offset differs.
func (s *scribe) captureSame(raw []byte, k segment.Block) (point uint64) {
	e := &manifest.Entry{Time: firstTime.UnixMilli(), Point: &manifest.Point{Time: firstTime.UnixMilli()}}
	var (
		blocks  []blockOf
		streams []int
	)
	for n := range s.at {
		k.Start, k.Next = s.at[n], s.at[n]+1
		one := binary.BigEndian.AppendUint64(make([]byte, 0, len(raw)), uint64(s.at[n]))
		one = append(one, raw[8:]...)
		blocks, streams = append(blocks, blockOf{k, one}), append(streams, n)
		span := manifest.Span{}
		span.Join(k.Summary)
		e.Ranges = append(e.Ranges, manifest.Range{Stream: n, LeaderEpoch: 7, EpochGiven: true, Spans: []manifest.Span{span}})
		s.at[n]++
	}
	e.Segments = []manifest.Segment{s.segment(streams, blocks)}
	if err := s.append(e); err != nil {
		s.t.Fatal(err)
	}
	return e.Sequence
}
