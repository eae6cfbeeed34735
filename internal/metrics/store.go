package metrics

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/store/metered"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// storeMetrics are those of the repository's store. It implements metered.Meter.
type storeMetrics struct {
	operations *prometheus.CounterVec
	failures   *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	inflight   *prometheus.GaugeVec
	up, down   prometheus.Counter
}

func newStoreMetrics(with promauto.Factory) storeMetrics {
	operation := []string{"operation"}
	s := storeMetrics{
		operations: with.NewCounterVec(prometheus.CounterOpts{Name: "backupd_store_operations_total", Help: "Calls of the repository's store that have ended, each attempt for itself."}, operation),
		failures:   with.NewCounterVec(prometheus.CounterOpts{Name: "backupd_store_operation_failures_total", Help: "Calls of it that have failed."}, []string{"operation", "reason"}),
		durations: with.NewHistogramVec(histogram("backupd_store_operation_duration_seconds", "How long calls of it took: a get until its answer began, a put with the time that its content took to come.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}), operation),
		inflight: with.NewGaugeVec(prometheus.GaugeOpts{Name: "backupd_store_inflight_operations", Help: "Calls of it that are under way."}, operation),
	}
	bytes := with.NewCounterVec(prometheus.CounterOpts{Name: "backupd_store_bytes_total", Help: "Content that went to the repository's store, and came from it."}, []string{"direction"})
	s.up, s.down = bytes.WithLabelValues("upload"), bytes.WithLabelValues("download")
	for _, op := range metered.Operations {
		s.operations.WithLabelValues(op)
		s.durations.WithLabelValues(op)
		s.inflight.WithLabelValues(op)
		for _, reason := range metered.Reasons {
			s.failures.WithLabelValues(op, reason)
		}
	}
	return s
}

// Store is told of the calls of the repository's store.
func (m *Metrics) Store() metered.Meter { return &m.store }

// Began implements metered.Meter.
func (s *storeMetrics) Began(operation string) { s.inflight.WithLabelValues(operation).Inc() }

// Ended implements metered.Meter.
func (s *storeMetrics) Ended(operation string, took time.Duration) {
	s.inflight.WithLabelValues(operation).Dec()
	s.operations.WithLabelValues(operation).Inc()
	s.durations.WithLabelValues(operation).Observe(took.Seconds())
}

// Failed implements metered.Meter.
func (s *storeMetrics) Failed(operation, reason string) {
	s.failures.WithLabelValues(operation, reason).Inc()
}

// Moved implements metered.Meter.
func (s *storeMetrics) Moved(up, down int64) {
	s.up.Add(float64(up))
	s.down.Add(float64(down))
}
