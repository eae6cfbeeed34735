package objectstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/offsite-kafka/offsite/test/bed/cache"
)

// Fetch fills the cache, as the first start of a server would.
func Fetch(ctx context.Context) error {
	_, err := build(ctx)
	return err
}

// build returns the versitygw program. It is built from a module of its own, so that its many dependencies stay out
// of the module that the programs are built from.
func build(ctx context.Context) (string, error) {
	repository, err := cache.Repository()
	if err != nil {
		return "", err
	}
	module := filepath.Join(repository, "test", "versitygw")
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(append(append(mod, sums...), runtime.Version()...))
	dir, err := cache.Dir(ctx, fmt.Sprintf("versitygw-%x", digest[:6]), func(dir string) error {
		build := exec.CommandContext(ctx, "go", "build", "-C", module, "-o", filepath.Join(dir, "versitygw"),
			"github.com/versity/versitygw/cmd/versitygw")
		build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build versitygw: %w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(dir, "versitygw"), err
}
