//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/batch"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// verified is what restored verify prints.
type verified struct {
	OK         bool
	Level      string
	FirstEntry uint64
	Entries    uint64
	Segments   int64
	Records    int64
	Damages    []struct {
		Object   string
		Position int64
		Reason   string
		Lost     []struct {
			Topic     string
			Partition int32
			From, To  int64
		}
	}
	Restorable []struct {
		FirstPoint, LastPoint uint64
		Complete              bool
		IncompleteTopics      []string
	}
}

func (r *repository) verify(code int, args ...string) verified {
	r.t.Helper()
	return decodeJSON[verified](r.t, r.expect(code, "restored", nil, append([]string{"verify", "-o", "json"}, args...)...))
}

// segmentFiles are the files of the repository's segments, in the order in which they were written.
func (r *repository) segmentFiles() []string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.url, "data", "*", "*"))
	must(r.t, err)
	slices.SortFunc(files, func(a, b string) int {
		x, err := os.Stat(a)
		must(r.t, err)
		y, err := os.Stat(b)
		must(r.t, err)
		return x.ModTime().Compare(y.ModTime())
	})
	return files
}

// spoil replaces a file by one that a function makes of its content.
func spoil(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	must(t, os.Remove(file))
	must(t, os.WriteFile(file, change(bytes.Clone(b)), 0o644))
}

func flipFirst(b []byte) []byte {
	b[8] ^= 1 // of the first block
	return b
}

// Each level finds the damage that it says, names what is lost and what is left, and a record of it stays.
func TestVerifyLevels(t *testing.T) {
	t.Parallel()
	source := cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	fill(t, source, 30, "orders")
	r.backup(source)
	more(t, source, 5)
	r.backup(source)
	points := r.points()
	for _, level := range []string{"index", "digest", "decode"} {
		got := r.verify(exitOK, "--level", level, "--record")
		if !got.OK || got.Level != level || got.FirstEntry != 1 || got.Segments != 2 || len(got.Restorable) != 1 || !got.Restorable[0].Complete {
			t.Errorf("sound, at level %s: %+v", level, got)
		}
		if got := r.verify(exitOK, "--level", level, "--since-last"); got.FirstEntry != got.Entries || got.Segments != 0 {
			t.Errorf("at level %s since the last one: %+v", level, got)
		}
	}
	r.replays(source)
	wantError(t, r.try("restored", nil, "verify", "--level", "deep"), exitUsage, "deep", "index, digest, decode")
	wantError(t, r.try("restored", nil, "verify", "--sample", "5"), exitUsage, "not a share")

	spoil(t, r.segmentFiles()[1], flipFirst)
	if got := r.verify(exitOK, "--level", "index"); !got.OK {
		t.Errorf("an index without damage: %+v", got)
	}
	r.verify(exitOK, "--level", "digest", "--since-last") // which does not look there again
	for _, level := range []string{"digest", "decode"} {
		got := r.verify(exitDamaged, "--level", level, "--record")
		if len(got.Damages) != 1 || !strings.HasSuffix(r.segmentFiles()[1], got.Damages[0].Object) || got.Damages[0].Position != 8 || len(got.Damages[0].Lost) != 1 {
			t.Fatalf("at level %s: %+v", level, got)
		}
		if lost := got.Damages[0].Lost[0]; lost.Topic != "orders" || lost.To-lost.From < 1 {
			t.Errorf("lost is %+v", lost)
		}
		if runs := got.Restorable; len(runs) != 2 || runs[0].LastPoint != points[1] || !runs[0].Complete || runs[1].FirstPoint != points[0] || !slices.Equal(runs[1].IncompleteTopics, []string{"orders"}) {
			t.Errorf("of the points %v can be restored %+v", points, runs)
		}
	}
	wantError(t, r.try("restored", nil, "verify"), exitDamaged, "1 object,", "but for orders")
	if status := r.run("backupd", nil, "status").stdout; !strings.Contains(status, "WARNING") || !strings.Contains(status, "1 damaged object,") {
		t.Errorf("the status is\n%s", status)
	}
	if events := r.run("backupd", nil, "events").stdout; strings.Count(events, " verified ") != 5 || strings.Count(events, "DAMAGED") != 2 {
		t.Errorf("the events are\n%s", events)
	}

	r.remembers(t)

	must(t, os.Remove(r.segmentFiles()[0]))
	if got := r.verify(exitDamaged, "--level", "index", "--sample", "0.0001%"); len(got.Damages) != 1 || !strings.Contains(got.Damages[0].Reason, "missing") || len(got.Damages[0].Lost) == 0 {
		t.Errorf("without a segment: %+v", got)
	}
}

// remembers makes sure that the damage of the second segment, which is recorded, is refuted by no sample of the first, but by
// what reads everything.
func (r *repository) remembers(t *testing.T) {
	t.Helper()
	for seed := 0; ; seed++ {
		o := r.try("restored", nil, "verify", "--level", "digest", "--sample", "1%", "--seed", fmt.Sprint(seed), "--record")
		if o.code == exitOK {
			break
		}
	}
	if status := r.run("backupd", nil, "status").stdout; strings.Count(status, "WARNING") != 2 || !strings.Contains(status, "digest, 1 % of entries 1 to ") {
		t.Errorf("after a sample the status is\n%s", status)
	}
	if got := r.verify(exitDamaged, "--level", "digest", "--since-last", "--record"); got.FirstEntry != 1 {
		t.Errorf("since the last one: %+v", got)
	}
	spoil(t, r.segmentFiles()[1], flipFirst) // back
	if got := r.verify(exitOK, "--since-last", "--record"); got.FirstEntry != 1 {
		t.Errorf("since the last one, mended: %+v", got)
	}
	if status := r.run("backupd", nil, "status").stdout; strings.Contains(status, "WARNING") {
		t.Errorf("after all was read the status is\n%s", status)
	}
	if got := r.verify(exitOK, "--since-last", "--level", "digest"); got.FirstEntry != got.Entries {
		t.Errorf("since all was read: %+v", got)
	}
}

// replays tries restores into the program itself and into the cluster, whose topics stay as they are.
func (r *repository) replays(at *cluster.Cluster) {
	r.t.Helper()
	for _, target := range []*cluster.Cluster{nil, at} {
		o := r.run("restored", target, "verify", "--level", "replay", "-o", "json")
		got := decodeJSON[struct {
			OK     bool
			Replay struct {
				KafkaCluster string
				Topics       []string
				Records      int64
				Equal        bool
			}
		}](r.t, o)
		if !got.OK || !got.Replay.Equal || got.Replay.Records != 35 || !slices.Equal(got.Replay.Topics, []string{"orders"}) || (got.Replay.KafkaCluster == "embedded") != (target == nil) {
			r.t.Errorf("replayed: %s", o.stdout)
		}
	}
	eventually(r.t, "the topics of the rehearsal are gone", func() bool {
		topics, err := kadm.NewClient(at.Client(r.t)).ListTopics(r.t.Context())
		must(r.t, err)
		return slices.Equal(topics.Names(), []string{"orders"})
	})
}

// A daemon verifies on its own, and who records a verification beside it does not disturb it. Its metrics say all of it,
// and go on saying it after a restart.
func TestVerifyBesideCapture(t *testing.T) {
	t.Parallel()
	source := cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	fill(t, source, 30, "orders")
	r.backup(source)
	spoil(t, r.segmentFiles()[0], flipFirst)
	monitor := newMonitor(t)
	flags := append([]string{"run", "-X", "points.every=1s", "-X", "segment.maxAge=1s", "-X", "verify.every=1h"}, monitor.flags()...)
	daemon := r.start("backupd", source, flags...)
	eventually(t, "the daemon verifies", func() bool {
		return strings.Contains(r.run("backupd", nil, "events").stdout, "DAMAGED")
	})
	began := monitor.await("the metrics say so", func(m map[string]float64) bool {
		return m[`backupd_verify_checks_total{level="digest",result="damaged"}`] == 1 && m[`backupd_verify_corrupt_objects{level="digest"}`] == 1
	})
	eventually(t, "it is ready", func() bool {
		status, _ := monitor.get("/readyz")
		return status == http.StatusOK
	})
	before := len(r.points())
	for range 3 {
		more(t, source, 5)
		r.verify(exitDamaged, "--level", "digest", "--record")
	}
	eventually(t, "points go on", func() bool { return len(r.points()) > before })
	last := monitor.await("the metrics go on", func(m map[string]float64) bool {
		return m[`backupd_records_total{topic="orders"}`] == 45 && m["backupd_points"] > began["backupd_points"] && m["backupd_recovery_point_timestamp_seconds"] > began["backupd_recovery_point_timestamp_seconds"]
	})
	for _, rising := range []string{`backupd_stored_bytes_total{topic="orders"}`, `backupd_raw_bytes_total{topic="orders"}`, `backupd_segments_total{topic="orders"}`,
		`backupd_manifest_commits_total{result="ok"}`, `backupd_store_operations_total{operation="put"}`, `backupd_store_bytes_total{direction="upload"}`} {
		if last[rising] <= began[rising] {
			t.Errorf("%s was %v and is %v", rising, began[rising], last[rising])
		}
	}
	o := daemon.stop(t)
	if !strings.Contains(o.stderr, "the repository is damaged") || strings.Contains(o.stderr, "capture interrupted") {
		t.Errorf("the daemon wrote\n%s", tail(o.stderr))
	}
	spoil(t, r.segmentFiles()[0], flipFirst) // back
	again, before := r.start("backupd", source, flags...), len(r.points())
	restarted := monitor.await("the metrics are there again", func(m map[string]float64) bool { return m["backupd_points"] >= last["backupd_points"] })
	wantKept(t, last, restarted)
	if restarted[`backupd_verify_checks_total{level="digest",result="damaged"}`] != 0 || restarted["backupd_recovery_point_timestamp_seconds"] < last["backupd_recovery_point_timestamp_seconds"]-60 {
		t.Errorf("after a restart the metrics are %v", restarted)
	}
	more(t, source, 5)
	eventually(t, "it captures", func() bool { return len(r.points()) > before })
	if status, body := monitor.get("/livez"); status != http.StatusOK {
		t.Errorf("/livez answers %d: %s", status, body)
	}
	again.stop(t)
	if events := r.run("backupd", nil, "events").stdout; strings.Count(events, " verified ") != 4 {
		t.Errorf("a restart verifies anew:\n%s", events)
	}
	r.verify(exitOK)
}

// What is damaged comes back from the cluster while it has it, beside a daemon, and what does not is named.
func TestRepair(t *testing.T) {
	t.Parallel()
	source, target := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{})
	r := newRepository(t)
	fill(t, source, 30, "orders", "bills")
	r.backup(source)
	more(t, source, 5)
	r.backup(source)
	first, second := r.segmentFiles()[0], r.segmentFiles()[1]
	sound, err := os.ReadFile(first)
	must(t, err)
	all := func(b []byte) []byte { // each block, and the header and the trailer
		for i := range 16 {
			b[i] ^= 1
		}
		b[len(b)-1] ^= 1
		return b
	}
	spoil(t, first, all)
	spoil(t, second, flipFirst)
	daemon := r.start("backupd", source, "run", "-X", "points.every=1s")
	if o := r.run("backupd", source, "repair", "--dry-run"); strings.Count(o.stdout, "can be mended") != 2 {
		t.Errorf("a dry run says\n%s", o.stdout)
	}
	r.verify(exitDamaged, "--level", "digest")
	if o := r.run("backupd", source, "repair"); strings.Count(o.stdout, ": mended") != 2 {
		t.Errorf("it says\n%s", o.stdout)
	}
	more(t, source, 5)
	want, before := readTopic(t, source, "orders"), len(r.points())
	eventually(t, "points go on", func() bool { return len(r.points()) > before+1 })
	daemon.stop(t)
	if b, err := os.ReadFile(first); err != nil || !bytes.Equal(b, sound) {
		t.Errorf("the segment is not what it was (%v)", err)
	}
	r.verify(exitOK)
	r.restore(target)
	requireSame(t, want, readTopic(t, target, "orders"))

	r.quarantines(t, source, target, first, second)
	deletedInABatch(t, source)
}

// deletedInABatch loses a segment after records were deleted up to the middle of its second batch, which the broker
// still has as a whole.
func deletedInABatch(t *testing.T, source *cluster.Cluster) {
	r := newRepository(t)
	createTopic(t, source, "large", 1, nil)
	p := newRawProducer(t, source, "large")
	p.send(0, batch.None, numbered("first", 20)...)
	p.send(0, batch.None, numbered("second", 300)...)
	r.backup(source, "--topics", "large")
	deleteRecords(t, source, "large", 0, 50)
	must(t, os.Remove(r.segmentFiles()[0]))
	wantError(t, r.try("restored", nil, "verify"), exitDamaged, "backupd repair [--from COPY]")
	o := r.try("backupd", source, "repair")
	wantError(t, o, exitLost, "backupd repair --from COPY")
	if !strings.Contains(o.stdout, "LOST: large-0 [0,20)\n") || !strings.Contains(o.stdout, "moved to a new segment large-0 [20,320)\n") {
		t.Errorf("it says\n%s", o.stdout)
	}
	wantError(t, r.try("restored", nil, "verify"), exitLost, "backupd repair --from COPY")
}

// quarantines loses what nobody has any more, which the commands say, and gets it back from a copy.
func (r *repository) quarantines(t *testing.T, source, target *cluster.Cluster, first, second string) {
	copied, point := t.TempDir(), fmt.Sprint(r.points()[0])
	r.run("backupd", nil, "copy", "--to", copied)
	must(t, os.Remove(filepath.Join(r.url, "log", "00000000", "000000000002")))
	wantError(t, r.try("backupd", source, "repair"), exitDamaged, "that cannot be mended")
	if o := r.run("backupd", source, "repair", "--from", copied); !strings.Contains(o.stdout, "log/00000000/000000000002: mended\n") {
		t.Errorf("an entry of the log from the copy: %s", o.stdout)
	}
	r.verify(exitOK)
	must(t, os.Remove(filepath.Join(r.url, "repository.json")))
	if o := r.run("backupd", source, "repair", "--from", copied); !strings.Contains(o.stdout, "repository.json: mended\n") || !strings.Contains(r.run("backupd", nil, "audit").stdout, `"mended":["repository.json"]`) {
		t.Errorf("the descriptor from the copy: %s", o.stdout)
	}
	must(t, os.Remove(first))
	spoil(t, second, flipFirst)
	deleteRecords(t, source, "orders", 0, 32)
	wantError(t, r.try("backupd", target, "repair"), exitRefused, "another Kafka cluster")
	dry := r.try("backupd", source, "repair", "--dry-run")
	wantError(t, dry, exitLost, "quarantined")
	daemon := r.start("backupd", source, "run", "-X", "points.every=1s")
	o := r.try("backupd", source, "repair")
	wantError(t, o, exitLost, "quarantined")
	if !strings.Contains(dry.stdout, "to be quarantined") || strings.Contains(o.stdout, "to be quarantined") || !strings.Contains(o.stdout, "moved to a new segment") || strings.Count(o.stdout, "LOST: ") != 2 {
		t.Errorf("a dry run says\n%s\nand the repair\n%s", dry.stdout, o.stdout)
	}
	more(t, source, 5)
	before := len(r.points())
	eventually(t, "points go on", func() bool { return len(r.points()) > before })
	daemon.stop(t)
	audit := r.run("backupd", nil, "audit").stdout
	for _, told := range []string{" repair ", `"mended":["data/`, `"quarantined":["data/`, "LOST orders-0 [", "ranges of data that moved: 1, to new segments: 1", "the cluster has deleted these records"} {
		if !strings.Contains(audit, told) {
			t.Errorf("the audit does not say %q:\n%s", told, audit)
		}
	}
	wantError(t, r.try("restored", nil, "verify"), exitLost, "but for orders")
	for _, command := range [][]string{{"backupd", "status"}, {"restored", "list"}, {"restored", "show", point}} {
		if o := r.run(command[0], nil, command[1:]...); strings.Count(o.stdout, "LOST") != 2 || !strings.Contains(o.stdout, "orders-0 [") || !strings.Contains(o.stdout, "points lack it") {
			t.Errorf("%v says\n%s", command, o.stdout)
		}
	}
	again := []string{"--at", point, "--topics", "orders", "--rename", "orders=again"}
	for _, command := range []string{"plan", "run"} {
		if o := r.try("restored", target, append([]string{command}, again...)...); o.code != exitRefused || strings.Count(o.stdout+o.stderr, "could not be repaired") < 2 || !strings.Contains(o.stdout+o.stderr, "--accept-gap") {
			t.Errorf("%s ends with %d:\n%s%s", command, o.code, o.stdout, o.stderr)
		}
	}
	r.run("restored", target, append([]string{"run", "--yes", "--accept-gap"}, again...)...)
	list, err := filepath.Glob(filepath.Join(r.url, "reports", "*.json"))
	must(t, err)
	if !slices.ContainsFunc(list, func(name string) bool {
		b, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(b), `"acceptedGaps": 2`)
	}) {
		t.Errorf("none of the reports %v says what was accepted", list)
	}
	r.run("backupd", nil, "prune", "--dry-run")
	r.run("backupd", nil, "copy", "--to", t.TempDir()) // although a segment is missing

	if o := r.try("backupd", source, "repair", "--from", r.url); o.code != exitUsage || !strings.Contains(o.stderr, "is the repository") {
		t.Errorf("from itself it ends with %d: %s", o.code, o.stderr)
	}
	if o := r.run("backupd", source, "repair", "--from", copied, "--dry-run"); strings.Count(o.stdout, "can be moved to a new segment") != 2 || strings.Contains(o.stdout, "all but") {
		t.Errorf("what the copy would give back: %s", o.stdout)
	}
	if o := r.run("backupd", source, "repair", "--from", copied); strings.Count(o.stdout, "moved to a new segment") != 2 {
		t.Errorf("from the copy: %s", o.stdout)
	}
	r.verify(exitOK)
	r.run("restored", target, "plan", "--at", point, "--topics", "orders", "--rename", "orders=whole")
}
