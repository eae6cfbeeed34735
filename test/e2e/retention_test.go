//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/port"
	"github.com/offsite-kafka/offsite/test/oracle"
)

// pruned is what backupd prune says.
type pruned struct {
	Entry  uint64
	Points []struct {
		ID      uint64
		Name    string
		Keep    bool
		Reasons []string
	}
	Stored, Removed, Deleted, Waiting struct{ Segments, Bytes int64 }
}

func (p *pruned) of(name string) (keep bool, reasons string) {
	for _, point := range p.Points {
		if point.Name == name {
			return point.Keep, strings.Join(point.Reasons, "; ")
		}
	}
	return false, "not there"
}

// prune prunes to the given rules, which must be allowed.
func (r *repository) prune(args ...string) pruned {
	r.t.Helper()
	return decodeJSON[pruned](r.t, r.run("backupd", nil, append([]string{"prune", "-o", "json"}, args...)...))
}

// A daemon makes points while others are pruned: those that are kept come back as they were, those that are not
// are refused, data that nobody needs goes away after the grace, and the daemon takes no notice.
func TestRetention(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	held, err := port.Hold()
	must(t, err)
	t.Cleanup(held.Release)
	r := newRepository(t)
	fill(t, source, 3, "orders")
	daemon := r.start("backupd", source, "run", "--admin-listen", held.Addr(), "-X", "points.every=1s", "-X", "segment.maxAge=1s")
	eventually(t, "the daemon listens", func() bool {
		return r.try("backupd", nil, "point", "create", "first", "--admin", held.Addr()).code == exitOK
	})
	want := make(map[string]oracle.History)
	for i := range 5 {
		more(t, source, 4)
		name := fmt.Sprintf("step-%d", i)
		r.run("backupd", nil, "point", "create", name, "--admin", held.Addr())
		want[name] = readTopic(t, source, "orders")
		deleteRecords(t, source, "orders", 0, int64(3+4*(i+1)-1)) // so that later points need nothing of it
	}
	r.point(nil, "pin", "step-1")
	r.point(nil, "hold", "step-2")
	wantError(t, r.try("backupd", nil, "point", "delete", "step-2"), exitRefused, "legal hold", "release")
	more(t, source, 1)
	r.run("backupd", nil, "point", "create", "last", "--admin", held.Addr())

	rules := []string{"-X", "retention.keep.last=1", "-X", "retention.grace=0s"}
	objects := r.objects("data")
	dry := r.prune(append(rules, "--dry-run", "--force")...)
	for name, want := range map[string]string{"step-0": "not of the last 1", "step-1": "pinned", "step-2": "held", "step-3": "not of the last 1"} {
		if keep, why := dry.of(name); keep != (want == "pinned" || want == "held") || why != want {
			t.Errorf("%s: kept %v: %s", name, keep, why)
		}
	}
	if dry.Removed.Segments == 0 || r.objects("data") < objects || len(r.listPoints().Points) < 7 {
		t.Fatalf("dry run: %+v", dry)
	}
	refused := r.try("backupd", nil, append([]string{"prune", "-X", "retention.maxRemovedShare=0.01"}, rules...)...)
	wantError(t, refused, exitRefused, "too much", "--force", "retention.maxRemovedShare")
	for _, want := range []string{"nothing is done", "would be removed", "the named point step-3"} {
		if !strings.Contains(refused.stdout, want) {
			t.Errorf("%q is not in\n%s", want, refused.stdout)
		}
	}
	done := r.prune("-X", "retention.keep.last=1", "--force")
	if done.Removed.Segments == 0 || done.Deleted.Segments != 0 || done.Waiting != done.Removed || done.Entry == 0 {
		t.Fatalf("prune: %+v", done)
	}
	before := r.without(done.Entry) // as it was, since nothing is deleted before the grace
	before.restore(target, "--at", "step-0", "--rename", "orders=undone")
	requireSame(t, want["step-0"], readTopic(t, target, "undone"))
	objects = r.objects("data")
	if swept := r.prune(append(rules, "--force")...); swept.Deleted != done.Removed || swept.Waiting.Segments != 0 {
		t.Fatalf("the second prune: %+v", swept)
	}
	if r.objects("data") >= objects {
		t.Errorf("%d objects, %d before", r.objects("data"), objects)
	}

	wantError(t, r.try("restored", target, "plan", "--at", "step-0"), exitRefused, "no such recovery point", "step-0", "was deleted at")
	for _, name := range []string{"step-1", "step-2"} {
		r.restore(target, "--at", name, "--rename", "orders="+name)
		requireSame(t, want[name], readTopic(t, target, name))
	}
	more(t, source, 2)
	r.run("backupd", nil, "point", "create", "later", "--admin", held.Addr())
	r.restore(target, "--at", "later", "--rename", "orders=later")
	requireSame(t, readTopic(t, source, "orders"), readTopic(t, target, "later"))
	r.run("restored", nil, "verify")
	r.run("restored", nil, "list")
	daemon.stop(t)

	daemon = r.start("backupd", source, append([]string{"run", "-X", "retention.every=1s", "-X", "points.every=1s", "-X", "segment.maxAge=1s"}, rules...)...)
	newest := r.pointAfter(t, time.Now())
	eventually(t, "the daemon prunes by itself", func() bool {
		more(t, source, 1)
		ids := r.points()
		return ids[0] > newest && !slices.Contains(ids, newest) && len(ids) <= 4 // two are protected, and one may be new
	})
	if out := daemon.stop(t); !strings.Contains(out.stderr, "msg=pruned") || strings.Contains(out.stderr, "could not be pruned") {
		t.Errorf("the daemon says\n%s", tail(out.stderr))
	}
	for _, name := range []string{"step-1", "step-2"} {
		again := "again-" + name
		r.restore(target, "--at", name, "--rename", "orders="+again)
		requireSame(t, want[name], readTopic(t, target, again))
	}
}

// without returns a copy of a repository without the log entries from one on.
func (r *repository) without(entry uint64) *repository {
	r.t.Helper()
	c := newRepository(r.t)
	for _, folder := range []string{"log", "data"} {
		must(r.t, os.CopyFS(filepath.Join(c.url, folder), os.DirFS(filepath.Join(r.url, folder))))
	}
	descriptor, err := os.ReadFile(filepath.Join(r.url, manifest.RepositoryKey))
	must(r.t, err)
	must(r.t, os.WriteFile(filepath.Join(c.url, manifest.RepositoryKey), descriptor, 0o600))
	logs, err := filepath.Glob(filepath.Join(c.url, "log", "*", "*"))
	must(r.t, err)
	for _, name := range logs {
		if seq, err := strconv.ParseUint(filepath.Base(name), 10, 64); err != nil || seq >= entry {
			must(r.t, os.Remove(name))
		}
	}
	return c
}

// orphans returns how many segments the repository has that no entry names.
func (r *repository) orphans() int {
	_, orphans := r.segments()
	return orphans
}

// A killed daemon leaves a segment without an entry behind. A sweep takes it away, and nothing from a daemon that
// is at work. One that was only paused must not commit what was taken away: it ends when it wakes up.
func TestSweep(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r, rng := newRepository(t), random(t)
	load := startTraffic(t, source, rng)
	// begin starts a daemon and stops it with a signal between a segment and its entry.
	begin := func(signal, onward syscall.Signal) *process {
		t.Helper()
		logs := r.objects("log")
		p := r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
		eventually(t, "its first entry", func() bool { return r.objects("log") > logs })
		for deadline := time.Now().Add(patience); ; {
			before, left := r.objects("data"), r.orphans()
			for r.objects("data") == before && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			must(t, p.Signal(signal))
			time.Sleep(50 * time.Millisecond)
			if r.orphans() > left {
				return p
			}
			if time.Now().After(deadline) {
				t.Fatalf("no segment without its entry after %s", patience)
			}
			if onward == 0 {
				p = r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
			} else {
				must(t, p.Signal(onward))
			}
		}
	}
	begin(syscall.SIGKILL, 0)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
	points := len(r.listPoints().Points)
	eventually(t, "a point of the new daemon", func() bool { return len(r.listPoints().Points) > points })
	if out := r.run("backupd", nil, "sweep").stdout; !strings.Contains(out, "spared") {
		t.Errorf("a sweep at once says\n%s", out)
	}
	dead := r.orphans()
	out := r.run("backupd", nil, "sweep", "--older-than", "0s").stdout
	if !strings.Contains(out, "1 writer fenced") || !strings.Contains(out, "deleted") {
		t.Errorf("with %d orphans the sweep says\n%s", dead, out)
	}
	points = len(r.listPoints().Points)
	eventually(t, "the daemon goes on", func() bool { return len(r.listPoints().Points) > points })
	daemon.stop(t)

	paused := begin(syscall.SIGSTOP, syscall.SIGCONT)
	out = r.run("backupd", nil, "sweep", "--older-than", "0s").stdout // the one that captured last is spared
	if !strings.Contains(out, "spared") || r.orphans() == 0 {
		t.Errorf("beside a daemon that is paused the sweep says\n%s", out)
	}
	r.run("backupd", nil, "sweep", "--older-than", "0s", "--all")
	if n := r.orphans(); n != 0 {
		t.Errorf("%d orphans are left", n)
	}
	must(t, paused.Signal(syscall.SIGCONT))
	wantError(t, paused.wait(t), exitFenced, "declared dead", "backupd sweep")
	load.stop()

	r.backup(source)
	r.run("restored", nil, "verify")
	r.restore(target)
	requireTraffic(t, source, target)
}
