package gcs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
)

// server answers every request as answer says and remembers what was asked.
type server struct {
	url   string
	mu    sync.Mutex
	asked []string // "insert", ...
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
	q := r.URL.Query()
	switch {
	case q.Has("upload_id") && strings.HasSuffix(r.Header.Get("Content-Range"), "/*"):
		return "part"
	case q.Has("upload_id"):
		return "last"
	case q.Get("uploadType") == "resumable":
		return "begin"
	case q.Get("uploadType") == "multipart":
		return "insert"
	case r.Method == http.MethodDelete:
		return "delete"
	case q.Get("alt") == "media":
		return "get"
	case strings.HasSuffix(r.URL.Path, "/o"):
		return "list"
	}
	return "stat"
}

// answers maps operations to what is answered, call by call (the last one stays),
// in place of success.
type answers map[string][]http.HandlerFunc

func apiError(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"reason":%q,"message":%q}]}}`, code, message, reason, message)
	}
}

func text(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// cut breaks the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// stored answers that size bytes of zeros are there.
func stored(size int) http.HandlerFunc {
	return text(200, fmt.Sprintf(`{"generation":"1","size":"%d","crc32c":%q}`, size, gcs.CRC(make([]byte, size))))
}

func success(w http.ResponseWriter, r *http.Request) {
	switch opOf(r) {
	case "begin":
		w.Header().Set("Location", "http://"+r.Host+"/upload/x?upload_id=1")
	case "part":
		w.Header().Set("X-Http-Status-Code-Override", "308")
	case "insert":
		stored(1)(w, r)
	case "last":
		_, total, _ := strings.Cut(r.Header.Get("Content-Range"), "/")
		size, _ := strconv.Atoi(total)
		stored(size)(w, r)
	case "delete":
		w.WriteHeader(http.StatusNoContent)
	case "stat":
		io.WriteString(w, `{"size":"100","updated":"2026-01-02T03:04:05Z"}`)
	case "list":
		io.WriteString(w, `{}`)
	}
}

func open(t *testing.T, prefix string, a answers) (*gcs.Store, *server) {
	t.Helper()
	srv := &server{}
	calls := map[string]int{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		op := opOf(r)
		srv.mu.Lock()
		srv.asked = append(srv.asked, op)
		handler := http.HandlerFunc(success)
		if list := a[op]; len(list) > 0 {
			handler = list[min(calls[op], len(list)-1)]
		}
		calls[op]++
		srv.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(web.Close)
	srv.url = web.URL
	return openAt(t, web.URL, prefix), srv
}

// openAt returns a store that needs no credentials.
func openAt(t *testing.T, endpoint, prefix string) *gcs.Store {
	t.Helper()
	t.Setenv("STORAGE_EMULATOR_HOST", endpoint)
	s, err := gcs.Open("bucket", prefix, gcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.RetryAtOnce()
	return s
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

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		bucket, prefix string
		valid          bool
	}{
		{"bucket", "", true},
		{"bucket", "a/B c/", true},
		{"", "", false},
		{"a/b", "", false},
		{"bucket", "/a", false},
		{"bucket", "a/../b", false},
		{"bucket", strings.Repeat("x", 600), false},
	} {
		if _, err := gcs.Open(tt.bucket, tt.prefix, gcs.Options{}); (err == nil) != tt.valid {
			t.Errorf("Open(%q, %.20q) = %v, want success: %t", tt.bucket, tt.prefix, err, tt.valid)
		}
	}
	for _, name := range []string{"STORAGE_EMULATOR_HOST", "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"} {
		for _, value := range []string{"ftp://host", "http://", "https://user:hunter2@host", "http://%zz"} {
			t.Setenv(name, value)
			if _, err := gcs.Open("bucket", "", gcs.Options{}); !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s=%s: Open = %v, want ErrInvalid that names the variable, without a password", name, value, err)
			}
		}
		t.Setenv(name, "")
	}
}

// What the server says, and what the store says then.
func TestErrors(t *testing.T) {
	ops := map[string]struct {
		request string
		call    func(s store.Store) error
	}{
		"put":       {"insert", func(s store.Store) error { return putBytes(s, 1, false) }},
		"ifabsent":  {"insert", func(s store.Store) error { return putBytes(s, 1, true) }},
		"begin":     {"begin", func(s store.Store) error { return putBytes(s, gcs.PartSize+1, true) }},
		"part":      {"part", func(s store.Store) error { return putBytes(s, gcs.PartSize+1, true) }},
		"last":      {"last", func(s store.Store) error { return putBytes(s, gcs.PartSize+1, true) }},
		"get":       {"get", func(s store.Store) error { _, err := readAll(s, 0, -1); return err }},
		"get range": {"get", func(s store.Store) error { _, err := readAll(s, 1000, 10); return err }},
		"stat":      {"stat", func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err }},
		"list":      {"list", func(s store.Store) error { return s.List(context.Background(), "", nil) }},
		"delete":    {"delete", func(s store.Store) error { return s.Delete(context.Background(), "k", "l") }},
	}
	all := []string{"put", "ifabsent", "begin", "part", "last", "get", "get range", "stat", "list", "delete"}
	puts := []string{"put", "ifabsent", "begin", "part", "last"}
	for _, tt := range []struct {
		code   int
		reason string
		ops    []string
		want   error // nil for an unclassified error
	}{
		{401, "authError", all, store.ErrAuth},
		{403, "forbidden", all, store.ErrAuth},
		{403, "rateLimitExceeded", all, nil},
		{404, "notFound", []string{"get", "get range", "stat"}, store.ErrNotExist},
		{404, "notFound", puts, nil}, // there is a bucket, or it cannot be said
		{404, "notFound", []string{"list"}, store.ErrInvalid},
		{416, "requestedRangeNotSatisfiable", []string{"get range"}, store.ErrRange},
		{412, "conditionNotMet", []string{"ifabsent", "begin", "part", "last"}, store.ErrExists},
		{412, "conditionNotMet", []string{"put", "get", "delete"}, nil},
		{400, "invalid", all, nil},
		{409, "conflict", puts, nil},
		{507, "full", puts, store.ErrFull},
		{429, "rateLimitExceeded", all, nil},
		{500, "backendError", all, nil},
		{503, "backendError", all, nil},
	} {
		for _, name := range tt.ops {
			t.Run(fmt.Sprintf("%d %s %s", tt.code, tt.reason, name), func(t *testing.T) {
				s, srv := open(t, "", answers{ops[name].request: {apiError(tt.code, tt.reason, "text")}})
				err := ops[name].call(s)
				wantClass(t, err, tt.want)
				if sent := srv.count(ops[name].request); sent > 2*gcs.Attempts {
					t.Errorf("sent %d requests", sent)
				}
				if name == "part" && srv.count("last") > 0 {
					t.Error("the object was completed after a part had failed")
				}
			})
		}
	}
}

func TestNoBucket(t *testing.T) {
	missing := apiError(404, "notFound", "The specified bucket does not exist.")
	for _, media := range []http.HandlerFunc{missing, text(404, "The specified bucket does not exist.")} {
		a := answers{"get": {media}}
		for _, op := range []string{"insert", "begin", "stat", "list", "delete"} {
			a[op] = []http.HandlerFunc{missing}
		}
		s, _ := open(t, "", a)
		for name, call := range map[string]func() error{
			"put":    func() error { return putBytes(s, 1, true) },
			"parts":  func() error { return putBytes(s, gcs.PartSize+1, true) },
			"get":    func() error { _, err := readAll(s, 0, -1); return err },
			"stat":   func() error { _, err := s.Stat(t.Context(), "k"); return err },
			"list":   func() error { return s.List(t.Context(), "", nil) },
			"delete": func() error { return s.Delete(t.Context(), "k") },
		} {
			err := call()
			wantClass(t, err, store.ErrInvalid)
			if !strings.Contains(fmt.Sprint(err), "bucket bucket does not exist: create it, or check its name") {
				t.Errorf("%s: %v does not name the bucket", name, err)
			}
		}
	}
}

// An absent object costs one request where the server says what is absent.
func TestNoSuchObject(t *testing.T) {
	s, srv := open(t, "", answers{"get": {text(404, "No such object: bucket/k")}})
	_, err := readAll(s, 0, -1)
	wantClass(t, err, store.ErrNotExist)
	if got := srv.requests(); !slices.Equal(got, []string{"get"}) {
		t.Errorf("asked for %q", got)
	}
}

// A web server that knows nothing of GCS must not look like an empty repository.
func TestAnotherWebServer(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	s := openAt(t, web.URL, "")
	err := s.List(t.Context(), "", nil)
	wantClass(t, err, nil)
	if !strings.Contains(err.Error(), "status 404") {
		t.Errorf("List = %v, want it to say what was answered", err)
	}
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

// What is refused may be refused because an attempt before had succeeded.
func TestRefusalAfterUnknown(t *testing.T) {
	for _, tt := range []struct {
		op     string
		size   int
		second http.HandlerFunc
		want   error
	}{
		{"insert", 1, apiError(403, "forbidden", ""), nil},
		{"insert", 1, apiError(507, "full", ""), nil},
		{"insert", 1, apiError(412, "conditionNotMet", ""), store.ErrExists},
		{"last", gcs.PartSize + 1, apiError(403, "forbidden", ""), nil},
		{"last", gcs.PartSize + 1, apiError(412, "conditionNotMet", ""), store.ErrExists},
	} {
		for name, first := range map[string]http.HandlerFunc{"500": apiError(500, "backendError", ""), "cut": cut} {
			t.Run(tt.op+" "+name, func(t *testing.T) {
				s, _ := open(t, "", answers{tt.op: {first, tt.second}})
				wantClass(t, putBytes(s, tt.size, true), tt.want)
			})
		}
	}
}

func TestRetries(t *testing.T) {
	for op, call := range map[string]func(store.Store) error{
		"insert": func(s store.Store) error { return putBytes(s, 1, true) },
		"begin":  func(s store.Store) error { return putBytes(s, 2*gcs.PartSize, true) },
		"part":   func(s store.Store) error { return putBytes(s, 2*gcs.PartSize, true) },
		"last":   func(s store.Store) error { return putBytes(s, 2*gcs.PartSize, true) },
		"stat":   func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err },
		"delete": func(s store.Store) error { return s.Delete(context.Background(), "k") },
	} {
		for name, failure := range map[string]http.HandlerFunc{"503": apiError(503, "", ""), "429": apiError(429, "", ""), "cut": cut} {
			t.Run(op+" "+name, func(t *testing.T) {
				s, _ := open(t, "", answers{op: {failure, failure, success}})
				if err := call(s); err != nil {
					t.Errorf("after two failures and a success: %v", err)
				}
			})
		}
	}
}
