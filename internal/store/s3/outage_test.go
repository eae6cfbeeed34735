package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

var refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// A server that was never there is given up soon, in words that name it.
func TestNeverReached(t *testing.T) {
	setCredentials(t)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:1":        "connection refused",
		"http://store.invalid:9000": "store.invalid",
		secure.URL:                  "certificate",
		strings.Replace(plain.URL, "http:", "https:", 1): "HTTP response to HTTPS",
	} {
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		s.RetryAtOnce()
		_, err = s.Stat(t.Context(), "k")
		wantClass(t, err, store.ErrUnreachable)
		if text := err.Error(); !strings.HasPrefix(text, "stat k: cannot reach the object store: "+endpoint+": ") || !strings.Contains(text, want) {
			t.Errorf("%s, want it to begin with the endpoint and to say %q", text, want)
		}
		wantClass(t, putBytes(s, 1, true), store.ErrUnreachable)
		wantClass(t, putBytes(s, s3.PartSize+1, true), store.ErrUnreachable)
		wantClass(t, s.List(t.Context(), "", nil), store.ErrUnreachable)
	}
}

// refusing returns a store that was reached, or not, and is not any more.
func refusing(t *testing.T, reached bool) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	s.Transport(func(r *http.Request) (*http.Response, error) {
		if reached {
			reached = false
			return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
		}
		return nil, refused
	})
	if reached {
		_, err := readAll(s, 0, -1)
		wantClass(t, err, nil)
	}
	return s
}

func TestFirstRequestIsImpatient(t *testing.T) {
	setCredentials(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := putBytes(refusing(t, false), 1, true)
		wantClass(t, err, store.ErrUnreachable)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A server that does not even refuse has taken a dial's timeout to notice.
func TestFirstTimeoutIsFinal(t *testing.T) {
	s, _ := open(t, "", nil)
	tries := 0
	s.Transport(func(*http.Request) (*http.Response, error) {
		tries++
		return nil, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	})
	wantClass(t, putBytes(s, 1, true), store.ErrUnreachable)
	if tries != 1 {
		t.Errorf("tried %d times", tries)
	}
}

// An attempt that was refused after one of which the outcome is unknown.
func TestRefusedAfterUnknown(t *testing.T) {
	s, _ := open(t, "", nil)
	tries := 0
	s.Transport(func(*http.Request) (*http.Response, error) {
		if tries++; tries == 1 {
			return nil, errors.New("connection reset")
		}
		return nil, refused
	})
	wantClass(t, putBytes(s, 1, true), nil)
}

// repetitions collects what a store tells of them.
type repetitions struct {
	sync.Mutex
	left []time.Duration
	err  error // the last
}

func (r *repetitions) watch(ctx context.Context) context.Context {
	return store.WithRepetition(ctx, func(err error, left time.Duration) {
		r.Lock()
		defer r.Unlock()
		r.left, r.err = append(r.left, left), err
	})
}

// Whoever calls is told of an outage that begins while the SDK repeats.
func TestTellsOfRepetitions(t *testing.T) {
	setCredentials(t)
	synctest.Test(t, func(t *testing.T) {
		s := refusing(t, true)
		var told repetitions
		_, err := s.Stat(told.watch(t.Context()), "k")
		wantClass(t, err, nil)
		want := []time.Duration{30 * time.Second, 28 * time.Second, 24 * time.Second, 16 * time.Second}
		if !slices.Equal(told.left, want) || !errors.Is(told.err, refused) {
			t.Errorf("told of %v, %v, want %v", told.left, told.err, want)
		}
	})
	for op, size := range map[string]int{"PutObject": 1, "UploadPart": s3.PartSize + 1, "CompleteMultipartUpload": s3.PartSize + 1} {
		s, _ := open(t, "", answers{op: {apiError(503, "SlowDown"), success}})
		var told repetitions
		_, err := s.Put(told.watch(t.Context()), "k", strings.NewReader(strings.Repeat("x", size)), store.PutOptions{})
		if err != nil || len(told.left) != 1 || !strings.Contains(fmt.Sprint(told.err), "SlowDown") {
			t.Errorf("%s: %v, told of %v, %v", op, err, told.left, told.err)
		}
	}
	s, _ := open(t, "", answers{"HeadObject": {apiError(403, "")}})
	var told repetitions
	if _, err := s.Stat(told.watch(t.Context()), "k"); !errors.Is(err, store.ErrAuth) || len(told.left) != 0 {
		t.Errorf("%v, told of %v, which is not repeated", err, told.err)
	}
}

// A wrong endpoint says so once.
func TestSilentWhileNeverReached(t *testing.T) {
	setCredentials(t)
	synctest.Test(t, func(t *testing.T) {
		var told repetitions
		_, err := refusing(t, false).Stat(told.watch(t.Context()), "k")
		wantClass(t, err, store.ErrUnreachable)
		if len(told.left) != 0 {
			t.Errorf("told of %v", told.err)
		}
	})
}
