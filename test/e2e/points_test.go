//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/port"
)

// madePoint is what backupd point prints.
type madePoint struct {
	Point  uint64
	Name   string
	Time   time.Time
	Pinned bool
	Done   string
}

// point runs backupd point, which must succeed.
func (r *repository) point(at *cluster.Cluster, args ...string) madePoint {
	r.t.Helper()
	return decodeJSON[madePoint](r.t, r.run("backupd", at, append([]string{"point", "-o", "json"}, args...)...))
}

// more adds records to orders.
func more(t *testing.T, c *cluster.Cluster, records int) {
	t.Helper()
	p := producer(t, c)
	for i := range records {
		produce(t, p, &kgo.Record{Topic: "orders", Value: fmt.Appendf(nil, "more %d of %s", i, time.Now())})
	}
}

// Points that a command makes alone: made, found by every word for them, pinned, deleted, and restored to.
func TestPointsByName(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	fill(t, source, 3, "orders")
	first := r.point(source, "create", "before-the-upgrade")
	want := readTopic(t, source, "orders")
	more(t, source, 2)
	second := r.point(source, "create", "after", "--wait")
	if first.Name != "before-the-upgrade" || first.Done != "made" || second.Point <= first.Point {
		t.Fatalf("made %+v and %+v", first, second)
	}
	for i, at := range []string{"before-the-upgrade", fmt.Sprint(first.Point), first.Time.Format(time.RFC3339Nano), first.Time.Format("2006-01-02T15:04:05.000"), fmt.Sprint(first.Time.UnixMilli())} {
		name := fmt.Sprintf("copy-%d", i)
		if got := r.restore(target, "--at", at, "--rename", "orders="+name).Point; got != first.Point {
			t.Errorf("--at %s is point %d, want %d", at, got, first.Point)
		}
		requireSame(t, want, readTopic(t, target, name))
	}
	for _, at := range []string{"latest", "after", time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "-0s"} {
		if got := r.plan(target, "--at="+at).Point; got != second.Point {
			t.Errorf("--at %s is point %d, want %d", at, got, second.Point)
		}
	}
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, command := range [][]string{{"restored", "show", "--at", future}, {"restored", "groups", "--at", future}, {"backupd", "point", "show", future}} {
		if o := r.run(command[0], nil, command[1:]...); !strings.Contains(o.stderr, "yet to come") {
			t.Errorf("%v says nothing of the time:\n%s", command, o.stderr)
		}
	}
	later := decodeJSON[pointList](t, r.run("restored", nil, "list", "--named", "--from", second.Time.Format(time.RFC3339Nano), "-o", "json"))
	if len(later.Points) != 1 || later.Points[0].ID != second.Point {
		t.Errorf("listed are %+v", later)
	}
	wantError(t, r.try("restored", target, "plan", "--topics", "ordres"), exitRefused, "no topic ordres", "did you mean orders?")
	wantError(t, r.try("backupd", source, "point", "create", "after"), exitRefused, "after", "name", fmt.Sprint(second.Point))
	for _, name := range []string{"latest", "123", "a b", strings.Repeat("x", 129)} {
		wantError(t, r.try("backupd", source, "point", "create", name), exitUsage, "not a name", name)
	}
	wantError(t, r.try("restored", target, "plan", "--at", "before-the-upgrad"), exitRefused, "no such recovery point", "did you mean before-the-upgrade?", "restored list")
	wantError(t, r.try("restored", target, "plan", "--at", "2020-01-01"), exitRefused, "before the first", "the window goes from point "+fmt.Sprint(first.Point), fmt.Sprint(second.Point))

	if p := r.point(nil, "pin", "before-the-upgrade"); !p.Pinned || p.Done != "pinned" {
		t.Errorf("pinned %+v", p)
	}
	wantError(t, r.try("backupd", nil, "point", "delete", fmt.Sprint(first.Point)), exitRefused, "pinned", "unpin")
	r.point(nil, "unpin", fmt.Sprint(first.Point))
	for _, again := range []string{"unpin", "release"} {
		if o := r.run("backupd", nil, "point", again, fmt.Sprint(first.Point)); !strings.Contains(o.stdout, " was not ") {
			t.Errorf("%s of what is not says %s", again, o.stdout)
		}
	}
	wantError(t, r.try("backupd", nil, "point", "delete", "before-the-upgrade"), exitUsage, "before-the-upgrade", "--yes")
	r.point(nil, "delete", "before-the-upgrade", "--yes")
	wantError(t, r.try("restored", target, "plan", "--at", "before-the-upgrade"), exitRefused, "no such recovery point")
	wantError(t, r.try("restored", target, "plan", "--at", fmt.Sprint(first.Point)), exitRefused, "no such recovery point")
	wantError(t, r.try("backupd", nil, "point", "pin", "before-the-upgrade"), exitRefused, "no such recovery point")
	if got := r.points(); len(got) != 1 || got[0] != second.Point {
		t.Errorf("points are %v, want only %d", got, second.Point)
	}
	again := r.point(source, "create", "before-the-upgrade") // the name is free
	if list := r.run("backupd", nil, "point", "list", "--named").stdout; !strings.Contains(list, fmt.Sprint(again.Point)) || strings.Count(list, "before-the-upgrade") != 1 {
		t.Errorf("the list is\n%s", list)
	}
	if shown := r.run("backupd", nil, "point", "show", "before-the-upgrade").stdout; !strings.Contains(shown, "orders") || !strings.Contains(shown, fmt.Sprint(again.Point)) {
		t.Errorf("it is shown as\n%s", shown)
	}
	r.run("restored", nil, "verify")
}

// A daemon makes the points that it is asked for, and does not mind what others do to points.
func TestPointsOfADaemon(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	held, err := port.Hold()
	must(t, err)
	t.Cleanup(held.Release)
	r := newRepository(t)
	fill(t, source, 3, "orders")
	daemon := r.start("backupd", source, "run", "--admin-listen", held.Addr(), "-X", "points.every=1h")
	ask := func(name string) madePoint {
		t.Helper()
		return decodeJSON[madePoint](t, r.run("backupd", nil, "point", "create", name, "--admin", held.Addr(), "-o", "json"))
	}
	eventually(t, "the daemon listens", func() bool {
		return r.try("backupd", nil, "point", "create", "first", "--admin", held.Addr()).code == exitOK
	})
	for i := range 5 {
		more(t, source, 2)
		name := fmt.Sprintf("step-%d", i)
		p := ask(name)
		want := readTopic(t, source, "orders")
		r.point(nil, "pin", name)
		if got := r.content(name); got.Point != p.Point || got.ends("orders")[0] != int64(3+2*(i+1)) {
			t.Errorf("%s holds %+v", name, got)
		}
		if i%2 == 0 {
			r.restore(target, "--at", name, "--rename", "orders="+name)
			requireSame(t, want, readTopic(t, target, name))
		}
		r.point(nil, "unpin", name)
		r.point(nil, "delete", name, "--yes")
		ask(name) // free again
	}
	wantError(t, r.try("backupd", nil, "point", "create", "step-1", "--admin", held.Addr()), exitRefused, "step-1", "name")
	wantError(t, r.try("backupd", nil, "point", "create", "12", "--admin", held.Addr()), exitUsage, "12")
	wantError(t, r.try("backupd", source, "point", "create", "alone"), exitFenced, "backupd run", "--admin")
	daemon.stop(t)
	wantError(t, r.try("backupd", nil, "point", "create", "late", "--admin", held.Addr()), 1, "refused")
	r.point(source, "create", "alone", "--alone")
	r.run("restored", nil, "verify")
	wantError(t, r.try("backupd", source, "run", "--admin-listen", "0.0.0.0:1"), exitUsage, "admin.listen", "loopback")
}
