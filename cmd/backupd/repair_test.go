package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

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

// A descriptor that is put back is told of, and the log names it.
func TestRepairOfTheDescriptor(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"garbage": func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) },
	} {
		lost := t.TempDir()
		if err := os.CopyFS(lost, os.DirFS(goldenPoints)); err != nil {
			t.Fatal(err)
		}
		if err := spoil(filepath.Join(lost, manifest.RepositoryKey)); err != nil {
			t.Fatal(err)
		}
		g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
		g.Config.Store.URL = lost
		res, err := repair(t.Context(), g, false, goldenPoints)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		printRepair(&out, res, false)
		j := repairAsJSON(res, false)
		if out.String() != manifest.RepositoryKey+": mended\n" || !j.OK || len(j.Damages) != 1 || j.Damages[0].Object != manifest.RepositoryKey {
			t.Errorf("%s: %q, %+v", name, out.String(), j)
		}
		var note string
		if _, err := repositoryAt(t, lost).Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
			if e.Note != nil {
				note = e.Note.Text
			}
			return nil
		}); err != nil || !strings.Contains(note, `"mended":["`+manifest.RepositoryKey+`"]`) {
			t.Errorf("%s: the log says %q, %v", name, note, err)
		}
	}
}

// A copy whose log has parted from that of the repository is none any more, as copy says of it.
// One that has the same log, or ends before that does, is one.
func TestRepairFromWhatHasParted(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for _, place := range []string{here, there} {
		if err := os.CopyFS(place, os.DirFS(goldenPoints)); err != nil {
			t.Fatal(err)
		}
	}
	last := uint64(0)
	appendTo := func(place string) {
		log, err := repositoryAt(t, place).OpenLog(t.Context(), time.Now)
		if err == nil {
			last = log.State().Sequence + 1
			_, err = log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) {
				return &manifest.Entry{Time: time.Now().UnixMilli()}, nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) error {
		root, g := program()
		g.Log = slog.New(slog.DiscardHandler)
		root.SetArgs(args)
		return root.ExecuteContext(t.Context())
	}
	repair := func() error { return run("repair", "--repo", here, "--from", there) }
	if err := repair(); err != nil {
		t.Errorf("both have the same log: %v", err)
	}
	appendTo(here)
	if err := repair(); err != nil {
		t.Errorf("the copy is behind: %v", err)
	}
	appendTo(there)
	appendTo(there)
	first := last - 1
	archive := filepath.Join(t.TempDir(), "archive")
	if err := run("copy", "--repo", here, "--to", archive, "--points", "latest"); err != nil {
		t.Fatal(err)
	}
	appendTo(here)
	if err := run("repair", "--repo", here, "--from", archive); err != nil {
		t.Errorf("an archive is never continued: %v", err)
	}
	want := fmt.Sprintf("entry %d is the first that differs", first)
	if err := repair(); !errors.Is(err, manifest.ErrDiverged) || !strings.Contains(err.Error(), want) {
		t.Errorf("the logs have parted at entry %d: %v", first, err)
	}
}

// The end of the log that signing.head pins comes back from a copy that has it, and only then.
func TestRepairOfAPinnedEnd(t *testing.T) {
	state, err := repositoryAt(t, goldenPoints).State(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	head := state.HeadNow()
	forged := manifest.Head{Sequence: head.Sequence}
	for name, test := range map[string]struct {
		pinned manifest.Head
		lost   uint64 // entries
		dry    bool
		want   int
		refuse bool
	}{
		"dry":    {head, 2, true, 2, false},
		"mended": {head, 2, false, 2, false},
		"whole":  {head, 0, false, 0, false},
		"forged": {forged, 2, false, 0, true},
	} {
		lost := t.TempDir()
		if err := os.CopyFS(lost, os.DirFS(goldenPoints)); err != nil {
			t.Fatal(err)
		}
		for n := range test.lost {
			if err := os.Remove(filepath.Join(lost, manifest.LogKey(head.Sequence-n))); err != nil {
				t.Fatal(err)
			}
		}
		g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
		g.Config.Store.URL, g.Config.Signing.Head = lost, test.pinned.String()
		repo, err := g.Repository(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		replica, err := openReplica(t.Context(), g, repo, goldenPoints)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := mendPinnedEnd(t.Context(), g, repo, replica, test.dry)
		if len(ends) != test.want || errors.Is(err, manifest.ErrUntrusted) != test.refuse || !test.refuse && err != nil {
			t.Errorf("%s: %+v, %v", name, ends, err)
		}
		_, err = repo.State(t.Context(), 0)
		if whole := !test.dry && !test.refuse; (err == nil) != whole || !whole && !errors.Is(err, manifest.ErrUntrusted) {
			t.Errorf("%s: then the log is %v", name, err)
		}
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

// The repository is no copy of itself: all that it has lost would be given up, since "the copy" lacks it, too.
func TestRepairFromItself(t *testing.T) {
	itself := t.TempDir()
	if err := os.CopyFS(itself, os.DirFS(goldenPoints)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(itself, link); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{itself, itself + "/", link, filepath.Join(itself, "copy")} {
		g := &cli.Globals{Config: config.Default(), Log: slog.New(slog.DiscardHandler)}
		g.Config.Store.URL = itself
		if _, err := repair(t.Context(), g, true, from); err == nil || !strings.Contains(err.Error(), "is the repository, or lies in it or around it: give another place") {
			t.Errorf("--from %s: %v", from, err)
		}
	}
}
