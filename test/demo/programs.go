package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/child"
)

// programs runs backupd and restored and shows what one would type.
type programs struct {
	bin  string
	repo string
	out  io.Writer
}

func (p *programs) say(format string, args ...any) {
	fmt.Fprintf(p.out, "\n# "+format+"\n", args...)
}

func (p *programs) typed(name string, args ...string) {
	fmt.Fprintf(p.out, "$ %s %s\n", name, strings.Join(args, " "))
}

func (p *programs) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
}

// show runs a program that writes to the demo's own output.
func (p *programs) show(ctx context.Context, name string, args ...string) error {
	p.typed(name, args...)
	var stderr bytes.Buffer
	cmd := p.command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = p.out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, &stderr)
	}
	return nil
}

// lastPoint asks backupd for the time of the newest recovery point; zero if there is none yet.
func (p *programs) lastPoint(ctx context.Context) (time.Time, error) {
	const noRepository = 10 // yet
	cmd := p.command(ctx, "backupd", "status", "--repo", p.repo, "-o", "json")
	text, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == noRepository {
		return time.Time{}, nil
	}
	if errors.As(err, &exit) {
		return time.Time{}, fmt.Errorf("backupd status: %w\n%s", err, exit.Stderr)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("backupd status: %w", err)
	}
	var status struct {
		LastPoint struct {
			Time time.Time `json:"time"`
		} `json:"lastPoint"`
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return time.Time{}, fmt.Errorf("backupd status: %w", err)
	}
	return status.LastPoint.Time, nil
}

// daemon is a program that runs until it is told to stop.
type daemon struct {
	*child.Process
	programs *programs
	name     string
	log      *bytes.Buffer // to be read once the process has ended
}

func (p *programs) start(name string, args ...string) (*daemon, error) {
	p.typed(name, append(args, "&")...)
	d := &daemon{programs: p, name: name, log: new(bytes.Buffer)}
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	var err error
	if d.Process, err = child.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return d, nil
}

// terminate sends SIGTERM and wants the daemon to end well.
func (d *daemon) terminate(ctx context.Context) error {
	d.programs.typed("kill", "-TERM", "$!")
	if err := d.Signal(syscall.SIGTERM); err != nil {
		return d.failure()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.Done():
	}
	if d.Err() != nil {
		return d.failure()
	}
	return nil
}

// failure explains a daemon that has ended by itself.
func (d *daemon) failure() error {
	<-d.Done()
	return fmt.Errorf("%s has ended: %w\n%s", d.name, errors.Join(d.Err(), errEnded), d.log)
}

var errEnded = errors.New("it was expected to run")

func (d *daemon) kill() { _ = d.Kill() }
