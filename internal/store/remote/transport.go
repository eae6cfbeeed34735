package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

const (
	// Attempts bounds how often a request is sent.
	Attempts = 5
	// firstWait bounds the waits between them as long as nothing has ever
	// answered: a wrong endpoint is then more likely than a server that comes back.
	firstWait = time.Second
	// maxWait bounds them later.
	maxWait = 20 * time.Second

	// maxDrained is what is read of an answer that is of no use, to keep its connection.
	maxDrained = 64 << 10
)

// Transport sends requests, and sends again those that failed for reasons that
// may pass: no answer, or the statuses 408, 429 and 5xx. It is for SDKs whose own
// repetitions are turned off, because they tell nobody, or have no bound.
//
// Requests are sent by HTTP/1.1, each on a connection of its own, through the
// proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). The
// system's authorities are trusted, or those in SSL_CERT_FILE and SSL_CERT_DIR.
type Transport struct {
	// Base sends one request.
	Base http.RoundTripper
	// After is what the waits between the attempts wait for, as time.After does.
	After func(time.Duration) <-chan time.Time
	// Window is for the parts of uploads. It shrinks when the server asks for less.
	Window *Window

	reached atomic.Bool // there was an answer, whatever it said
}

// NewTransport returns a transport for one store.
func NewTransport() *Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &Transport{After: time.After, Window: NewWindow(), Base: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         Dial,
		Protocols:           &protocols,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     Idle,
		DisableCompression:  true, // a body that is unpacked on its way has not the length that was announced
	}}
}

// Reached tells whether there was an answer to any request, whatever it said.
func (t *Transport) Reached() bool { return t.reached.Load() }

// RoundTrip implements http.RoundTripper. A request whose body cannot be had
// again, by its GetBody, is sent once.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 1; ; attempt++ {
		resp, err := t.attempt(req)
		if err == nil {
			t.reached.Store(true)
		}
		failure := failureOf(resp, err)
		if resp != nil && IsThrottling(resp.StatusCode) || err != nil && !IsUnsent(err) && IsTimeout(err) {
			t.Window.Shrink()
		}
		if failure == nil || ctx.Err() != nil {
			return resp, err
		}
		watchOf(ctx).failed(failure)
		if attempt == Attempts || !isRewindable(req) || !t.Reached() && IsUnsent(err) && IsTimeout(err) {
			return resp, err // in the last case, it has taken long enough
		}
		// What may end as ErrUnreachable does so soon, and says all there is to say.
		if t.Reached() || !IsUnsent(err) {
			store.TellRepetition(ctx, failure, t.waits(attempt))
		}
		if req, err = t.again(req, resp, attempt); err != nil {
			return nil, err
		}
	}
}

type partKey struct{}

// AsPart returns a context for the request that sends a part of an upload, whose
// attempts wait for their turn in the Window.
func AsPart(ctx context.Context) context.Context { return context.WithValue(ctx, partKey{}, true) }

// attempt sends a request once. With content, it may take so long and no longer.
func (t *Transport) attempt(req *http.Request) (resp *http.Response, err error) {
	if req.Context().Value(partKey{}) != nil {
		if err := t.Window.Enter(req.Context()); err != nil {
			return nil, err
		}
		defer func() { t.Window.Leave(failureOf(resp, err) == nil) }()
	}
	if req.ContentLength <= 0 {
		return t.Base.RoundTrip(req)
	}
	ctx, cancel := WithPatience(req.Context(), req.ContentLength)
	resp, err = t.Base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = Explain(ctx, err)
		cancel()
		return nil, err
	}
	resp.Body = ending{resp.Body, cancel}
	return resp, nil
}

// ending is a body that ends the context that it was received with.
type ending struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (e ending) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}

// status is an answer as an error.
type status int

func (s status) Error() string { return fmt.Sprintf("%d %s", int(s), http.StatusText(int(s))) }

// failureOf returns what went wrong with an attempt that may be repeated, or nil.
func failureOf(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	if code := resp.StatusCode; code == http.StatusRequestTimeout || code == http.StatusTooManyRequests ||
		code >= 500 && code != http.StatusNotImplemented && code != http.StatusInsufficientStorage {
		return status(code)
	}
	return nil
}

func isRewindable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// again waits, and returns the request to be sent next. It is done with resp.
func (t *Transport) again(req *http.Request, resp *http.Response, attempt int) (*http.Request, error) {
	longest, asked := t.longest(attempt), time.Duration(0)
	if resp != nil {
		asked = RetryAfter(resp.Header, longest)
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // for the sake of the connection only
		resp.Body.Close()
	}
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-t.After(max(asked, longest/2+rand.N(longest/2+1))):
	}
	next := req.Clone(req.Context())
	if req.GetBody != nil {
		var err error
		if next.Body, err = req.GetBody(); err != nil {
			return nil, fmt.Errorf("rewind the request: %w", err)
		}
	}
	return next, nil
}

// longest returns how long the wait after the given attempt can be.
func (t *Transport) longest(attempt int) time.Duration {
	if !t.Reached() {
		return firstWait
	}
	return min(time.Second<<attempt, maxWait)
}

// waits returns how long all waits from that after the given attempt on can be.
func (t *Transport) waits(attempt int) (sum time.Duration) {
	for ; attempt < Attempts; attempt++ {
		sum += t.longest(attempt)
	}
	return sum
}

// Watch notes whether any attempt at the requests of a call may have taken effect
// although it failed.
type Watch struct {
	mu      sync.Mutex
	unknown bool
}

type watchKey struct{}

// WatchAttempts returns a context for the requests of one call.
func WatchAttempts(ctx context.Context) (context.Context, *Watch) {
	w := &Watch{}
	return context.WithValue(ctx, watchKey{}, w), w
}

// watchOf returns the watch of a call, or nil.
func watchOf(ctx context.Context) *Watch {
	w, _ := ctx.Value(watchKey{}).(*Watch)
	return w
}

func (w *Watch) failed(err error) {
	if w == nil || IsUnsent(err) || errors.Is(err, status(http.StatusTooManyRequests)) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unknown = true
}

// Unknown tells whether there was such an attempt.
func (w *Watch) Unknown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unknown
}

// Classify wraps the error of a call in what package store promises. class is
// the error of package store that says what the server's answer says, or nil.
func (t *Transport) Classify(ctx context.Context, err, class error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %v", ctx.Err(), err)
	case class == nil && IsUnsent(err) && !t.Reached():
		return Unreachable(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// A timeout of the network, which must not look like the caller's.
		return fmt.Errorf("%v", err)
	case class != nil && !errors.Is(err, class):
		return fmt.Errorf("%w: %w", class, err)
	}
	return err
}

// ClassifyPut is Classify for a call that may have made an object visible. A
// clear refusal of the last attempt says nothing about the ones before, except
// ErrExists, which promises nothing.
func (t *Transport) ClassifyPut(ctx context.Context, err, class error, w *Watch) error {
	refused := class != nil && !errors.Is(class, store.ErrExists) || class == nil && IsUnsent(err)
	if err != nil && ctx.Err() == nil && refused && w.Unknown() {
		return fmt.Errorf("unknown if stored: %v", err)
	}
	return t.Classify(ctx, err, class)
}
