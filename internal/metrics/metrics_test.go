package metrics_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/metrics/metricstest"
)

// get returns what the handler answers.
func get(t *testing.T, m *metrics.Metrics, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

// series returns those of backupd, by name and labels.
func series(t *testing.T, m *metrics.Metrics) map[string]string {
	t.Helper()
	status, body := get(t, m, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", status, body)
	}
	list := make(map[string]string)
	for line := range strings.Lines(body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(line, "backupd_") {
			list[name] = value
		}
	}
	return list
}

func wantSeries(t *testing.T, m *metrics.Metrics, want map[string]string) {
	t.Helper()
	got := series(t, m)
	for name, value := range want {
		if v, there := got[name]; v != value {
			t.Errorf("%s is %q (%t), want %q", name, v, there, value)
		}
	}
}

func TestNames(t *testing.T) {
	m := metricstest.Busy()
	_, body := get(t, m, "/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "backupd_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, of := range []string{"\ngo_goroutines ", "\nprocess_cpu_seconds_total "} {
		if !strings.Contains(body, of) {
			t.Errorf("there is no%s", of)
		}
	}
}

// What the log knows is there as soon as it has been read.
func TestFromLog(t *testing.T) {
	m := metrics.New(metrics.Config{Version: "1"})
	if got := series(t, m); got["backupd_recovery_point_timestamp_seconds"] != "" || got["backupd_points"] != "" {
		t.Errorf("before the log is read there are %v", got)
	}
	m.State(metricstest.State())
	wantSeries(t, m, map[string]string{
		"backupd_recovery_point_timestamp_seconds":        "2000.5",
		"backupd_recovery_window_start_timestamp_seconds": "1000",
		"backupd_points":                                                "2",
		"backupd_manifest_entries":                                      "20",
		`backupd_records_total{topic="orders"}`:                         "35",
		`backupd_topic_incarnations_total{topic="orders"}`:              "2",
		`backupd_gaps{topic="orders"}`:                                  "1",
		`backupd_gap_offsets_total{reason="retention",topic="orders"}`:  "7",
		`backupd_gap_offsets_total{reason="empty",topic="orders"}`:      "0",
		`backupd_lost_ranges{topic="orders"}`:                           "1",
		`backupd_stored_bytes_total{topic="orders"}`:                    "0",
		`backupd_repository_bytes{state="live"}`:                        "4000",
		`backupd_repository_bytes{state="removed"}`:                     "500",
		`backupd_verify_last_timestamp_seconds{level="digest"}`:         "1500",
		`backupd_verify_last_success_timestamp_seconds{level="digest"}`: "1500",
		`backupd_verify_corrupt_objects{level="digest"}`:                "0",
		`backupd_verify_corrupt_objects{level="decode"}`:                "3",
		`backupd_verify_last_success_timestamp_seconds{level="decode"}`: "",
		"backupd_retention_last_success_timestamp_seconds":              "", // a merge may have removed it, or somebody else
	})
	for name := range series(t, m) {
		if strings.Contains(name, "gone") {
			t.Errorf("%s is of a topic that has gone", name)
		}
	}
}

// A topic that leaves takes its series along, and an older state changes nothing.
func TestTopicLeaves(t *testing.T) {
	m, s := metrics.New(metrics.Config{}), metricstest.State()
	m.State(s)
	m.Stored("orders", 100, 60)
	m.Stored("orders", 100, 60)
	wantSeries(t, m, map[string]string{
		`backupd_raw_bytes_total{topic="orders"}`: "200", `backupd_stored_bytes_total{topic="orders"}`: "120", `backupd_segments_total{topic="orders"}`: "2",
	})
	s = metricstest.State()
	s.Sequence++
	s.Topics[1].Gone = true
	m.State(s)
	m.State(metricstest.State())
	for name := range series(t, m) {
		if strings.Contains(name, "orders") {
			t.Errorf("%s is still there", name)
		}
	}
}

// Damage does not make the last success vanish in a process that knows of it, nor does a sample without any refute it.
func TestLastSuccess(t *testing.T) {
	m, s := metrics.New(metrics.Config{}), metricstest.State()
	m.State(s)
	s = metricstest.State()
	s.Sequence++
	digest := &s.Verified[manifest.LevelDigest]
	digest.Time, digest.Damages, digest.Known = 1_700_000, 2, manifest.KnownDamage{Entry: 21, First: 1, Last: 20, Objects: 2}
	m.State(s)
	want := map[string]string{
		`backupd_verify_last_timestamp_seconds{level="digest"}`: "1700", `backupd_verify_last_success_timestamp_seconds{level="digest"}`: "1500", `backupd_verify_corrupt_objects{level="digest"}`: "2",
	}
	wantSeries(t, m, want)
	s.Sequence, digest.Time, digest.Damages = 22, 1_800_000, 0 // a sample of something else
	m.State(s)
	want[`backupd_verify_last_timestamp_seconds{level="digest"}`] = "1800"
	wantSeries(t, m, want)
}

// What could not be recorded counts until everything is found sound behind it.
func TestUnrecorded(t *testing.T) {
	m, s := metrics.New(metrics.Config{}), metricstest.State()
	const corrupt, sound = `backupd_verify_corrupt_objects{level="digest"}`, `backupd_verify_last_success_timestamp_seconds{level="digest"}`
	m.Unrecorded(manifest.LevelDigest, 0)
	wantSeries(t, m, map[string]string{corrupt: ""})
	m.Unrecorded(manifest.LevelDigest, 2)
	wantSeries(t, m, map[string]string{corrupt: "2"}) // although the log has not been read, and may never be
	m = metrics.New(metrics.Config{})
	m.State(s)
	m.Unrecorded(manifest.LevelDigest, 2)
	wantSeries(t, m, map[string]string{corrupt: "2", sound: "1500"})
	record := func(share int64) {
		s.Sequence++
		s.Verified[manifest.LevelDigest] = manifest.Verified{Entry: s.Sequence, Time: 1_700_000, Verification: manifest.Verification{Level: manifest.LevelDigest, First: 1, Last: s.Sequence - 1, Share: share}}
		m.State(s)
	}
	record(50_000)
	wantSeries(t, m, map[string]string{corrupt: "2", sound: "1500"})
	record(manifest.WholeShare)
	wantSeries(t, m, map[string]string{corrupt: "0", sound: "1700"})
}

// While nothing changes, the recovery point is as new as the last look at the cluster; not any more once it is deleted.
func TestCovered(t *testing.T) {
	m, s := metrics.New(metrics.Config{}), metricstest.State()
	m.State(s)
	m.Covered(time.UnixMilli(2_060_000))
	wantSeries(t, m, map[string]string{"backupd_recovery_point_timestamp_seconds": "2060"})
	m.State(s)
	wantSeries(t, m, map[string]string{"backupd_recovery_point_timestamp_seconds": "2060"})
	s.Sequence++
	s.Points = s.Points[:1]
	m.State(s)
	wantSeries(t, m, map[string]string{"backupd_recovery_point_timestamp_seconds": "1000"})
}

func TestProbes(t *testing.T) {
	m := metrics.New(metrics.Config{})
	want := func(path string, status int, text string) {
		t.Helper()
		if got, body := get(t, m, path); got != status || !strings.Contains(body, text) {
			t.Errorf("%s answers %d: %s", path, got, body)
		}
	}
	want("/livez", http.StatusOK, `"alive"`)
	want("/readyz", http.StatusServiceUnavailable, "catching up")
	m.State(metricstest.State())
	want("/readyz", http.StatusServiceUnavailable, `"recoveryPoint":"1970-01-01T00:33:20.5Z"`)
	m.Covered(time.UnixMilli(2_060_000))
	want("/readyz", http.StatusOK, `"ready","recoveryPoint":"1970-01-01T00:34:20Z"`)
	m.Interrupted()
	want("/readyz", http.StatusServiceUnavailable, "catching up")
	want("/livez", http.StatusOK, "")
	want("/v1/points", http.StatusNotFound, "")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a POST is answered with %d", w.Code)
	}
}

// A replica's lag grows with the log, is all of it while nothing is known, and its label is no place for secrets.
func TestReplicaLag(t *testing.T) {
	const url, label = "s3://id:secret@bucket/second?token=x", `{replica="s3://bucket/second"}`
	m, s := metrics.New(metrics.Config{Replicas: []string{url}}), metricstest.State()
	m.Captures("cluster", time.UnixMilli(s.Time-7000))
	wantSeries(t, m, map[string]string{"backupd_replica_lag_entries" + label: ""}) // of a log that nobody has read
	m.State(s)
	m.Copied(url, errors.New("it is not there"))
	wantSeries(t, m, map[string]string{"backupd_replica_lag_entries" + label: "20", "backupd_replica_lag_seconds" + label: "7", `backupd_replica_runs_total{replica="s3://bucket/second",result="failed"}`: "1"})
	m.Reached(url, 18, s.Time-2500)
	wantSeries(t, m, map[string]string{"backupd_replica_lag_entries" + label: "2", "backupd_replica_lag_seconds" + label: "2.5"})
	s.Sequence, s.Time = s.Sequence+3, s.Time+1000
	m.State(s)
	wantSeries(t, m, map[string]string{"backupd_replica_lag_entries" + label: "5", "backupd_replica_lag_seconds" + label: "3.5"})
	m.Reached(url, s.Sequence, s.Time)
	wantSeries(t, m, map[string]string{"backupd_replica_lag_entries" + label: "0", "backupd_replica_lag_seconds" + label: "0"})
	_, body := get(t, m, "/metrics")
	for _, secret := range []string{"secret", "token"} {
		if strings.Contains(body, secret) {
			t.Errorf("the label shows %s", secret)
		}
	}
}

// The clock of a writer may be ahead. What it says of the future is not told.
func TestClockAhead(t *testing.T) {
	const url, ahead = "s3://bucket/second", time.Hour
	m, s, now := metrics.New(metrics.Config{Replicas: []string{url}}), metricstest.State(), time.Now()
	s.Time = now.Add(ahead).UnixMilli()
	s.Points[1].Time = s.Time
	m.State(s)
	m.Reached(url, 18, now.Add(-time.Minute).UnixMilli())
	got := series(t, m)
	for name, most := range map[string]float64{
		"backupd_recovery_point_timestamp_seconds": float64(now.Add(ahead).Unix()), `backupd_replica_lag_seconds{replica="s3://bucket/second"}`: (time.Minute + ahead).Seconds(),
	} {
		if v, err := strconv.ParseFloat(got[name], 64); err != nil || v >= most || v <= 0 {
			t.Errorf("%s is %q, want less than %v", name, got[name], most)
		}
	}
	if _, body := get(t, m, "/readyz"); strings.Contains(body, time.UnixMilli(s.Time).UTC().Format(time.RFC3339)[:14]) {
		t.Errorf("/readyz says %s", body)
	}
}

func TestUpkeep(t *testing.T) {
	m := metrics.New(metrics.Config{VerifyEvery: time.Hour, VerifyLevel: "digest", PruneEvery: 2 * time.Hour, MergeEvery: time.Hour, Window: 24 * time.Hour})
	wantSeries(t, m, map[string]string{
		`backupd_verify_checks_total{level="digest",result="damaged"}`: "0", `backupd_retention_runs_total{result="failed"}`: "0", `backupd_merge_runs_total{result="ok"}`: "0",
		"backupd_verify_interval_seconds": "3600", "backupd_retention_interval_seconds": "7200", "backupd_recovery_window_objective_seconds": "86400",
	})
	m.State(metricstest.State())
	m.Verified("digest", 0, nil)
	m.Verified("digest", 2, nil)
	m.Verified("digest", 0, errors.New("no"))
	m.Pruned(time.Unix(3000, 0), 4, 900, nil)
	m.Pruned(time.Unix(3100, 0), 1, 100, errors.New("no"))
	m.Merged(10, 2, 5000, nil)
	wantSeries(t, m, map[string]string{
		`backupd_verify_checks_total{level="digest",result="ok"}`: "1", `backupd_verify_checks_total{level="digest",result="damaged"}`: "1", `backupd_verify_checks_total{level="digest",result="failed"}`: "1",
		"backupd_retention_last_success_timestamp_seconds": "3000", "backupd_retention_deleted_objects_total": "5", "backupd_retention_deleted_bytes_total": "1000",
		`backupd_retention_runs_total{result="ok"}`: "1", `backupd_retention_runs_total{result="failed"}`: "1",
		"backupd_merge_replaced_segments_total": "10", "backupd_merge_written_segments_total": "2", "backupd_merge_written_bytes_total": "5000",
	})
}

// What is off has no series, so that no alert waits for it.
func TestOff(t *testing.T) {
	for name := range series(t, metrics.New(metrics.Config{})) {
		for _, off := range []string{"interval", "objective", "verify_", "runs_total", "replica_"} {
			if strings.Contains(name, off) {
				t.Errorf("%s is there", name)
			}
		}
	}
	wantSeries(t, metrics.New(metrics.Config{}), map[string]string{
		`backupd_store_operations_total{operation="put"}`: "0", `backupd_store_operation_failures_total{operation="get",reason="other"}`: "0", `backupd_manifest_commits_total{result="failed"}`: "0",
	})
}

// How far the repository is behind with each topic is told as it was last, and not of topics that have gone. What a
// point has, of all topics, is committed.
func TestBehind(t *testing.T) {
	m := metrics.New(metrics.Config{Window: 900 * time.Second, MinPoints: 3})
	const orders, late = `{topic="orders"}`, `{topic="late"}`
	m.Behind(map[string]int64{"orders": 5, "late": 7}, map[string]time.Time{"orders": time.UnixMilli(3_000_000)})
	wantSeries(t, m, map[string]string{
		"backupd_topic_lag_records" + orders: "5", "backupd_topic_committed_timestamp_seconds" + orders: "3000",
		"backupd_topic_lag_records" + late: "7", "backupd_topic_committed_timestamp_seconds" + late: "",
		"backupd_recovery_window_headroom_seconds": "", "backupd_retention_min_points": "3", "backupd_repository_created_timestamp_seconds": "",
	})
	m.State(metricstest.State())
	m.Captures("cluster", time.UnixMilli(500_000))
	wantSeries(t, m, map[string]string{
		"backupd_topic_committed_timestamp_seconds" + orders: "3000", "backupd_topic_committed_timestamp_seconds" + late: "2000.5",
		"backupd_recovery_window_headroom_seconds": "100.5", "backupd_repository_created_timestamp_seconds": "500",
	})
	m.Behind(map[string]int64{"orders": 0}, nil)
	wantSeries(t, m, map[string]string{"backupd_topic_lag_records" + orders: "0", "backupd_topic_lag_records" + late: ""})
}
