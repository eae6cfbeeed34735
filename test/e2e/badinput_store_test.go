//go:build e2e

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/child"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

func TestDirectoryThatCannotBe(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	file := writeFile(t, "file", "mine")
	for name, url := range map[string]string{"a file": file, "below a file": filepath.Join(file, "below"), "URL of a file": "file://" + file} {
		t.Run(name, func(t *testing.T) {
			r := &repository{t: t, url: url}
			for _, o := range []outcome{
				r.try("backupd", c, "once"), r.try("backupd", c, "run"), r.try("backupd", nil, "status"),
				r.try("restored", nil, "list"), r.try("restored", nil, "verify"), r.try("restored", c, "plan"),
			} {
				wantError(t, o, exitUsage, file, "not a directory")
			}
			wantJSONError(t, r.try("backupd", nil, "status", "-o", "json"), exitUsage, file)
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file was changed: %q, %v", b, err)
	}
	t.Run("name too long", func(t *testing.T) {
		r := &repository{t: t, url: filepath.Join(t.TempDir(), strings.Repeat("x", 300))}
		wantError(t, r.try("backupd", c, "once"), exitFailed, "file name too long")
	})
}

// limited runs backupd with a limit on the size of the files it writes: what the system says then is that there is no
// room, as it does on a full disk, which a test cannot have without being root.
func (r *repository) limited(t *testing.T, c *cluster.Cluster, kib string, args ...string) outcome {
	t.Helper()
	args = append(args, "--repo", r.url, "--bootstrap-server", strings.Join(c.Bootstrap(), ","))
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -f "$0" && exec backupd "$@"`, kib}, args...)...)
	p := &process{name: "backupd with a limit"}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	var err error
	p.Process, err = child.Start(cmd)
	must(t, err)
	t.Cleanup(func() { must(t, p.Kill()) })
	return p.wait(t)
}

func TestFullStore(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	t.Run("no room for a repository", func(t *testing.T) {
		r := newRepository(t)
		wantError(t, r.limited(t, c, "0", "once"), exitFailed, r.url, "try the store", "no space left", "make room")
		wantError(t, r.try("backupd", nil, "status"), exitNoRepository, r.url)
		r.backup(c) // now there is
		r.run("restored", nil, "verify")
	})
	t.Run("no room for a segment", func(t *testing.T) {
		r := newRepository(t)
		r.backup(c)
		before := r.contents(t)
		p := producer(t, c)
		for range 8 {
			produce(t, p, &kgo.Record{Topic: "orders", Value: incompressible(64 << 10)})
		}
		wantError(t, r.limited(t, c, "64", "once"), exitFailed, "no space left", "make room")
		r.wantUnchanged(t, before)
		if got := r.committed(t); got != 3 {
			t.Errorf("%d records are committed, want 3", got)
		}
		r.run("restored", nil, "verify")
		r.backup(c)
		if got := r.committed(t); got != 11 {
			t.Errorf("with room again, %d records are committed, want 11", got)
		}
		r.run("restored", nil, "verify")
	})
}

// wantUnchanged fails the test unless the repository holds the objects given, and no others but reports of restores.
func (r *repository) wantUnchanged(t *testing.T, before map[string]string) {
	t.Helper()
	now := r.contents(t)
	for key, was := range before {
		if got, ok := now[key]; !ok || got != was {
			t.Errorf("%s was changed or removed", key)
		}
	}
	for key := range now {
		if _, ok := before[key]; !ok && !strings.HasPrefix(key, "reports/") { // a restore leaves one, however it ends
			t.Errorf("%s was added", key)
		}
	}
}

func incompressible(n int) []byte {
	b := make([]byte, n)
	state := uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}

func TestBadBucket(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{})
	fill(t, c, 3, "orders")
	s := objectstore.Start(t)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	good := "s3://" + objectstore.Bucket + "/backup"
	for _, test := range []struct {
		name, url string
		env       []string
		code      int
		words     []string
	}{
		{"no such bucket", "s3://nobucket/backup", nil, exitUsage, []string{"bucket nobucket does not exist"}},
		{"wrong secret", good, []string{"AWS_SECRET_ACCESS_KEY=" + secret}, exitRefused, []string{"access denied", "AWS_SECRET_ACCESS_KEY"}},
		{"wrong key", good, []string{"AWS_ACCESS_KEY_ID=nobody"}, exitRefused, []string{"access denied", "AWS_ACCESS_KEY_ID"}},
		{"no keys", good, []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, exitRefused, []string{"access denied", "credentials", "AWS_ACCESS_KEY_ID"}},
		{"unknown host", good, []string{"AWS_ENDPOINT_URL=http://store.invalid:9000"}, exitFailed, []string{"store.invalid", "no such host"}},
		{"no URL for an endpoint", good, []string{"AWS_ENDPOINT_URL=store.invalid:9000"}, exitUsage, []string{"is not a URL such as https://", "AWS_ENDPOINT_URL"}},
		{"another web server", good, []string{"AWS_ENDPOINT_URL=" + web.URL}, exitFailed, []string{"404"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &repository{t: t, url: test.url, env: append(s.Env(), test.env...)}
			words := append(test.words, test.url)
			wantError(t, r.try("backupd", c, "once", "--log-level", "debug"), test.code, words...)
			wantError(t, r.try("restored", nil, "list"), test.code, words...)
			wantJSONError(t, r.try("backupd", nil, "status", "-o", "json"), test.code, words...)
		})
	}
	r := &repository{t: t, url: good, env: s.Env()}
	wantError(t, r.try("restored", nil, "list"), exitNoRepository, good)
	r.backup(c)
	r.run("restored", nil, "verify")
}
