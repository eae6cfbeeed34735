package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/offsite-kafka/offsite/internal/store"
)

// tempDir holds files that are being written. Keys have no leading dots.
const tempDir = ".tmp"

// Put implements store.Store: it writes a temporary file, syncs it, gives it its
// name, and syncs the directory.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	info, err := s.put(ctx, key, r, opts)
	if err != nil {
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := ctx.Err(); err != nil {
		return store.Info{}, err
	}
	root, err := s.writable()
	if err != nil {
		return store.Info{}, notAbsent(err)
	}
	tmp, err := s.createTemp(root)
	if err != nil {
		return store.Info{}, notAbsent(err)
	}
	defer tmp.discard(root)
	if err := write(ctx, tmp.File, r); err != nil {
		return store.Info{}, err
	}
	if err := s.sync(tmp.File); err != nil {
		return store.Info{}, classify(err)
	}
	// The clock of the file system, as List and Stat will show it.
	info, err := tmp.Stat()
	if err != nil {
		return store.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Info{}, err
	}
	if err := s.publish(root, tmp.name, key, opts.IfAbsent); err != nil {
		return store.Info{}, notAbsent(err)
	}
	return store.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// notAbsent hides ErrNotExist in the error of a Put: what is missing there is a
// directory that somebody removed, not the object.
func notAbsent(err error) error {
	if errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("directory vanished or is a file: %v", err)
	}
	return err
}

// publish makes the written and synced file tmp visible as key, durably.
func (s *Store) publish(root *os.Root, tmp, key string, ifAbsent bool) error {
	// The directory is opened first, so that no error but that of its fsync can
	// come after the object has become visible.
	parent, err := s.makeParent(root, key)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := s.usable(); err != nil {
		return err
	}
	if ifAbsent {
		err = root.Link(tmp, key)
	} else {
		err = root.Rename(tmp, key)
	}
	if errors.Is(err, fs.ErrExist) {
		return s.occupied(root, parent, key)
	}
	if err != nil {
		return classify(err)
	}
	return s.syncDir(parent)
}

// occupied returns ErrExists if there is an object under key. The caller goes on
// to build on it, so it is made durable here in case its writer was killed
// before doing so.
func (s *Store) occupied(root *os.Root, parent *os.File, key string) error {
	info, err := root.Lstat(key)
	if err == nil && info.IsDir() {
		return fmt.Errorf("key is a directory of other keys")
	}
	if err := s.syncDir(parent); err != nil {
		return err
	}
	return store.ErrExists
}

// copyBuffers holds buffers for readers that cannot write themselves.
var copyBuffers = sync.Pool{New: func() any { return new([1 << 20]byte) }}

// write copies r to f. io.WriterTo of r is used if it has one: its owner knows
// best in which pieces the bytes lie.
func write(ctx context.Context, f *os.File, r io.Reader) error {
	if w, ok := r.(io.WriterTo); ok {
		_, err := w.WriteTo(fileWriter{ctx, f})
		return err
	}
	buf := copyBuffers.Get().(*[1 << 20]byte)
	defer copyBuffers.Put(buf)
	_, err := io.CopyBuffer(fileWriter{ctx, f}, r, buf[:])
	return err
}

// fileWriter stops a copy once its context has ended, and classifies the errors
// of the file as opposed to those of the reader. It hides os.File.ReadFrom,
// which would use a small buffer of its own.
type fileWriter struct {
	ctx context.Context
	f   *os.File
}

func (w fileWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.f.Write(p)
	return n, classify(err)
}

// temp is a file under tempDir. Its flock tells other processes that its writer
// is alive, see sweep.
type temp struct {
	*os.File
	name string
}

func (s *Store) createTemp(root *os.Root) (temp, error) {
	if err := root.Mkdir(tempDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return temp{}, classify(err)
	}
	for range 10 {
		name := tempDir + "/" + rand.Text()
		f, err := s.create(root, name)
		if err != nil {
			return temp{}, classify(err)
		}
		tmp := temp{f, name}
		switch ok, err := claim(f); {
		case ok:
			return tmp, nil
		case err != nil:
			tmp.discard(root)
			return temp{}, fmt.Errorf("lock a temporary file: %w", err)
		}
		f.Close() // a sweep came between create and claim, and takes it away
	}
	return temp{}, fmt.Errorf("lock a temporary file: another process sweeps them again and again")
}

func (t temp) discard(root *os.Root) {
	// Errors are of no consequence: what stays is removed by the next sweep.
	_ = root.Remove(t.name)
	t.Close()
}

// claim locks f and tells whether it is ours: locked by nobody else and still
// in its directory.
func claim(f *os.File) (bool, error) {
	err := flock(f)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.Sys().(*syscall.Stat_t).Nlink > 0, nil
}

func flock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		lockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	return errors.Join(err, lockErr)
}

// sweep removes the temporary files of killed processes. A file whose lock can
// be taken has no living writer, on whatever host; where in doubt it stays.
func sweep(root *os.Root) error {
	dir, err := root.Open(tempDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify(err)
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return fmt.Errorf("list temporary files: %w", err)
	}
	for _, name := range names {
		name = tempDir + "/" + name
		f, err := root.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if flock(f) == nil {
			_ = root.Remove(name) // or the next sweep does
		}
		f.Close()
	}
	return nil
}
