package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offsite-kafka/offsite/internal/admin"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// points answers as a capture would.
type points func(ctx context.Context, name string) (manifest.PointRef, error)

func (p points) Point(ctx context.Context, name string) (manifest.PointRef, error) {
	return p(ctx, name)
}

// serve returns the address of a listener that ends with the test, or with stop.
func serve(t *testing.T, p points) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, l, p, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), cancel
}

func client(t *testing.T, address string) *admin.Client {
	t.Helper()
	c, err := admin.NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPoint(t *testing.T) {
	at := time.Date(2026, 11, 22, 1, 2, 3, 4e6, time.UTC).UnixMilli()
	address, _ := serve(t, func(_ context.Context, name string) (manifest.PointRef, error) {
		switch name {
		case "taken":
			return manifest.PointRef{}, fmt.Errorf("%w: it is point 3", manifest.ErrNameTaken)
		case "latest":
			return manifest.PointRef{}, manifest.CheckPointName(name)
		case "late":
			return manifest.PointRef{}, fmt.Errorf("not yet: %w", context.DeadlineExceeded)
		}
		return manifest.PointRef{Sequence: 12, Time: at, Name: name}, nil
	})
	for _, base := range []string{address, "http://" + address, "http://" + address + "/"} {
		got, err := client(t, base).Point(t.Context(), "nightly")
		if want := (manifest.PointRef{Sequence: 12, Time: at, Name: "nightly"}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", base, got, err)
		}
	}
	for name, want := range map[string]error{"taken": manifest.ErrNameTaken, "latest": manifest.ErrPointName} {
		_, err := client(t, address).Point(t.Context(), name)
		if !errors.Is(err, want) || strings.Count(err.Error(), want.Error()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client(t, address).Point(t.Context(), "late"); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("got %v", err)
	}
}

func TestRequests(t *testing.T) {
	address, _ := serve(t, func(_ context.Context, name string) (manifest.PointRef, error) {
		return manifest.PointRef{Sequence: 1, Name: name}, nil
	})
	for _, tc := range []struct {
		method, path, kind, body string
		want                     int
	}{
		{"GET", "/healthz", "", "", 200},
		{"POST", "/healthz", "", "", 405},
		{"GET", "/v1/points", "", "", 405},
		{"GET", "/", "", "", 404},
		{"POST", "/v1/points", "application/json", `{"name":"a"}`, 201},
		{"POST", "/v1/points", "application/json; charset=utf-8", `{"name":"a"}`, 201},
		{"POST", "/v1/points", "text/plain", `{"name":"a"}`, 415},
		{"POST", "/v1/points", "application/x-www-form-urlencoded", `name=a`, 415},
		{"POST", "/v1/points", "", `{"name":"a"}`, 415},
		{"POST", "/v1/points", "application/json", `{"title":"a"}`, 400},
		{"POST", "/v1/points", "application/json", `nightly`, 400},
		{"POST", "/v1/points", "application/json", ``, 400},
		{"POST", "/v1/points", "application/json", `{"name":"` + strings.Repeat("x", 5000) + `"}`, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+address+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tc.kind)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%s %s %s %.40q: %s %s", tc.method, tc.path, tc.kind, tc.body, resp.Status, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Who waits is told when the daemon ends, and the daemon is told when nobody waits any more.
func TestEnds(t *testing.T) {
	waiting := make(chan struct{}, 2)
	gone := make(chan struct{}, 2)
	address, stop := serve(t, func(ctx context.Context, _ string) (manifest.PointRef, error) {
		waiting <- struct{}{}
		<-ctx.Done()
		gone <- struct{}{}
		return manifest.PointRef{}, ctx.Err()
	})
	ctx, giveUp := context.WithCancel(t.Context())
	go func() { <-waiting; giveUp() }()
	if _, err := client(t, address).Point(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	<-gone
	go func() { <-waiting; stop() }()
	if _, err := client(t, address).Point(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("stopped: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:8081": true, "localhost:8081": true, "[::1]:8081": true, "http://127.0.0.1:8081": true,
		"": false, "8081": false, "127.0.0.1": false, "https://127.0.0.1:8081": false, "http://u:p@127.0.0.1:1": false, "http://127.0.0.1:1/v1": false, "http://127.0.0.1:1?x": false,
	} {
		if _, err := admin.NewClient(address); (err == nil) != ok || err != nil && !errors.Is(err, admin.ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := client(t, "127.0.0.1:1").Point(t.Context(), "a"); err == nil {
		t.Error("nobody listens, and yet there is an answer")
	}
}
