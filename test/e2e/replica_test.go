//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

const exitForged = 12 // exit code

type replicaStatus struct {
	Entries  uint64
	Replicas []struct {
		URL        string
		LagEntries *uint64
		LagSeconds *float64
		Error      string
	}
}

type copyResult struct {
	Head     string
	Entries  int64
	Segments int64
	Missing  int64
	Damaged  int64
	Verified int64
}

// newReplica returns where a daemon on the repository keeps a second copy, in a bucket, and the flags for that.
func (r *repository) newReplica() (second *repository, flags []string) {
	s := objectstore.Start(r.t)
	r.env = s.Env()
	second = &repository{t: r.t, url: "s3://" + objectstore.Bucket + "/second", env: s.Env()}
	return second, []string{"-X", fmt.Sprintf("replicas=[{url: %q, every: 1s}]", second.url)}
}

// A daemon with a replica in a bucket is killed again and again, and so is who copies beside it. What is in the bucket is
// sound after each kill, and a restore from it brings back all records.
func TestReplica(t *testing.T) {
	rng := random(t)
	source := cluster.Start(t, cluster.Options{})
	load := startTraffic(t, source, rng)
	r := newRepository(t)
	second, flags := r.newReplica()
	flags = append(flags, smallSeals...)
	sound := 0
	for range 5 {
		daemon := r.start("backupd", source, append([]string{"run"}, flags...)...)
		r.pointAfter(t, time.Now())
		time.Sleep(upTo(rng, 2*time.Second))
		killCopiers(r, second.url, rng)
		must(t, daemon.Kill())
		switch o := second.try("restored", nil, "verify"); o.code {
		case exitOK:
			sound++
		case exitNoRepository:
		default:
			t.Fatalf("the replica: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
		}
	}
	if sound == 0 {
		t.Error("there was nothing of a replica after any kill")
	}
	load.stop()

	monitor := newMonitor(t)
	daemon := r.start("backupd", source, append(append([]string{"run"}, flags...), monitor.flags()...)...)
	recovered := r.pointAfter(t, time.Now())
	eventually(t, "the replica to be up to date", func() bool {
		s := decodeJSON[replicaStatus](t, r.run("backupd", nil, append([]string{"status", "-o", "json"}, flags...)...))
		lag := s.Replicas[0].LagEntries
		return lag != nil && *lag == 0 && s.Entries >= recovered
	})
	label := fmt.Sprintf("{replica=%q}", second.url)
	monitor.await("the metrics to say so", func(m map[string]float64) bool {
		lag, known := m["backupd_replica_lag_entries"+label]
		seconds, timed := m["backupd_replica_lag_seconds"+label]
		return known && timed && lag == 0 && seconds == 0 && m["backupd_manifest_entries"] >= float64(recovered) && m[fmt.Sprintf("backupd_replica_runs_total{replica=%q,result=\"ok\"}", second.url)] > 0
	})
	daemon.stop(t)
	c := decodeJSON[copyResult](t, r.run("backupd", nil, "copy", "--to", second.url, "-o", "json"))
	t.Logf("%d sound replicas after kills; copied at last: %+v", sound, c)
	audit := second.run("backupd", nil, "audit", "--head", c.Head)
	if !strings.Contains(audit.stdout, "head "+c.Head) {
		t.Errorf("the replica is not at %s:\n%s", c.Head, tail(audit.stdout))
	}
	spoiltIsHealed(t, r, second)
	target := cluster.Start(t, cluster.Options{})
	second.restore(target)
	requireTraffic(t, source, target)
	if got := second.reports(); len(got) != 1 || got[0] != "not pinned: complete" {
		t.Errorf("reports of the restore: %q", got)
	}
	for _, args := range [][]string{{"once"}, {"prune"}, {"sweep"}, {"merge"}, {"repair"}, {"point", "pin", fmt.Sprint(recovered)}} {
		if o := second.expect(exitRefused, "backupd", source, args...); !strings.Contains(o.stderr, "backupd promote") {
			t.Errorf("backupd %q on a copy says:\n%s", args, o.stderr)
		}
	}
	second.expect(exitRefused, "restored", nil, "verify", "--record", "--level", "index")
	second.run("backupd", nil, "promote", "--reason", "the first one is gone")
	second.backup(source) // who captures into it pins the report
	if got := second.reports(); len(got) != 1 || got[0] != "ok: complete" {
		t.Errorf("reports of the restore: %q", got)
	}
}

// spoiltIsHealed takes a segment and a log entry out of a copy and flips a byte in another segment. The first two any
// copier puts back, the last one who reads it.
func spoiltIsHealed(t *testing.T, r, second *repository) {
	for _, pair := range second.env {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	st, err := storeurl.Open(t.Context(), second.url, storeurl.Options{})
	must(t, err)
	var keys []string
	must(t, st.List(t.Context(), "data/", func(i store.Info) error { keys = append(keys, i.Key); return nil }))
	must(t, st.Delete(t.Context(), keys[0], "log/00000000/000000000002"))
	body, err := st.Get(t.Context(), keys[1], 0, -1)
	must(t, err)
	b, err := io.ReadAll(body)
	must(t, err)
	must(t, body.Close())
	b[len(b)/2] ^= 1
	_, err = st.Put(t.Context(), keys[1], bytes.NewReader(b), store.PutOptions{})
	must(t, err)
	second.expect(exitDamaged, "restored", nil, "verify")
	for _, tc := range []struct {
		args []string
		want copyResult
		code int // of a verification then
	}{
		{nil, copyResult{Missing: 2}, exitDamaged},
		{[]string{"--verify"}, copyResult{Damaged: 1}, exitOK},
	} {
		command := append([]string{"copy", "--to", second.url, "-o", "json"}, tc.args...)
		if dry := r.expect(exitDamaged, "backupd", nil, append(command, "--dry-run")...); !strings.Contains(dry.stderr, "the copy has lost objects") {
			t.Errorf("a dry run of %q: %s", command, dry.stderr)
		}
		c := decodeJSON[copyResult](t, r.run("backupd", nil, command...))
		if c.Missing != tc.want.Missing || c.Damaged != tc.want.Damaged || c.Verified > 0 != (tc.args != nil) {
			t.Errorf("copy %q: %+v, want %+v", tc.args, c, tc.want)
		}
		second.expect(tc.code, "restored", nil, "verify")
	}
}

// reports returns what the audit says of reports of restores.
func (r *repository) reports() (list []string) {
	r.t.Helper()
	for _, x := range decodeJSON[struct {
		Reports []struct {
			State  string
			Report struct{ Result string }
		}
	}](r.t, r.run("backupd", nil, "audit", "-o", "json")).Reports {
		list = append(list, x.State+": "+x.Report.Result)
	}
	return list
}

// killCopiers lets two copiers work beside the daemon's, and kills one of them.
func killCopiers(r *repository, to string, rng *rand.Rand) {
	killed := r.start("backupd", nil, "copy", "--to", to)
	other := r.start("backupd", nil, "copy", "--to", to)
	time.Sleep(upTo(rng, 300*time.Millisecond))
	must(r.t, killed.Kill())
	if o := other.wait(r.t); o.code != exitOK {
		r.t.Fatalf("copy ended with %d\n%s", o.code, tail(o.stderr))
	}
}

// What is written beside a running daemon is told apart in the audit, a log whose end is missing is found out by a head
// that was kept, and a repository that somebody captures into is no copy any more.
func TestAudit(t *testing.T) {
	t.Parallel()
	source := cluster.Start(t, cluster.Options{})
	createTopic(t, source, "orders", 1, nil)
	r := newRepository(t)
	second := newRepository(t)
	daemon := r.start("backupd", source, append([]string{"run"}, smallSeals...)...)
	point := r.pointAfter(t, time.Now())
	r.run("backupd", nil, "point", "pin", fmt.Sprint(point), "--reason", "the auditor asked for it")
	now := time.Now()
	produce(t, producer(t, source), &kgo.Record{Topic: "orders", Value: []byte("one more")})
	r.pointAfter(t, now) // the daemon goes on
	daemon.stop(t)
	a := decodeJSON[struct {
		Head    string
		Actions []struct {
			Action, Program string
			Point           uint64
			Note            struct{ Reason string }
		}
	}](t, r.run("backupd", nil, "audit", "-o", "json"))
	pins := 0
	for _, x := range a.Actions {
		if x.Action == "pin" && x.Point == point && x.Note.Reason == "the auditor asked for it" && strings.HasSuffix(x.Program, " point pin") {
			pins++
		}
	}
	if pins != 1 || !strings.HasSuffix(a.Actions[0].Program, " run") {
		t.Errorf("the audit has %+v", a.Actions)
	}
	r.run("backupd", nil, "copy", "--to", second.url)
	second.run("backupd", nil, "audit", "--head", a.Head)
	refusedBesidePromoted(t, r, source)
	r.backup(source)
	b := decodeJSON[struct{ Head string }](t, r.run("backupd", nil, "audit", "-o", "json", "--head", a.Head))
	second.expect(exitForged, "backupd", nil, "audit", "--head", b.Head)
	itself := fmt.Sprintf("replicas=[{url: %q}]", second.url)
	second.run("restored", nil, "list", "-X", itself)
	if o := second.expect(exitUsage, "backupd", source, "run", "-X", itself); !strings.Contains(o.stderr, "is the repository") {
		t.Errorf("to copy onto itself: %s", o.stderr)
	}
	if o := second.run("backupd", nil, "promote", "-X", itself); !strings.Contains(o.stderr, "take it out of replicas before backupd run") {
		t.Errorf("promoted while it is a replica of itself: %s", o.stderr)
	}
	second.backup(source)
	o := r.expect(exitRefused, "backupd", nil, "copy", "--to", second.url)
	if !strings.Contains(o.stderr, "it was promoted by its entry") {
		t.Errorf("the refusal says:\n%s", o.stderr)
	}
}

// refusedBesidePromoted promotes a copy, and has nothing more appended to the repository that lists it as its replica.
func refusedBesidePromoted(t *testing.T, r *repository, source *cluster.Cluster) {
	t.Helper()
	third := newRepository(t)
	r.run("backupd", nil, "copy", "--to", third.url)
	third.run("backupd", nil, "promote")
	before := r.objects("log")
	listed := fmt.Sprintf("replicas=[{url: %q}]", third.url)
	for _, c := range []struct {
		program string
		at      *cluster.Cluster
		args    []string
	}{
		{"backupd", source, []string{"once"}},
		{"backupd", source, []string{"run"}},
		{"backupd", source, []string{"point", "create", "after"}},
		{"backupd", nil, []string{"point", "pin", "latest"}},
		{"restored", nil, []string{"verify", "--record"}},
	} {
		if o := r.expect(exitRefused, c.program, c.at, append(c.args, "-X", listed)...); !strings.Contains(o.stderr, "it was promoted by its entry") {
			t.Errorf("%s %v says:\n%s", c.program, c.args, o.stderr)
		}
	}
	if after := r.objects("log"); after != before {
		t.Errorf("the log had %d entries, and has %d", before, after)
	}
}
