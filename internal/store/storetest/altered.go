package storetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
)

// marked is in the content of the objects that RunAltered puts, and altered
// arrives in its place.
var marked, altered = []byte("this is how it was sent"), []byte("this is how it arrives!")

// RunAltered tests that a store notices when content is altered on its way to
// the server at target, and that it is not stored then. open returns a store that
// reaches the server by an endpoint of our own; sizes are those of the objects.
func RunAltered(t *testing.T, target string, open func(t *testing.T, endpoint string) store.Store, sizes ...int) {
	p := newAltering(t, target)
	s := open(t, p.url)
	for _, size := range sizes {
		data := Bytes(uint64(size), size)
		copy(data[size/2:], marked)
		key := fmt.Sprint("altered/", size)
		p.alters.Store(false)
		put(t, s, key+"-not", data)
		wantObject(t, s, key+"-not", data)
		p.alters.Store(true)
		for _, ifAbsent := range []bool{false, true} {
			before := p.altered.Load()
			if _, err := s.Put(t.Context(), key, bytes.NewReader(data), store.PutOptions{IfAbsent: ifAbsent}); err == nil {
				t.Errorf("Put of %d bytes that are altered on their way succeeds", size)
			}
			if p.altered.Load() == before {
				t.Errorf("nothing was altered of %d bytes", size)
			}
			wantAbsent(t, s, key)
		}
	}
}

// altering is a proxy that replaces marked in the bodies of requests.
type altering struct {
	url     string
	alters  atomic.Bool
	altered atomic.Int64
}

func newAltering(t *testing.T, target string) *altering {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &altering{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it may be signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}, // the client has gone, or will notice
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		if p.alters.Load() && bytes.Contains(body, marked) {
			body = bytes.ReplaceAll(body, marked, altered)
			p.altered.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	p.url = web.URL
	return p
}
