//go:build e2e

// Package e2e_test runs the real programs against real brokers.
package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/child"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// TestMain builds the programs once and puts them first on the PATH.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "offsite-e2e-")
	if err != nil {
		log.Fatal(err)
	}
	code, err := runTests(m, dir)
	if err != nil {
		log.Print(err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func runTests(m *testing.M, dir string) (int, error) {
	out, err := exec.Command("go", "build", "-o", dir, "../../cmd/...").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return m.Run(), nil
}

// Exit codes of the programs.
const (
	exitOK          = 0
	exitIncomplete  = 3
	exitFenced      = 11
	exitRefused     = 14
	exitInterrupted = 130
	exitKilled      = -1 // by a signal
)

// patience bounds whatever a test waits for. It is no measure of speed.
const patience = 3 * time.Minute

// repository is where a test keeps its backup, and how the programs reach it.
type repository struct {
	t   testing.TB
	url string
	env []string // of the programs, beside this process's

	reader, writer *identity // of restored and of backupd, if it is encrypted
}

// newRepository returns one in a directory that goes with the test.
func newRepository(t testing.TB) *repository {
	return &repository{t: t, url: filepath.Join(t.TempDir(), "repository")}
}

// newBucket returns one on an S3 server that goes with the test.
func newBucket(t testing.TB) *repository {
	s := objectstore.Start(t)
	return &repository{t: t, url: "s3://" + objectstore.Bucket + "/backup", env: s.Env()}
}

// in returns the same repository for a subtest.
func (r *repository) in(t testing.TB) *repository {
	c := *r
	c.t = t
	return &c
}

// identified are the flags with which a program has its identity.
func (r *repository) identified(program string) []string {
	switch {
	case r.reader == nil:
		return nil
	case program == "restored":
		return r.reader.as()
	default:
		return r.writer.as("-X", "encryption.recipients=["+r.reader.recipient+"]")
	}
}

// process is a running backupd or restored. It is killed with the test.
type process struct {
	*child.Process
	name           string
	stdout, stderr bytes.Buffer // to be read when the process has ended
}

// outcome is how a process ended.
type outcome struct {
	code           int // exitKilled after a signal
	stdout, stderr string
}

// start runs a program on the repository. at may be nil for what needs no cluster.
func (r *repository) start(program string, at *cluster.Cluster, args ...string) *process {
	r.t.Helper()
	args = append(append(args, "--repo", r.url), r.identified(program)...)
	if at != nil {
		args = append(args, "--bootstrap-server", strings.Join(at.Bootstrap(), ","))
	}
	p := &process{name: program + " " + strings.Join(args, " ")}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), r.env...)
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	var err error
	if p.Process, err = child.Start(cmd); err != nil {
		r.t.Fatalf("start %s: %v", p.name, err)
	}
	r.t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			r.t.Errorf("kill %s: %v", p.name, err)
		}
		if r.t.Failed() && p.stderr.Len() > 0 {
			r.t.Logf("%s wrote:\n%s", p.name, tail(p.stderr.String()))
		}
	})
	return p
}

// tail returns the last lines of a text.
func tail(text string) string {
	const lines = 30
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// wait waits for the process to end.
func (p *process) wait(t testing.TB) outcome {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("%s has not ended after %s", p.name, patience)
	}
	return p.outcome(t)
}

// outcome says how the process ended, which it must have.
func (p *process) outcome(t testing.TB) outcome {
	t.Helper()
	o := outcome{stdout: p.stdout.String(), stderr: p.stderr.String()}
	var exit *exec.ExitError
	switch err := p.Err(); {
	case errors.As(err, &exit):
		o.code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%s: %v", p.name, err)
	}
	return o
}

// stop sends SIGTERM and waits. The process must end without an error.
func (p *process) stop(t testing.TB) outcome {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop %s: %v\n%s", p.name, err, tail(p.stderr.String()))
	}
	o := p.wait(t)
	if o.code != exitOK {
		t.Fatalf("%s ended with %d after SIGTERM:\n%s", p.name, o.code, tail(o.stderr))
	}
	return o
}

// try runs a program to its end, whatever that is.
func (r *repository) try(program string, at *cluster.Cluster, args ...string) outcome {
	r.t.Helper()
	return r.start(program, at, args...).wait(r.t)
}

// run runs a program to its end, which must be a success.
func (r *repository) run(program string, at *cluster.Cluster, args ...string) outcome {
	r.t.Helper()
	return r.expect(exitOK, program, at, args...)
}

// expect runs a program that must end with the given code.
func (r *repository) expect(code int, program string, at *cluster.Cluster, args ...string) outcome {
	r.t.Helper()
	o := r.try(program, at, args...)
	if o.code != code {
		r.t.Fatalf("%s %s ended with %d, want %d\n%s\n%s", program, strings.Join(args, " "), o.code, code, tail(o.stdout), tail(o.stderr))
	}
	return o
}

// backup captures everything that is there now.
func (r *repository) backup(source *cluster.Cluster, args ...string) outcome {
	r.t.Helper()
	return r.run("backupd", source, append([]string{"once"}, args...)...)
}

// restore restores and returns what restored says about it.
func (r *repository) restore(target *cluster.Cluster, args ...string) restoreResult {
	r.t.Helper()
	return decodeJSON[restoreResult](r.t, r.run("restored", target, append([]string{"run", "--yes", "-o", "json"}, args...)...))
}

// plan returns the plan of a restore that is not refused.
func (r *repository) plan(target *cluster.Cluster, args ...string) restorePlan {
	r.t.Helper()
	return decodeJSON[restorePlan](r.t, r.run("restored", target, append([]string{"plan", "-o", "json"}, args...)...))
}

func decodeJSON[T any](t testing.TB, o outcome) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(o.stdout), &v); err != nil {
		t.Fatalf("%v in\n%s", err, o.stdout)
	}
	return v
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, patience)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// quiet returns a logger for what the tests themselves do.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
