package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

// execute runs a command on a repository, and returns what it logs and how it ends.
func execute(t *testing.T, where string, args ...string) (logged string, err error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	was := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = was }()
	root, _ := program()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(append(args, "--repo", where))
	root.SetOut(file)
	err = root.ExecuteContext(t.Context())
	text, failed := os.ReadFile(file.Name())
	if failed != nil {
		t.Fatal(failed)
	}
	return string(text), err
}

// points returns a repository with recovery points, and its log for who signs.
func points(t *testing.T, key *crypt.SigningKey) (where string, log *manifest.Log) {
	t.Helper()
	where = t.TempDir()
	if err := os.CopyFS(where, os.DirFS("../../test/golden/v1/points/repository")); err != nil {
		t.Fatal(err)
	}
	st, err := dir.Open(where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	repo, err := manifest.Open(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	repo.SignWith(key)
	if log, err = repo.OpenLog(t.Context(), time.Now); err != nil {
		t.Fatal(err)
	}
	return where, log
}

// Nobody is warned of a reading that does not come to be.
func TestLogUntilBehindTheEnd(t *testing.T) {
	where, _ := points(t, nil)
	for _, command := range []string{"list", "verify", "groups"} {
		if logged, err := execute(t, where, command, "--log-until", "99"); !errors.Is(err, manifest.ErrNoEntry) || strings.Contains(logged, "WARN") {
			t.Errorf("%s: %v, and says %q", command, err, logged)
		}
	}
	if logged, err := execute(t, where, "verify", "--log-until", "2"); err != nil || strings.Count(logged, "WARN") != 1 {
		t.Errorf("%v, and says %q", err, logged)
	}
}

// What cannot be recorded is refused before anything is verified.
func TestRecordWithoutTheKey(t *testing.T) {
	key, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	where, log := points(t, key)
	if _, err := log.Record(t.Context(), manifest.Verification{Level: manifest.LevelIndex, First: 1, Last: 1, Share: manifest.WholeShare}, manifest.Agent{Program: "test"}); err != nil {
		t.Fatal(err)
	}
	if logged, err := execute(t, where, "verify", "--record"); !errors.Is(err, manifest.ErrNoSigningKey) || !strings.Contains(err.Error(), "signing.keyFile") || strings.Contains(logged, "checked") {
		t.Errorf("%v, and says %q", err, logged)
	}
	if logged, err := execute(t, where, "verify"); err != nil || !strings.Contains(logged, "checked") {
		t.Errorf("%v, and says %q", err, logged)
	}
}

func TestDeletedPointIsExplained(t *testing.T) {
	where, log := points(t, nil)
	point := log.State().Points[len(log.State().Points)-1]
	for _, p := range log.State().Points {
		if p.Name != "" && !p.Protected() {
			point = p
		}
	}
	if _, err := log.DeletePoint(t.Context(), func(*manifest.State) (manifest.PointRef, error) { return point, nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{point.Name, fmt.Sprint(point.Sequence)} {
		_, err := execute(t, where, "show", name)
		if !errors.Is(err, source.ErrNoPoint) || !strings.Contains(err.Error(), "was deleted at 20") || !strings.Contains(err.Error(), "--log-until ") {
			t.Errorf("show %q: %v", name, err)
		}
	}
	if _, err := execute(t, where, "show", "never-made"); !errors.Is(err, source.ErrNoPoint) || strings.Contains(err.Error(), "deleted") {
		t.Errorf("got %v", err)
	}
}

// Who wants to verify only what is new is told why it is everything.
func TestSinceLastSaysWhyItReadsAll(t *testing.T) {
	where, _ := points(t, nil)
	why := "not only what came since the last verification: the log has no verification of level index"
	for i, args := range [][]string{{"--since-last", "--record"}, {"--since-last"}} {
		logged, err := execute(t, where, append([]string{"verify", "--level", "index"}, args...)...)
		if err != nil || strings.Contains(logged, why) != (i == 0) {
			t.Errorf("%q: %v, and says %q", args, err, logged)
		}
	}
}
