// Package tool builds the servers of the test bed that are written in Go.
package tool

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"

	"github.com/offsite-kafka/offsite/test/bed/cache"
)

// Build returns the program of a main package, built once. It is built from a module of its own, test/MODULE, so that
// its many dependencies stay out of the module that the programs are built from.
func Build(ctx context.Context, module, main string) (string, error) {
	repository, err := cache.Repository()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(repository, "test", module)
	sums, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	name := path.Base(main)
	digest := sha256.Sum256(append(append(mod, sums...), runtime.Version()...))
	dir, err := cache.Dir(ctx, fmt.Sprintf("%s-%x", name, digest[:6]), func(dir string) error {
		build := exec.CommandContext(ctx, "go", "build", "-C", folder, "-o", filepath.Join(dir, name), main)
		build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		return nil
	})
	return filepath.Join(dir, name), err
}
