//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// listed is what restored list prints, as far as it matters here.
type listed struct {
	Points []struct {
		ID   uint64
		Time time.Time
	}
}

// answers are what the programs say of a repository, at its end, at points and between them.
func (r *repository) answers(target *cluster.Cluster, points listed) map[string]string {
	all := make(map[string]string)
	ask := func(program string, at *cluster.Cluster, args ...string) {
		o := r.try(program, at, append(args, "-o", "json")...) // there may be no answer to a question
		all[program+" "+strings.Join(args, " ")] = fmt.Sprintf("%s%d", o.stdout, o.code)
	}
	ask("restored", nil, "list", "--limit", "0")
	ask("backupd", nil, "status")
	ask("backupd", nil, "events")
	for i := range 6 {
		p := points.Points[i*(len(points.Points)-1)/5]
		ask("restored", nil, "show", "--at", fmt.Sprint(p.ID))
		ask("restored", target, "plan", "--at", fmt.Sprint(p.ID))
		ask("restored", nil, "groups", "--at", p.Time.Add(300*time.Millisecond).Format(time.RFC3339Nano))
	}
	return all
}

// A daemon that is killed and started again puts snapshots of the log. With and without them, and with damaged ones, everything is the same.
func TestSnapshotsOfTheLog(t *testing.T) {
	t.Parallel()
	rng := random(t)
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	for n := range 3 {
		p := r.start("backupd", source, append([]string{"run", "-X", "snapshots.every=10", "--log-level", "debug"}, smallSeals...)...)
		eventually(t, "two snapshots more", func() bool { return r.objects("snapshot") >= 2*n+2 })
		must(t, p.Kill())
	}
	load.stop()
	r.backup(source, "-X", "snapshots.every=10")
	r.run("restored", nil, "verify")
	points := decodeJSON[listed](t, r.run("restored", nil, "list", "--limit", "0", "-o", "json"))
	if first := points.Points[len(points.Points)-1]; len(points.Points) < 20 || first.ID == 0 {
		t.Fatalf("%d points", len(points.Points))
	}
	keys, err := filepath.Glob(filepath.Join(r.url, "snapshot", "*", "*"))
	must(t, err)
	slices.Sort(keys)
	with := r.answers(target, points)

	newest := keys[len(keys)-1]
	b, err := os.ReadFile(newest)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(newest, b, 0o644))
	o := r.expect(exitDamaged, "restored", nil, "verify")
	if !strings.Contains(o.stdout, filepath.Base(newest)) || !strings.Contains(o.stdout, "nothing depends on it, it can be removed") {
		t.Errorf("verify says\n%s", o.stdout)
	}
	requireAnswers(t, "a damaged snapshot", with, r.answers(target, points))
	if o := r.run("backupd", nil, "status", "--log-level", "debug"); !strings.Contains(o.stderr, "of no use") {
		t.Errorf("a damaged snapshot is passed over with\n%s", o.stderr)
	}
	r.restore(target)
	requireTraffic(t, source, target)

	must(t, os.RemoveAll(filepath.Join(r.url, "snapshot")))
	r.run("restored", nil, "verify")
	other := cluster.Start(t, cluster.Options{})
	requireAnswers(t, "no snapshot", with, r.answers(other, points))
	r.restore(other)
	requireTraffic(t, source, other)
	t.Logf("%d points, %d snapshots", len(points.Points), len(keys))
}

func requireAnswers(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for call, text := range want {
		if got[call] != text {
			t.Errorf("with %s, %s says\n%s\nwant\n%s", what, call, tail(got[call]), tail(text))
		}
	}
}
