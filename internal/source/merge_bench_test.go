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
// the daemon does, and counts the requests of a restore of one of them after each of the first hours and each day. Everything is 64 times smaller than by
// default, but for the number of partitions, and so for the footers, which would make up most of what is read: 8 MiB are
// 128 KiB here, which are 2.3 hours of a partition.
// OFFSITE_BENCH_HOURS is how long that goes on. With OFFSITE_BENCH_PARTITIONS there are fewer of them, and as many captured segments are
// sorted at once as would be of 2,000, so that a stream is moved as often: that is how a week can be had.
func BenchmarkOnePartitionOf2000(b *testing.B) {
	const scale, every = 64, 60
	hours, partitions := wanted(b, "OFFSITE_BENCH_HOURS", 3), wanted(b, "OFFSITE_BENCH_PARTITIONS", 2000)
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
		m := merger(repo, merge.Config{TargetBytes: 128 << 20 / scale, SortBytes: 68 << 20 / scale * int64(partitions) / 2000})
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
			if written += r.Bytes; n%360 > 0 || n > 3*360 && n%(24*360) > 0 && n < hours*360 {
				continue
			}
			gets, read, own := s.cost(last, partitions/2+7)
			b.Logf("after %d hours: %d requests, %d KiB for %d KiB; merges wrote %.2f times what was captured; %s",
				n/360, gets, read>>10, own>>10, float64(written)/float64(own*int64(partitions)), time.Since(began))
		}
	}
}

// wanted is the number that an environment variable says, if it is there.
func wanted(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
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
