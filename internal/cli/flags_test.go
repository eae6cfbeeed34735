package cli

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// load runs a command with the given arguments and returns its configuration.
func load(t *testing.T, args ...string) (*Globals, error) {
	t.Helper()
	g := &Globals{}
	root := program(g, nil)
	root.SetArgs(append([]string{"status"}, args...))
	return g, root.Execute()
}

func TestFlagsOverrideTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backupd.yaml")
	text := "kafka: {bootstrapServers: [file:1], clientId: file}\nstore: {url: file}\nlog: {level: warn, format: json}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := load(t, "-c", file)
	if err != nil {
		t.Fatal(err)
	}
	if c := g.Config; c.Store.URL != filepath.Join(filepath.Dir(file), "file") || c.Kafka.BootstrapServers[0] != "file:1" || c.Log.Level != "warn" || !g.HasCluster() {
		t.Errorf("file: %+v", c)
	}
	g, err = load(t, "-c", file, "--repo", "flag", "--bootstrap-server", "a:1, b:2", "--log-level", "debug", "--log-format", "text", "-X", "kafka.clientId=flag")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Kafka = config.Kafka{BootstrapServers: config.Servers{"a:1", "b:2"}, ClientID: "flag"}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want.Store.URL, want.Log = filepath.Join(here, "flag"), config.Log{Level: "debug", Format: "text"}
	if !reflect.DeepEqual(g.Config, want) {
		t.Errorf("got %+v\nwant %+v", g.Config, want)
	}
}

func TestNothingConfigured(t *testing.T) {
	g, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	if g.HasCluster() {
		t.Error("there is a cluster")
	}
	_, err = g.Store(t.Context())
	wantUsage(t, err, "--repo", "store.url")
	_, err = g.Connect(t.Context(), "test")
	wantUsage(t, err, "--bootstrap-server", "kafka.bootstrapServers")
}

func TestStoreURLs(t *testing.T) {
	for url, want := range map[string]string{
		"gs:bucket":                     "want gs://bucket/prefix",
		"az://account":                  "want az://account/container/prefix",
		"http://host/x":                 `unknown scheme "http"`,
		"s3:bucket":                     "want s3://bucket/prefix",
		"s3://":                         "want s3://bucket/prefix",
		"s3://key:hunter2@bucket/x":     "credentials belong in the environment",
		"file://host/x":                 "want file:///path",
		"file:///x?password=hunter2":    "query",
		"s3://bucket/x#hunter2":         "fragment",
		"s3://bucket:9000/x":            "AWS_ENDPOINT_URL_S3",
		"s3://bucket/%zz%hunter2":       "store URL",
		"https://key:hunter2@host/path": "credentials belong in the environment",
	} {
		g, err := load(t, "--repo", url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Store(t.Context())
		wantUsage(t, err, want)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v shows the password", err)
		}
	}
}

func wantUsage(t *testing.T, err error, words ...string) {
	t.Helper()
	if exitCode(err) != ExitUsage {
		t.Errorf("%v has exit code %d", err, exitCode(err))
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %q", word, err)
		}
	}
}

func TestRepositoryThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	g, err := load(t, "--repo", dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Repository(t.Context())
	if !errors.Is(err, manifest.ErrNoRepository) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "backupd once") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking for a repository made one: %v", err)
	}
}
