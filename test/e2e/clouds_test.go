//go:build e2e

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
)

// newGCSBucket returns a repository on a GCS server that goes with the test.
func newGCSBucket(t testing.TB) *repository {
	s := fakegcs.Start(t)
	return &repository{t: t, url: "gs://" + fakegcs.Bucket + "/backup", env: s.Env()}
}

func TestGCS(t *testing.T) {
	checkRoundTrip(t, cluster.Start(t, cluster.Options{}), newGCSBucket(t))
}

// checkRoundTrip backs up twice, verifies, and restores beside the original. One segment has more than a part, the others
// have less.
func checkRoundTrip(t *testing.T, c *cluster.Cluster, r *repository) {
	t.Helper()
	fill(t, c, 100, "orders")
	r.expect(exitNoRepository, "restored", nil, "list")
	r.backup(c)
	p := producer(t, c)
	for range 12 {
		produce(t, p, &kgo.Record{Topic: "orders", Value: incompressible(900 << 10)})
	}
	r.backup(c)
	if got := r.committed(t); got != 112 {
		t.Errorf("%d records are committed, want 112", got)
	}
	r.run("restored", nil, "verify")
	r.restore(c, "--topics", "orders", "--rename", "orders=copy")
	requireSame(t, readTopic(t, c, "orders"), readTopic(t, c, "copy"))
}

func TestBadGCSBucket(t *testing.T) {
	s := fakegcs.Start(t)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	good := "gs://" + fakegcs.Bucket + "/backup"
	none := filepath.Join(t.TempDir(), "none.json")
	for _, test := range []struct {
		name, url string
		env       []string
		code      int
		words     []string
	}{
		{"no such bucket", "gs://nobucket/backup", nil, exitUsage, []string{"bucket nobucket does not exist"}},
		{"no key", good, []string{"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=" + none}, exitFailed, []string{"access denied", "no credentials found", none, "GOOGLE_APPLICATION_CREDENTIALS"}},
		{"unknown host", good, []string{"STORAGE_EMULATOR_HOST=http://store.invalid:9000"}, exitFailed, []string{"http://store.invalid:9000", "no such host", "STORAGE_EMULATOR_HOST"}},
		{"no URL for an endpoint", good, []string{"STORAGE_EMULATOR_HOST=ftp://store.invalid"}, exitUsage, []string{"STORAGE_EMULATOR_HOST is not a URL"}},
		{"another web server", good, []string{"STORAGE_EMULATOR_HOST=" + web.URL}, exitFailed, []string{"404"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkBadStore(t, &repository{t: t, url: test.url, env: append(s.Env(), test.env...)}, test.code, test.words...)
		})
	}
}

// checkBadStore runs what needs no cluster.
func checkBadStore(t *testing.T, r *repository, code int, words ...string) {
	t.Helper()
	words = append(words, r.url)
	wantError(t, r.try("restored", nil, "list"), code, words...)
	wantJSONError(t, r.try("backupd", nil, "status", "-o", "json"), code, words...)
}
