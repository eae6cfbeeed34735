//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// pinned is what of the JSON of backupd prune is about pins.
type pinned struct {
	pruned
	Pins []struct {
		ID, State string
		Point     uint64
	}
	HeldRemovals int
}

func (r *repository) prunePins(args ...string) pinned {
	r.t.Helper()
	args = append([]string{"prune", "-o", "json", "--force", "-X", "retention.keep.last=1", "-X", "retention.grace=0s"}, args...)
	return decodeJSON[pinned](r.t, r.run("backupd", nil, args...))
}

// A restore that is running loses nothing to prunes and sweeps that know no grace; one that was killed holds
// up the space until somebody drops its pin; and one that may put no pin says so.
func TestPins(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	createTopic(t, source, "orders", 1, nil)
	noise := rand.New(rand.NewPCG(1, 2))
	for range 4 { // segments
		p := producer(t, source)
		for range 8 {
			value := make([]byte, 64<<10)
			for i := range value {
				value[i] = byte(noise.Uint32())
			}
			produce(t, p, &kgo.Record{Topic: "orders", Value: value})
		}
		p.Close()
		r.backup(source)
	}
	want, old := readTopic(t, source, "orders"), r.listPoints().Points[0].ID
	deleteRecords(t, source, "orders", 0, 32)
	more(t, source, 2)
	r.backup(source)

	slow := func(topic string) *process {
		p := r.start("restored", target, "run", "--yes", "--at", fmt.Sprint(old), "--rename", "orders="+topic, "-X", "store.maxDownload=192KiB")
		eventually(t, "it has its pin, and has planned", func() bool {
			x := r.prunePins("--dry-run")
			for _, pin := range x.Pins {
				if pin.Point == old && pin.State == "in force" {
					return true
				}
			}
			return false
		})
		return p
	}
	p := slow("restored")
	done := r.prunePins()
	if done.Removed.Segments < 4 || done.Deleted.Segments != 0 || done.HeldRemovals != 1 || len(done.Pins) != 1 {
		t.Fatalf("a prune while it runs: %+v", done)
	}
	r.run("backupd", nil, "sweep", "--all", "--older-than", "0s")
	if again := r.prunePins(); again.Deleted.Segments != 0 || again.HeldRemovals != 1 {
		t.Errorf("another prune: %+v", again)
	}
	if list := r.run("restored", nil, "list"); !strings.Contains(list.stdout, "PIN") || !strings.Contains(list.stdout, "in force") {
		t.Errorf("the list is\n%s", list.stdout)
	}
	if o := p.wait(t); o.code != exitOK {
		t.Fatalf("it ended with %d\n%s", o.code, tail(o.stderr))
	}
	requireSame(t, want, readTopic(t, target, "restored"))
	if left, err := filepath.Glob(filepath.Join(r.url, "pins", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if last := r.prunePins(); last.Deleted.Segments != done.Removed.Segments || last.HeldRemovals != 0 || len(last.Pins) != 0 {
		t.Errorf("the prune after it: %+v", last)
	}
	r.run("restored", nil, "verify")
	r.killedPin(t, source, target)
}

// killedPin leaves a pin of a restore that was killed, and drops it; then pins cannot be put at all.
func (r *repository) killedPin(t *testing.T, source, target *cluster.Cluster) {
	more(t, source, 2)
	r.backup(source)
	old := r.listPoints().Points[0].ID
	p := r.start("restored", target, "run", "--yes", "--rename", "orders=killed", "-X", "store.maxDownload=64KiB")
	var pin string
	eventually(t, "it has its pin", func() bool {
		x := r.prunePins("--dry-run")
		if len(x.Pins) == 1 && x.Pins[0].Point == old {
			pin = x.Pins[0].ID
		}
		return pin != ""
	})
	must(t, p.Kill())
	deleteRecords(t, source, "orders", 0, 36)
	more(t, source, 2)
	r.backup(source)
	if x := r.prunePins(); x.Removed.Segments == 0 || x.Deleted.Segments != 0 || len(x.Pins) != 1 || x.Pins[0].State != "in force" {
		t.Errorf("after it was killed: %+v", x)
	}
	wantError(t, r.try("backupd", nil, "prune", "--drop-pin", "0123"), exitRefused, "no restore pin")
	if x := r.prunePins("--drop-pin", pin); x.Deleted.Segments == 0 {
		t.Errorf("without the pin: %+v", x)
	}
	must(t, os.RemoveAll(filepath.Join(r.url, "pins")))
	must(t, os.WriteFile(filepath.Join(r.url, "pins"), nil, 0o600)) // where no object can be put
	if o := r.run("restored", target, "run", "--yes", "--rename", "orders=unpinned"); strings.Count(o.stderr, "no pin in the repository") != 1 {
		t.Errorf("without the right to put pins it wrote\n%s", o.stderr)
	}
}
