package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// recompression measures what it costs to re-encode a topic of each codec while merging, what that saves, and what it
// costs a restore.
func (b *bench) recompression(ctx context.Context) error {
	for _, codec := range codecs {
		if err := b.recompress(ctx, codec); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return nil
}

func (b *bench) recompress(ctx context.Context, codec string) error {
	list, size, err := batches(batch.Codec(slices.Index(codecs, codec)), pool, recordsPerBatch)
	if err != nil {
		return err
	}
	count := b.records / recordsPerBatch
	logical := size * int64(count) / pool
	kafka, addr, err := b.up(ctx, "recompress-"+codec)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Join(b.dir, "recompress-"+codec))
	defer kafka.Close()
	if err := fill(ctx, addr, "topic", list, count); err != nil {
		return err
	}
	repo := filepath.Join(b.dir, "recompress-repo")
	defer os.RemoveAll(repo)
	if _, err := run(ctx, filepath.Join(b.bin, "backupd"), "once", "--repo", repo, "--bootstrap-server", addr); err != nil {
		return err
	}
	captured, err := readable(ctx, repo)
	if err != nil {
		return err
	}
	restore := func(target string) (usage, error) {
		return run(ctx, filepath.Join(b.bin, "restored"), "run", "--yes", "--repo", repo, "--bootstrap-server", addr, "--rename", "topic="+target)
	}
	before, err := restore("before")
	if err != nil {
		return err
	}
	merge, err := run(ctx, filepath.Join(b.bin, "backupd"), "merge", "--recompress", "--repo", repo, "-X", "merge.minAge=0s")
	if err != nil {
		return err
	}
	left, err := readable(ctx, repo)
	if err != nil {
		return err
	}
	after, err := restore("after")
	if err != nil {
		return err
	}
	part := "recompress " + codec
	m := newRow(part, "backupd merge --recompress", logical, merge)
	m.Target = "stored/logical <= 0.40"
	m.Note = fmt.Sprintf("stored/logical %.3f, before %.3f", float64(left)/float64(logical), float64(captured)/float64(logical))
	b.rows = append(b.rows, m, newRow(part, "restored run, as captured", logical, before), newRow(part, "restored run, re-encoded", logical, after))
	return nil
}

// readable returns the bytes of the segments that are read now.
func readable(ctx context.Context, path string) (int64, error) {
	st, err := dir.Open(path)
	if err != nil {
		return 0, err
	}
	repo, err := manifest.Open(ctx, st)
	if err != nil {
		return 0, err
	}
	state, err := repo.State(ctx, 0)
	if err != nil {
		return 0, err
	}
	return state.SegmentBytes, nil
}
