package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// A replica whose provider cannot be opened is warned of and counted, and keeps no other
// one from being kept up, before it in the list or after it.
func TestReplicaThatCannotBeOpened(t *testing.T) {
	t.Setenv("AWS_PROFILE", "nope")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	const bad = "s3://nobucket/x"
	before, after := filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "after")
	golden, err := dir.Open("../../test/golden/v1/points/repository")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), golden)
	if err != nil {
		t.Fatal(err)
	}
	out := &journal{}
	g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.NewTextHandler(out, nil))}
	var urls []string
	for _, url := range []string{before, bad, after} {
		g.Config.Replicas = append(g.Config.Replicas, config.Replica{URL: url})
		urls = append(urls, url)
	}
	m := metrics.New(metrics.Config{Replicas: urls})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keepReplicas(ctx, g, repo, m)
	}()
	defer func() { stop(); <-ended }()
	series := func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	wanted := []string{
		`backupd_replica_runs_total{replica="` + bad + `",result="failed"} `,
		`backupd_replica_runs_total{replica="` + before + `",result="ok"} `,
		`backupd_replica_runs_total{replica="` + after + `",result="ok"} `,
	}
	deadline := time.Now().Add(time.Minute)
	for missing := true; missing; time.Sleep(10 * time.Millisecond) {
		missing = false
		text := series()
		for _, w := range wanted {
			missing = missing || !strings.Contains(text, w) || strings.Contains(text, w+"0\n")
		}
		if missing && time.Now().After(deadline) {
			t.Fatalf("the metrics have\n%s\nthe log\n%s", text, out)
		}
	}
	if text := out.String(); !strings.Contains(text, "the replica cannot be opened") || !strings.Contains(text, bad) || !strings.Contains(text, "nope") {
		t.Errorf("the log says\n%s", text)
	}
}

// A replica that is the repository, however it is written, or whose files or profile are not
// there, is refused before anything is done, with the option named.
func TestCheckReplicas(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1/")
	top := t.TempDir()
	link, none := filepath.Join(top, "link"), filepath.Join(top, "none")
	if err := errors.Join(os.Mkdir(filepath.Join(top, "real"), 0o700), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		repository string
		replica    config.Replica
		want       string
	}{
		"the same":      {"/a/b", config.Replica{URL: "/a/b/"}, "/a/b/ is the repository"},
		"by a link":     {filepath.Join(top, "real/prod"), config.Replica{URL: filepath.Join(link, "prod")}, "is the repository"},
		"inside":        {"s3://b/p", config.Replica{URL: "s3://b/p/q", S3: config.S3{Endpoint: "http://127.0.0.1:1"}}, "is the repository, or lies in it"},
		"another":       {"s3://b/p", config.Replica{URL: "s3://b/p/q", S3: config.S3{Endpoint: "http://127.0.0.1:2"}}, ""},
		"profile":       {"/a/b", config.Replica{URL: "s3://b/p", S3: config.S3{Profile: "nope"}}, "replicas[0]: invalid configuration: store URL s3://b/p: open s3 bucket b: s3.profile: "},
		"authorities":   {"/a/b", config.Replica{URL: "s3://b/p", S3: config.S3{CAFile: none}}, "replicas[0]: invalid configuration: s3.caFile: open " + none},
		"credentials":   {"/a/b", config.Replica{URL: "gs://b/p", GCS: config.GCS{CredentialsFile: none}}, "replicas[0]: invalid configuration: gcs.credentialsFile: open " + none},
		"connection":    {"/a/b", config.Replica{URL: "az://a/c/p", Azure: config.Azure{ConnectionStringFile: none}}, "azure.connectionStringFile: open " + none},
		"nothing wrong": {"/a/b", config.Replica{URL: filepath.Join(top, "copy")}, ""},
	} {
		g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
		g.Config.Store.URL, g.Config.Replicas = test.repository, []config.Replica{test.replica}
		err := checkReplicas(t.Context(), g)
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || test.want == "" || !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is appended to a repository that has lost what its replica has, wherever in
// the list that is. One that cannot be looked at is warned of, and no more.
func TestNotBehind(t *testing.T) {
	t.Setenv("AWS_PROFILE", "nope")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	const golden = "../../test/golden/v1/points/repository"
	lost := t.TempDir()
	if err := os.CopyFS(lost, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	st, err := dir.Open(lost)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	last, err := repo.Last(t.Context())
	if err == nil {
		err = st.Delete(t.Context(), manifest.LogKey(last))
	}
	if err != nil {
		t.Fatal(err)
	}
	if repo, err = manifest.Open(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	out := &journal{}
	g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.NewTextHandler(out, nil))}
	for _, url := range []string{"s3://nobucket/x", filepath.Join(t.TempDir(), "none"), lost} {
		g.Config.Replicas = append(g.Config.Replicas, config.Replica{URL: url})
	}
	if err := g.NotBehind(t.Context(), repo); err != nil {
		t.Errorf("no replica is ahead: %v", err)
	}
	if text := out.String(); strings.Count(text, "not known if the replica") != 1 || !strings.Contains(text, "s3://nobucket/x") {
		t.Errorf("the log says\n%s", text)
	}
	g.Config.Replicas = append(g.Config.Replicas, config.Replica{URL: golden})
	if err := g.NotBehind(t.Context(), repo); !errors.Is(err, replica.ErrAhead) || !strings.Contains(err.Error(), "replicas[3]: "+golden) {
		t.Errorf("one is: %v", err)
	}
	g.Config.Store.URL = lost
	for range 2 {
		if repo, err = g.Repository(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.OpenLog(t.Context(), time.Now); errors.Is(err, replica.ErrAhead) != (len(g.Config.Replicas) == 4) {
			t.Errorf("to append with %d replicas: %v", len(g.Config.Replicas), err)
		}
		if _, err := repo.Follow(t.Context(), time.Now, nil); errors.Is(err, replica.ErrAhead) != (len(g.Config.Replicas) == 4) {
			t.Errorf("to append and follow with %d replicas: %v", len(g.Config.Replicas), err)
		}
		g.Config.Replicas = g.Config.Replicas[:3]
	}
	if text := out.String(); strings.Count(text, "not known if the replica") != 4 {
		t.Errorf("the log, which should have one line for each time that the replicas are looked at, says\n%s", text)
	}
}

// The repository is no copy of itself, however up to date it is.
func TestReplicaThatIsTheRepository(t *testing.T) {
	repo := repositoryAt(t, goldenPoints)
	state, err := repo.State(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
	g.Config.Store.URL, g.Config.Replicas = goldenPoints, []config.Replica{{URL: goldenPoints + "/"}}
	list := lookAtReplicas(t.Context(), g, repo, state)
	if len(list) != 1 || list[0].LagEntries != nil || !strings.Contains(list[0].String(), "the repository itself") {
		t.Errorf("got %+v", list)
	}
}
