package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/kafka"
)

const (
	slowPartitionCount = 2000
	warmUp             = 20 * time.Second
)

// slowPartitions captures 2,000 partitions of 1 KB/s each.
func (b *bench) slowPartitions(ctx context.Context) error {
	src, addr, err := b.up(ctx, "slow-source")
	if err != nil {
		return err
	}
	defer src.Close()
	c, err := connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := create(ctx, c, "slow", slowPartitionCount)
	if err != nil {
		return err
	}
	list, size, err := batches(batch.None, 64, 2)
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- trickle(loading, c, t, list) }()

	repo := filepath.Join(b.dir, "slow-repo")
	defer os.RemoveAll(repo)
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "backupd"), "run", "--repo", repo, "--bootstrap-server", addr)
	var log strings.Builder
	cmd.Stderr = &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	peak := watchRSS(cmd.Process.Pid)
	time.Sleep(warmUp)
	_, before := stored(repo)
	time.Sleep(time.Duration(b.seconds) * time.Second)
	bytes, after := stored(repo)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("backupd: %w\n%s", err, log.String())
	}
	u := cost(cmd, time.Since(start))
	u.PeakRSS = peak()
	select {
	case err := <-done:
		return fmt.Errorf("the load ended early: %w", err)
	default:
		stop()
		<-done
	}
	records, err := captured(ctx, filepath.Join(b.bin, "backupd"), repo)
	if err != nil {
		return err
	}
	logical := size / (64 * 2) * records
	r := newRow("slow", "backupd run, 2,000 partitions of 1 KB/s", logical, u)
	r.Target = "RSS <= 256, puts per 10 s <= 3"
	r.Note = fmt.Sprintf("%.2f puts per 10 s, %.2f KB/s per partition, stored/logical %.3f", float64(after-before)/float64(b.seconds)*10,
		float64(logical)/u.Wall.Seconds()/slowPartitionCount/1e3, float64(bytes)/float64(logical))
	b.rows = append(b.rows, r)
	return nil
}

// trickle sends one batch of about 1 KB to each partition every second.
func trickle(ctx context.Context, c *kafka.Cluster, t *kafka.Topic, list [][]byte) error {
	p, err := c.NewProducer()
	if err != nil {
		return err
	}
	defer p.Close()
	for n := 0; ctx.Err() == nil; n++ {
		next := time.Now().Add(time.Second)
		for at := 0; at < len(t.Partitions); at += 200 {
			var parts []kafka.ProducePartition
			for k := at; k < min(at+200, len(t.Partitions)); k++ {
				parts = append(parts, kafka.ProducePartition{Topic: t.Name, TopicID: t.ID, Partition: int32(k), Batch: list[(k+n)%len(list)]})
			}
			if err := produceAll(ctx, p, t.Partitions[0].Leader, parts); err != nil {
				return err
			}
		}
		time.Sleep(time.Until(next))
	}
	return nil
}

// produceAll sends one request; partitions whose leader does not know it yet
// miss a beat.
func produceAll(ctx context.Context, p *kafka.Producer, leader int32, parts []kafka.ProducePartition) error {
	res, err := p.Produce(ctx, leader, parts, 30*time.Second)
	if err != nil {
		return err
	}
	for _, r := range res {
		if r.Err != nil && !errors.Is(r.Err, kafka.ErrNotLeader) && !errors.Is(r.Err, kafka.ErrUnknownTopic) {
			return fmt.Errorf("%s-%d: %w", r.Topic, r.Partition, r.Err)
		}
	}
	return nil
}

// captured returns how many records a repository holds.
func captured(ctx context.Context, backupd, repo string) (int64, error) {
	u, err := run(ctx, backupd, "status", "--repo", repo, "-o", "json")
	if err != nil {
		return 0, err
	}
	var status struct {
		Topics []struct {
			Records int64 `json:"records"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(u.stdout, &status); err != nil {
		return 0, err
	}
	return status.Topics[0].Records, nil
}
