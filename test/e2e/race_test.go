//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// race is a repository that several backupd work on while producers write.
type race struct {
	t      *testing.T
	r      *repository
	source *cluster.Cluster
	rng    *rand.Rand
	fenced int
}

// Two and three daemons on one repository, started together, on an empty place and on a log, and one that was stopped
// for seconds and goes on: at most one of them stays, the others leave with the exit code for it, and the log has each
// record once.
func TestRace(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	c := &race{t: t, r: newRepository(t), source: source, rng: rng}
	for round := range count(t, "OFFSITE_TEST_RACES", 6) {
		c.together(2 + round%2)
		c.wakeUp()
		c.onceBeside()
	}
	load.stop()
	t.Logf("%d daemons were fenced", c.fenced)

	c.r.backup(source)
	c.r.run("restored", nil, "verify")
	target := cluster.Start(t, cluster.Options{})
	c.r.restore(target)
	requireTraffic(t, source, target)
}

func (c *race) start() *process {
	c.t.Helper()
	return c.r.start("backupd", c.source, append([]string{"run"}, smallSeals...)...)
}

// together starts daemons at once. All but one are fenced, or all: two can have committed ranges that the other needs.
func (c *race) together(n int) {
	c.t.Helper()
	running := make(map[*process]bool)
	for range n {
		running[c.start()] = true
	}
	eventually(c.t, fmt.Sprintf("one of %d daemons is left", n), func() bool {
		for p := range running {
			if c.ended(p) {
				delete(running, p)
			}
		}
		return len(running) <= 1
	})
	time.Sleep(upTo(c.rng, 1500*time.Millisecond))
	for p := range running {
		c.stop(p)
	}
}

// ended says whether a daemon has left, which only a fenced one may.
func (c *race) ended(p *process) bool {
	c.t.Helper()
	if !p.ended() {
		return false
	}
	if o := p.outcome(c.t); o.code != exitFenced {
		c.t.Fatalf("backupd ended with %d beside another, want %d:\n%s", o.code, exitFenced, tail(o.stderr))
	}
	c.fenced++
	return true
}

// stop ends a daemon. What another committed before it left may fence it even now.
func (c *race) stop(p *process) {
	c.t.Helper()
	if c.ended(p) {
		return
	}
	must(c.t, p.Signal(syscall.SIGTERM))
	switch o := p.wait(c.t); o.code {
	case exitOK:
	case exitFenced:
		c.fenced++
	default:
		c.t.Fatalf("backupd ended with %d after SIGTERM:\n%s", o.code, tail(o.stderr))
	}
}

// wakeUp stops a daemon in its tracks, lets another take over, and wakes the first up again: it is the one to leave.
func (c *race) wakeUp() {
	c.t.Helper()
	sleeper := c.start()
	c.commits(1)
	time.Sleep(upTo(c.rng, 1500*time.Millisecond))
	must(c.t, sleeper.Signal(syscall.SIGSTOP))
	heir := c.start()
	c.commits(2)
	must(c.t, sleeper.Signal(syscall.SIGCONT))
	if o := sleeper.wait(c.t); o.code != exitFenced {
		c.t.Fatalf("the daemon that woke up ended with %d, want %d:\n%s", o.code, exitFenced, tail(o.stderr))
	}
	c.fenced++
	c.stop(heir)
}

// commits waits until the log is longer by some entries.
func (c *race) commits(n int) {
	c.t.Helper()
	before := c.r.objects("log")
	eventually(c.t, "commits", func() bool { return c.r.objects("log") >= before+n })
}

// onceBeside makes a point beside a daemon: one of the two is fenced, unless their ranges do not touch.
func (c *race) onceBeside() {
	c.t.Helper()
	daemon := c.start()
	c.commits(1)
	time.Sleep(upTo(c.rng, time.Second))
	o := c.r.try("backupd", c.source, "once")
	if o.code != exitOK && o.code != exitFenced {
		c.t.Fatalf("backupd once ended with %d beside a daemon:\n%s", o.code, tail(o.stderr))
	}
	c.stop(daemon)
}
