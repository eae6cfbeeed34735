package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	// dialTimeout is how long it may take to connect.
	dialTimeout = 10 * time.Second
	// silence is how long nothing may move on a connection, in either direction,
	// while a request is under way.
	silence = 2 * time.Minute
	// Idle is how long an unused connection is kept; silence goes on counting
	// meanwhile, so it has to be much shorter.
	Idle = 30 * time.Second

	// answerTime and slowest bound a request with content: the time for an answer,
	// and how many bytes must go in a second.
	answerTime = time.Minute
	slowest    = 64 << 10
)

// Dial connects to a server. The connection breaks when nothing moves on it for
// two minutes: when the server takes nothing any more, or does not answer.
func Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return talkative{conn}, nil
}

// talkative is a connection that breaks when nothing moves for silence.
type talkative struct{ net.Conn }

func (c talkative) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write also puts off the deadline of the Read that waits for the answer: that
// does not come before the request has gone.
func (c talkative) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Patience returns how long an attempt at a request may take whose content has so
// many bytes. On a line that is too thin for all that is sent at once, an attempt
// that takes longer makes the Window smaller, so that the next is faster.
func Patience(bytes int64) time.Duration {
	return answerTime + time.Duration(bytes)*time.Second/slowest
}

// Slow is the error of an attempt that took longer than it may.
type Slow struct {
	Bytes int64
	After time.Duration
}

func (s *Slow) Error() string {
	return fmt.Sprintf("no answer to a request with %d bytes within %s", s.Bytes, s.After.Round(time.Second))
}

// Timeout tells that a repetition may help.
func (s *Slow) Timeout() bool { return true }

// RetryableError tells the same to SDKs that look for it.
func (s *Slow) RetryableError() bool { return true }

// WithPatience returns a context for an attempt at a request with content.
func WithPatience(ctx context.Context, bytes int64) (context.Context, context.CancelFunc) {
	after := Patience(bytes)
	return context.WithTimeoutCause(ctx, after, &Slow{bytes, after})
}

// Explain returns the error of an attempt that ended because of its patience, or
// err.
func Explain(attempt context.Context, err error) error {
	var slow *Slow
	if err != nil && errors.As(context.Cause(attempt), &slow) {
		return slow
	}
	return err
}

// IsThrottling tells whether an answer asks for less.
func IsThrottling(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// RetryAfter returns how long a server asks to be left alone, at most longest.
func RetryAfter(header http.Header, longest time.Duration) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0 // it may be a date, which needs two clocks that agree
	}
	return min(time.Duration(seconds)*time.Second, longest)
}
