package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// usage is what a process cost.
type usage struct {
	Wall    time.Duration
	CPU     time.Duration
	PeakRSS int64 // bytes
	stdout  []byte
}

// run runs a program to its end and returns its cost.
func run(ctx context.Context, name string, args ...string) (usage, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	peak := watchRSS(cmd.Process.Pid)
	err := cmd.Wait()
	u := cost(cmd, time.Since(start))
	u.PeakRSS = peak()
	u.stdout = out.Bytes()
	if err != nil {
		return u, fmt.Errorf("%s %v: %w\n%s", name, args, err, errs.Bytes())
	}
	return u, nil
}

func cost(cmd *exec.Cmd, wall time.Duration) usage {
	u := usage{Wall: wall}
	if s := cmd.ProcessState; s != nil {
		u.CPU = s.UserTime() + s.SystemTime()
	}
	return u
}

// watchRSS reads a process's peak resident memory until it has gone. The
// ru_maxrss of wait4 will not do: it begins with the size of the parent.
func watchRSS(pid int) (peak func() int64) {
	var high atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, found := strings.Cut(string(b), "VmHWM:")
			var kb int64
			if _, serr := fmt.Sscan(rest, &kb); err != nil || !found || serr != nil {
				return
			}
			high.Store(kb << 10)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() int64 {
		<-done
		return high.Load()
	}
}

// build makes the programs.
func build(ctx context.Context, bin string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "./cmd/...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// row is one line of the table.
type row struct {
	Part     string  `json:"part"`
	What     string  `json:"what"`
	Seconds  float64 `json:"seconds"`
	MBps     float64 `json:"logicalMBPerSecond"`
	CPUPerGB float64 `json:"cpuSecondsPerLogicalGB"`
	RSSMB    float64 `json:"peakRSSMB"`
	Ratio    float64 `json:"rateRelativeToBareLoop,omitempty"`
	// CPURatio is what the program costs relative to the bare loop: what moving
	// the bytes costs differs between machines by more than anything that we do.
	CPURatio float64 `json:"cpuRelativeToBareLoop,omitempty"`
	Target   string  `json:"target,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// newRow computes rates for a number of logical bytes.
func newRow(part, what string, logical int64, u usage) row {
	return row{
		Part: part, What: what, Seconds: u.Wall.Seconds(), MBps: float64(logical) / 1e6 / u.Wall.Seconds(),
		CPUPerGB: u.CPU.Seconds() / (float64(logical) / 1e9), RSSMB: float64(u.PeakRSS) / 1e6,
	}
}

func print(w io.Writer, rows []row) {
	if len(rows) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nPART\tWHAT\tSECONDS\tLOGICAL MB/S\tCPU-S/GB\tPEAK RSS MB\tRATE OF BARE LOOP\tCPU OF BARE LOOP\tTARGET\tNOTE")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.0f\t%.2f\t%.0f\t%s\t%s\t%s\t%s\n",
			r.Part, r.What, r.Seconds, r.MBps, r.CPUPerGB, r.RSSMB, ratio(r.Ratio), ratio(r.CPURatio), r.Target, r.Note)
	}
	t.Flush()
}

func ratio(r float64) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r)
}

func keep(path string, b *bench) error {
	text, err := json.MarshalIndent(map[string]any{"schemaVersion": 1, "rows": b.rows, "cuts": b.cuts, "requests": b.asked}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// stored returns bytes and objects under a directory.
func stored(dir string) (size int64, objects int) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
				objects++
			}
		}
		return nil
	})
	return size, objects
}
