// Command bench measures backupd and restored against bare loops that do
// nothing but move the bytes, on a real broker of the same machine. All figures
// of a table come from one run; only their ratios mean something elsewhere.
//
//	go run ./test/bench [-records N] [-seconds N] [-rate N] [-only PART,...] [-json FILE]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "bare" {
		exit(bare(os.Args[2:]))
	}
	b := &bench{}
	flag.IntVar(&b.records, "records", 3_000_000, "records of each topic")
	flag.IntVar(&b.small, "small", 100_000, "one-record batches")
	flag.IntVar(&b.seconds, "seconds", 60, "how long the slow partitions, and those of each run of cut and requests, are captured")
	flag.IntVar(&b.rate, "rate", 40_000, "records per second of the load of cut")
	flag.StringVar(&b.json, "json", "", "keep the table in this file, too")
	flag.StringVar(&b.dir, "dir", "", "where repositories and broker data go (default: a temporary directory)")
	only := flag.String("only", "none,lz4,zstd,small,slow,cut,requests,recompress", "parts to run")
	flag.Parse()
	b.only = strings.Split(*only, ",")
	exit(b.main())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// bench is one run.
type bench struct {
	records, small, seconds, rate int
	json, dir                     string
	only                          []string
	bin                           string
	rows                          []row
	cuts                          []cutTable
	asked                         []requestsOf
}

func (b *bench) main() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "offsite-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	b.bin = filepath.Join(b.dir, "bin")
	if err := build(ctx, b.bin); err != nil {
		return err
	}
	for _, part := range b.only {
		var err error
		switch part {
		case "none", "lz4", "zstd":
			err = b.bulk(ctx, part)
		case "small":
			err = b.oneRecordBatches(ctx)
		case "slow":
			err = b.slowPartitions(ctx)
		case "cut":
			err = b.costOfCuts(ctx)
		case "requests":
			err = b.requests(ctx)
		case "recompress":
			err = b.recompression(ctx)
		default:
			err = fmt.Errorf("unknown part %q", part)
		}
		print(os.Stdout, b.rows)
		printCuts(os.Stdout, b.cuts)
		printRequests(os.Stdout, b.asked)
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	if b.json != "" {
		return keep(b.json, b)
	}
	return nil
}
