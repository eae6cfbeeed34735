//go:build e2e

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offsite-kafka/offsite/test/bed/azurite"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
)

// newGCSBucket returns a repository on a GCS server that goes with the test.
func newGCSBucket(t testing.TB) *repository {
	s := fakegcs.Start(t)
	return &repository{t: t, url: "gs://" + fakegcs.Bucket + "/backup", env: s.Env()}
}

func TestGCS(t *testing.T) {
	t.Parallel()
	checkRoundTrip(t, cluster.Start(t, cluster.Options{}), newGCSBucket(t))
}

// newAzureContainer returns a repository on an Azure Blob server that goes with the test.
func newAzureContainer(t testing.TB) *repository {
	s := azurite.Start(t)
	return &repository{t: t, url: "az://" + azurite.Account + "/" + azurite.Container + "/backup", env: s.Env()}
}

func TestAzure(t *testing.T) {
	t.Parallel()
	r := newAzureContainer(t) // first: it may skip the test
	checkRoundTrip(t, cluster.Start(t, cluster.Options{}), r)
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
	t.Parallel()
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
		{"no key", good, []string{"STORAGE_EMULATOR_HOST=", "GOOGLE_APPLICATION_CREDENTIALS=" + none}, exitRefused, []string{"access denied", "no credentials found", none, "GOOGLE_APPLICATION_CREDENTIALS"}},
		{"unknown host", good, []string{"STORAGE_EMULATOR_HOST=http://store.invalid:9000"}, exitFailed, []string{"http://store.invalid:9000", "no such host", "STORAGE_EMULATOR_HOST"}},
		{"no URL for an endpoint", good, []string{"STORAGE_EMULATOR_HOST=ftp://store.invalid"}, exitUsage, []string{"STORAGE_EMULATOR_HOST is not a URL"}},
		{"another web server", good, []string{"STORAGE_EMULATOR_HOST=" + web.URL}, exitFailed, []string{"404"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkBadStore(t, &repository{t: t, url: test.url, env: append(s.Env(), test.env...)}, test.code, test.words...)
		})
	}
}

func TestBadAzureContainer(t *testing.T) {
	t.Parallel()
	s := azurite.Start(t)
	account := "az://" + azurite.Account
	good := account + "/" + azurite.Container + "/backup"
	for _, test := range []struct {
		name, url string
		env       []string
		code      int
		words     []string
	}{
		{"no such container", account + "/nocontainer/backup", nil, exitUsage, []string{"container nocontainer does not exist in the account " + azurite.Account}},
		{"another account", "az://other/" + azurite.Container, []string{"AZURE_STORAGE_ACCOUNT=" + azurite.Account}, exitUsage, []string{"AZURE_STORAGE_ACCOUNT is", "the URL names the account other"}},
		{"wrong key", good, []string{"AZURE_STORAGE_KEY=d3Jvbmc="}, exitRefused, []string{"access denied", "AuthorizationFailure", "AZURE_STORAGE_KEY"}},
		{"no key", good, []string{"AZURE_STORAGE_KEY=" + secret}, exitUsage, []string{"AZURE_STORAGE_KEY is no key"}},
		{"wrong signature", good, []string{"AZURE_STORAGE_KEY=", "AZURE_STORAGE_SAS_TOKEN=sig=" + secret}, exitRefused, []string{"access denied", "AZURE_STORAGE_SAS_TOKEN"}},
		{"unknown host", good, []string{"AZURE_STORAGE_SERVICE_ENDPOINT=http://store.invalid:9000"}, exitFailed, []string{"http://store.invalid:9000", "no such host", "AZURE_STORAGE_SERVICE_ENDPOINT"}},
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
