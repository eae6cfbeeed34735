package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

const goldenPoints = "../../test/golden/v1/points/repository"

// A dry run says of a descriptor that a copy has, that it can be mended, and succeeds as
// the repair would. It changes nothing.
func TestDryRepairOfTheDescriptor(t *testing.T) {
	lost := t.TempDir()
	if err := os.CopyFS(lost, os.DirFS(goldenPoints)); err != nil {
		t.Fatal(err)
	}
	descriptor := filepath.Join(lost, manifest.RepositoryKey)
	if err := os.Remove(descriptor); err != nil {
		t.Fatal(err)
	}
	g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
	g.Config.Store.URL = lost
	res, err := repair(t.Context(), g, true, goldenPoints)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	printRepair(&out, res, true)
	if err := outcomeOf(res); err != nil || out.String() != manifest.RepositoryKey+": can be mended\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if _, err := os.Stat(descriptor); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run has put it back: %v", err)
	}
}

// That there is no copy at --from is said with the place, and what to give.
func TestRepairFromNowhere(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nosuch")
	g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
	_, err := openReplica(context.Background(), g, nil, nowhere)
	if !errors.Is(err, manifest.ErrNoRepository) || !strings.Contains(err.Error(), nowhere) || !strings.Contains(err.Error(), "backupd copy") {
		t.Errorf("got %v", err)
	}
}
