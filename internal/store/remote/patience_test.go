package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store/remote"
)

const part = 8 << 20

// hung takes requests and never answers.
func hung(sent *int) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		*sent++
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

func TestPatienceFollowsSize(t *testing.T) {
	small, large := remote.Patience(1000), remote.Patience(part)
	if small > 2*time.Minute || large < 3*time.Minute || large > 5*time.Minute {
		t.Errorf("%s for 1000 bytes, %s for a part", small, large)
	}
}

// A request that hangs is sent again, a bounded number of times, in bounded time.
func TestHungRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1000, part} {
			tr, sent := remote.NewTransport(), 0
			tr.Base = hung(&sent)
			ctx, watch := remote.WatchAttempts(t.Context())
			began := time.Now()
			_, err := send(ctx, t, tr, strings.NewReader(strings.Repeat("x", size)))
			var slow *remote.Slow
			if !errors.As(err, &slow) || slow.Bytes != int64(size) || !remote.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%d bytes: got %v", size, err)
			}
			if sent != remote.Attempts || !watch.Unknown() {
				t.Errorf("%d bytes: sent %d times, unknown %t", size, sent, watch.Unknown())
			}
			took, least := time.Since(began), time.Duration(remote.Attempts)*remote.Patience(int64(size))
			if took < least || took > least+time.Duration(remote.Attempts)*remote.MaxWait {
				t.Errorf("%d bytes: took %s, want %s and the waits", size, took, least)
			}
		}
	})
}

// The end of the caller's context is his own.
func TestCancelledWhileHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, sent := remote.NewTransport(), 0
		tr.Base = hung(&sent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := send(ctx, t, tr, strings.NewReader("x")); !errors.Is(err, context.DeadlineExceeded) || sent != 1 {
			t.Errorf("got %v after %d requests", err, sent)
		}
	})
}

// An answer ends the patience when its body is closed, not before.
func TestPatienceLastsForTheBody(t *testing.T) {
	tr := remote.NewTransport()
	var ctx context.Context
	tr.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
		ctx = r.Context()
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("answer")), Request: r}, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://host/x", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	resp.Body.Close()
	if ctx.Err() == nil {
		t.Error("the context of the attempt goes on")
	}
}

// A server that says for how long it wants no request gets none, as long as that is bounded.
func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"2": 2 * time.Second, "100000": 4 * time.Second, "": 0, "soon": 0, "-1": 0} {
		header := http.Header{}
		header.Set("Retry-After", value)
		if got := remote.RetryAfter(header, 4*time.Second); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
	tr, sent := remote.NewTransport(), 0
	tr.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
		if sent++; sent == 2 {
			return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"1000"}}, Body: http.NoBody, Request: r}, nil
		}
		return &http.Response{StatusCode: map[bool]int{true: 200, false: 503}[sent > 2], Body: http.NoBody, Request: r}, nil
	})
	var waits []time.Duration
	tr.After = func(d time.Duration) <-chan time.Time {
		waits = append(waits, d)
		return time.After(0)
	}
	if status, err := send(t.Context(), t, tr, strings.NewReader("x")); status != 200 || err != nil {
		t.Fatal(status, err)
	}
	if len(waits) != 2 || waits[0] > 2*time.Second || waits[1] != 4*time.Second {
		t.Errorf("waits %v, want the second to be as long as can be", waits)
	}
}

// Servers that are busy, or too slow, get fewer parts at once.
func TestTransportShrinksItsWindow(t *testing.T) {
	for name, answer := range map[string]any{"429": 429, "503": 503, "slow": &remote.Slow{}} {
		tr, _ := answering(answer, 200)
		for range 8 {
			if err := tr.Window.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		tr.After = func(time.Duration) <-chan time.Time { return time.After(0) }
		if status, err := send(t.Context(), t, tr, strings.NewReader("x")); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		tr.Window.Leave(true)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := tr.Window.Enter(short); err == nil {
			t.Errorf("%s: 8 parts are still let in", name)
		}
		cancel()
	}
	for _, answer := range []any{500, 404, refused} {
		tr, _ := answering(answer, 200)
		tr.After = func(time.Duration) <-chan time.Time { return time.After(0) }
		_, _ = send(t.Context(), t, tr, strings.NewReader("x"))
		for range remote.Widest {
			if err := tr.Window.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A line that is thin, but moves, is no reason to give up; one on which nothing moves is.
func TestConnectionThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		conn := remote.Watched(here)
		defer conn.Close()
		answered := make(chan error)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			answered <- err
		}()
		go func() { // takes a byte a minute for an hour, then nothing
			for range 60 {
				time.Sleep(time.Minute)
				_, _ = io.ReadFull(there, make([]byte, 1))
			}
		}()
		began := time.Now()
		for range 60 {
			if _, err := conn.Write([]byte{1}); err != nil {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
		}
		if _, err := conn.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour+remote.Silence {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := <-answered; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer: %v", err)
		}
	})
}
