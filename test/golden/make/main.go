// Command make made the golden repositories: each from a real broker of its own, by the real backupd. What is there is never
// made again; a new format version gets a folder of its own, and a new case a name of its own.
//
//	go run ./test/golden/make -dir test/golden/v1 [NAME ...]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// scenario makes the content of one golden repository. What goes wrong is in the source.
type scenario struct {
	name   string
	broker map[string]string // properties
	run    func(*source)
}

var scenarios = []scenario{
	{"shapes", nil, shapes},
	{"transactions", nil, transactions},
	{"trimmed", cleanOften, trimmed},
	{"incarnations", nil, incarnations},
	{"groups", nil, groups},
	{"branches", nil, branches},
	{"metadata", authorized, metadata},
	{"points", nil, points},
	{"grouplog", twoLogs, grouplog},
	{"upkeep", nil, upkeep},
	{"sealed", nil, sealed},
	{"recompressed", nil, recompressed},
	{"quarantined", nil, quarantined},
}

func main() {
	dir := flag.String("dir", "", "`folder` of the format version, such as test/golden/v1")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, names []string) error {
	if dir == "" {
		return errors.New("-dir is missing")
	}
	scratch, err := os.MkdirTemp("", "offsite-golden-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	backupd := filepath.Join(scratch, "backupd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", backupd, "./cmd/backupd").CombinedOutput(); err != nil {
		return fmt.Errorf("build backupd: %w\n%s", err, out)
	}
	for _, s := range scenarios {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		if err := s.make(ctx, filepath.Join(dir, s.name), scratch, backupd); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// make fills dir, which must not exist. It appears only when everything has succeeded.
func (s scenario) make(ctx context.Context, dir, scratch, backupd string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already, and golden repositories are never made again", dir)
	}
	c, err := cluster.Up(ctx, filepath.Join(scratch, s.name+"-broker"), cluster.Options{Properties: s.broker})
	if err != nil {
		return err
	}
	defer c.Close()
	made := filepath.Join(scratch, s.name)
	src, err := connect(ctx, c, backupd, made)
	if err != nil {
		return err
	}
	defer src.close()
	s.run(src)
	if src.err == nil {
		src.writeExpected()
	}
	if src.err != nil {
		return src.err
	}
	if err := os.RemoveAll(filepath.Join(made, src.folder, ".tmp")); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(made))
}
