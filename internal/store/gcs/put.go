package gcs

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	"cloud.google.com/go/storage"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// partSize in bytes: what fits goes out as one request, what does not in parts of
// this size, one after the other. The memory of a Put is bounded to two of them:
// what was read before there was too much, and what the SDK keeps of it, or of the
// rest, until it has arrived.
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
		u.abort()
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
	key      string
	ifAbsent bool

	size   int64
	crc    uint32
	buf    *[]byte         // what was written, as long as it fits into one request
	writer *storage.Writer // nil as long as nothing was sent
}

func (s *Store) newUpload(ctx context.Context, key string, ifAbsent bool) *upload {
	buf := s.parts.Get().(*[]byte)
	*buf = (*buf)[:0]
	u := &upload{store: s, caller: ctx, key: key, ifAbsent: ifAbsent, buf: buf}
	u.ctx, u.cancel = context.WithCancel(supervise(ctx, roundTripPart))
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
	if u.writer == nil && u.size <= partSize {
		*u.buf = append(*u.buf, p...)
		return len(p), nil
	}
	if u.writer == nil {
		if err := u.begin(partSize); err != nil {
			return 0, err
		}
		if _, err := u.send(*u.buf); err != nil {
			return 0, err
		}
	}
	return u.send(p)
}

// begin opens the SDK's writer, which sends what it gets in one request if that is
// less than part bytes, and in parts if not. The last of them, which makes the
// object visible, is sent only when the writer is closed.
func (u *upload) begin(part int) error {
	object, err := u.store.object(u.key)
	if err != nil {
		return u.store.classify(u.caller, err)
	}
	if u.ifAbsent {
		object = object.If(storage.Conditions{DoesNotExist: true})
	}
	u.writer = object.NewWriter(u.ctx)
	u.writer.ChunkSize = part
	u.writer.ContentType = "application/octet-stream"
	u.writer.KMSKeyName = u.store.opts.KMSKey
	if u.store.opts.Sorting.IsBulk(u.key) {
		u.writer.StorageClass = u.store.opts.Class
	}
	return nil
}

func (u *upload) send(p []byte) (int, error) {
	n, err := u.writer.Write(p)
	return n, u.classify(err)
}

// complete makes the object visible.
func (u *upload) complete() error {
	if u.writer == nil {
		if err := u.begin(len(*u.buf) + 1); err != nil {
			return err
		}
		u.writer.CRC32C, u.writer.SendCRC32C = u.crc, true // of parts, the SDK sends it with the last
		if _, err := u.send(*u.buf); err != nil {
			return err
		}
	}
	if err := u.writer.Close(); err != nil {
		return u.classify(err)
	}
	sent := u.writer.Attrs()
	// What an answer leaves out is zero, as are the size and the CRC of nothing; a generation never is.
	if sent.Generation == 0 || sent.Size != u.size || sent.CRC32C != u.crc {
		return fmt.Errorf("unknown if stored: sent %d bytes with CRC-32C %s, but the server has %d with %s in generation %d",
			u.size, encode(u.crc), sent.Size, encode(sent.CRC32C), sent.Generation)
	}
	return nil
}

func (u *upload) classify(err error) error {
	return u.store.classifyPut(u.caller, err, u.watch, u.ifAbsent)
}

// roundTripPart sends a request of an upload. If a server takes a part for the
// last, a Write of the next one would never return; if it takes the last for
// another, the SDK would send it for ever.
func roundTripPart(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := base.RoundTrip(req)
	sent := req.Header.Get("Content-Range")
	if err != nil || sent == "" || resp.StatusCode/100 != 2 {
		return resp, err
	}
	if strings.HasSuffix(sent, "/*") != (resp.Header.Get("X-Http-Status-Code-Override") == "308") {
		resp.Body.Close()
		return nil, misbehaviour(fmt.Sprintf("server takes the part %q for the last, or the last for another", sent))
	}
	return resp, nil
}

// abort ends an upload that failed, before its last part was sent or by what the
// server said to it.
func (u *upload) abort() {
	u.cancel()
	if u.writer != nil {
		_ = u.writer.Close() // waits for what is in flight, and sends nothing any more
	}
}

// encode returns a CRC-32C as GCS writes it.
func encode(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}
