//go:build e2e

package e2e_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/authority"
	"github.com/offsite-kafka/offsite/test/bed/azurite"
	"github.com/offsite-kafka/offsite/test/bed/fakegcs"
	"github.com/offsite-kafka/offsite/test/bed/objectstore"
)

// storeHost is a name that only the proxy of the test knows.
const storeHost = "store.invalid"

// behind is a store to be found in another place than its endpoint.
type behind struct {
	url, endpoint string
	there         string // the environment variable that says where it is to be found
	env           []string
}

// Every store is found behind a proxy, and under a certificate of an authority of one's own, that the environment names.
func TestProxyAndAuthority(t *testing.T) {
	t.Parallel()
	a, err := authority.New(t.TempDir())
	must(t, err)
	for name, start := range map[string]func(t *testing.T) behind{
		"S3": func(t *testing.T) behind {
			s := objectstore.Start(t)
			return behind{"s3://" + objectstore.Bucket + "/x", s.Endpoint(), "AWS_ENDPOINT_URL=https://" + storeHost, s.Env()}
		},
		"GCS": func(t *testing.T) behind {
			s := fakegcs.Start(t)
			return behind{"gs://" + fakegcs.Bucket + "/x", s.Endpoint(), "STORAGE_EMULATOR_HOST=https://" + storeHost, s.Env()}
		},
		"Azure": func(t *testing.T) behind {
			s := azurite.Start(t)
			url := "az://" + azurite.Account + "/" + azurite.Container + "/x"
			return behind{url, s.Endpoint(), "AZURE_STORAGE_SERVICE_ENDPOINT=https://" + storeHost + "/" + azurite.Account, s.Env()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := start(t)
			proxy := newProxy(t, secureFront(t, a, store.endpoint))
			env := append(store.env, store.there, "NO_PROXY=", "no_proxy=", "HTTP_PROXY=", "https_proxy=", "AWS_CA_BUNDLE=")
			trust, through := "SSL_CERT_FILE="+a.CertFile(), "HTTPS_PROXY="+proxy.url
			list := func(more ...string) outcome {
				r := &repository{t: t, url: store.url, env: append(env, more...)}
				return r.try("restored", nil, "list")
			}
			wantError(t, list(trust, through), exitNoRepository, store.url)
			if proxy.used.Load() == 0 {
				t.Error("the proxy was not used")
			}
			wantError(t, list(through), exitFailed, "certificate")
			wantError(t, list(trust, "HTTPS_PROXY="), exitFailed, storeHost)
		})
	}
}

// secureFront serves what is at endpoint by TLS, as storeHost, and returns its address.
func secureFront(t *testing.T, a *authority.Authority, endpoint string) string {
	t.Helper()
	to, err := url.Parse(endpoint)
	must(t, err)
	pair, err := a.Issue(authority.Leaf{CommonName: storeHost, Hosts: []string{storeHost, "127.0.0.1"}})
	must(t, err)
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	must(t, err)
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it may be signed
	}})
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that do not trust it
	front.StartTLS()
	t.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

// proxy passes connections on, all to one address.
type proxy struct {
	url  string
	used atomic.Int64
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	p := &proxy{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.URL.Hostname() != storeHost {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		p.used.Add(1)
		server, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer server.Close()
		client, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(server, client)
		io.Copy(client, server)
	}))
	t.Cleanup(web.Close)
	p.url = web.URL
	return p
}
