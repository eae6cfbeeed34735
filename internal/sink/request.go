package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"golang.org/x/sync/errgroup"
)

// Requests lets others ask a running capture for recovery points.
type Requests struct {
	queue   chan *request
	waiting []*request // the observer's, over all sessions
}

// NewRequests returns Requests for one Sink.
func NewRequests() *Requests { return &Requests{queue: make(chan *request)} }

// request asks for a recovery point with a name.
type request struct {
	ctx  context.Context // of who waits
	name string
	by   *session // that has begun a cut for it, or nil

	// Set before done is closed: the point, or why it did not get the name.
	point manifest.PointRef
	err   error
	done  chan struct{}
}

func newRequest(ctx context.Context, name string) *request {
	return &request{ctx: ctx, name: name, done: make(chan struct{})}
}

// Point waits for a recovery point that begins after the call and has the given
// name. It may be called concurrently, and is durable when Point returns nil.
// The error is ErrPointName or ErrNameTaken of package manifest, or that of ctx; then the point may be
// made all the same, a moment later.
func (r *Requests) Point(ctx context.Context, name string) (manifest.PointRef, error) {
	if err := manifest.CheckPointName(name); err != nil {
		return manifest.PointRef{}, err
	}
	req := newRequest(ctx, name)
	select {
	case r.queue <- req:
	case <-ctx.Done():
		return manifest.PointRef{}, fmt.Errorf("the capture is interrupted at present: %w", context.Cause(ctx))
	}
	select {
	case <-req.done:
		return req.point, req.err
	case <-ctx.Done(): // of the caller, or of all that this process does
		return manifest.PointRef{}, fmt.Errorf("recovery point %s is not complete yet, and backupd run is ending (its log says why; a point that was not made has to be asked for again): %w", name, context.Cause(ctx))
	}
}

// asked is where requests come from.
func (r *Requests) asked() <-chan *request {
	if r == nil {
		return nil
	}
	return r.queue
}

// open returns the requests that no cut of the session is under way for, and
// forgets those that are settled or given up.
func (r *Requests) open(ses *session) (list []*request) {
	if r == nil {
		return nil
	}
	r.waiting = slices.DeleteFunc(r.waiting, func(q *request) bool { return q.settled() || q.by != ses && q.ctx.Err() != nil })
	for _, q := range r.waiting {
		if q.by != ses {
			list = append(list, q)
		}
	}
	return list
}

func (q *request) settled() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// nameIn is what the point of the request will be called: nothing if there is no
// request, or if the name is taken, which is noted.
func (q *request) nameIn(state *manifest.State) string {
	if q == nil {
		return ""
	}
	if q.err = state.CheckPointName(q.name); q.err != nil {
		return ""
	}
	return q.name
}

// openFor opens a session of Once whose point is for a request, or for nobody.
func (s *Sink) openFor(ctx context.Context, q *request) (*session, error) {
	ses, err := s.open(ctx, true)
	if err != nil {
		return nil, err
	}
	running := besideRun(ses.state, time.Now())
	if q == nil {
		if running != nil && !s.Config.BesideRun {
			s.Log.Warn("capturing all the same: one of the two will end, with exit code 11, where it captures the same topics", "reason", running)
		}
		return ses, nil
	}
	if q.nameIn(ses.state) == "" {
		return nil, q.err
	}
	if running != nil && !s.Config.BesideRun {
		return nil, fmt.Errorf("%w; if it has ended, say so with --alone", running)
	}
	ses.named = q
	return ses, nil
}

// runMark ends the program's name in the agent of a Run.
const runMark = " run"

// besideRun returns ErrRunning if the log looks as if a Run were at work: it
// commits once in quietPoints at least, unless points are far apart. One that has ended looks
// so for a while, too, so that nobody is refused for good. This spares both an end; what keeps
// them apart is the log.
func besideRun(state *manifest.State, now time.Time) error {
	age := now.Sub(time.UnixMilli(state.Time))
	if state.Agent == nil || !strings.HasSuffix(state.Agent.Program, runMark) || age > 2*quietPoints {
		return nil
	}
	return fmt.Errorf("%w: the one on %s has committed %s ago", ErrRunning, state.Agent.Host, age.Round(time.Second))
}

// settle tells who asked that the cut has been committed; e is nil if it made no entry.
func (q *request) settle(e *manifest.Entry) {
	if q == nil || q.settled() {
		return
	}
	if q.err == nil { // it has the name
		q.point = manifest.PointRef{Sequence: e.Sequence, Time: e.Point.Time, Name: q.name}
	}
	close(q.done)
}

// release lets another cut be begun for the request.
func (q *request) release() {
	if q != nil {
		q.by = nil
	}
}

// request returns what the cut that is being begun is for, or nil.
func (o *observer) request() *request {
	q := o.ses.named
	if open := o.ses.Requests.open(o.ses); q == nil && len(open) > 0 {
		q = open[0]
	}
	if q != nil {
		q.by = o.ses
	}
	return q
}

// ask takes a request in. A cut that is under way has begun before it.
func (o *observer) ask(ctx context.Context, loops *errgroup.Group, q *request) error {
	o.ses.Requests.waiting = append(o.ses.Requests.waiting, q)
	return o.beginAsked(ctx, loops)
}

// beginAsked begins a recovery point if one is asked for and none is under way.
func (o *observer) beginAsked(ctx context.Context, loops *errgroup.Group) error {
	if o.next != nil || len(o.ses.Requests.open(o.ses)) == 0 {
		return nil
	}
	return o.beginCut(ctx, loops)
}
