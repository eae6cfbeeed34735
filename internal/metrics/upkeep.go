package metrics

import (
	"net/url"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// upkeep are the metrics of the tasks beside the capture.
type upkeep struct {
	checks *prometheus.CounterVec

	prunes                       *prometheus.CounterVec
	deletedObjects, deletedBytes prometheus.Counter

	merges                                         *prometheus.CounterVec
	replacedSegments, writtenSegments, writtenSize prometheus.Counter

	copies *prometheus.CounterVec
}

func newUpkeep(with promauto.Factory, c Config) upkeep {
	results := func(name, help string, labels ...string) *prometheus.CounterVec {
		return with.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(labels, "result"))
	}
	count := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	u := upkeep{
		checks:           results("backupd_verify_checks_total", "Verifications by this process: without damage, with some, or that could not be made.", "level"),
		prunes:           results("backupd_retention_runs_total", "How often this process has pruned the repository, or could not."),
		deletedObjects:   count("backupd_retention_deleted_objects_total", "Data objects that pruning has deleted."),
		deletedBytes:     count("backupd_retention_deleted_bytes_total", "Size of these."),
		merges:           results("backupd_merge_runs_total", "How often this process has merged what there was to merge, or could not."),
		replacedSegments: count("backupd_merge_replaced_segments_total", "Segments that merging has replaced."),
		writtenSegments:  count("backupd_merge_written_segments_total", "Segments that merging has put in their place."),
		writtenSize:      count("backupd_merge_written_bytes_total", "Size of these."),
		copies:           results("backupd_replica_runs_total", "How often this process has copied what a replica had not got, or could not.", "replica"),
	}
	if c.VerifyEvery > 0 {
		for _, r := range []string{"ok", "damaged", "failed"} {
			u.checks.WithLabelValues(c.VerifyLevel, r)
		}
	}
	if c.PruneEvery > 0 {
		u.prunes.WithLabelValues("ok")
		u.prunes.WithLabelValues("failed")
	}
	if c.MergeEvery > 0 {
		u.merges.WithLabelValues("ok")
		u.merges.WithLabelValues("failed")
	}
	for _, r := range c.Replicas {
		u.copies.WithLabelValues(replicaLabel(r), "ok")
		u.copies.WithLabelValues(replicaLabel(r), "failed")
	}
	return u
}

// Verified notes that a verification has found so many damaged objects, or could not
// be made.
func (m *Metrics) Verified(level string, damages int, err error) {
	outcome := result(err)
	if err == nil && damages > 0 {
		outcome = "damaged"
	}
	m.upkeep.checks.WithLabelValues(level, outcome).Inc()
}

// Unrecorded notes that a verification has found so many damaged objects which it
// could not tell the log of: it may be the log that is damaged. They count until the
// log has a later one of everything, at this level or a deeper one, that found none.
func (m *Metrics) Unrecorded(level manifest.Level, damages int) {
	if damages == 0 {
		return
	}
	c := m.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found[int(level)] = unrecorded{damages, c.log.sequence}
}

// Pruned notes that the repository was pruned, or could not be, and what was deleted
// in any case.
func (m *Metrics) Pruned(at time.Time, objects, bytes int64, err error) {
	m.upkeep.prunes.WithLabelValues(result(err)).Inc()
	m.upkeep.deletedObjects.Add(float64(objects))
	m.upkeep.deletedBytes.Add(float64(bytes))
	if err == nil {
		m.capture.mu.Lock()
		defer m.capture.mu.Unlock()
		m.capture.pruned = at
	}
}

// Merged notes that what there was to merge was merged, or could not be, and what
// was done in any case.
func (m *Metrics) Merged(replaced, written int, bytes int64, err error) {
	m.upkeep.merges.WithLabelValues(result(err)).Inc()
	m.upkeep.replacedSegments.Add(float64(replaced))
	m.upkeep.writtenSegments.Add(float64(written))
	m.upkeep.writtenSize.Add(float64(bytes))
}

// Copied notes that what a replica had not got was copied, or could not be.
func (m *Metrics) Copied(replica string, err error) {
	m.upkeep.copies.WithLabelValues(replicaLabel(replica), result(err)).Inc()
}

// Reached notes the last log entry that a replica has, and its time in ms since 1970.
func (m *Metrics) Reached(replica string, entry uint64, at int64) {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.capture.replicas[replicaLabel(replica)] = &copied{entry, at}
}

// replicaLabel is the URL of a replica without what could be secret in it.
func replicaLabel(replica string) string {
	u, err := url.Parse(replica)
	if err != nil {
		return "unreadable URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
