// Package cache keeps what the test bed downloads or builds: broker jars, class archives, the object store's binary.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Dir returns the directory called name in the cache and, when it is not there yet, has fill make it. fill gets an
// empty directory that becomes visible under its final name only after fill returned nil, so a cached directory is
// always complete. Processes that need the same name at the same time wait for one of them to fill it.
//
// What a name holds never changes: a name must contain whatever tells two contents apart (version, digest).
func Dir(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, name)
	if exists(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("create cache: %w", err)
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", fmt.Errorf("lock cache entry %s: %w", name, err)
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	if err := fillAndRename(dir, fill); err != nil {
		return "", fmt.Errorf("fill cache entry %s: %w", name, err)
	}
	return dir, nil
}

// fillAndRename may use a fixed temporary name because the caller holds the entry's lock: what is found under it was
// left by a process that died.
func fillAndRename(dir string, fill func(dir string) error) error {
	temp := dir + ".part"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	if err := fill(temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return os.Rename(temp, dir)
}

// lock polls, because a blocking flock cannot be interrupted by ctx. The lock goes with the process that holds it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func root() (string, error) {
	if dir := os.Getenv("OFFSITE_TEST_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	repository, err := Repository()
	if err != nil {
		return "", err
	}
	return filepath.Join(repository, ".cache"), nil
}

// Repository returns the root of the repository that the working directory lies in. A test runs in its package's
// directory, so this finds the files that lie beside the Go code.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if exists(filepath.Join(dir, "test", "pom.xml")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find repository: no directory above the working directory holds test/pom.xml")
		}
		dir = parent
	}
}
