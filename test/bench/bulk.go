package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// rounds is how often each pair is measured; the best of each is taken, since
// these machines have neighbours.
const rounds = 3

// up starts a broker with the full compiler.
func (b *bench) up(ctx context.Context, name string) (*cluster.Cluster, string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, "", err
	}
	c, err := cluster.Up(ctx, dir, cluster.Options{Benchmark: true, HeapMB: 1024, Properties: map[string]string{"broker.session.timeout.ms": "30000"}})
	if err != nil {
		return nil, "", err
	}
	return c, c.Bootstrap()[0], nil
}

// bulk measures a topic with a codec: bare fetch, backup, bare produce, restore.
func (b *bench) bulk(ctx context.Context, part string) error {
	codec := slices.Index(codecs, part)
	list, size, err := batches(batch.Codec(codec), pool, recordsPerBatch)
	if err != nil {
		return err
	}
	count := b.records / recordsPerBatch
	logical := size * int64(count) / pool
	src, addr, err := b.up(ctx, part+"-source")
	if err != nil {
		return err
	}
	defer src.Close()
	if err := fill(ctx, addr, part, list, count); err != nil {
		return err
	}
	repo := filepath.Join(b.dir, part+"-repo")
	defer os.RemoveAll(repo)
	if err := b.captures(ctx, part, addr, repo, logical); err != nil {
		return err
	}
	src.Close()
	os.RemoveAll(filepath.Join(b.dir, part+"-source"))
	return b.restores(ctx, part, repo, codec, count, recordsPerBatch, logical)
}

// fill produces the topic.
func fill(ctx context.Context, addr, topic string, list [][]byte, count int) error {
	c, err := connect(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := create(ctx, c, topic, partitions)
	if err != nil {
		return err
	}
	return produce(ctx, c, t, list, count)
}

// captures measures the bare fetch loop and backupd once in turns.
func (b *bench) captures(ctx context.Context, part, addr, repo string, logical int64) error {
	var loops, backups, sealings []usage
	sealed, identity := repo+"-sealed", filepath.Join(b.dir, part+"-identity.txt")
	defer os.RemoveAll(sealed)
	made, err := run(ctx, filepath.Join(b.bin, "backupd"), "key", "generate", "--file", identity)
	if err != nil {
		return err
	}
	recipients := "encryption.recipients=[" + strings.TrimSpace(string(made.stdout)) + "]"
	for range rounds {
		files := filepath.Join(b.dir, "files")
		if err := os.MkdirAll(files, 0o755); err != nil {
			return err
		}
		u, err := b.self(ctx, "-bootstrap-server", addr, "-topic", part, "-dir", files)
		if err != nil {
			return err
		}
		loops = append(loops, u)
		os.RemoveAll(files)
		os.RemoveAll(repo)
		if u, err = run(ctx, filepath.Join(b.bin, "backupd"), "once", "--repo", repo, "--bootstrap-server", addr); err != nil {
			return err
		}
		backups = append(backups, u)
		os.RemoveAll(sealed)
		if u, err = run(ctx, filepath.Join(b.bin, "backupd"), "once", "--repo", sealed, "--bootstrap-server", addr, "-X", recipients, "-X", "encryption.identityFile="+identity); err != nil {
			return err
		}
		sealings = append(sealings, u)
	}
	loop, backup, sealing := best(loops), best(backups), best(sealings)
	l := newRow(part, "bare fetch to files", logical, loop)
	r := newRow(part, "backupd once", logical, backup)
	r.Ratio, r.CPURatio = r.MBps/l.MBps, r.CPUPerGB/l.CPUPerGB
	r.Target = map[bool]string{true: "CPU <= 5.0, RSS <= 160", false: "ratio >= 0.6, CPU <= 1.0, RSS <= 160"}[part == "none"]
	size, objects := stored(repo)
	r.Note = fmt.Sprintf("stored/logical %.3f, %d objects", float64(size)/float64(logical), objects)
	e := newRow(part, "backupd once, encrypted", logical, sealing)
	e.Target = "CPU <= 0.6 more per stored GB"
	e.Note = fmt.Sprintf("%+.2f CPU-s per stored GB", (sealing.CPU-backup.CPU).Seconds()/(float64(size)/1e9))
	b.rows = append(b.rows, l, r, e)
	return nil
}

// self runs a bare loop; its times are what the loop itself took.
func (b *bench) self(ctx context.Context, args ...string) (usage, error) {
	exe, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	u, err := run(ctx, exe, append([]string{"bare"}, args...)...)
	if err != nil {
		return u, err
	}
	var wall, cpu float64
	if _, err := fmt.Sscan(string(u.stdout), &wall, &cpu); err != nil {
		return u, err
	}
	u.Wall, u.CPU = time.Duration(wall*float64(time.Second)), time.Duration(cpu*float64(time.Second))
	return u, nil
}

func best(list []usage) usage {
	return slices.MinFunc(list, func(a, b usage) int { return int(a.Wall - b.Wall) })
}

// restores measures the bare produce loop and restored run in turns.
func (b *bench) restores(ctx context.Context, part, repo string, codec, count, each int, logical int64) error {
	dst, addr, err := b.up(ctx, part+"-target")
	if err != nil {
		return err
	}
	defer dst.Close()
	var loops, restores []usage
	for i := range rounds {
		u, err := b.self(ctx, "-bootstrap-server", addr, "-topic", fmt.Sprintf("bare-%d", i), "-codec", fmt.Sprint(codec), "-batches", fmt.Sprint(count), "-each", fmt.Sprint(each))
		if err != nil {
			return err
		}
		loops = append(loops, u)
		u, err = run(ctx, filepath.Join(b.bin, "restored"), "run", "--yes", "--repo", repo, "--bootstrap-server", addr, "--rename", fmt.Sprintf("%s=restored-%d", part, i))
		if err != nil {
			return err
		}
		restores = append(restores, u)
	}
	loop, restore := best(loops), best(restores)
	l := newRow(part, "bare produce from memory", logical, loop)
	l.RSSMB = 0 // the batches are in there
	r := newRow(part, "restored run", logical, restore)
	r.Ratio, r.CPURatio = r.MBps/l.MBps, r.CPUPerGB/l.CPUPerGB
	r.Target = "ratio >= 0.85, CPU <= 1.6, RSS <= 256"
	if each == 1 {
		r.Target = "ratio >= 5"
	}
	b.rows = append(b.rows, l, r)
	return nil
}

// oneRecordBatches measures a topic whose batches hold one record each.
func (b *bench) oneRecordBatches(ctx context.Context) error {
	list, size, err := batches(batch.None, pool, 1)
	if err != nil {
		return err
	}
	logical := size * int64(b.small) / pool
	src, addr, err := b.up(ctx, "small-source")
	if err != nil {
		return err
	}
	defer src.Close()
	if err := fill(ctx, addr, "small", list, b.small); err != nil {
		return err
	}
	repo := filepath.Join(b.dir, "small-repo")
	defer os.RemoveAll(repo)
	if err := b.captures(ctx, "small", addr, repo, logical); err != nil {
		return err
	}
	src.Close()
	return b.restores(ctx, "small", repo, 0, b.small, 1, logical)
}
