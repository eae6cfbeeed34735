package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// server answers every request as answer says and remembers what was asked.
type server struct {
	mu    sync.Mutex
	asked []string // "PutObject", ...
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

// opOf names the operation of S3 that r asks for.
func opOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads"):
		return "CreateMultipartUpload"
	case q.Has("uploadId"):
		return map[string]string{"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[r.Method]
	case q.Has("delete"):
		return "DeleteObjects"
	case q.Has("list-type"):
		return "ListObjectsV2"
	}
	return map[string]string{"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[r.Method]
}

// answers maps operations to what is answered, call by call (the last one stays),
// in place of success.
type answers map[string][]http.HandlerFunc

func apiError(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>text</Message></Error>`, code)
		}
	}
}

func text(header http.Header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		io.WriteString(w, body)
	}
}

// cut breaks the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func success(w http.ResponseWriter, r *http.Request) {
	switch opOf(r) {
	case "CreateMultipartUpload":
		io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>`)
	case "CompleteMultipartUpload":
		io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>`)
	case "PutObject", "UploadPart":
		w.Header().Set("ETag", `"e"`)
	case "DeleteObject", "AbortMultipartUpload":
		w.WriteHeader(http.StatusNoContent)
	case "DeleteObjects":
		io.WriteString(w, `<DeleteResult></DeleteResult>`)
	case "HeadObject":
		w.Header().Set("Content-Length", "100")
	}
}

func open(t *testing.T, prefix string, a answers) (*s3.Store, *server) {
	t.Helper()
	srv := &server{}
	calls := map[string]int{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
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
	setCredentials(t)
	s, err := s3.Open(t.Context(), "bucket", prefix, s3.Options{Endpoint: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.RetryAtOnce()
	return s, srv
}

// setCredentials makes the test independent of the configuration of the machine.
func setCredentials(t testing.TB) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "",
		"AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
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
	setCredentials(t)
	endpoint := s3.Options{Endpoint: "http://127.0.0.1:1"}
	for _, tt := range []struct {
		bucket, prefix string
		opts           s3.Options
		valid          bool
	}{
		{"bucket", "", endpoint, true},
		{"bucket", "a/B c/", endpoint, true},
		{"bucket", "", s3.Options{Region: "eu-west-1"}, true},
		{"bucket", "", s3.Options{}, false},
		{"", "", endpoint, false},
		{"a/b", "", endpoint, false},
		{"bucket", "/a", endpoint, false},
		{"bucket", "a//b", endpoint, false},
		{"bucket", "a/../b", endpoint, false},
		{"bucket", "a\nb", endpoint, false},
		{"bucket", "\xff", endpoint, false},
		{"bucket", strings.Repeat("x", 600), endpoint, false},
	} {
		if _, err := s3.Open(t.Context(), tt.bucket, tt.prefix, tt.opts); (err == nil) != tt.valid {
			t.Errorf("Open(%q, %.20q, %+v) = %v, want success: %t", tt.bucket, tt.prefix, tt.opts, err, tt.valid)
		}
	}
}

func TestEndpointFromEnvironment(t *testing.T) {
	setCredentials(t)
	var path string
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path = r.URL.Path }))
	defer web.Close()
	t.Setenv("AWS_ENDPOINT_URL", web.URL)
	s, err := s3.Open(t.Context(), "bucket", "pre fix", s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := putBytes(s, 1, false); err != nil || path != "/bucket/pre fix/k" {
		t.Errorf("Put = %v to %q, want the bucket and the prefix in the path", err, path)
	}
}

func TestNoCredentials(t *testing.T) {
	_, srv := open(t, "", nil)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, s3.PartSize + 1} {
		if err := putBytes(s, size, true); !errors.Is(err, store.ErrAuth) || !strings.Contains(err.Error(), store.ErrAuth.Error()+": no credentials found (") {
			t.Errorf("Put of %d bytes = %v, want ErrAuth, which says that there are none", size, err)
		}
	}
	if asked := srv.requests(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
}

// What the server says, and what the store says then.
func TestErrors(t *testing.T) {
	ops := map[string]struct {
		requests []string
		call     func(s store.Store) error
	}{
		"put":       {[]string{"PutObject"}, func(s store.Store) error { return putBytes(s, 1, false) }},
		"ifabsent":  {[]string{"PutObject"}, func(s store.Store) error { return putBytes(s, 1, true) }},
		"parts":     {[]string{"CompleteMultipartUpload"}, func(s store.Store) error { return putBytes(s, s3.PartSize+1, true) }},
		"part":      {[]string{"UploadPart"}, func(s store.Store) error { return putBytes(s, s3.PartSize+1, true) }},
		"begin":     {[]string{"CreateMultipartUpload"}, func(s store.Store) error { return putBytes(s, s3.PartSize+1, true) }},
		"get":       {[]string{"GetObject"}, func(s store.Store) error { _, err := readAll(s, 0, -1); return err }},
		"get range": {[]string{"GetObject"}, func(s store.Store) error { _, err := readAll(s, 1000, 10); return err }},
		"stat":      {[]string{"HeadObject", "GetObject"}, func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err }},
		"list":      {[]string{"ListObjectsV2"}, func(s store.Store) error { return s.List(context.Background(), "", nil) }},
		"delete":    {[]string{"DeleteObject"}, func(s store.Store) error { return s.Delete(context.Background(), "k") }},
		"deletes":   {[]string{"DeleteObjects"}, func(s store.Store) error { return s.Delete(context.Background(), "k", "l") }},
	}
	all := []string{"put", "ifabsent", "parts", "part", "begin", "get", "get range", "stat", "list", "delete", "deletes"}
	puts := []string{"put", "ifabsent", "parts", "part", "begin"}
	for _, tt := range []struct {
		status int
		code   string
		ops    []string
		want   error // nil for an unclassified error
	}{
		{403, "AccessDenied", all, store.ErrAuth},
		{403, "InvalidAccessKeyId", all, store.ErrAuth},
		{403, "SignatureDoesNotMatch", all, store.ErrAuth},
		{400, "ExpiredToken", []string{"put", "parts", "get", "list", "delete"}, store.ErrAuth},
		{401, "Unauthorized", all, store.ErrAuth},
		{404, "XAdminUserNotFound", all, store.ErrAuth},
		{404, "Whatever", all, nil},
		{404, "NoSuchKey", []string{"get", "get range", "stat"}, store.ErrNotExist},
		{404, "NoSuchBucket", all, store.ErrInvalid},
		{404, "NoSuchUpload", []string{"parts", "part"}, nil},
		{416, "InvalidRange", []string{"get range"}, store.ErrRange},
		{412, "PreconditionFailed", []string{"ifabsent", "parts"}, store.ErrExists},
		{409, "ConditionalRequestConflict", []string{"ifabsent", "parts"}, nil},
		{409, "OperationAborted", puts, nil},
		{507, "InsufficientStorage", puts, store.ErrFull},
		{400, "QuotaExceeded", puts, store.ErrFull},
		{500, "InternalError", all, nil},
		{503, "SlowDown", all, nil},
		{301, "PermanentRedirect", all, nil},
		{200, "InternalError", []string{"parts"}, nil},
		{200, "PreconditionFailed", []string{"parts"}, store.ErrExists},
	} {
		for _, name := range tt.ops {
			t.Run(fmt.Sprintf("%d %s %s", tt.status, tt.code, name), func(t *testing.T) {
				a := answers{}
				for _, op := range ops[name].requests {
					a[op] = []http.HandlerFunc{apiError(tt.status, tt.code)}
				}
				s, srv := open(t, "", a)
				err := ops[name].call(s)
				wantClass(t, err, tt.want)
				if tt.code == "NoSuchBucket" && !strings.Contains(fmt.Sprint(err), "bucket") {
					t.Errorf("%v does not name the bucket", err)
				}
				begun := srv.count("CreateMultipartUpload") > 0 && name != "begin"
				if aborts := srv.count("AbortMultipartUpload"); begun != (aborts > 0) {
					t.Errorf("upload begun: %t, aborted %d times", begun, aborts)
				}
				if sent := srv.count(ops[name].requests[0]); sent > 2*s3.Attempts {
					t.Errorf("sent %d requests", sent)
				}
			})
		}
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

// A retry by the SDK may be refused because the first attempt succeeded.
func TestRefusalAfterUnknown(t *testing.T) {
	for _, tt := range []struct {
		op       string
		size     int
		second   http.HandlerFunc
		ifAbsent bool
		want     error
	}{
		{"PutObject", 1, apiError(403, "AccessDenied"), true, nil},
		{"PutObject", 1, apiError(507, "InsufficientStorage"), false, nil},
		{"PutObject", 1, apiError(412, "PreconditionFailed"), true, store.ErrExists},
		{"CompleteMultipartUpload", s3.PartSize + 1, apiError(403, "AccessDenied"), true, nil},
		{"CompleteMultipartUpload", s3.PartSize + 1, apiError(404, "NoSuchUpload"), true, nil},
		{"UploadPart", s3.PartSize + 1, apiError(403, "AccessDenied"), true, store.ErrAuth}, // nothing can be visible
	} {
		for name, first := range map[string]http.HandlerFunc{"500": apiError(500, "InternalError"), "cut": cut} {
			t.Run(tt.op+" "+name, func(t *testing.T) {
				s, _ := open(t, "", answers{tt.op: {first, tt.second}})
				wantClass(t, putBytes(s, tt.size, tt.ifAbsent), tt.want)
			})
		}
	}
}

func TestRetries(t *testing.T) {
	for op, call := range map[string]func(store.Store) error{
		"PutObject":               func(s store.Store) error { return putBytes(s, 1, true) },
		"UploadPart":              func(s store.Store) error { return putBytes(s, 2*s3.PartSize, true) },
		"CompleteMultipartUpload": func(s store.Store) error { return putBytes(s, 2*s3.PartSize, true) },
		"HeadObject":              func(s store.Store) error { _, err := s.Stat(context.Background(), "k"); return err },
	} {
		for name, failure := range map[string]http.HandlerFunc{"503": apiError(503, "SlowDown"), "500": apiError(500, "InternalError"), "cut": cut} {
			t.Run(op+" "+name, func(t *testing.T) {
				s, _ := open(t, "", answers{op: {failure, failure, success}})
				if err := call(s); err != nil {
					t.Errorf("after two failures and a success: %v", err)
				}
			})
		}
	}
}
