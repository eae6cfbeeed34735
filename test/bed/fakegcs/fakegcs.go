// Package fakegcs runs fake-gcs-server, which speaks the JSON API of Google Cloud Storage, on this machine, for tests.
// Objects are in its memory.
package fakegcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/server"
	"github.com/offsite-kafka/offsite/test/bed/tool"
)

// The server is built from a module of its own.
const (
	module  = "fakegcs"
	program = "github.com/fsouza/fake-gcs-server"
)

// Bucket is the bucket that every server starts with.
const Bucket = "offsite"

// Fetch fills the cache, as the first start of a server would.
func Fetch(ctx context.Context) error {
	_, err := tool.Build(ctx, module, program)
	return err
}

// Server is a GCS server. Methods are safe for concurrent use, except Restart, Kill and Close.
type Server struct{ *server.Server }

// Start starts a server for the duration of a test. It ends the test if the server does not start.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Up(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("start GCS server: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close GCS server: %v", err)
		}
	})
	return s
}

// Up starts a server with one empty bucket. dir takes the server's log; it stays the caller's to remove after Close.
// ctx bounds the start only.
func Up(ctx context.Context, dir string) (*Server, error) {
	path, err := tool.Build(ctx, module, program)
	if err != nil {
		return nil, err
	}
	running, err := server.New("fake-gcs-server", filepath.Join(dir, "fake-gcs-server.log"), func(addr string) *exec.Cmd {
		host, port, _ := net.SplitHostPort(addr) // of our own making
		return exec.Command(path, "-scheme", "http", "-host", host, "-port", port, "-backend", "memory", "-log-level", "warn")
	})
	if err != nil {
		return nil, err
	}
	s := &Server{running}
	if err = s.Restart(ctx); err == nil {
		err = s.CreateBucket(ctx, Bucket)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// CreateBucket makes another bucket.
func (s *Server) CreateBucket(ctx context.Context, name string) error {
	body := bytes.NewReader(fmt.Appendf(nil, `{"name":%q}`, name))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint()+"/storage/v1/b?project=test", body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("create bucket %s: %s", name, resp.Status)
	}
	return nil
}

// Env returns the environment variables that make Google's client libraries talk to the server, as "KEY=value".
func (s *Server) Env() []string { return []string{"STORAGE_EMULATOR_HOST=" + s.Endpoint()} }
