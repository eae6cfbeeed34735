package azblob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
)

// calls are all that a store can be asked for.
var calls = map[string]func(store.Store) error{
	"put":      func(s store.Store) error { return putBytes(s, 1, false) },
	"ifabsent": func(s store.Store) error { return putBytes(s, 1, true) },
	"parts":    func(s store.Store) error { return putBytes(s, azblob.PartSize+1, true) },
	"get":      func(s store.Store) error { _, err := readAll(s, 0, -1); return err },
	"range":    func(s store.Store) error { _, err := readAll(s, 1000, 10); return err },
	"stat":     func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err },
	"list":     func(s store.Store) error { return s.List(context.Background(), "", nil) },
	"delete":   func(s store.Store) error { return s.Delete(context.Background(), "k", "l") },
}

func putBytes(s store.Store, size int, ifAbsent bool) error {
	_, err := s.Put(context.Background(), "k", bytes.NewReader(make([]byte, size)), store.PutOptions{IfAbsent: ifAbsent})
	return err
}

func readAll(s store.Store, off, n int64) (string, error) {
	body, err := s.Get(context.Background(), "k", off, n)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

// wantClass checks that err is of one class, or unclassified if want is nil.
func wantClass(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %v", want)
	}
	for _, class := range []error{
		store.ErrNotExist, store.ErrExists, store.ErrRange, store.ErrAuth, store.ErrFull, store.ErrInvalid,
		store.ErrUnreachable, store.ErrUnusable, context.Canceled, context.DeadlineExceeded,
	} {
		if got := errors.Is(err, class); got != (class == want) {
			t.Errorf("%v\nis %q: %t, want it to be %v", err, class, got, want)
		}
	}
}

// server answers every request as answer says and remembers what was asked.
type server struct {
	mu    sync.Mutex
	asked []string // "put", ...
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *server) count(op string) (n int) {
	for _, asked := range s.requests() {
		if asked == op {
			n++
		}
	}
	return n
}

// opOf names what r asks for.
func opOf(r *http.Request) string {
	switch comp := r.URL.Query().Get("comp"); comp {
	case "list", "block":
		return comp
	case "blocklist":
		return "commit"
	}
	return strings.ToLower(r.Method)
}

// answers maps operations to what is answered, call by call (the last one stays),
// in place of success.
type answers map[string][]http.HandlerFunc

func apiError(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("X-Ms-Error-Code", code)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>text`+"\n"+`RequestId:1</Message></Error>`, code)
		}
	}
}

// cut breaks the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func success(w http.ResponseWriter, r *http.Request) {
	switch opOf(r) {
	case "put", "block", "commit":
		w.WriteHeader(http.StatusCreated)
	case "delete":
		w.WriteHeader(http.StatusAccepted)
	case "head":
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
	case "list":
		listing("")(w, r)
	}
}

func listing(next string, names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var b strings.Builder
		for _, name := range names {
			fmt.Fprintf(&b, `<Blob><Name>%s</Name><Properties><Content-Length>1</Content-Length><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified></Properties></Blob>`, name)
		}
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprintf(w, `<?xml version="1.0"?><EnumerationResults><Blobs>%s</Blobs><NextMarker>%s</NextMarker></EnumerationResults>`, b.String(), next)
	}
}

func open(t *testing.T, prefix string, a answers) (*azblob.Store, *server) {
	t.Helper()
	srv := &server{}
	seen := map[string]int{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		op := opOf(r)
		srv.mu.Lock()
		srv.asked = append(srv.asked, op)
		handler := http.HandlerFunc(success)
		if list := a[op]; len(list) > 0 {
			handler = list[min(seen[op], len(list)-1)]
		}
		seen[op]++
		srv.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(web.Close)
	return openAt(t, web.URL+"/account", prefix), srv
}

func openAt(t *testing.T, endpoint, prefix string) *azblob.Store {
	t.Helper()
	setCredentials(t, map[string]string{"AZURE_STORAGE_SERVICE_ENDPOINT": endpoint, "AZURE_STORAGE_SAS_TOKEN": "sig=hunter2"})
	s, err := azblob.Open("account", "container", prefix, azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.RetryAtOnce()
	return s
}

// setCredentials makes the test independent of the configuration of the machine.
func setCredentials(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SERVICE_ENDPOINT",
	} {
		t.Setenv(name, env[name])
	}
}

func TestOpen(t *testing.T) {
	type env = map[string]string
	connection := "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=a2V5;EndpointSuffix=core.windows.net"
	for _, tt := range []struct {
		account, container, prefix string
		env                        env
		says                       string // empty for success
	}{
		{"account", "container", "", nil, ""},
		{"account", "con-tainer", "a/B c/", env{"AZURE_STORAGE_KEY": "a2V5"}, ""},
		{"account", "$root", "", env{"AZURE_STORAGE_CONNECTION_STRING": connection}, ""},
		{"account", "container", "", env{"AZURE_STORAGE_ACCOUNT": "account"}, ""},
		{"account.evil.example", "container", "", nil, "no name of an account"},
		{"Account", "container", "", nil, "no name of an account"},
		{"account", "Container", "", nil, "no name of a container"},
		{"account", "a--b", "", nil, "no name of a container"},
		{"account", "container", "a/../b", nil, "element"},
		{"account", "container", "", env{"AZURE_STORAGE_ACCOUNT": "other"}, "AZURE_STORAGE_ACCOUNT"},
		{"other", "container", "", env{"AZURE_STORAGE_CONNECTION_STRING": connection}, "AZURE_STORAGE_CONNECTION_STRING is for the account"},
		{"account", "container", "", env{"AZURE_STORAGE_CONNECTION_STRING": "hunter2"}, "AZURE_STORAGE_CONNECTION_STRING"},
		{"account", "container", "", env{"AZURE_STORAGE_KEY": "hunter2!"}, "AZURE_STORAGE_KEY is no key"},
		{"account", "container", "", env{"AZURE_STORAGE_SERVICE_ENDPOINT": "host:10000"}, "AZURE_STORAGE_SERVICE_ENDPOINT is not a URL"},
	} {
		setCredentials(t, tt.env)
		_, err := azblob.Open(tt.account, tt.container, tt.prefix, azblob.Options{})
		if tt.says == "" && err != nil {
			t.Errorf("Open(%q, %q, %q) with %v = %v", tt.account, tt.container, tt.prefix, tt.env, err)
		}
		if text := fmt.Sprint(err); tt.says != "" && (!errors.Is(err, store.ErrInvalid) || !strings.Contains(text, tt.says) || strings.Contains(text, "hunter2")) {
			t.Errorf("Open(%q, %q, %q) = %v, want ErrInvalid that says %q", tt.account, tt.container, tt.prefix, err, tt.says)
		}
	}
}

// What the server says, and what the store says then.
func TestErrors(t *testing.T) {
	requests := map[string]string{
		"put": "put", "ifabsent": "put", "parts": "commit", "block": "block", "get": "get", "range": "get", "stat": "head", "list": "list", "delete": "delete",
	}
	ops := maps.Clone(calls)
	ops["block"] = ops["parts"]
	all := slices.Collect(maps.Keys(requests))
	puts := []string{"put", "ifabsent", "parts", "block"}
	for _, tt := range []struct {
		status int
		code   string
		ops    []string
		want   error // nil for an unclassified error
	}{
		{403, "AuthenticationFailed", all, store.ErrAuth},
		{403, "AuthorizationPermissionMismatch", all, store.ErrAuth},
		{401, "NoAuthenticationInformation", all, store.ErrAuth},
		{404, "ContainerNotFound", all, store.ErrInvalid},
		{404, "BlobNotFound", []string{"get", "range", "stat"}, store.ErrNotExist},
		{404, "ResourceNotFound", all, nil},
		{416, "InvalidRange", []string{"range"}, store.ErrRange},
		{409, "BlobAlreadyExists", []string{"ifabsent", "parts"}, store.ErrExists},
		{412, "ConditionNotMet", []string{"ifabsent", "parts"}, store.ErrExists},
		{400, "InvalidBlockList", []string{"parts"}, store.ErrExists}, // there is a blob
		{409, "BlobAlreadyExists", []string{"put"}, nil},
		{400, "Crc64Mismatch", puts, nil},
		{507, "Full", puts, store.ErrFull},
		{500, "InternalError", all, nil},
		{503, "ServerBusy", all, nil},
	} {
		for _, name := range tt.ops {
			t.Run(fmt.Sprintf("%d %s %s", tt.status, tt.code, name), func(t *testing.T) {
				s, srv := open(t, "", answers{requests[name]: {apiError(tt.status, tt.code)}})
				err := ops[name](s)
				wantClass(t, err, tt.want)
				if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
					t.Errorf("%q shows the signature or has several lines", text)
				}
				if sent := srv.count(requests[name]); sent > 2*azblob.Attempts {
					t.Errorf("sent %d requests", sent)
				}
				if name == "block" && srv.count("commit") > 0 {
					t.Error("the blob was committed after a block had failed")
				}
			})
		}
	}
}

// What is refused may be refused because an attempt before had succeeded.
func TestRefusalAfterUnknown(t *testing.T) {
	for _, tt := range []struct {
		op     string
		size   int
		second http.HandlerFunc
		want   error
	}{
		{"put", 1, apiError(403, "AuthenticationFailed"), nil},
		{"put", 1, apiError(409, "BlobAlreadyExists"), store.ErrExists},
		{"commit", azblob.PartSize + 1, apiError(403, "AuthenticationFailed"), nil},
		{"commit", azblob.PartSize + 1, apiError(412, "ConditionNotMet"), store.ErrExists},
		{"block", azblob.PartSize + 1, apiError(403, "AuthenticationFailed"), store.ErrAuth}, // nothing can be visible
	} {
		for name, first := range map[string]http.HandlerFunc{"500": apiError(500, "InternalError"), "cut": cut} {
			t.Run(tt.op+" "+name, func(t *testing.T) {
				s, _ := open(t, "", answers{tt.op: {first, tt.second}})
				wantClass(t, putBytes(s, tt.size, true), tt.want)
			})
		}
	}
}

func TestRetries(t *testing.T) {
	for op, name := range map[string]string{"put": "ifabsent", "block": "parts", "commit": "parts", "head": "stat", "list": "list", "delete": "delete"} {
		for failure, answer := range map[string]http.HandlerFunc{"503": apiError(503, "ServerBusy"), "cut": cut} {
			s, _ := open(t, "", answers{op: {answer, answer, success}})
			if err := calls[name](s); err != nil {
				t.Errorf("%s after two failures by %s and a success: %v", op, failure, err)
			}
		}
	}
}

// Two uploads of one blob share no blocks, and the blob is made of one's own.
func TestBlocks(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]int{}
	see := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ids[r.URL.Query().Get("blockid")]++
		mu.Unlock()
		success(w, r)
	}
	check := func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-None-Match"); got != "*" {
			t.Errorf("committed with If-None-Match %q", got)
		}
		success(w, r)
	}
	s, srv := open(t, "", answers{"block": {see}, "commit": {check}, "put": {check}})
	for _, size := range []int{2*azblob.PartSize + 1, 2 * azblob.PartSize, azblob.PartSize, 1, 0} {
		if err := putBytes(s, size, true); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 5 || srv.count("block") != 5 || srv.count("commit") != 2 || srv.count("put") != 3 {
		t.Errorf("sent %d blocks by %q, want 5", len(ids), srv.requests())
	}
}

// A Put that fails stops reading soon, and commits nothing.
func TestUncommitted(t *testing.T) {
	s, srv := open(t, "", answers{"block": {apiError(403, "AuthenticationFailed")}})
	r := &endless{}
	_, err := s.Put(t.Context(), "k", r, store.PutOptions{})
	wantClass(t, err, store.ErrAuth)
	if r.read > 10*azblob.PartSize || srv.count("commit") > 0 {
		t.Errorf("read %d bytes before giving up, asked for %q", r.read, srv.requests())
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, srv = open(t, "", answers{"block": {func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}}})
	_, err = s.Put(ctx, "k", &endless{}, store.PutOptions{})
	wantClass(t, err, context.Canceled)
	if srv.count("commit") > 0 {
		t.Errorf("asked for %q after the context ended", srv.requests())
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestListAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []http.HandlerFunc
		want  []string // nil for an error
	}{
		{"nothing", []http.HandlerFunc{listing("")}, []string{}},
		{"pages", []http.HandlerFunc{listing("1", "p/a", "p/b"), listing("2"), listing("", "p/c")}, []string{"a", "b", "c"}},
		{"foreign blobs", []http.HandlerFunc{listing("", "p/", "p/A", "p/a", "p/b/", "p/e")}, []string{"a", "e"}},
		{"out of order", []http.HandlerFunc{listing("", "p/b", "p/a")}, nil},
		{"page twice", []http.HandlerFunc{listing("1", "p/a"), listing("", "p/a")}, nil},
		{"outside the prefix", []http.HandlerFunc{listing("", "q/a")}, nil},
		{"the same marker again", []http.HandlerFunc{listing("1", "p/a"), listing("1"), listing("1")}, nil},
		{"second page fails", []http.HandlerFunc{listing("1", "p/a"), apiError(500, "InternalError")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, "p", answers{"list": tt.pages})
			got := []string{}
			err := s.List(t.Context(), "", func(i store.Info) error { got = append(got, i.Key); return nil })
			if tt.want == nil {
				wantClass(t, err, nil)
			} else if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("List = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// A server that was never there is given up soon, in words that name it and show
// no signature.
func TestNeverReached(t *testing.T) {
	s := openAt(t, "http://127.0.0.1:1/account", "")
	for name, call := range calls {
		err := call(s)
		wantClass(t, err, store.ErrUnreachable)
		if text := err.Error(); !strings.Contains(text, "cannot reach the object store: http://127.0.0.1:1: ") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// setIdentity lets the SDK look for one kind of identity only, without which it
// would ask on the network.
func setIdentity(t *testing.T, kind string, env map[string]string) {
	t.Helper()
	setCredentials(t, env)
	for _, name := range []string{
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE",
		"AZURE_USERNAME", "AZURE_PASSWORD", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT", "IDENTITY_SERVER_THUMBPRINT",
	} {
		t.Setenv(name, "")    // so that it is put back
		_ = os.Unsetenv(name) // for the SDK, empty is not the same
	}
	t.Setenv("AZURE_TOKEN_CREDENTIALS", kind)
}

func TestNoCredentials(t *testing.T) {
	setIdentity(t, "EnvironmentCredential", nil)
	s, err := azblob.Open("account", "container", "", azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("asked without a token") })
	for name, call := range calls {
		err := call(s)
		wantClass(t, err, store.ErrAuth)
		if text := err.Error(); !strings.Contains(text, "no credentials found: ") || !strings.Contains(text, "AZURE_TENANT_ID") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The identity of the machine reaches the store, and only by TLS.
func TestManagedIdentity(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Identity-Header") != "of-the-machine" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"secret-token","expires_on":"%d","resource":%q,"token_type":"Bearer"}`, time.Now().Add(time.Hour).Unix(), r.URL.Query().Get("resource"))
	}))
	defer tokens.Close()
	authorizations := make(chan string, 10)
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorizations <- r.Header.Get("Authorization")
		success(w, r)
	}))
	defer web.Close()
	setIdentity(t, "ManagedIdentityCredential", map[string]string{"AZURE_STORAGE_SERVICE_ENDPOINT": web.URL})
	t.Setenv("IDENTITY_ENDPOINT", tokens.URL)
	t.Setenv("IDENTITY_HEADER", "of-the-machine")
	s, err := azblob.Open("account", "container", "", azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Transport(web.Client().Transport.RoundTrip)
	if err := putBytes(s, 1, true); err != nil {
		t.Fatal(err)
	}
	if got := <-authorizations; got != "Bearer secret-token" {
		t.Errorf("asked with %q, want the token", got)
	}
}
