package gcs

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// partSize in bytes: what fits goes out as one request, what does not in parts of
// this size, one after the other. The memory of a Put is bounded to two of them:
// what was read before there was too much, and the part that the SDK keeps until
// it has arrived.
const partSize = 8 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Put implements store.Store: as one request, or as a resumable upload. The server
// compares the CRC-32C of what it got before it makes the object visible.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	u := s.newUpload(ctx, key, opts.IfAbsent)
	defer u.release()
	err := u.copy(r)
	if err == nil {
		err = u.complete()
	}
	if err != nil {
		u.abort(err)
		return store.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	return store.Info{Key: key, Size: u.size}, nil
}

// upload sends what is written to it.
type upload struct {
	store    *Store
	caller   context.Context
	ctx      context.Context // of the requests
	cancel   context.CancelFunc
	watch    *remote.Watch
	name     string
	ifAbsent bool

	size int64
	crc  uint32
	buf  *[]byte // what was written, as long as it fits into one request

	// Of a resumable upload, which begins when it does not.
	pipe *io.PipeWriter
	done chan struct{} // closed when result and err are set
	sent *storage.Object
	err  error
}

func (s *Store) newUpload(ctx context.Context, key string, ifAbsent bool) *upload {
	buf := s.parts.Get().(*[]byte)
	*buf = (*buf)[:0]
	u := &upload{store: s, caller: ctx, name: s.name(key), ifAbsent: ifAbsent, buf: buf}
	u.ctx, u.cancel = context.WithCancel(ctx)
	u.ctx, u.watch = remote.WatchAttempts(u.ctx)
	return u
}

// release returns the buffer, once nothing is in flight.
func (u *upload) release() {
	u.cancel()
	u.store.parts.Put(u.buf)
}

// copy reads r to its end. It prefers WriteTo of r.
func (u *upload) copy(r io.Reader) error {
	if err := u.caller.Err(); err != nil {
		return err
	}
	if _, err := io.Copy(u, r); err != nil {
		return err
	}
	return u.caller.Err()
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	if err := u.caller.Err(); err != nil {
		return 0, err
	}
	u.crc = crc32.Update(u.crc, castagnoli, p)
	u.size += int64(len(p))
	if u.pipe == nil && u.size <= partSize {
		*u.buf = append(*u.buf, p...)
		return len(p), nil
	}
	if u.pipe == nil {
		if err := u.begin(); err != nil {
			return 0, err
		}
	}
	return u.pipe.Write(p)
}

// begin hands what was written so far to a resumable upload, which then reads
// from the pipe. The SDK sends the last part, which makes the object visible,
// only after the pipe was closed without an error.
func (u *upload) begin() error {
	r, w := io.Pipe()
	u.pipe, u.done = w, make(chan struct{})
	go func() {
		defer close(u.done)
		u.sent, u.err = u.insert(r, "", googleapi.ChunkSize(partSize), googleapi.EnableAutoChecksum())
		_ = r.CloseWithError(u.err) // so that no Write waits for what is not read any more
	}()
	_, err := w.Write(*u.buf)
	return err
}

// complete makes the object visible.
func (u *upload) complete() error {
	if u.pipe == nil {
		u.sent, u.err = u.insert(bytes.NewReader(*u.buf), encode(u.crc), googleapi.ChunkSize(0))
	} else {
		_ = u.pipe.Close() // never fails
		<-u.done
	}
	if u.err != nil {
		return u.err
	}
	if got := u.sent.Crc32c; int64(u.sent.Size) != u.size || got != encode(u.crc) {
		return fmt.Errorf("unknown if stored: sent %d bytes with CRC-32C %s, but the server has %d with %.20q", u.size, encode(u.crc), u.sent.Size, got)
	}
	return nil
}

// insert sends media and returns what the server stored.
func (u *upload) insert(media io.Reader, crc string, opts ...googleapi.MediaOption) (*storage.Object, error) {
	service, err := u.store.service()
	if err != nil {
		return nil, u.store.classify(u.caller, err)
	}
	opts = append(opts, googleapi.ContentType("application/octet-stream"))
	call := service.Objects.Insert(u.store.bucket, &storage.Object{Name: u.name, Crc32c: crc}).
		Media(media, opts...).Fields("size", "crc32c").Context(u.ctx)
	call.WithRetry(nil, func(error) bool { return false }) // the transport repeats
	if u.ifAbsent {
		call.IfGenerationMatch(0)
	}
	object, err := call.Do()
	return object, u.store.classifyPut(u.caller, err, u.watch, u.ifAbsent)
}

// abort ends a resumable upload that failed, before its last part was sent or by
// what the server said to it.
func (u *upload) abort(err error) {
	u.cancel()
	if u.pipe != nil {
		_ = u.pipe.CloseWithError(err)
		<-u.done
	}
}

// encode returns a CRC-32C as GCS writes it.
func encode(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}
