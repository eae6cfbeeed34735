package main

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/metrics"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// Damage of the log itself cannot be recorded there. The metrics tell of it until all is sound again.
func TestVerifyDamagedLog(t *testing.T) {
	where := t.TempDir()
	if err := os.CopyFS(where, os.DirFS(goldenPoints)); err != nil {
		t.Fatal(err)
	}
	repo := repositoryAt(t, where)
	m, g := metrics.New(metrics.Config{}), &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
	g.Config.Verify.Level, g.Config.Verify.Sample = "digest", config.WholeSample
	verify := func(want string) {
		t.Helper()
		err := verifyOnce(t.Context(), g, repo, m)
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if !strings.Contains(w.Body.String(), "\n"+`backupd_verify_corrupt_objects{level="digest"} `+want+"\n") {
			t.Errorf("no %s damaged objects after a verification that ends with %v", want, err)
		}
	}
	verify("0")
	for _, entry := range []uint64{1, 2} {
		file := filepath.Join(where, filepath.FromSlash(manifest.LogKey(entry)))
		sound, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write := func(b []byte) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(append([]byte("x"), sound[1:]...))
		verify("1")
		write(sound)
		verify("0")
	}
}

// A store that has lost its objects is not an empty repository, nor a shorter one, to
// the process that knows better.
func TestVerifyEmptiedStore(t *testing.T) {
	for name, lost := range map[string]struct {
		under string
		want  string
	}{
		"everything":     {"", "2"}, // the descriptor, and the log from entry 1 on
		"the descriptor": {manifest.RepositoryKey, "1"},
		"the log":        {"log/", "1"},
		"its last entry": {manifest.LogKey(11), "1"}, // by the first verification
	} {
		t.Run(name, func(t *testing.T) {
			where := t.TempDir()
			if err := os.CopyFS(where, os.DirFS("../../test/golden/v1/points/repository")); err != nil {
				t.Fatal(err)
			}
			st, err := dir.Open(where)
			if err != nil {
				t.Fatal(err)
			}
			repo, err := manifest.Open(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			m, g := metrics.New(metrics.Config{}), &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
			g.Config.Verify.Level, g.Config.Verify.Sample = "digest", config.WholeSample
			if err := verifyOnce(t.Context(), g, repo, m); err != nil {
				t.Fatal(err)
			}
			lose(t, st, lost.under)
			err = verifyOnce(t.Context(), g, repo, m)
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			for _, line := range []string{`backupd_verify_corrupt_objects{level="digest"} ` + lost.want, `backupd_verify_checks_total{level="digest",result="damaged"} 1`} {
				if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
					t.Errorf("no %s after a verification that ends with %v", line, err)
				}
			}
		})
	}
}

// lose deletes what is under a prefix.
func lose(t *testing.T, st store.Store, prefix string) {
	t.Helper()
	var keys []string
	if err := st.List(t.Context(), prefix, func(info store.Info) error { keys = append(keys, info.Key); return nil }); err != nil || len(keys) == 0 {
		t.Fatalf("%d objects: %v", len(keys), err)
	}
	if err := st.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
}
