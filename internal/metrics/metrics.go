// Package metrics is what a running backupd tells a monitoring system: its numbers
// in the format of Prometheus, whether it lives, and whether it has caught up.
//
// What the log of the repository knows is taken from it, so that a restart makes
// none of it vanish; the rest is counted from the start of the process. Whoever
// reads the numbers causes no request to the cluster or the store.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Config says what is captured, and which tasks there are beside the capture.
// Intervals of zero are those of tasks that are off.
type Config struct {
	Version string // of the program

	PointEvery  time.Duration
	VerifyEvery time.Duration
	VerifyLevel string
	PruneEvery  time.Duration
	MergeEvery  time.Duration
	Window      time.Duration // that the retention keeps
	MinPoints   int           // that the retention leaves
	Replicas    []string      // URLs
}

// Metrics are the numbers of one process. All methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry
	cluster  *prometheus.GaugeVec
	capture  *capture
	store    storeMetrics
	upkeep   upkeep
}

// New returns the metrics of a process that has done nothing yet.
func New(c Config) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	with := promauto.With(r)
	info(with, "backupd_build_info", "Always 1: which program this is.", "version", "goversion").WithLabelValues(c.Version, runtime.Version()).Set(1)
	constant(with, "backupd_points_interval_seconds", "How often a recovery point is begun, by the configuration.", c.PointEvery)
	constant(with, "backupd_verify_interval_seconds", "How often the repository is verified, by the configuration.", c.VerifyEvery)
	constant(with, "backupd_retention_interval_seconds", "How often the repository is pruned, by the configuration.", c.PruneEvery)
	constant(with, "backupd_recovery_window_objective_seconds", "For how long back the retention keeps all recovery points, by the configuration.", c.Window)
	with.NewGauge(prometheus.GaugeOpts{Name: "backupd_retention_min_points", Help: "How many recovery points the retention leaves at least, by the configuration."}).Set(float64(c.MinPoints))
	m := &Metrics{registry: r, cluster: info(with, "backupd_cluster_info", "Always 1: which cluster is captured.", "kafka_cluster"), capture: newCapture(with, c.Replicas, c.Window), store: newStoreMetrics(with), upkeep: newUpkeep(with, c)}
	r.MustRegister(m.capture)
	return m
}

// Captures says which cluster it is, and since when the repository is there.
func (m *Metrics) Captures(cluster string, since time.Time) {
	m.cluster.WithLabelValues(cluster).Set(1)
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.capture.created = since.UnixMilli()
}

func info(with promauto.Factory, name, help string, labels ...string) *prometheus.GaugeVec {
	return with.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// constant has no series if there is no such interval.
func constant(with promauto.Factory, name, help string, d time.Duration) {
	if d > 0 {
		with.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}).Set(d.Seconds())
	}
}

// histogram returns the options of one of durations, in seconds.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

// seconds of a time in ms since 1970.
func seconds(ms int64) float64 { return float64(ms) / 1000 }
