package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

// bare runs a bare loop as a process of its own, so that its cost can be told
// from the bench's. It prints the seconds that the loop itself took.
func bare(args []string) error {
	f := flag.NewFlagSet("bare", flag.ExitOnError)
	bootstrap := f.String("bootstrap-server", "", "")
	topic := f.String("topic", "", "")
	dir := f.String("dir", "", "fetch into files here; without: produce")
	codec := f.Int("codec", 0, "")
	count := f.Int("batches", 0, "to produce")
	each := f.Int("each", recordsPerBatch, "records per batch")
	_ = f.Parse(args) // or exit
	ctx := context.Background()
	c, err := connect(ctx, *bootstrap)
	if err != nil {
		return err
	}
	defer c.Close()
	if *dir != "" {
		start := time.Now()
		if err := fetchToFiles(ctx, c, *topic, *dir); err != nil {
			return err
		}
		fmt.Println(time.Since(start).Seconds(), processCPU().Seconds())
		return nil
	}
	list, _, err := batches(batch.Codec(*codec), min(*count, pool), *each)
	if err != nil {
		return err
	}
	t, err := create(ctx, c, *topic, partitions)
	if err != nil {
		return err
	}
	start, before := time.Now(), processCPU() // building the batches does not count
	if err := produce(ctx, c, t, list, *count); err != nil {
		return err
	}
	fmt.Println(time.Since(start).Seconds(), (processCPU() - before).Seconds())
	return nil
}

// processCPU is what this process has used so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fetchToFiles fetches a topic to its end and writes what comes, unchecked, to
// one file per partition; the files are synced at the end, as a backup has to.
func fetchToFiles(ctx context.Context, c *kafka.Cluster, name, dir string) error {
	t, err := find(ctx, c, name)
	if err != nil {
		return err
	}
	f, err := c.NewFetcher()
	if err != nil {
		return err
	}
	defer f.Close()
	parts := make([]kafka.TopicPartition, len(t.Partitions))
	files := make([]*os.File, len(parts))
	next := make([]int64, len(parts))
	for i := range parts {
		parts[i] = kafka.TopicPartition{Topic: name, Partition: int32(i)}
		if files[i], err = os.Create(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return err
		}
		defer files[i].Close()
	}
	ends, err := c.ListHighWatermarks(ctx, parts)
	if err != nil {
		return err
	}
	for turn := 0; ; turn++ {
		req := kafka.FetchRequest{MaxWait: 100 * time.Millisecond, MinBytes: 1, MaxBytes: 32 << 20}
		for i := range parts {
			k := (turn + i) % len(parts)
			if next[k] < ends[k].Offset {
				req.Partitions = append(req.Partitions, kafka.FetchPartition{Topic: name, TopicID: t.ID, Partition: int32(k), Offset: next[k],
					LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 8 << 20})
			}
		}
		if len(req.Partitions) == 0 {
			break
		}
		resp, err := f.Fetch(ctx, t.Partitions[0].Leader, req)
		if err != nil {
			return err
		}
		for _, p := range resp.Partitions {
			if p.Err != nil {
				return p.Err
			}
			n := int64(0)
			for rest := p.Records; ; {
				h, err := batch.ParseHeader(rest)
				if err != nil || len(rest) < h.Size() {
					break
				}
				next[p.Partition] = h.NextOffset()
				n += int64(h.Size())
				rest = rest[h.Size():]
			}
			if _, err := files[p.Partition].Write(p.Records[:n]); err != nil {
				return err
			}
		}
	}
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}
