package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// cutPairs is how often points every second are compared with none.
const cutPairs = 5

// cutTable says what recovery points cost with one way to know group offsets.
type cutTable struct {
	Groups string    `json:"groups"` // groups.capture
	Pairs  []cutPair `json:"pairs"`
	// Ratio is the median of the pairs: CPU per record with points every second
	// by CPU per record without.
	Ratio       float64 `json:"medianRatio"`
	PerPointMS  float64 `json:"medianCPUMillisecondsPerPoint"`
	LoadAverage string  `json:"loadAverage"` // of the machine, before and after
}

// cutPair are two runs at the same time.
type cutPair struct {
	Every cutRun  `json:"everySecond"`
	Off   cutRun  `json:"off"`
	Ratio float64 `json:"cpuRelativeToOff"`
}

// cutRun is what one run cost from its first recovery point, before which it
// reads the cluster and what came while nobody captured, to its end.
type cutRun struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpuSeconds"`
	Points  int     `json:"points"`
	Records int64   `json:"records"`
}

func (r cutRun) perRecord() float64 { return r.CPU / float64(r.Records) }

// costOfCuts runs daemons beside each other, one with a point every second and
// one with none, under one load that goes on.
func (b *bench) costOfCuts(ctx context.Context) error {
	for _, groups := range []string{"log", "poll"} {
		if err := b.costOfCutsWith(ctx, groups); err != nil {
			return fmt.Errorf("groups.capture=%s: %w", groups, err)
		}
	}
	return nil
}

func (b *bench) costOfCutsWith(ctx context.Context, groups string) error {
	src, addr, err := b.up(ctx, "cut-source")
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Join(b.dir, "cut-source"))
	defer src.Close()
	repos := filepath.Join(b.dir, "cut-repos")
	defer os.RemoveAll(repos)
	load, err := b.startLoad(ctx, addr)
	if err != nil {
		return err
	}
	t, err := b.cutsUnder(load, addr, groups, repos)
	if err := errors.Join(load.stop(), err); err != nil {
		return err
	}
	b.cuts = append(b.cuts, t)
	return nil
}

// cutsUnder measures the pairs. They end early if the load does.
func (b *bench) cutsUnder(load *steady, addr, groups, repos string) (cutTable, error) {
	t := cutTable{Groups: groups, LoadAverage: loadAverage()}
	run := func(every string) *daemon {
		repo := filepath.Join(repos, every)
		return &daemon{bin: filepath.Join(b.bin, "backupd"), repo: repo, args: []string{"run", "--repo", repo, "--bootstrap-server", addr,
			"-X", "segment.maxAge=10s", "-X", "groups.capture=" + groups, "-X", "points.every=" + every}}
	}
	every, off := run("1s"), run("24h")
	if _, err := pair(load.ctx, every, off, warmUp); err != nil { // the broker gets warm
		return t, err
	}
	for range cutPairs {
		p, err := pair(load.ctx, every, off, time.Duration(b.seconds)*time.Second)
		if err != nil {
			return t, err
		}
		t.Pairs = append(t.Pairs, p)
	}
	t.LoadAverage += ", " + loadAverage()
	t.Ratio = median(t.Pairs, func(p cutPair) float64 { return p.Ratio })
	t.PerPointMS = median(t.Pairs, func(p cutPair) float64 {
		extra := p.Every.CPU - p.Off.perRecord()*float64(p.Every.Records)
		return extra / float64(p.Every.Points) * 1e3
	})
	return t, nil
}

func median(pairs []cutPair, of func(cutPair) float64) float64 {
	var list []float64
	for _, p := range pairs {
		list = append(list, of(p))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// daemon is backupd run, again and again into the same repository.
type daemon struct {
	bin, repo string
	args      []string
}

// pair measures both beside each other, so that they see the same load and the
// same neighbours.
func pair(ctx context.Context, every, off *daemon, seconds time.Duration) (p cutPair, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		p.Every, err = every.measure(ctx, seconds)
		return err
	})
	g.Go(func() (err error) {
		p.Off, err = off.measure(ctx, seconds)
		return err
	})
	err = g.Wait()
	p.Ratio = p.Every.perRecord() / p.Off.perRecord()
	return p, err
}

// measure runs the daemon until it has made a point, for a time, and to its end.
func (d *daemon) measure(ctx context.Context, seconds time.Duration) (r cutRun, err error) {
	before, err := d.held(ctx)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.bin, d.args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return r, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		cancel()
	}()
	first, err := d.awaitPoint(ctx, before.Points)
	start, cpu := time.Now(), cpuSoFar(cmd.Process.Pid)
	if err == nil {
		pause(ctx, seconds)
		err = cmd.Process.Signal(syscall.SIGTERM)
	} else {
		cancel()
	}
	if err = errors.Join(err, <-ended); err != nil {
		return r, fmt.Errorf("backupd: %w\n%s", err, log.String())
	}
	last, err := d.held(context.WithoutCancel(ctx))
	if err != nil {
		return r, err
	}
	u := cost(cmd, time.Since(start))
	return cutRun{Seconds: u.Wall.Seconds(), CPU: (u.CPU - cpu).Seconds(), Points: last.Points - first.Points, Records: last.records() - first.records()}, nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// awaitPoint waits for a point beyond the first n.
func (d *daemon) awaitPoint(ctx context.Context, n int) (*holding, error) {
	for ctx.Err() == nil {
		h, err := d.held(ctx)
		if err != nil || h.Points > n {
			return h, err
		}
		pause(ctx, 200*time.Millisecond)
	}
	return nil, errors.New("it made no recovery point")
}

// holding is what a repository holds.
type holding struct {
	Points int `json:"points"`
	Topics []struct {
		Topic   string `json:"topic"`
		Records int64  `json:"records"`
	} `json:"topics"`
}

func (h *holding) records() (n int64) {
	for _, t := range h.Topics {
		n += t.Records
	}
	return n
}

// held asks what the repository holds; before the first run there is none.
func (d *daemon) held(ctx context.Context) (*holding, error) {
	h := &holding{}
	if _, err := os.Stat(filepath.Join(d.repo, "log")); os.IsNotExist(err) {
		return h, nil
	}
	u, err := run(ctx, d.bin, "status", "--repo", d.repo, "-o", "json")
	if err != nil {
		return nil, err
	}
	return h, json.Unmarshal(u.stdout, h)
}

// cpuSoFar is what a running process has used, from Linux' /proc: to 10 ms.
func cpuSoFar(pid int) time.Duration {
	const userTime, tick = 11, 10 * time.Millisecond // the field behind the name, and what it counts
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[userTime])
	system, _ := strconv.Atoi(fields[userTime+1])
	return time.Duration(user+system) * tick
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg") // "" elsewhere
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func printCuts(w io.Writer, tables []cutTable) {
	if len(tables) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "\nCOST OF THE CUT\tSECONDS\tCPU-S, POINTS EVERY SECOND\tCPU-S, OFF\tPOINTS\tRECORDS\tRECORDS, OFF\tRATIO\tTARGET")
	for _, c := range tables {
		for _, p := range c.Pairs {
			fmt.Fprintf(t, "groups: %s\t%.1f\t%.2f\t%.2f\t%d\t%d\t%d\t%.3f\t\n", c.Groups, p.Every.Seconds, p.Every.CPU, p.Off.CPU, p.Every.Points, p.Every.Records, p.Off.Records, p.Ratio)
		}
		fmt.Fprintf(t, "median: %.1f ms per point; load average %s\t\t\t\t\t\t\t%.3f\tratio <= 1.10\n", c.PerPointMS, c.LoadAverage, c.Ratio)
	}
	t.Flush()
}
