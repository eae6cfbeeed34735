package s3_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// blocks writes itself as the capture does: in pieces of its own.
type blocks struct {
	block []byte
	n     int
}

func (b blocks) Read([]byte) (int, error) { panic("has a WriteTo") }

func (b blocks) WriteTo(w io.Writer) (n int64, err error) {
	for range b.n {
		m, err := w.Write(b.block)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// secure returns a server that the SDK trusts.
func secure(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	web := httptest.NewTLSServer(h)
	t.Cleanup(web.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", ca)
	return web
}

// BenchmarkPut uploads segments of 64 MiB: to a transport that only reads them,
// and to servers, whose own work counts, too.
func BenchmarkPut(b *testing.B) {
	setCredentials(b)
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		success(w, r)
	})
	put := func(b *testing.B, endpoint string, prepare func(*s3.Store)) {
		s, err := s3.Open(b.Context(), "bucket", "", s3.Options{Endpoint: endpoint})
		if err != nil {
			b.Fatal(err)
		}
		prepare(s)
		segment := blocks{make([]byte, 1<<20), 64}
		b.SetBytes(int64(segment.n * len(segment.block)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Put(b.Context(), "k", segment, store.PutOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, scheme := range []string{"http", "https"} {
		b.Run("transport/"+scheme, func(b *testing.B) {
			put(b, scheme+"://127.0.0.1:1", func(s *s3.Store) {
				s.Transport(func(r *http.Request) (*http.Response, error) {
					if r.Body == nil {
						r.Body = http.NoBody
					}
					w := httptest.NewRecorder()
					answer(w, r)
					return w.Result(), nil
				})
			})
		})
	}
	b.Run("server/http", func(b *testing.B) {
		web := httptest.NewServer(answer)
		defer web.Close()
		put(b, web.URL, func(*s3.Store) {})
	})
	b.Run("server/https", func(b *testing.B) { put(b, secure(b, answer).URL, func(*s3.Store) {}) })
}
