package storeurl_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
)

func TestDirectories(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for rawURL, want := range map[string]string{
		filepath.Join(root, "abs"):          "abs",
		"rel/ative":                         "rel/ative",
		"./col:on":                          "col:on",
		"file://" + root + "/url":           "url",
		"file:" + root + "/single":          "single",
		"file://" + root + "/with%20space":  "with space",
		filepath.Join(root, "per%20cent"):   "per%20cent",
		filepath.Join(root, "what?is#this"): "what?is#this",
	} {
		s, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err != nil {
			t.Errorf("Open(%q) = %v", rawURL, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(root, want)); err == nil {
			t.Errorf("Open(%q) has created it", rawURL)
		}
		if _, err := s.Put(t.Context(), "k", strings.NewReader("v"), store.PutOptions{}); err != nil {
			t.Errorf("Put into %q = %v", rawURL, err)
		}
		if _, err := os.Stat(filepath.Join(root, want, "k")); err != nil {
			t.Errorf("Put into %q is elsewhere: %v", rawURL, err)
		}
	}
}

func TestS3(t *testing.T) {
	var path string
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path = r.URL.Path }))
	defer web.Close()
	t.Setenv("AWS_ENDPOINT_URL", web.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for rawURL, want := range map[string]string{
		"s3://bucket":       "/bucket/k",
		"s3://bucket/":      "/bucket/k",
		"s3://bucket/a/b":   "/bucket/a/b/k",
		"s3://bucket/a/b/":  "/bucket/a/b/k",
		"s3://my.bucket/A1": "/my.bucket/A1/k",
	} {
		s, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err != nil {
			t.Errorf("Open(%q) = %v", rawURL, err)
			continue
		}
		if _, err := s.Put(t.Context(), "k", strings.NewReader("v"), store.PutOptions{}); err != nil || path != want {
			t.Errorf("Put into %q = %v at %q, want %q", rawURL, err, path, want)
		}
	}
}

func TestGCS(t *testing.T) {
	var path string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		w.WriteHeader(http.StatusNoContent)
	}))
	defer web.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", web.URL)
	for rawURL, want := range map[string]string{
		"gs://bucket":       "/storage/v1/b/bucket/o/k",
		"gs://bucket/":      "/storage/v1/b/bucket/o/k",
		"gs://bucket/a/b/":  "/storage/v1/b/bucket/o/a/b/k",
		"gs://my.bucket/A1": "/storage/v1/b/my.bucket/o/A1/k",
		"gs://my_bucket/A":  "/storage/v1/b/my_bucket/o/A/k",
	} {
		s, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err != nil {
			t.Errorf("Open(%q) = %v", rawURL, err)
			continue
		}
		if err := s.Delete(t.Context(), "k"); err != nil || path != want {
			t.Errorf("Delete in %q = %v at %q, want %q", rawURL, err, path, want)
		}
	}
}

func TestAzure(t *testing.T) {
	var path string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		w.WriteHeader(http.StatusAccepted)
	}))
	defer web.Close()
	t.Setenv("AZURE_STORAGE_SERVICE_ENDPOINT", web.URL)
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sig=x")
	for rawURL, want := range map[string]string{
		"az://account/container":       "/container/k",
		"az://account/container/":      "/container/k",
		"az://account/container/a/b/":  "/container/a/b/k",
		"az://account/con-tainer/A b1": "/con-tainer/A b1/k",
	} {
		s, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err != nil {
			t.Errorf("Open(%q) = %v", rawURL, err)
			continue
		}
		if err := s.Delete(t.Context(), "k"); err != nil || path != want {
			t.Errorf("Delete in %q = %v at %q, want %q", rawURL, err, path, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-1")
	for rawURL, says := range map[string]string{
		"":                               "empty",
		"gs:bucket":                      "want gs://",
		"gs://":                          "store URL gs://: want gs://bucket/prefix",
		"gs:///prefix":                   "want gs://",
		"gs://host:9000/bucket":          "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE",
		"gs://bucket/a//b":               "element",
		"az:account":                     "want az://",
		"az://account":                   "want az://account/container/prefix",
		"az://account/":                  "want az://account/container/prefix",
		"az:///container":                "want az://",
		"az://host:10000/container":      "AZURE_STORAGE_SERVICE_ENDPOINT",
		"az://a.example/container":       "no name of an account",
		"az://account/container//b":      "element",
		"http://host/bucket":             "s3://bucket/prefix",
		"S3://bucket":                    "unknown scheme",
		"s4://bucket":                    "unknown scheme",
		"mem:":                           "unknown scheme",
		"gcs://bucket":                   "unknown scheme",
		"s3//bucket":                     "a URL without its colon",
		"s3;//bucket/prefix":             "a URL without its colon",
		"s3:bucket":                      "want s3://",
		"s3:/bucket":                     "want s3://",
		"s3://":                          "store URL s3://: want s3://bucket/prefix",
		"s3:///prefix":                   "want s3://",
		"s3://host:9000/bucket":          "AWS_ENDPOINT_URL_S3",
		"s3://bucket/a//b":               "element",
		"s3://bucket/../other":           "element",
		"s3://bucket/a?region=eu-west-1": "query",
		"s3://bucket/a#b":                "fragment",
		"s3://bucket/%zz":                "want",
		"file://host/path":               "absolute",
		"file:relative":                  "absolute",
		"file://":                        "absolute",
		"C:\\backup":                     "want",
		"./s3://bucket":                  "://",
		"/s3://bucket":                   "://",
	} {
		_, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Open(%q) = %v, want an error that says %q", rawURL, err, says)
		}
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	for _, rawURL := range []string{
		"s3://user:hunter2@bucket/prefix", "s3://hunter2@bucket", "gs://user:hunter2@bucket", "file://user:hunter2@/path",
		"s3:user:hunter2@bucket", "s3://user:hunter2@buc ket/%zz", "https://user:hunter2@host/x", "s3://bucket?secret=hunter2",
		"./s3://user:hunter2@bucket",
	} {
		_, err := storeurl.Open(t.Context(), rawURL, storeurl.Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open = %v, want an error without the secret", err)
		}
	}
}
