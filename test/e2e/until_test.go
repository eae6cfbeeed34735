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

// Somebody prunes by wrong rules. A verification finds it, and as long as nothing is deleted the repository can be read as
// it was before: everything comes back, and no prune deletes it meanwhile.
func TestLogUntil(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	createTopic(t, source, "orders", 1, nil)
	noise := rand.New(rand.NewPCG(1, 2))
	for range 2 { // segments
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
	deleteRecords(t, source, "orders", 0, 16)
	more(t, source, 2)
	r.backup(source)
	r.run("restored", nil, "verify")

	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	must(t, os.WriteFile(wrong, []byte("retention:\n  topics:\n    - include: [orders]\n      keep: {last: 1}\n"), 0o600))
	prune := func(args ...string) pinned {
		return decodeJSON[pinned](t, r.run("backupd", nil, append([]string{"prune", "-o", "json", "--force", "-c", wrong}, args...)...))
	}
	done := prune()
	if done.Removed.Segments != 2 || done.Deleted.Segments != 0 {
		t.Fatalf("the prune: %+v", done)
	}
	before := fmt.Sprint(done.Entry - 1)
	wantError(t, r.try("restored", nil, "verify", "--level", "index"), exitDamaged, "can be restored but for orders")
	if o := r.try("restored", nil, "verify", "-o", "json"); !strings.Contains(o.stdout, "2 recovery points that are kept need") || !strings.Contains(o.stdout, "--log-until "+before) {
		t.Errorf("verify says\n%s", o.stdout)
	}
	r.run("restored", nil, "verify", "-c", wrong) // by these rules it was right
	at := []string{"--at", fmt.Sprint(old)}
	wantError(t, r.try("restored", target, append([]string{"plan", "-o", "json", "--rename", "orders=back"}, at...)...), exitRefused, "removed from the backup by its retention")

	back := append([]string{"--log-until", before}, at...)
	if o := r.run("restored", target, append([]string{"plan", "--rename", "orders=back", "-o", "json"}, back...)...); !strings.Contains(o.stdout, `"logUntil": `+before) {
		t.Errorf("the plan is\n%s", o.stdout)
	}
	p := r.start("restored", target, append([]string{"run", "--yes", "--rename", "orders=back", "-X", "store.maxDownload=192KiB"}, back...)...)
	eventually(t, "it has its pin, and has planned", func() bool {
		x := prune("--dry-run", "-X", "retention.grace=0s")
		return len(x.Pins) == 1 && x.Pins[0].Point == old && x.Pins[0].State == "in force"
	})
	if x := prune("-X", "retention.grace=0s"); x.Deleted.Segments != 0 || x.HeldRemovals != 1 {
		t.Errorf("a prune while it runs: %+v", x)
	}
	if o := p.wait(t); o.code != exitOK || !strings.Contains(o.stdout, "as it was after log entry "+before) {
		t.Fatalf("it ended with %d\n%s%s", o.code, o.stdout, tail(o.stderr))
	}
	requireSame(t, want, readTopic(t, target, "back"))
	r.run("restored", target, append([]string{"compare", "--rename", "orders=back"}, back...)...)
	r.run("restored", nil, "verify", "--log-until", before)
	r.run("restored", nil, "show", "--log-until", before, fmt.Sprint(old))
	r.run("restored", nil, "groups", "--log-until", before)
	r.run("restored", target, append([]string{"offsets", "--rename", "orders=back"}, back...)...)
	if o := r.run("restored", nil, "list", "--log-until", before); !strings.Contains(o.stdout, "log entry "+before) || strings.Contains(o.stdout, "have it in part") {
		t.Errorf("the list is\n%s", o.stdout)
	}
	reports, err := filepath.Glob(filepath.Join(r.url, "reports", "*.json"))
	must(t, err)
	if text, err := os.ReadFile(reports[len(reports)-1]); err != nil || !strings.Contains(string(text), `"logUntil": `+before) {
		t.Errorf("the report is %s, %v", text, err)
	}

	wantError(t, r.try("restored", nil, "verify", "--record", "--log-until", before), exitUsage, "--record with --log-until")
	wantError(t, r.try("restored", nil, "list", "--log-until", "0"), exitUsage, "the number of a log entry")
	wantError(t, r.try("restored", nil, "list", "--log-until", "999"), exitRefused, "no such log entry")
	if x := prune("-X", "retention.grace=0s"); x.Deleted.Segments != 2 {
		t.Fatalf("the prune after it: %+v", x)
	}
	wantError(t, r.try("restored", target, append([]string{"plan", "--rename", "orders=late"}, back...)...), exitRefused, fmt.Sprintf("log entry %d of", done.Entry), "its object was deleted since")
	if o := r.try("restored", nil, "verify", "--log-until", before); o.code != exitDamaged || !strings.Contains(o.stdout, "its object was deleted since") {
		t.Errorf("verify says %d\n%s", o.code, o.stdout)
	}
}
