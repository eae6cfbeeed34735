package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/segment"
	"golang.org/x/sync/errgroup"
)

// session is one uninterrupted stretch of capture, from the positions in the
// log until something fails or it is told to stop.
type session struct {
	*Sink
	once     bool
	named    *request        // what once's point is for, or nil
	state    *manifest.State // what the log says; only the committer appends to it
	log      *manifest.Log
	seal     func(counter uint64) (*segment.Seal, error) // of the segment with this counter; nil without encryption
	table    *table
	budget   *budget
	observer *observer
	ledger   *ledger
	groups   *groupLog
	marking  atomic.Pointer[marking] // of the recovery point that has been begun, or nil

	pieces   chan []piece // fetch loops -> gatherer
	cuts     chan *cut    // observer -> gatherer
	toEncode chan *block
	steps    chan step // gatherer -> writer, in order
	sealed   chan sealedSegment
	rooms    *rooms

	committer    *committer
	segmentBytes atomic.Int64 // stored size of the open segment
	silent       atomic.Bool  // no broker answers, as has been said
	refresh      chan struct{}
	progress     chan struct{} // streams may have reached their targets

	running map[int32]bool // brokers with a fetch loop; the observer's
}

// Encoders and the blocks that may wait for them.
const (
	encoders   = 2
	blockQueue = 4
)

// open reads the log and the cluster, and proves that every selected topic may
// be read.
func (s *Sink) open(ctx context.Context, once bool) (*session, error) {
	log, err := s.Repository.OpenLog(ctx, time.Now)
	if err == nil && log.State().IsArchive() {
		err = manifest.ErrArchive
	}
	if err != nil {
		return nil, err
	}
	log.Foreign = s.foreign
	s.meter().State(log.State())
	ses := s.newSession(log.State(), once)
	ses.log = log
	ses.seal = func(counter uint64) (*segment.Seal, error) { return s.Repository.NewSeal(log.Writer(), counter) }
	return ses, ses.observer.begin(ctx)
}

// newSession returns a session that knows what the state says. Without a log it
// can look at the cluster only.
func (s *Sink) newSession(state *manifest.State, once bool) *session {
	ses := &session{
		Sink: s, once: once, state: state,
		table: newTable(), ledger: newLedger(state), groups: newGroupLog(), budget: newBudget(s.Config.BudgetBytes),
		pieces: make(chan []piece), cuts: make(chan *cut),
		toEncode: make(chan *block, blockQueue), steps: make(chan step, blockQueue),
		sealed: make(chan sealedSegment), rooms: &rooms{}, refresh: make(chan struct{}, 1), progress: make(chan struct{}, 1),
		running: make(map[int32]bool),
	}
	agent := s.Agent
	if !once {
		agent.Program += runMark
	}
	ses.committer = &committer{ses: ses, agent: &agent, captured: state.Sequence} // whoever wrote that, and whatever
	ses.observer = newObserver(ses)
	return ses
}

// run captures until ctx is cancelled, or, for once, until everything is
// there. Cancelling ctx ends the fetching; what has been fetched is sealed and
// committed before run returns.
func (ses *session) run(ctx context.Context) error {
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	g, work := errgroup.WithContext(work)
	fetching, stopFetching := context.WithCancel(work)
	defer stopFetching()
	defer context.AfterFunc(ctx, func() {
		ses.Log.Info("stopping: sealing and committing what has been read")
		stopFetching()
	})()

	for range encoders {
		g.Go(func() error { return ses.encode(work) })
	}
	g.Go(func() error { return ses.write(work) })
	g.Go(func() error { return ses.commitAll(work) })
	g.Go(func() error { return ses.gather(work) })
	var stalled error
	g.Go(func() error {
		// The fetch loops' group ends when they all have; only then is
		// everything that was fetched with the gatherer.
		loops, lctx := errgroup.WithContext(fetching)
		err := ignoreCancel(ses.observer.watch(lctx, loops))
		stopFetching()
		if lost := ignoreCancel(loops.Wait()); lost != nil {
			return lost // which has interrupted the observer, too
		}
		if errors.Is(err, errStalled) {
			stalled, err = err, nil
		}
		if err == nil {
			close(ses.pieces)
		}
		return err
	})
	err := g.Wait()
	if err == nil {
		err = stalled
	}
	var d *divergence
	if errors.As(err, &d) {
		return errors.Join(err, ses.beginBranch(ctx, d))
	}
	return err
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// beginBranch records that a stream goes on on a branch. The pipeline has
// ended, so that the log is this goroutine's.
func (ses *session) beginBranch(ctx context.Context, d *divergence) error {
	log, err := ses.Repository.OpenLog(ctx, time.Now)
	if err != nil {
		return err
	}
	common, err := ses.endOfEpoch(ctx, d)
	if err != nil {
		return err
	}
	from := min(d.from, common)
	_, err = log.Append(ctx, func(state *manifest.State) (*manifest.Entry, error) {
		n, ok := state.Current(d.key)
		if !ok || state.Streams[n].Next <= from {
			return nil, nil // nothing that was rewritten has been committed
		}
		st := state.Streams[n]
		return &manifest.Entry{Time: time.Now().UnixMilli(), Streams: []manifest.NewStream{
			{Topic: st.Topic, Partition: st.Partition, Parent: n, First: from},
		}}, nil
	})
	return err
}

// endOfEpoch returns an offset below which all that was committed of the stream
// is of the divergence's epoch or an earlier one. The leader's end of that epoch
// alone would not do: above it may lie records of the epoch that this process
// never saw, in the place of which it has those of a later epoch. The log knows
// epochs by entry, so that the branch may begin too early, never too late.
func (ses *session) endOfEpoch(ctx context.Context, d *divergence) (int64, error) {
	ends := make(map[int]int64) // by stream: where its last entry up to the epoch ends
	// note says whether the stream of all that follows is known with it.
	note := func(state *manifest.State) bool {
		n, ok := state.Current(d.key)
		if !ok {
			return true
		}
		st := &state.Streams[n]
		if st.LeaderEpoch >= 0 && st.LeaderEpoch <= d.epoch {
			ends[n] = st.Next
		}
		return st.LeaderEpoch <= d.epoch && (st.LeaderEpoch >= 0 || st.Parent < 0)
	}
	state, err := ses.Repository.ReadSince(ctx, 0, note, func(state *manifest.State, _ *manifest.Entry) error {
		note(state)
		return nil
	})
	if err != nil {
		return 0, err
	}
	n, ok := state.Current(d.key)
	if !ok {
		return 0, nil
	}
	end := state.Streams[n].Next
	for ; n >= 0; n = state.Streams[n].Parent {
		if at, ok := ends[n]; ok {
			return min(end, at), nil
		}
		end = min(end, state.Streams[n].First)
	}
	return end, nil
}

// startFetchers makes sure that every broker that leads streams has a loop.
func (ses *session) startFetchers(ctx context.Context, loops *errgroup.Group) {
	for id := range ses.table.leaders() {
		if !ses.running[id] {
			ses.running[id] = true
			loops.Go(func() error { return ses.fetchLoop(ctx, id) })
		}
	}
}

// refreshSoon asks the observer to look up topics and leaders.
func (ses *session) refreshSoon() {
	select {
	case ses.refresh <- struct{}{}:
	default:
	}
}

// kickCut tells the observer that streams have advanced.
func (ses *session) kickCut() {
	select {
	case ses.progress <- struct{}{}:
	default:
	}
}

// view returns the selected topics as they are now.
func (ses *session) view() []manifest.Topic { return ses.observer.current() }

// addStream begins the capture of a partition that the table does not have. The
// gatherer has to know where it begins before anything of it is fetched.
func (ses *session) addStream(ctx context.Context, t *kafka.Topic, p *kafka.Partition, start int64) error {
	key := manifest.StreamKey{TopicID: t.ID, Partition: p.Index}
	s := &stream{
		key: key, topic: t.Name, next: start, enqueued: start, committed: start,
		lastEpoch: -1, leader: p.Leader, leaderEpoch: p.LeaderEpoch, stop: math.MaxInt64, emptyFrom: -1, confirmed: -1,
	}
	registration := newPiece(start)
	registration.stream, registration.logStart = s, -1
	select {
	case ses.pieces <- []piece{registration}:
		ses.table.add(s)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resumeStream goes on with a partition that the log knows.
func (ses *session) resumeStream(t *kafka.Topic, p *kafka.Partition, st *manifest.Stream) {
	ses.table.add(&stream{
		key: manifest.StreamKey{TopicID: t.ID, Partition: p.Index}, topic: t.Name,
		next: st.Next, enqueued: st.Next, committed: st.Next, lastEpoch: st.LeaderEpoch,
		leader: p.Leader, leaderEpoch: p.LeaderEpoch, stop: math.MaxInt64, emptyFrom: -1, confirmed: -1,
	})
}

// unreadable says which topic stands in the way.
func unreadable(topic string, err error) error {
	if errors.Is(err, kafka.ErrAuthorization) {
		return fmt.Errorf("%w: %s: %w: allow it, or exclude the topic", ErrUnreadable, topic, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreadable, topic, err)
}
