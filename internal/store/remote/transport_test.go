package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

var refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// answering returns a transport whose requests get the answers one after the
// other, the last of them for ever: a status, or an error.
func answering(answers ...any) (*remote.Transport, *[]string) {
	t := remote.NewTransport()
	bodies := &[]string{}
	t.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
		body := ""
		if r.Body != nil {
			data, _ := io.ReadAll(r.Body)
			body = string(data)
		}
		answer := answers[min(len(*bodies), len(answers)-1)]
		*bodies = append(*bodies, body)
		if err, ok := answer.(error); ok {
			return nil, err
		}
		return &http.Response{StatusCode: answer.(int), Body: http.NoBody, Request: r}, nil
	})
	return t, bodies
}

func send(ctx context.Context, t *testing.T, tr *remote.Transport, body io.Reader) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://host/x", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func TestRepeats(t *testing.T) {
	reset := errors.New("connection reset")
	for _, tt := range []struct {
		name    string
		answers []any
		sent    int
		status  int // 0 for an error
		unknown bool
	}{
		{"success", []any{200}, 1, 200, false},
		{"refused for good", []any{403}, 1, 403, false},
		{"not a thing that it does", []any{501}, 1, 501, false},
		{"full", []any{507}, 1, 507, false},
		{"busy, then success", []any{503, 500, 429, 408, 200}, 5, 200, true},
		{"too many, then refused", []any{429, 403}, 2, 403, false},
		{"reset, then refused", []any{reset, 403}, 2, 403, true},
		{"busy for ever", []any{503}, remote.Attempts, 503, true},
		{"reset for ever", []any{reset}, remote.Attempts, 0, true},
		{"never there", []any{refused}, remote.Attempts, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, bodies := answering(tt.answers...)
				ctx, watch := remote.WatchAttempts(t.Context())
				status, err := send(ctx, t, tr, strings.NewReader("body"))
				if status != tt.status || (err != nil) != (tt.status == 0) {
					t.Errorf("got status %d, %v, want %d", status, err, tt.status)
				}
				if len(*bodies) != tt.sent || watch.Unknown() != tt.unknown {
					t.Errorf("sent %d times, unknown: %t, want %d, %t", len(*bodies), watch.Unknown(), tt.sent, tt.unknown)
				}
				if slices.ContainsFunc(*bodies, func(body string) bool { return body != "body" }) {
					t.Errorf("sent %q, want the whole body each time", *bodies)
				}
			})
		})
	}
}

// A body that cannot be had again is not sent again.
func TestOnce(t *testing.T) {
	tr, bodies := answering(503, 200)
	if status, err := send(t.Context(), t, tr, io.MultiReader(strings.NewReader("body"))); status != 503 || len(*bodies) != 1 {
		t.Errorf("got status %d, %v after sending it %d times, want 503 after once", status, err, len(*bodies))
	}
}

func TestFirstRequestIsImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, _ := answering(refused)
		began := time.Now()
		_, err := send(t.Context(), t, tr, nil)
		if err = tr.Classify(t.Context(), err, nil); !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("%v, want ErrUnreachable", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
	tr, bodies := answering(&net.OpError{Op: "dial", Err: context.DeadlineExceeded})
	_, err := send(t.Context(), t, tr, nil)
	if err = tr.Classify(t.Context(), err, nil); !errors.Is(err, store.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || len(*bodies) != 1 {
		t.Errorf("%v after %d tries, want ErrUnreachable after the first timeout", err, len(*bodies))
	}
}

// Whoever calls is told of an outage that begins while requests are repeated, but
// not of a server that was never there.
func TestTellsOfRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		ctx := store.WithRepetition(t.Context(), func(_ error, l time.Duration) { left = append(left, l) })
		tr, _ := answering(refused)
		if _, err := send(ctx, t, tr, nil); err == nil || len(left) != 0 {
			t.Errorf("%v, told of %v, want nothing", err, left)
		}
		tr, _ = answering(404, refused)
		for range 2 {
			_, _ = send(ctx, t, tr, nil)
		}
		want := []time.Duration{30 * time.Second, 28 * time.Second, 24 * time.Second, 16 * time.Second}
		if !slices.Equal(left, want) {
			t.Errorf("told of %v, want %v", left, want)
		}
	})
}

func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		tr, _ := answering(503)
		_, err := send(ctx, t, tr, nil)
		if err = tr.Classify(ctx, err, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the error of the context", err)
		}
	})
}
