package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

var _ store.LockTrier = (*s3.Store)(nil)

// recorder is a server that takes everything and remembers what came with it.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request // without their bodies
}

// record starts a recorder; answer, if it is not nil, says what it answers.
func record(t *testing.T, answer http.HandlerFunc) *recorder {
	t.Helper()
	if answer == nil {
		answer = success
	}
	rec := &recorder{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		rec.mu.Lock()
		rec.requests = append(rec.requests, r)
		rec.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(rec.Close)
	setCredentials(t)
	return rec
}

// headers returns those of the requests for an operation, of the kinds that options make.
func (r *recorder) headers(op string) []map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []map[string]string
	for _, request := range r.requests {
		if opOf(request) != op {
			continue
		}
		found := make(map[string]string)
		for name := range request.Header {
			switch name {
			case "X-Amz-Content-Sha256", "X-Amz-Date":
			default:
				if strings.HasPrefix(name, "X-Amz-") || name == "Content-Md5" {
					found[name] = request.Header.Get(name)
				}
			}
		}
		all = append(all, found)
	}
	return all
}

func sorting() store.Sorting {
	return store.Sorting{
		Bulk:    func(key string) bool { return strings.HasPrefix(key, "data/") },
		Passing: func(key string) bool { return strings.HasPrefix(key, "probe/") },
	}
}

// Without options, nothing is asked for that a server might not know.
func TestNoOptions(t *testing.T) {
	rec := record(t, nil)
	s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: rec.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{10, s3.PartSize + 1} {
		if _, err := s.Put(t.Context(), "data/1", bytes.NewReader(make([]byte, size)), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, op := range []string{"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
		got := rec.headers(op)
		if len(got) == 0 {
			t.Errorf("%s was not asked for", op)
		}
		for _, headers := range got {
			if len(headers) > 0 {
				t.Errorf("%s with %v", op, headers)
			}
		}
	}
}

// Data has the storage class, the log not; all are encrypted; canaries are not locked.
func TestTerms(t *testing.T) {
	rec := record(t, nil)
	s, err := s3.Open(t.Context(), "bucket", "kafka", s3.Options{
		Endpoint: rec.URL, Class: "STANDARD_IA", Encryption: s3.SSEKMS, KMSKey: "alias/k", Checksum: s3.CRC32C,
		Lock: store.Lock{Mode: "COMPLIANCE", For: 30 * 24 * time.Hour}, Sorting: sorting(),
	})
	if err != nil {
		t.Fatal(err)
	}
	encrypted := map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/k"}
	want := func(more ...string) map[string]string {
		all := map[string]string{}
		for name, value := range encrypted {
			all[name] = value
		}
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	// printf content | crc32c, big endian, in base64
	const sum = "X-Amz-Checksum-Crc32c"
	locked := []string{"X-Amz-Object-Lock-Mode", "COMPLIANCE"}
	class := []string{"X-Amz-Storage-Class", "STANDARD_IA"}
	for key, more := range map[string][]string{
		"data/1": slices.Concat(locked, class), "log/1": locked, "repository.json": locked, "probe/1": nil,
	} {
		before := time.Now()
		if _, err := s.Put(t.Context(), key, strings.NewReader("content"), store.PutOptions{IfAbsent: true}); err != nil {
			t.Fatal(err)
		}
		all := rec.headers("PutObject")
		got := all[len(all)-1]
		if crc32.Checksum([]byte("content"), crc32.MakeTable(crc32.Castagnoli)) != 0x61af7533 || got[sum] != "Ya91Mw==" {
			t.Errorf("%s: checksum %q", key, got[sum])
		}
		delete(got, sum)
		wantUntil(t, key, got, before, len(more) > 0)
		if !reflect.DeepEqual(got, want(more...)) {
			t.Errorf("%s: got %v, want %v", key, got, want(more...))
		}
	}
	before := time.Now()
	if _, err := s.Put(t.Context(), "data/2", bytes.NewReader(make([]byte, s3.PartSize+1)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	got := rec.headers("CreateMultipartUpload")[0]
	wantUntil(t, "upload", got, before, true)
	if want := want(slices.Concat(locked, class, []string{"X-Amz-Checksum-Algorithm", "CRC32C"})...); !reflect.DeepEqual(got, want) {
		t.Errorf("upload: got %v, want %v", got, want)
	}
	for _, part := range rec.headers("UploadPart") {
		if len(part[sum]) != 8 || len(part) != 1 {
			t.Errorf("part with %v", part)
		}
	}
}

// wantUntil takes out the end of a lock.
func wantUntil(t *testing.T, what string, got map[string]string, before time.Time, locked bool) {
	t.Helper()
	const name = "X-Amz-Object-Lock-Retain-Until-Date"
	until, err := time.Parse(time.RFC3339, got[name])
	const month = 30 * 24 * time.Hour
	if locked && (err != nil || until.Before(before.Add(month-time.Second)) || until.After(time.Now().Add(month+time.Second))) {
		t.Errorf("%s is locked until %q", what, got[name])
	}
	if _, there := got[name]; there != locked {
		t.Errorf("%s: locked is %t, want %t", what, there, locked)
	}
	delete(got, name)
}

// What is to be locked is sent with an MD5 from the first request on.
func TestLockWantsMD5(t *testing.T) {
	for name, opts := range map[string]s3.Options{
		"lock": {Lock: store.Lock{Mode: "GOVERNANCE", For: time.Hour}},
		"md5":  {Checksum: s3.MD5},
	} {
		rec := record(t, nil)
		opts.Endpoint = rec.URL
		s, err := s3.Open(t.Context(), "bucket", "", opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := putBytes(s, 10, true); err != nil {
			t.Fatal(err)
		}
		if got := rec.headers("PutObject"); len(got) != 1 || len(got[0]["Content-Md5"]) != 24 {
			t.Errorf("%s: sent %v", name, got)
		}
	}
}

func TestAddressing(t *testing.T) {
	for addressing, want := range map[s3.Addressing]string{"": "store.invalid", s3.Path: "store.invalid", s3.Virtual: "bucket.store.invalid"} {
		setCredentials(t)
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: "http://store.invalid", Addressing: addressing})
		if err != nil {
			t.Fatal(err)
		}
		host := ""
		s.Transport(func(r *http.Request) (*http.Response, error) {
			host = r.URL.Host
			return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody, Request: r}, nil
		})
		_, _ = s.Stat(t.Context(), "k")
		if host != want {
			t.Errorf("%q asks %s, want %s", addressing, host, want)
		}
	}
}

// A server that does not take what was asked for is asked once, and the error says what that was.
func TestRefusedTerms(t *testing.T) {
	for code, status := range map[string]int{
		"InvalidStorageClass": 400, "InvalidRequest": 400, "KMS.NotFoundException": 400, "NotImplemented": 501, "InvalidArgument": 400,
	} {
		rec := record(t, apiError(status, code))
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{
			Endpoint: rec.URL, Class: "FROZEN", Encryption: s3.SSES3, Lock: store.Lock{Mode: "GOVERNANCE", For: time.Hour}, Sorting: sorting(),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.RetryAtOnce()
		for _, size := range []int{1, s3.PartSize + 1} {
			_, err := s.Put(t.Context(), "data/1", bytes.NewReader(make([]byte, size)), store.PutOptions{IfAbsent: true})
			wantClass(t, err, store.ErrInvalid)
			for _, word := range []string{"storage class FROZEN", "server-side encryption AES256", "Object Lock GOVERNANCE", code} {
				if !strings.Contains(fmt.Sprint(err), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
		}
		if n := len(rec.headers("PutObject")); n != 1 {
			t.Errorf("%s: asked %d times", code, n)
		}
	}
	// Who asks for nothing has not been refused it.
	s := openBucket(t, apiError(400, "InvalidArgument"))
	wantClass(t, putBytes(s, 1, true), nil)
}

func TestBadOptions(t *testing.T) {
	setCredentials(t)
	for _, opts := range []s3.Options{{Class: "GLACIER"}, {Class: "DEEP_ARCHIVE"}, {Lock: store.Lock{Mode: "COMPLIANCE"}}} {
		opts.Region = "us-east-1"
		if _, err := s3.Open(t.Context(), "bucket", "", opts); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: got %v", opts, err)
		}
	}
}

// Whether a server keeps a lock is asked, not believed.
func TestTryLock(t *testing.T) {
	retention := func(mode string, until time.Time) string {
		return fmt.Sprintf("<Retention><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>", mode, until.UTC().Format(time.RFC3339))
	}
	hour := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		put, get http.HandlerFunc
		locked   bool
		err      string
	}{
		"kept":           {success, text(nil, retention("COMPLIANCE", hour)), true, ""},
		"ignored":        {success, apiError(404, "NoSuchObjectLockConfiguration"), false, ""},
		"another mode":   {success, text(nil, retention("GOVERNANCE", hour)), false, ""},
		"shorter":        {success, text(nil, retention("COMPLIANCE", time.Now())), false, ""},
		"no such bucket": {apiError(400, "InvalidRequest"), nil, false, "does not take objects with Object Lock COMPLIANCE"},
		"may not lock":   {apiError(403, "AccessDenied"), nil, false, "it needs the right s3:PutObjectRetention"},
		"may not look":   {success, apiError(403, "AccessDenied"), false, "it needs the right s3:GetObjectRetention"},
		"does not know":  {success, apiError(501, "NotImplemented"), false, "does not know the request"},
	} {
		rec := record(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("retention") {
				test.get(w, r)
				return
			}
			test.put(w, r)
		})
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: rec.URL, Lock: store.Lock{Mode: "COMPLIANCE", For: 24 * time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		s.RetryAtOnce()
		locked, err := s.TryLock(t.Context(), "probe/1", []byte("x"))
		if locked != test.locked || (err == nil) != (test.err == "") || !strings.Contains(fmt.Sprint(err), test.err) {
			t.Errorf("%s: got %t, %v", name, locked, err)
		}
		if got := rec.headers("PutObject")[0]; got["X-Amz-Object-Lock-Mode"] != "COMPLIANCE" || got["Content-Md5"] == "" {
			t.Errorf("%s: sent %v", name, got)
		}
	}
}
