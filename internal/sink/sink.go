// Package sink captures a Kafka cluster into a repository: Kafka -> store.
//
// A session reads positions from the log and goes on from there. Data flows
//
//	fetch loops (one per broker) -> gatherer -> encoders -> segment upload -> log entry
//
// and a record is safe from the moment in which committer.commit's log entry
// is durable. The observer watches topics, groups and high watermarks and says
// when a recovery point is complete. Nothing but the log says where to go on,
// so that killing a session at any instant loses nothing.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metadata"
	"github.com/offsite-kafka/offsite/internal/pattern"
	"github.com/offsite-kafka/offsite/internal/segment"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Config bounds and times the capture.
type Config struct {
	Topics pattern.List // what is captured
	Groups GroupCapture // how the offsets of all groups are

	SegmentBytes  int64         // a segment is sealed at this stored size
	SegmentAge    time.Duration // or at this age
	PointEvery    time.Duration // how often a recovery point is begun
	MetadataEvery time.Duration // how often topics and leaders are looked up
	KindsEvery    time.Duration // how often the rest of the metadata is read, at most with each point
	Patience      time.Duration // with a point that nothing comes of: then Once fails and Run warns

	SnapshotEvery uint64 // log entries; 0: no snapshots of the log

	Silence time.Duration // of the whole cluster: then there is a warning

	FetchBytes     int32 // asked of one broker in one request
	PartitionBytes int32 // of it, for one partition
	FetchWait      time.Duration
	BudgetBytes    int64 // fetched and not yet written, over all brokers
	GatherBytes    int64 // small pieces waiting for company, over all streams
	BlockBytes     int   // raw size at which a block is closed
	ZstdLevel      zstd.EncoderLevel

	BesideRun bool // OncePoint captures even if a Run seems to be at work
}

// Defaults are sized for a process of 160 MB.
func Defaults() Config {
	return Config{
		Groups: GroupsAuto,

		SegmentBytes:  64 << 20,
		SegmentAge:    10 * time.Second,
		PointEvery:    time.Minute,
		MetadataEvery: 5 * time.Second,
		KindsEvery:    time.Minute,
		Patience:      time.Minute,
		SnapshotEvery: 1000,
		Silence:       10 * time.Second,

		FetchBytes:     6 << 20,
		PartitionBytes: 1 << 20,
		FetchWait:      500 * time.Millisecond,
		BudgetBytes:    24 << 20,
		GatherBytes:    24 << 20,
		BlockBytes:     1 << 20,
		ZstdLevel:      segment.DefaultLevel,
	}
}

// Sink captures one cluster into one repository.
type Sink struct {
	Cluster    *kafka.Cluster
	Repository *manifest.Repository
	Config     Config
	Agent      manifest.Agent
	Log        *slog.Logger
	// Progress, if set, is called with offsets captured and offsets to capture
	// by Once. From one goroutine at a time.
	Progress func(done, total int64)
	// Requests, if set, asks Run for recovery points.
	Requests *Requests
	// Meter, if set, is told what the capture does.
	Meter Meter

	told       map[metadata.Kind]string // why kinds are not captured, as it was logged
	logRefused error                    // why group offsets are polled although nobody asked for that
}

// ErrUnreadable is wrapped by errors about selected topics, their configs, or
// groups that are not there or must not be read.
var ErrUnreadable = errors.New("not everything that is selected can be captured")

// ErrNoTopics says that nothing is selected. Whoever selects by mistake what nobody has,
// or may not even know what there is, shall not find topics gone, or points with
// nothing in them.
var ErrNoTopics = errors.New("no topic of the cluster is selected, or this user may not describe any: check the patterns and the user's rights")

// ErrRunning says that a Run seems to be at work on the repository: whoever
// captures beside it ends it, or is ended.
var ErrRunning = errors.New("a backupd run seems to be at work on this repository")

// Once captures everything up to the high watermarks seen at its start, commits
// one recovery point and returns its id. When ctx is cancelled it commits what
// it has and returns the cause, without a point. The error is ErrNoTopics if the
// cluster has no topic that is selected.
func (s *Sink) Once(ctx context.Context) (point uint64, err error) {
	return s.capture(ctx, nil)
}

// OncePoint does what Once does, and gives the recovery point a name. The error
// is ErrPointName or ErrNameTaken of package manifest if it cannot have it.
func (s *Sink) OncePoint(ctx context.Context, name string) (manifest.PointRef, error) {
	if err := manifest.CheckPointName(name); err != nil {
		return manifest.PointRef{}, err
	}
	q := newRequest(ctx, name)
	if _, err := s.capture(ctx, q); err != nil {
		return manifest.PointRef{}, err
	}
	<-q.done // its cut has been committed
	return q.point, q.err
}

// capture is Once for a request, or for nobody.
func (s *Sink) capture(ctx context.Context, q *request) (point uint64, err error) {
	rewritten := make(map[manifest.StreamKey]bool) // an unclean election may rewrite many, and a session ends with each
	for {
		ses, err := s.openFor(ctx, q)
		if err == nil {
			err = ses.run(ctx)
		}
		var d *divergence
		switch {
		case errors.Is(err, errGroupLog) && s.pollsInstead(err):
		case errors.Is(err, manifest.ErrOvertaken):
			s.Log.Warn("going on from the log", "error", err)
		case errors.As(err, &d) && !rewritten[d.key]:
			rewritten[d.key] = true
			s.Log.Warn("capturing the rewritten offsets as a branch", "error", err)
		case err != nil:
			return 0, err
		case ses.committer.lastPoint == 0:
			return 0, fmt.Errorf("interrupted before the recovery point was complete: %w", context.Cause(ctx))
		default:
			return ses.committer.lastPoint, nil
		}
	}
}

// Pauses between sessions of Run after a failure.
const (
	minRetry = time.Second
	maxRetry = 30 * time.Second
)

// Run captures until ctx is cancelled; then it seals and commits what it has
// and returns nil, or, if that fails, an error that matches context.Canceled. A
// failure of store or cluster ends the session; the next one goes on from the
// log. Only what a retry cannot mend is returned: the first session's failure
// to start, lost rights, damage, keys for a reader that is not to have them, a store that refuses what it is asked for or is of no use any more, and being fenced.
// It waits for a first topic that is selected, and warns of that.
func (s *Sink) Run(ctx context.Context) error {
	pause := minRetry
	safe := time.Now() // what was read before is committed
	admitted := false  // a session has seen topics; if the next one sees none, they are gone
	for first := true; ; first = false {
		started := time.Now()
		ses, err := s.open(ctx, false)
		if err != nil && first {
			return err
		}
		if err == nil {
			ses.observer.admitted = ses.observer.admitted || admitted
			err = ses.run(ctx)
			admitted = ses.observer.admitted
			safe = later(safe, ses.committer.until)
		}
		if err == nil || final(err) {
			return err
		}
		s.meter().Interrupted()
		if errors.Is(err, errGroupLog) && !s.pollsInstead(err) {
			return err
		}
		if ctx.Err() != nil {
			return interrupted(err, safe)
		}
		var d *divergence
		if time.Since(started) > time.Minute || errors.As(err, &d) {
			pause = minRetry // each of many rewritten partitions ends a session, which is no failure that repeats
		}
		s.Log.Error("capture interrupted, going on from the log", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return interrupted(err, safe)
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRetry)
	}
}

// interrupted is the error of a run that was told to stop and could not commit
// what it had read.
func interrupted(err error, safe time.Time) error {
	lost := time.Since(safe).Round(time.Second)
	return fmt.Errorf("what was read in the last %s is not in the repository, the next start captures it again: %w (%w)", lost, err, context.Canceled)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// final says that trying again would only repeat the error or hide it.
func final(err error) bool {
	for _, target := range []error{
		manifest.ErrFenced, manifest.ErrDamaged, manifest.ErrVersion, manifest.ErrOtherCluster, manifest.ErrReplica, manifest.ErrArchive, manifest.ErrNoRepository,
		manifest.ErrLocked, manifest.ErrUntrusted, manifest.ErrNoSigningKey, manifest.ErrKeyHolder,
		ErrUnreadable, kafka.ErrAuthorization, store.ErrAuth, store.ErrInvalid, store.ErrUnusable,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
