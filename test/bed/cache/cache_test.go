package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cache"
)

const fillerRole = "CACHE_TEST_FILLER"

func TestMain(m *testing.M) {
	if os.Getenv(fillerRole) != "" {
		beFiller()
		return
	}
	os.Exit(m.Run())
}

// beFiller is one of several processes that want the same entry at once. It says so when it was the one to fill it.
func beFiller() {
	dir, err := cache.Dir(context.Background(), "entry", func(dir string) error {
		fmt.Println("filled")
		time.Sleep(50 * time.Millisecond) // let the others arrive
		return os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644)
	})
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "file"))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func TestOneOfManyProcessesFills(t *testing.T) {
	t.Setenv("OFFSITE_TEST_CACHE", t.TempDir())
	t.Setenv(fillerRole, "1")
	const processes = 6
	outputs := make(chan string, processes)
	for range processes {
		go func() {
			out, err := exec.Command(os.Args[0]).CombinedOutput()
			if err != nil {
				t.Errorf("process: %v\n%s", err, out)
			}
			outputs <- string(out)
		}()
	}
	var all strings.Builder
	for range processes {
		all.WriteString(<-outputs)
	}
	if got := strings.Count(all.String(), "filled"); got != 1 {
		t.Errorf("the entry was filled %d times, want 1", got)
	}
}

func TestFailedFillLeavesNothing(t *testing.T) {
	root := t.TempDir()
	t.Setenv("OFFSITE_TEST_CACHE", root)
	broken := errors.New("broken")
	fill := func(err error) func(dir string) error {
		return func(dir string) error {
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "half"), nil, 0o644))
		}
	}
	if _, err := cache.Dir(t.Context(), "entry", fill(broken)); !errors.Is(err, broken) {
		t.Errorf("first try: %v, want the error of fill", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "entry*", "half")); len(left) > 0 {
		t.Errorf("a failed fill left %q", left)
	}
	if _, err := cache.Dir(t.Context(), "entry", fill(nil)); err != nil {
		t.Errorf("second try: %v", err)
	}
}

func TestRemainsOfKilledFillerAreDropped(t *testing.T) {
	root := t.TempDir()
	t.Setenv("OFFSITE_TEST_CACHE", root)
	if err := os.MkdirAll(filepath.Join(root, "entry.part", "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := cache.Dir(t.Context(), "entry", func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "old")); err == nil {
		t.Error("the entry holds what a killed process left")
	}
}
