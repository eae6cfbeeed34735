//go:build e2e

package e2e_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// gate is a way to an S3 server on which chosen requests wait until it is opened.
type gate struct {
	url     string
	waiting chan struct{} // gets a value for each request that waits
	opened  chan struct{}
}

// newGate returns a gate to the server that lets through what holds does not hold.
func newGate(t *testing.T, s *objectstore.Server, holds func(*http.Request) bool) *gate {
	t.Helper()
	to, err := url.Parse(s.Endpoint())
	must(t, err)
	g := &gate{waiting: make(chan struct{}, 100), opened: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // which is signed
	}}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if holds(r) {
			g.waiting <- struct{}{}
			select {
			case <-g.opened:
			case <-r.Context().Done():
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(web.CloseClientConnections)
	g.url = web.URL
	return g
}

// through returns the repository as it is reached through the gate.
func (g *gate) through(r *repository) *repository {
	return &repository{t: r.t, url: r.url, env: append(append([]string{}, r.env...), "AWS_ENDPOINT_URL="+g.url)}
}

// await waits until a request waits.
func (g *gate) await(t *testing.T) {
	t.Helper()
	select {
	case <-g.waiting:
	case <-time.After(patience):
		t.Fatal("no request came to the gate")
	}
}

func isSegment(r *http.Request, method string) bool {
	return r.Method == method && strings.Contains(r.URL.Path, "/data/")
}

func TestSignalEndsRun(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 5, "orders")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			r := newRepository(t)
			// Only the end of the run seals the second half: nothing else would for an hour.
			p := r.start("backupd", c, "run", "-X", "points.every=1h", "-X", "segment.maxAge=1h")
			eventually(t, "the first point", func() bool { return r.committed(t) >= 5 })
			must(t, p.Signal(s))
			if o := p.wait(t); o.code != exitOK || !strings.Contains(o.stderr, "capture ended") {
				t.Errorf("ended with %d\n%s", o.code, o.stderr)
			}
			r.run("restored", nil, "verify")
		})
	}
}

// A second signal ends backupd at once, although the store has not answered.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	c, s := cluster.Start(t, cluster.Options{}), objectstore.Start(t)
	fill(t, c, 5, "orders")
	for _, command := range []string{"run", "once"} {
		t.Run(command, func(t *testing.T) {
			direct := &repository{t: t, url: "s3://" + objectstore.Bucket + "/" + command, env: s.Env()}
			g := newGate(t, s, func(r *http.Request) bool { return isSegment(r, http.MethodPut) })
			p := g.through(direct).start("backupd", c, command)
			g.await(t)
			must(t, p.Signal(syscall.SIGTERM))
			select {
			case <-p.Done():
				t.Fatalf("it did not wait for its segment:\n%s", p.outcome(t).stderr)
			case <-time.After(time.Second):
			}
			must(t, p.Signal(syscall.SIGTERM))
			wantError(t, p.wait(t), exitCancelled, "a second signal", "not committed")
			if n := direct.committed(t); n != 0 {
				t.Errorf("%d records are committed without their segment", n)
			}
			direct.backup(c)
			direct.run("restored", nil, "verify")
			if n := direct.committed(t); n != 5 {
				t.Errorf("%d records are committed, want 5", n)
			}
		})
	}
}

// One signal is enough while nothing has been captured yet.
func TestSignalWhileConnecting(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 5, "orders")
	r := newRepository(t)
	r.backup(c)
	for _, args := range [][]string{{"backupd", "once"}, {"backupd", "run"}, {"restored", "plan"}, {"restored", "run", "--yes"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer silent.Close()
			p := r.in(t).start(args[0], nil, append(args[1:], "--bootstrap-server", silent.Addr().String())...)
			conn, err := silent.Accept()
			must(t, err)
			defer conn.Close()
			must(t, p.Signal(syscall.SIGTERM))
			wantError(t, p.wait(t), exitCancelled, "interrupted")
		})
	}
}

// A restore that is interrupted says so, and the same command ends it.
func TestSignalEndsRestore(t *testing.T) {
	t.Parallel()
	source, target, s := cluster.Start(t, cluster.Options{}), cluster.Start(t, cluster.Options{}), objectstore.Start(t)
	fill(t, source, 50, "orders")
	direct := &repository{t: t, url: "s3://" + objectstore.Bucket + "/backup", env: s.Env()}
	direct.backup(source)
	var reads atomic.Int32
	g := newGate(t, s, func(r *http.Request) bool {
		if isSegment(r, http.MethodGet) {
			return reads.Add(1) > 1 // the first is the footer, for the plan
		}
		return false
	})
	p := g.through(direct).start("restored", target, "run", "--yes")
	g.await(t)
	must(t, p.Signal(syscall.SIGTERM))
	wantError(t, p.wait(t), exitCancelled, "interrupted", "same command")
	direct.restore(target)
	requireSame(t, readTopic(t, source, "orders"), readTopic(t, target, "orders"))
}
