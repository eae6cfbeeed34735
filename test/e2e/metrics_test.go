//go:build e2e

package e2e_test

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/port"
)

// monitor scrapes daemons that have its flags.
type monitor struct {
	t       testing.TB
	address string
}

func newMonitor(t testing.TB) *monitor {
	held, err := port.Hold()
	must(t, err)
	t.Cleanup(held.Release)
	return &monitor{t, held.Addr()}
}

func (m *monitor) flags() []string { return []string{"--http-listen", m.address} }

// get returns what a daemon answers, or status 0 while it does not listen.
func (m *monitor) get(path string) (status int, body string) {
	m.t.Helper()
	resp, err := http.Get("http://" + m.address + path)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(m.t, err)
	return resp.StatusCode, string(b)
}

// series returns the values of a daemon's metrics, by name and labels.
func (m *monitor) series() map[string]float64 {
	m.t.Helper()
	_, body := m.get("/metrics")
	list := make(map[string]float64)
	for line := range strings.Lines(body) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil && strings.HasPrefix(name, "backupd_") {
			list[name] = value
		}
	}
	return list
}

// await waits until the metrics are as they should be, and returns them.
func (m *monitor) await(what string, are func(map[string]float64) bool) (now map[string]float64) {
	m.t.Helper()
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the metrics are %v", now)
		}
	}()
	eventually(m.t, what, func() bool {
		now = m.series()
		return are(now)
	})
	return now
}

// wantKept makes sure that of what is taken from the log nothing has vanished, or gone back.
func wantKept(t testing.TB, before, now map[string]float64) {
	t.Helper()
	for name := range maps.Keys(before) {
		if !fromLog(name) {
			continue
		}
		if v, there := now[name]; !there || v < before[name] {
			t.Errorf("after a restart %s is %v (%t), it was %v", name, v, there, before[name])
		}
	}
}

func fromLog(name string) bool {
	for _, prefix := range []string{
		"backupd_recovery_window_start_timestamp_seconds", "backupd_points", "backupd_manifest_entries", "backupd_records_total", "backupd_topic_incarnations_total", "backupd_gap",
		"backupd_verify_last_timestamp_seconds", "backupd_verify_corrupt_objects",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
