package dir_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
)

func temps(t *testing.T, root string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, ".tmp", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// failing runs one Put that must fail and leave nothing, then whatever after.
func failing(t *testing.T, s store.Store, root string) error {
	t.Helper()
	var errs []error
	for _, ifAbsent := range []bool{false, true} {
		_, err := s.Put(t.Context(), "d/k", strings.NewReader("v"), store.PutOptions{IfAbsent: ifAbsent})
		if err == nil {
			t.Errorf("Put with IfAbsent %t = nil, want an error", ifAbsent)
		}
		errs = append(errs, err)
	}
	if _, err := os.Stat(filepath.Join(root, "d/k")); err == nil {
		t.Error("the object is visible")
	}
	if left := temps(t, root); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	return errors.Join(errs...)
}

func TestFull(t *testing.T) {
	t.Run("write", func(t *testing.T) {
		root := t.TempDir()
		s := open(t, root)
		s.FailCreate(func(*os.Root, string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) })
		if err := failing(t, s, root); !errors.Is(err, store.ErrFull) {
			t.Errorf("Put = %v, want ErrFull", err)
		}
	})
	for name, errno := range map[string]syscall.Errno{"create": syscall.ENOSPC, "create over quota": syscall.EDQUOT, "create beyond a limit": syscall.EFBIG} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := open(t, root)
			s.FailCreate(func(_ *os.Root, name string) (*os.File, error) {
				return nil, &os.PathError{Op: "openat", Path: name, Err: errno}
			})
			if err := failing(t, s, root); !errors.Is(err, store.ErrFull) {
				t.Errorf("Put = %v, want ErrFull", err)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS} {
		root := t.TempDir()
		s := open(t, root)
		s.FailCreate(func(_ *os.Root, name string) (*os.File, error) {
			return nil, &os.PathError{Op: "openat", Path: name, Err: errno}
		})
		if err := failing(t, s, root); !errors.Is(err, store.ErrAuth) {
			t.Errorf("Put after %v = %v, want ErrAuth", errno, err)
		}
	}
}

// A file whose fsync failed is never synced again, nor published.
func TestFileSyncFails(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	synced := map[string]int{}
	s.FailSync(func(f *os.File) error {
		if info, err := f.Stat(); err != nil || info.IsDir() {
			return f.Sync()
		}
		synced[f.Name()]++
		return syscall.EIO
	})
	if err := failing(t, s, root); !errors.Is(err, syscall.EIO) {
		t.Errorf("Put = %v, want EIO", err)
	}
	for name, n := range synced {
		if n != 1 {
			t.Errorf("%s was synced %d times", name, n)
		}
	}
	if len(synced) != 2 {
		t.Errorf("%d files were synced, want a new one for each Put", len(synced))
	}
	s.FailSync((*os.File).Sync)
	put(t, s, "d/k", "v")
}

// The k-th fsync of a directory fails, for every k: nothing that the store says
// afterwards may rest on what is not on disk.
func TestDirectorySyncFails(t *testing.T) {
	syncs := func(s *dir.Store, failAt int) (n int, err error) {
		s.FailSync(func(f *os.File) error {
			info, err := f.Stat()
			if err == nil && info.IsDir() {
				if n++; n == failAt {
					return syscall.EIO
				}
			}
			return err
		})
		_, err = s.Put(t.Context(), "a/b/k", strings.NewReader("v"), store.PutOptions{IfAbsent: true})
		return n, err
	}
	path := func() string { return filepath.Join(t.TempDir(), "new", "store") }
	total, err := syncs(open(t, path()), 0)
	// For new, new/store, a, a/b and the object each the directory above.
	if total != 5 || err != nil {
		t.Fatalf("Put synced %d directories, %v, want 5", total, err)
	}
	for k := range total {
		root := path()
		s := open(t, root)
		_, err := syncs(s, k+1)
		if !errors.Is(err, syscall.EIO) || !errors.Is(err, store.ErrUnusable) || errors.Is(err, store.ErrExists) {
			t.Errorf("fsync %d: Put = %v, want EIO and ErrUnusable", k+1, err)
		}
		if _, err := get(t, s, "a/b/k"); err == nil || errors.Is(err, store.ErrNotExist) {
			t.Errorf("fsync %d: Get = %v, want an error other than ErrNotExist", k+1, err)
		}
		if _, err := s.Put(t.Context(), "other", strings.NewReader("v"), store.PutOptions{}); !errors.Is(err, store.ErrUnusable) {
			t.Errorf("fsync %d: another Put = %v, want ErrUnusable", k+1, err)
		}
		if left := temps(t, root); len(left) != 0 {
			t.Errorf("fsync %d: left behind: %q", k+1, left)
		}
		put(t, open(t, root), "a/b/k", "new process")
	}
}

// A Put that lost the race syncs the directory, since its caller will build on
// the winner, who may have been killed before syncing.
func TestLoserSyncs(t *testing.T) {
	root := t.TempDir()
	put(t, open(t, root), "d/k", "winner")
	s := open(t, root)
	synced := map[string]bool{}
	s.FailSync(func(f *os.File) error {
		synced[f.Name()] = true
		return f.Sync()
	})
	_, err := s.Put(t.Context(), "d/k", strings.NewReader("loser"), store.PutOptions{IfAbsent: true})
	if !errors.Is(err, store.ErrExists) {
		t.Fatalf("Put = %v, want ErrExists", err)
	}
	for _, d := range []string{root, filepath.Join(root, "d")} {
		if !synced[d] && !synced[d+"/."] {
			t.Errorf("%s was not synced, only %v", d, synced)
		}
	}
}

// writerEnv makes the test binary a process that is stuck in a Put.
const writerEnv = "OFFSITE_TEST_STUCK_WRITER"

func TestMain(m *testing.M) {
	root := os.Getenv(writerEnv)
	if root == "" {
		os.Exit(m.Run())
	}
	s, err := dir.Open(root)
	if err == nil {
		_, err = s.Put(context.Background(), "never", &stuckReader{}, store.PutOptions{})
	}
	os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

// stuckReader yields some bytes, says so, and then blocks until stdin ends.
type stuckReader struct{ said bool }

func (r *stuckReader) Read(p []byte) (int, error) {
	if !r.said {
		r.said = true
		return copy(p, "half"), nil
	}
	os.Stdout.WriteString("stuck\n")
	io.Copy(io.Discard, os.Stdin)
	return 0, errors.New("stdin ended")
}

func startWriter(t *testing.T, root string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+root)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "stuck\n" {
		t.Fatalf("writer said %q, %v", line, err)
	}
	return cmd
}

func TestSweep(t *testing.T) {
	root := t.TempDir()
	dead, alive := startWriter(t, root), startWriter(t, root)
	if n := len(temps(t, root)); n != 2 {
		t.Fatalf("two writers have %d temporary files", n)
	}
	dead.Process.Kill()
	dead.Wait()

	reader := open(t, root)
	if _, err := get(t, reader, "never"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Get = %v, want ErrNotExist", err)
	}
	if n := len(temps(t, root)); n != 2 {
		t.Errorf("after reading there are %d temporary files, want both", n)
	}
	put(t, open(t, root), "k", "v")
	if n := len(temps(t, root)); n != 1 {
		t.Errorf("after a Put there are %d temporary files, want that of the living writer", n)
	}
	alive.Process.Kill()
	alive.Wait()
	put(t, open(t, root), "k", "v")
	if left := temps(t, root); len(left) != 0 {
		t.Errorf("after the next Put there are %q", left)
	}
}
