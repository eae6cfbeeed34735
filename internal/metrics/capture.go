package metrics

import (
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// capture is what is known of the capture and of the repository. It implements
// sink.Meter.
type capture struct {
	commits       *prometheus.CounterVec
	commitTime    prometheus.Histogram
	interruptions prometheus.Counter

	mu       sync.Mutex
	created  int64 // of the repository, ms since 1970
	log      view
	covered  coverage
	sound    map[int]int64        // by level: when a verification last left no damage known, ms since 1970
	found    map[int]unrecorded   // by level
	pruned   time.Time            // by this process, without an error
	stored   map[string]*volume   // by topic: of this process
	replicas map[string]*copied   // by label
	lag      map[string]int64     // by topic: records
	until    map[string]time.Time // by topic, as sink.Meter has them
	window   time.Duration        // that the retention keeps
}

// coverage is a look at the cluster that found all of it in the repository.
type coverage struct {
	at    time.Time
	point uint64 // the newest one then: if it goes, this does not count
	ready bool   // nothing has interrupted the capture since
}

// unrecorded is damage that this process has found and the log does not tell of.
type unrecorded struct {
	objects int
	behind  uint64 // the last entry then
}

// volume is what was stored of a topic.
type volume struct {
	raw, stored, segments float64
}

// copied is up to where a replica has the log; nothing is known with entry 0.
type copied struct {
	entry uint64
	time  int64
}

func newCapture(with promauto.Factory, replicas []string, window time.Duration) *capture {
	c := &capture{
		commits: with.NewCounterVec(prometheus.CounterOpts{Name: "backupd_manifest_commits_total", Help: "Log entries that the capture has appended, or could not append."}, []string{"result"}),
		commitTime: with.NewHistogram(histogram("backupd_manifest_commit_duration_seconds", "How long it took to append a log entry.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30})),
		interruptions: with.NewCounter(prometheus.CounterOpts{Name: "backupd_capture_interruptions_total", Help: "How often a failure of the cluster or the store has interrupted the capture."}),
		window:        window,
		log:           viewOf(&manifest.State{}),
		sound:         make(map[int]int64),
		found:         make(map[int]unrecorded),
		stored:        make(map[string]*volume),
		replicas:      make(map[string]*copied),
	}
	c.commits.WithLabelValues("ok")
	c.commits.WithLabelValues("failed")
	for _, url := range replicas {
		c.replicas[replicaLabel(url)] = &copied{}
	}
	return c
}

// State takes the numbers of a log out of its state, unless a newer one is known.
// It does not keep the state.
func (m *Metrics) State(s *manifest.State) {
	c := m.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Sequence < c.log.sequence {
		return
	}
	c.log = viewOf(s)
	c.weighVerified()
	if c.log.newest.Sequence != c.covered.point {
		c.covered.at = time.Time{}
	}
	for name := range c.stored {
		if c.log.topics[name] == nil {
			delete(c.stored, name)
		}
	}
}

// weighVerified takes in the verifications of the log.
func (c *capture) weighVerified() {
	for i := range c.log.verified {
		for _, v := range c.log.verified[i:] {
			if v.Entry > c.found[i].behind && v.Damages == 0 && v.First == 1 && v.Share == manifest.WholeShare {
				delete(c.found, i)
			}
		}
		if v := &c.log.verified[i]; v.Entry > 0 && v.Damages == 0 && v.Known.Entry == 0 && c.found[i].objects == 0 {
			c.sound[i] = v.Time
		}
	}
}

// Committed notes that the capture has appended an entry, or could not.
func (m *Metrics) Committed(took time.Duration, err error) {
	m.capture.commitTime.Observe(took.Seconds())
	m.capture.commits.WithLabelValues(result(err)).Inc()
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// Covered notes that everything which was acknowledged before a time is in the
// newest recovery point.
func (m *Metrics) Covered(at time.Time) {
	c := m.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	c.covered = coverage{at: at, point: c.log.newest.Sequence, ready: true}
}

// Stored notes what a committed segment has of a topic.
func (m *Metrics) Stored(topic string, raw, stored int64) {
	c := m.capture
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.stored[topic]
	if v == nil {
		v = &volume{}
		c.stored[topic] = v
	}
	v.raw += float64(raw)
	v.stored += float64(stored)
	v.segments++
}

// Behind notes how far the repository is behind the cluster.
func (m *Metrics) Behind(records map[string]int64, committed map[string]time.Time) {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.capture.lag, m.capture.until = records, committed
}

// committed is the time before which everything that was acknowledged of a topic is in
// the log, if that is known: a point, which has all topics, may know better.
func (c *capture) committed(topic string) (at time.Time, ok bool) {
	at, ok = c.recoveryPoint()
	if until := c.until[topic]; !ok || until.After(at) {
		at = until
	}
	return at, !at.IsZero()
}

// Interrupted notes that the capture has to begin again from the log.
func (m *Metrics) Interrupted() {
	m.capture.interruptions.Inc()
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	m.capture.covered.ready = false
}

// Ready says whether the capture has caught up with the cluster since it began, or
// was interrupted.
func (m *Metrics) Ready() bool {
	m.capture.mu.Lock()
	defer m.capture.mu.Unlock()
	return m.capture.covered.ready
}

// recoveryPoint is the time before which everything can be restored, if there is one.
func (c *capture) recoveryPoint() (at time.Time, ok bool) {
	if c.log.points == 0 {
		return at, false
	}
	at = time.UnixMilli(c.log.newest.Time)
	if c.covered.at.After(at) {
		at = c.covered.at
	}
	if now := time.Now(); at.After(now) { // by the clock of a writer
		at = now
	}
	return at, true
}
