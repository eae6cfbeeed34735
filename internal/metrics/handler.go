package metrics

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// answer is that of the probes.
type answer struct {
	SchemaVersion int        `json:"schemaVersion"`
	Status        string     `json:"status"`
	RecoveryPoint *time.Time `json:"recoveryPoint,omitempty"`
}

// Handler answers what monitoring asks: /metrics; /livez, while the process runs;
// /readyz, with 503 while the capture has not caught up. None of it changes anything.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, answer{SchemaVersion: 1, Status: "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		a, status := answer{SchemaVersion: 1, Status: "ready", RecoveryPoint: m.lastPoint()}, http.StatusOK
		if !m.Ready() {
			a.Status, status = "catching up with the cluster", http.StatusServiceUnavailable
		}
		write(w, status, a)
	})
	return mux
}

func (m *Metrics) lastPoint() *time.Time {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	at, ok := m.capture.recoveryPoint()
	if !ok {
		return nil
	}
	t := at.UTC()
	return &t
}

func write(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // who asked has gone
}
