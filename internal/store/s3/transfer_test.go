package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

func TestPutRequests(t *testing.T) {
	for _, tt := range []struct {
		size, parts int
	}{{0, 0}, {1, 0}, {s3.PartSize, 0}, {s3.PartSize + 1, 2}, {2 * s3.PartSize, 2}, {2*s3.PartSize + 1, 3}} {
		data := make([]byte, tt.size)
		for name, r := range map[string]io.Reader{"read": struct{ io.Reader }{bytes.NewReader(data)}, "write": bytes.NewReader(data)} {
			t.Run(fmt.Sprint(tt.size, " ", name), func(t *testing.T) {
				s, srv := open(t, "", nil)
				if _, err := s.Put(t.Context(), "k", r, store.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				if got := srv.count("UploadPart"); got != tt.parts {
					t.Errorf("sent %d parts, want %d", got, tt.parts)
				}
				if got := srv.count("PutObject"); (got == 1) != (tt.parts == 0) {
					t.Errorf("sent PutObject %d times", got)
				}
			})
		}
	}
}

func TestConditions(t *testing.T) {
	for _, ifAbsent := range []bool{false, true} {
		want := map[bool]string{false: "", true: "*"}[ifAbsent]
		check := func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("If-None-Match"); got != want {
				t.Errorf("%s with If-None-Match %q, want %q", opOf(r), got, want)
			}
			success(w, r)
		}
		s, _ := open(t, "", answers{"PutObject": {check}, "CompleteMultipartUpload": {check}})
		for _, size := range []int{1, s3.PartSize + 1} {
			if err := putBytes(s, size, ifAbsent); err != nil {
				t.Error(err)
			}
		}
	}
}

// What is sent is hashed once over HTTP, and not over TLS, and never in a form
// (trailers) that many servers refuse.
func TestContentHash(t *testing.T) {
	setCredentials(t)
	hashes := make(chan string, 10)
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if op := opOf(r); op == "PutObject" || op == "UploadPart" {
			hash := strings.ReplaceAll(r.Header.Get("X-Amz-Content-Sha256"), fmt.Sprintf("%x", sha256.Sum256(body)), "right")
			hashes <- hash
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Amz-Checksum") || name == "X-Amz-Trailer" || name == "Content-Encoding" {
					t.Errorf("%s with %s", op, name)
				}
			}
		}
		success(w, r)
	})
	plain := httptest.NewServer(answer)
	defer plain.Close()
	for endpoint, want := range map[string]string{plain.URL: "right", secure(t, answer).URL: "UNSIGNED-PAYLOAD"} {
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		for size, requests := range map[int]int{1: 1, s3.PartSize + 1: 2} {
			if err := putBytes(s, size, false); err != nil {
				t.Fatal(err)
			}
			for range requests {
				if got := <-hashes; got != want {
					t.Errorf("%s: %d bytes with the hash %s, want %s", endpoint, size, got, want)
				}
			}
		}
	}
}

// A bucket with a default retention refuses content without a Content-MD5 or a
// checksum header; only such a bucket costs the hash.
func TestObjectLock(t *testing.T) {
	locked := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-MD5") == "" {
			apiError(400, "InvalidRequest")(w, r)
			return
		}
		success(w, r)
	}
	s, srv := open(t, "", answers{"PutObject": {locked}, "UploadPart": {locked}})
	for _, size := range []int{3 * s3.PartSize, 1, 0} {
		if err := putBytes(s, size, true); err != nil {
			t.Errorf("Put of %d bytes: %v", size, err)
		}
	}
	// The parts in flight at the beginning are the only ones that go out twice.
	if got := srv.count("UploadPart"); got > 3+s3.PartsInFlight {
		t.Errorf("sent %d parts, want 3 and at most %d again", got, s3.PartsInFlight)
	}
	if got := srv.count("PutObject"); got != 2 {
		t.Errorf("sent PutObject %d times, want 2", got)
	}
	s, srv = open(t, "", answers{"PutObject": {apiError(400, "InvalidRequest"), apiError(400, "InvalidRequest"), success}})
	wantClass(t, putBytes(s, 1, true), nil)
	if err := putBytes(s, 1, true); err != nil || srv.count("PutObject") != 3 {
		t.Errorf("Put = %v after %q, want no more hashes where they did not help", err, srv.requests())
	}
}

func TestContentMD5(t *testing.T) {
	var got string
	s, _ := open(t, "", answers{"PutObject": {apiError(400, "InvalidRequest"), func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Content-MD5")
		success(w, r)
	}}})
	if err := putBytes(s, 0, false); err != nil || got != "1B2M2Y8AsgTpgAmY7PhCfg==" { // RFC 1321: d41d8cd9...
		t.Errorf("Put = %v with Content-MD5 %q", err, got)
	}
}

// The memory of a Put is bounded by its parts in flight.
func TestPartsInFlight(t *testing.T) {
	var now, most atomic.Int32
	slow := func(w http.ResponseWriter, r *http.Request) {
		for n := now.Add(1); n > most.Load(); {
			most.Store(n)
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		success(w, r)
	}
	s, _ := open(t, "", answers{"UploadPart": {slow}})
	if err := putBytes(s, 8*s3.PartSize, false); err != nil {
		t.Fatal(err)
	}
	if got := most.Load(); got < 1 || got > s3.PartsInFlight {
		t.Errorf("%d parts were in flight at once, want at most %d", got, s3.PartsInFlight)
	}
}

// A Put that fails stops reading soon.
func TestPutStopsReading(t *testing.T) {
	s, _ := open(t, "", answers{"UploadPart": {apiError(403, "AccessDenied")}})
	r := &endless{}
	_, err := s.Put(t.Context(), "k", r, store.PutOptions{})
	wantClass(t, err, store.ErrAuth)
	if r.read > 10*s3.PartSize {
		t.Errorf("read %d bytes before giving up", r.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestIncompleteAnswerToComplete(t *testing.T) {
	s, _ := open(t, "", answers{"CompleteMultipartUpload": {text(nil, "")}})
	wantClass(t, putBytes(s, s3.PartSize+1, true), nil)
}

func TestCancelDuringPart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hang := func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}
	s, srv := open(t, "", answers{"UploadPart": {hang}})
	_, err := s.Put(ctx, "k", &endless{}, store.PutOptions{})
	wantClass(t, err, context.Canceled)
	if srv.count("AbortMultipartUpload") != 1 || srv.count("CompleteMultipartUpload") != 0 {
		t.Errorf("asked for %q, want the upload aborted", srv.requests())
	}
}

func TestGetAnswers(t *testing.T) {
	const object = "0123456789"
	partial := func(contentRange, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, body)
		}
	}
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, object)
	}
	ranges := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(object))
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		off, n int64
		want   string // empty for an error
	}{
		{"whole", text(nil, object), 0, -1, object},
		{"no length", chunked, 0, -1, ""},
		{"range", ranges, 2, 3, "234"},
		{"range to the end", ranges, 7, -1, "789"},
		{"range over the end", ranges, 7, 100, "789"},
		{"range ignored", text(nil, object), 2, 3, ""},
		{"another range", partial("bytes 3-5/10", "345"), 2, 3, ""},
		{"short range", partial("bytes 2-3/10", "23"), 2, 3, ""},
		{"long range", partial("bytes 2-5/10", "2345"), 2, 3, ""},
		{"length unlike range", partial("bytes 2-4/10", "23"), 2, 3, ""},
		{"size unknown", partial("bytes 2-4/*", "234"), 2, 3, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, "", answers{"GetObject": {tt.answer}})
			got, err := readAll(s, tt.off, tt.n)
			if tt.want != "" && (err != nil || got != tt.want) {
				t.Errorf("Get(%d, %d) = %q, %v, want %q", tt.off, tt.n, got, err, tt.want)
			}
			if tt.want == "" {
				wantClass(t, err, nil)
			}
		})
	}
}

// Neither over the network nor from a transport that does not count.
func TestBodyCutShort(t *testing.T) {
	cutAfter5 := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "01234")
	}
	s, _ := open(t, "", answers{"GetObject": {cutAfter5}})
	if got, err := readAll(s, 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Get = %q, %v, want io.ErrUnexpectedEOF", got, err)
	}
	s.Transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Length": {"10"}}, Request: r,
			ContentLength: 10, Body: io.NopCloser(strings.NewReader("01234")),
		}, nil
	})
	if got, err := readAll(s, 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Get = %q, %v, want io.ErrUnexpectedEOF", got, err)
	}
}

func TestCancelledBody(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	s, _ := open(t, "", answers{"GetObject": {hang}})
	ctx, cancel := context.WithCancel(t.Context())
	body, err := s.Get(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.ReadAll(body)
	wantClass(t, err, context.Canceled)
}

func listing(truncated bool, next string, names ...string) http.HandlerFunc {
	var b strings.Builder
	fmt.Fprintf(&b, `<ListBucketResult><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>`, truncated, next)
	for _, name := range names {
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><Size>1</Size><LastModified>2026-01-02T03:04:05Z</LastModified></Contents>`, name)
	}
	return text(http.Header{"Content-Type": {"application/xml"}}, b.String()+`</ListBucketResult>`)
}

func TestListAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []http.HandlerFunc
		want  []string // nil for an error
	}{
		{"nothing", []http.HandlerFunc{listing(false, "")}, []string{}},
		{"pages", []http.HandlerFunc{listing(true, "1", "p/a", "p/b"), listing(true, "2"), listing(false, "", "p/c")}, []string{"a", "b", "c"}},
		{"foreign objects", []http.HandlerFunc{listing(false, "", "p/", "p/A", "p/a", "p/b/", "p/c//d", "p/e")}, []string{"a", "e"}},
		{"out of order", []http.HandlerFunc{listing(false, "", "p/b", "p/a")}, nil},
		{"page twice", []http.HandlerFunc{listing(true, "1", "p/a"), listing(false, "", "p/a")}, nil},
		{"outside the prefix", []http.HandlerFunc{listing(false, "", "q/a")}, nil},
		{"more without a token", []http.HandlerFunc{listing(true, "", "p/a")}, nil},
		{"the same token again", []http.HandlerFunc{listing(true, "1", "p/a"), listing(true, "1"), listing(true, "1")}, nil},
		{"second page fails", []http.HandlerFunc{listing(true, "1", "p/a"), apiError(500, "InternalError")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, "p", answers{"ListObjectsV2": tt.pages})
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

func TestListOfABucketThatGoes(t *testing.T) {
	s, _ := open(t, "p", answers{"ListObjectsV2": {listing(true, "1", "p/a"), apiError(404, "NoSuchBucket")}})
	wantClass(t, s.List(t.Context(), "", func(store.Info) error { return nil }), store.ErrInvalid)
}

func TestDeleteAnswers(t *testing.T) {
	result := func(codes ...string) http.HandlerFunc {
		body := "<DeleteResult>"
		for i, code := range codes {
			body += fmt.Sprintf("<Error><Key>k%d</Key><Code>%s</Code><Message>m</Message></Error>", i, code)
		}
		return text(http.Header{"Content-Type": {"application/xml"}}, body+"</DeleteResult>")
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		ok     bool
		want   error
	}{
		{"all deleted", result(), true, nil},
		{"absent", result("NoSuchKey"), true, nil},
		{"one denied", result("NoSuchKey", "AccessDenied"), false, store.ErrAuth},
		{"one failed", result("InternalError"), false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, "", answers{"DeleteObjects": {tt.answer}})
			err := s.Delete(t.Context(), "k0", "k1")
			if tt.ok && err != nil {
				t.Errorf("Delete = %v", err)
			}
			if !tt.ok {
				wantClass(t, err, tt.want)
			}
		})
	}
	t.Run("absent, alone", func(t *testing.T) {
		s, _ := open(t, "", answers{"DeleteObject": {apiError(404, "NoSuchKey")}})
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Errorf("Delete = %v", err)
		}
	})
	t.Run("batches", func(t *testing.T) {
		s, srv := open(t, "", nil)
		keys := make([]string, 2001)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
		}
		if err := s.Delete(t.Context(), keys...); err != nil || srv.count("DeleteObjects") != 3 {
			t.Errorf("Delete = %v in %d requests, want 3", err, srv.count("DeleteObjects"))
		}
	})
}

// An object that appears between the two requests of Stat is not absent.
func TestStatRace(t *testing.T) {
	s, _ := open(t, "", answers{"HeadObject": {apiError(404, "")}, "GetObject": {text(nil, "x")}})
	_, err := s.Stat(t.Context(), "k")
	wantClass(t, err, nil)
}

// A timeout of the network must not look like one of the caller's context.
func TestNetworkTimeout(t *testing.T) {
	s, _ := open(t, "", nil)
	if err := putBytes(s, 1, true); err != nil {
		t.Fatal(err)
	}
	s.Transport(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	})
	wantClass(t, putBytes(s, 1, true), nil)
	_, err := readAll(s, 0, -1)
	wantClass(t, err, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := s.Stat(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stat = %v, want the error of the context", err)
	}
}
