package dir_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "new", "store")) })
}

func open(t *testing.T, path string) *dir.Store {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s store.Store, key, data string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(data), store.PutOptions{}); err != nil {
		t.Fatalf("Put(%q) = %v", key, err)
	}
}

func get(t *testing.T, s store.Store, key string) (string, error) {
	t.Helper()
	body, err := s.Get(t.Context(), key, 0, -1)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

// files returns every file and directory under root.
func files(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, _ fs.DirEntry, err error) error {
		found = append(found, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestOpen(t *testing.T) {
	t.Run("creates nothing until the first Put", func(t *testing.T) {
		parent := t.TempDir()
		s := open(t, filepath.Join(parent, "a", "b"))
		if _, err := get(t, s, "k"); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("Get = %v, want ErrNotExist", err)
		}
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Errorf("Delete = %v", err)
		}
		if got := files(t, parent); !slices.Equal(got, []string{"."}) {
			t.Errorf("reading made %q", got)
		}
		put(t, s, "x/k", "v")
		if got, want := files(t, parent), []string{".", "a", "a/b", "a/b/.tmp", "a/b/x", "a/b/x/k"}; !slices.Equal(got, want) {
			t.Errorf("after Put there are %q, want %q", got, want)
		}
	})
	t.Run("empty path", func(t *testing.T) {
		if _, err := dir.Open(""); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("Open = %v, want ErrInvalid", err)
		}
	})
	for _, path := range []string{"file", "file/below"} {
		t.Run(path, func(t *testing.T) {
			parent := t.TempDir()
			if err := os.WriteFile(filepath.Join(parent, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, filepath.Join(parent, path))
			if _, err := get(t, s, "k"); err == nil || errors.Is(err, store.ErrNotExist) {
				t.Errorf("Get = %v, want an error other than ErrNotExist", err)
			}
			if err := s.List(t.Context(), "", nil); err == nil {
				t.Error("List of what is no directory = nil, want an error")
			}
			if _, err := s.Put(t.Context(), "k", strings.NewReader(""), store.PutOptions{}); err == nil {
				t.Error("Put into what is no directory = nil, want an error")
			}
		})
	}
}

func TestPermissions(t *testing.T) {
	root := t.TempDir()
	put(t, open(t, root), "d/k", "v")
	for name, want := range map[string]fs.FileMode{"d/k": 0o640, "d": 0o750 | fs.ModeDir} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode()&^want != 0 {
			t.Errorf("%s has mode %v, %v, want no more than %v", name, info.Mode(), err, want)
		}
	}
}

func TestSymlinks(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, outside)
	for name, target := range map[string]string{"file": filepath.Join(outside, "secret"), "dir": outside, "up": "../.."} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "a", "b")
			s := open(t, root)
			put(t, s, "k", "v")
			if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{name, name + "/secret"} {
				if data, err := get(t, s, key); err == nil {
					t.Errorf("Get(%q) = %q, nil, want an error", key, data)
				}
				if info, err := s.Stat(t.Context(), key); err == nil {
					t.Errorf("Stat(%q) = %+v, nil, want an error", key, info)
				}
			}
			for _, ifAbsent := range []bool{false, true} {
				if _, err := s.Put(t.Context(), name+"/new", strings.NewReader("x"), store.PutOptions{IfAbsent: ifAbsent}); err == nil {
					t.Error("Put through a link = nil, want an error")
				}
			}
			// Whatever these answer, nothing outside may change.
			_ = s.Delete(t.Context(), name+"/secret")
			_ = s.Delete(t.Context(), name)
			if got := files(t, outside); !slices.Equal(got, before) {
				t.Errorf("outside there are %q, want %q", got, before)
			}
			if _, err := os.Stat(filepath.Join(root, "../../new")); err == nil {
				t.Error("Put has written above the root")
			}
		})
	}
}

func TestListSpecialFiles(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	put(t, s, "k", "v")
	for _, foreign := range []string{"lost+found", ".snapshot", "UPPER"} {
		if err := os.Mkdir(filepath.Join(root, foreign), 0o000); err != nil {
			t.Fatal(err)
		}
	}
	list := func() (keys []string, err error) {
		err = s.List(t.Context(), "", func(i store.Info) error { keys = append(keys, i.Key); return nil })
		return keys, err
	}
	if keys, err := list(); err != nil || !slices.Equal(keys, []string{"k"}) {
		t.Errorf("List beside foreign files = %q, %v, want the object", keys, err)
	}
	if err := os.Symlink("k", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if keys, err := list(); err == nil {
		t.Errorf("List over a link under the name of a key = %q, want an error", keys)
	}
}

func TestKeyThatIsDirectory(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "a/b", "v")
	for _, ifAbsent := range []bool{false, true} {
		for _, key := range []string{"a", "a/b/c"} {
			_, err := s.Put(t.Context(), key, strings.NewReader("x"), store.PutOptions{IfAbsent: ifAbsent})
			if err == nil || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotExist) {
				t.Errorf("Put(%q, IfAbsent: %t) = %v, want another error", key, ifAbsent, err)
			}
		}
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Errorf("Delete of a directory = %v", err)
	}
	for _, key := range []string{"a", "a/b/c"} {
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("Stat(%q) = %v, want ErrNotExist", key, err)
		}
	}
	if got, err := get(t, s, "a/b"); got != "v" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
}

func TestTruncatedFile(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	put(t, s, "k", strings.Repeat("x", 1000))
	body, err := s.Get(context.Background(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if err := os.Truncate(filepath.Join(root, "k"), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&bytes.Buffer{}, body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reading a file that shrank = %v, want io.ErrUnexpectedEOF", err)
	}
}

// A path that leads to or through a file is a mistake, not an empty store.
func TestPathOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		s, err := dir.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("Stat = %v, want ErrInvalid that names %s", err, path)
		}
		if _, err := s.Put(t.Context(), "a", strings.NewReader("x"), store.PutOptions{}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("Put = %v, want ErrInvalid", err)
		}
	}
}

// What is wrong with a path is said of the path, not of an object.
func TestPathsThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                         file + " is a file, not a directory",
		filepath.Join(file, "below"): "not a directory",
		"/proc/offsite":              "no directory can be made",
	} {
		s := open(t, path)
		_, err := s.Put(t.Context(), "a", strings.NewReader("x"), store.PutOptions{})
		if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "object does not exist") {
			t.Errorf("Put = %v, want ErrInvalid and %q", err, want)
		}
	}
}

func TestMissingIsNamedOnce(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "a/there", "v")
	_, got := get(t, s, "a/gone")
	_, stat := s.Stat(t.Context(), "a/gone")
	for _, err := range []error{got, stat} {
		if !errors.Is(err, store.ErrNotExist) || strings.Count(err.Error(), "gone") != 1 {
			t.Errorf("got %v", err)
		}
	}
}
