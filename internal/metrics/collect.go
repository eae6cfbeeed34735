package metrics

import (
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/prometheus/client_golang/prometheus"
)

// family is a metric of which the values are computed when they are asked for.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

func (f family) send(to chan<- prometheus.Metric, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

// families are those of a capture.
var families = struct {
	recoveryPoint, windowStart, points, entries family
	bytes, objects                              family
	records, raw, stored, segments              family
	incarnations, gaps, gapOffsets, lost        family
	verified, sound, corrupt, pruned            family
	lagEntries, lagSeconds                      family
	lagRecords, committed                       family
	created, headroom                           family
}{
	recoveryPoint: gauge("backupd_recovery_point_timestamp_seconds", "Everything that the cluster acknowledged before this time can be restored."),
	windowStart:   gauge("backupd_recovery_window_start_timestamp_seconds", "The time of the oldest recovery point."),
	points:        gauge("backupd_points", "Recovery points that there are."),
	entries:       gauge("backupd_manifest_entries", "Entries that the log has."),
	bytes:         gauge("backupd_repository_bytes", "Size of the data objects: of those that are read, and of those that are removed and not deleted yet.", "state"),
	objects:       gauge("backupd_repository_objects", "Data objects that are read.", "state"),
	records:       counter("backupd_records_total", "Records that the log has of a topic, with earlier topics of the name.", "topic"),
	raw:           counter("backupd_raw_bytes_total", "Bytes that the brokers served of a topic and that were committed.", "topic"),
	stored:        counter("backupd_stored_bytes_total", "Bytes that these take in segments.", "topic"),
	segments:      counter("backupd_segments_total", "Committed segments with something of a topic.", "topic"),
	incarnations:  counter("backupd_topic_incarnations_total", "How often a topic of this name was made, as far as the log knows.", "topic"),
	gaps:          gauge("backupd_gaps", "Gaps that the log has of a topic, with earlier topics of the name.", "topic"),
	gapOffsets:    counter("backupd_gap_offsets_total", "Offsets in gaps: at most so many records were gone before they could be read.", "topic", "reason"),
	lost:          gauge("backupd_lost_ranges", "Ranges of a topic that are quarantined: they cannot be restored any more.", "topic"),
	verified:      gauge("backupd_verify_last_timestamp_seconds", "When the repository was verified last.", "level"),
	sound:         gauge("backupd_verify_last_success_timestamp_seconds", "When a verification last found no damage, and none was known.", "level"),
	corrupt:       gauge("backupd_verify_corrupt_objects", "Damaged objects that are known: no verification of everything has found it sound since.", "level"),
	pruned:        gauge("backupd_retention_last_success_timestamp_seconds", "When this process last pruned the repository without an error."),
	lagEntries:    gauge("backupd_replica_lag_entries", "Log entries that a replica has not got yet.", "replica"),
	lagRecords:    gauge("backupd_topic_lag_records", "Records of a topic that the cluster has and the log has not, at most.", "topic"),
	committed:     gauge("backupd_topic_committed_timestamp_seconds", "Everything that was acknowledged of a topic before this time is in the log.", "topic"),
	created:       gauge("backupd_repository_created_timestamp_seconds", "When the repository was made."),
	headroom:      gauge("backupd_recovery_window_headroom_seconds", "How much longer the time between the oldest and the newest recovery point is than the window of the configuration."),
	lagSeconds:    gauge("backupd_replica_lag_seconds", "Time between the last entry of a replica and that of the repository.", "replica"),
}

// Describe implements prometheus.Collector. It promises nothing: which topics there
// are, only the log says.
func (c *capture) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *capture) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.collectLog(ch)
	c.collectTopics(ch)
	c.collectBehind(ch)
	c.collectVerified(ch)
	c.collectReplicas(ch)
}

func (c *capture) collectLog(ch chan<- prometheus.Metric) {
	f, v := &families, &c.log
	if at, ok := c.recoveryPoint(); ok {
		f.recoveryPoint.send(ch, seconds(at.UnixMilli()))
		f.windowStart.send(ch, seconds(v.oldest.Time))
		if c.window > 0 {
			f.headroom.send(ch, seconds(at.UnixMilli()-v.oldest.Time)-c.window.Seconds())
		}
	}
	if v.sequence == 0 {
		return // it has not been read yet, or has nothing
	}
	if c.created > 0 {
		f.created.send(ch, seconds(c.created))
	}
	f.points.send(ch, float64(v.points))
	f.entries.send(ch, float64(v.sequence))
	f.bytes.send(ch, float64(v.bytes), "live")
	f.bytes.send(ch, float64(v.removedBytes), "removed")
	f.objects.send(ch, float64(v.segments), "live")
	if !c.pruned.IsZero() {
		f.pruned.send(ch, seconds(c.pruned.UnixMilli()))
	}
}

// reasons of gaps as label values.
var reasons = map[manifest.GapReason]string{manifest.GapRetention: "retention", manifest.GapEmpty: "empty"}

func (c *capture) collectTopics(ch chan<- prometheus.Metric) {
	f := &families
	for name, t := range c.log.topics {
		f.records.send(ch, float64(t.records), name)
		f.incarnations.send(ch, float64(t.incarnations), name)
		f.gaps.send(ch, float64(t.gaps), name)
		f.lost.send(ch, float64(t.lost), name)
		for reason, text := range reasons {
			f.gapOffsets.send(ch, float64(t.gapOffsets[reason]), name, text)
		}
		v := c.stored[name]
		if v == nil {
			v = &volume{}
		}
		f.raw.send(ch, v.raw, name)
		f.stored.send(ch, v.stored, name)
		f.segments.send(ch, v.segments, name)
	}
}

func (c *capture) collectBehind(ch chan<- prometheus.Metric) {
	for topic, records := range c.lag {
		families.lagRecords.send(ch, float64(records), topic)
		if at, ok := c.committed(topic); ok {
			families.committed.send(ch, seconds(at.UnixMilli()), topic)
		}
	}
}

func (c *capture) collectVerified(ch chan<- prometheus.Metric) {
	f := &families
	for i := range c.log.verified {
		v := &c.log.verified[i]
		level := manifest.Level(i).String()
		if at := c.sound[i]; at > 0 {
			f.sound.send(ch, seconds(at), level)
		}
		if v.Entry > 0 {
			f.verified.send(ch, seconds(v.Time), level)
		}
		if found := int64(c.found[i].objects); v.Entry > 0 || found > 0 {
			f.corrupt.send(ch, float64(max(v.Known.Objects, found)), level)
		}
	}
}

func (c *capture) collectReplicas(ch chan<- prometheus.Metric) {
	if c.log.sequence == 0 {
		return // it has not been read yet, or has nothing
	}
	last := min(c.log.time, time.Now().UnixMilli()) // the clock of a writer may be ahead
	for label, r := range c.replicas {
		from := r.time
		if r.entry == 0 {
			from = c.created // all of it, as long as nothing is known
		}
		entries, behind := uint64(0), int64(0)
		if c.log.sequence > r.entry {
			entries, behind = c.log.sequence-r.entry, max(0, last-from)
		}
		families.lagEntries.send(ch, float64(entries), label)
		families.lagSeconds.send(ch, seconds(behind), label)
	}
}
