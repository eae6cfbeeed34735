package gcs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
)

func TestPutRequests(t *testing.T) {
	for _, tt := range []struct{ size, parts int }{
		{0, 0}, {1, 0}, {gcs.PartSize, 0}, {gcs.PartSize + 1, 1}, {2 * gcs.PartSize, 2}, {2*gcs.PartSize + 1, 2},
	} {
		data := make([]byte, tt.size)
		for name, r := range map[string]io.Reader{"read": struct{ io.Reader }{bytes.NewReader(data)}, "write": bytes.NewReader(data)} {
			t.Run(fmt.Sprint(tt.size, " ", name), func(t *testing.T) {
				s, srv := open(t, "", answers{"insert": {stored(tt.size)}})
				if _, err := s.Put(t.Context(), "k", r, store.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				if got := srv.count("part"); got != tt.parts {
					t.Errorf("sent %d parts before the last, want %d", got, tt.parts)
				}
				if got := srv.count("insert"); (got == 1) != (tt.parts == 0) {
					t.Errorf("sent the object as a whole %d times", got)
				}
			})
		}
	}
}

// The server is told, with the last request at the latest, what it must have got.
func TestChecksums(t *testing.T) {
	var got string
	see := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body) + r.Header.Get("X-Goog-Hash")
		success(w, r)
	}
	s, _ := open(t, "", answers{"insert": {see}, "last": {see}})
	for _, size := range []int{1, gcs.PartSize + 1, 2 * gcs.PartSize} {
		if err := putBytes(s, size, false); err != nil || !strings.Contains(got, gcs.CRC(make([]byte, size))) {
			t.Errorf("Put of %d bytes = %v, with no checksum in %.300q", size, err, got)
		}
	}
}

// A server that has stored something else has not stored the object.
func TestAnswerWithAnotherChecksum(t *testing.T) {
	for _, answer := range []string{
		`{"generation":"1","size":"1","crc32c":"AAAAAA=="}`, `{"generation":"1","size":"2","crc32c":"Un1TUQ=="}`, `{"generation":"1"}`, `{}`,
	} {
		for op, size := range map[string]int{"insert": 1, "last": gcs.PartSize + 1} {
			s, _ := open(t, "", answers{op: {text(200, answer)}})
			wantClass(t, putBytes(s, size, true), nil)
		}
	}
	s, _ := open(t, "", answers{"insert": {text(200, `{}`)}})
	wantClass(t, putBytes(s, 0, true), nil) // although all of it is zero
}

// A server that loses count of the parts must not be waited for for ever.
func TestPartsMistaken(t *testing.T) {
	more := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Http-Status-Code-Override", "308") }
	for op, answer := range map[string]http.HandlerFunc{"part": stored(gcs.PartSize), "last": more} {
		s, srv := open(t, "", answers{op: {answer}})
		err := putBytes(s, 3*gcs.PartSize, true)
		if wantClass(t, err, nil); !strings.Contains(err.Error(), "server takes the part") || srv.count(op) != 1 {
			t.Errorf("Put = %v after %q", err, srv.requests())
		}
	}
}

func TestConditions(t *testing.T) {
	for _, ifAbsent := range []bool{false, true} {
		want := map[bool]string{false: "", true: "0"}[ifAbsent]
		check := func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.Query().Get("ifGenerationMatch"); got != want {
				t.Errorf("%s with ifGenerationMatch %q, want %q", opOf(r), got, want)
			}
			success(w, r)
		}
		s, _ := open(t, "", answers{"insert": {check}, "begin": {check}})
		for _, size := range []int{1, gcs.PartSize + 1} {
			if err := putBytes(s, size, ifAbsent); err != nil {
				t.Error(err)
			}
		}
	}
}

// A Put that fails stops reading soon.
func TestPutStopsReading(t *testing.T) {
	s, _ := open(t, "", answers{"part": {apiError(403, "forbidden", "")}})
	r := &endless{}
	_, err := s.Put(t.Context(), "k", r, store.PutOptions{})
	wantClass(t, err, store.ErrAuth)
	if r.read > 5*gcs.PartSize {
		t.Errorf("read %d bytes before giving up", r.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

// Neither a reader that fails nor a context that ends completes the object.
func TestUncompleted(t *testing.T) {
	boom := errors.New("boom")
	for _, size := range []int{10, gcs.PartSize, 2*gcs.PartSize + 1} {
		s, srv := open(t, "", nil)
		r := io.MultiReader(bytes.NewReader(make([]byte, size)), failing{boom})
		if _, err := s.Put(t.Context(), "k", struct{ io.Reader }{r}, store.PutOptions{}); !errors.Is(err, boom) {
			t.Errorf("Put = %v, want the error of the reader", err)
		}
		if srv.count("last")+srv.count("insert") > 0 {
			t.Errorf("asked for %q after the reader failed", srv.requests())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	hang := func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}
	s, srv := open(t, "", answers{"part": {hang}})
	_, err := s.Put(ctx, "k", &endless{}, store.PutOptions{})
	wantClass(t, err, context.Canceled)
	if srv.count("last") > 0 {
		t.Errorf("asked for %q after the context ended", srv.requests())
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

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
		{"whole", text(200, object), 0, -1, object},
		{"no length", chunked, 0, -1, ""},
		{"range", ranges, 2, 3, "234"},
		{"range to the end", ranges, 7, -1, "789"},
		{"range over the end", ranges, 7, 100, "789"},
		{"range ignored", text(200, object), 2, 3, ""},
		{"another range", partial("bytes 3-5/10", "345"), 2, 3, ""},
		{"short range", partial("bytes 2-3/10", "23"), 2, 3, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, "", answers{"get": {tt.answer}})
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

func TestBodyCutShort(t *testing.T) {
	s, _ := open(t, "", answers{"get": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "01234")
	}}})
	if got, err := readAll(s, 0, -1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Get = %q, %v, want io.ErrUnexpectedEOF", got, err)
	}
}

// A body that breaks is not mended without telling the reader, who may ask again.
func TestBodyBreaks(t *testing.T) {
	const object = "0123456789"
	for _, tt := range []struct {
		off, n int64
		want   string
	}{{0, -1, "0123"}, {2, -1, "2345"}, {2, 5, "2345"}} {
		s, srv := open(t, "", answers{"get": {func(w http.ResponseWriter, r *http.Request) {
			breaking := &fewer{ResponseWriter: w, n: 4}
			http.ServeContent(breaking, r, "", time.Time{}, strings.NewReader(object))
		}}})
		got, err := readAll(s, tt.off, tt.n)
		if got != tt.want || !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != io.ErrUnexpectedEOF.Error() {
			t.Errorf("Get(%d, %d) = %q, %v, want %q and io.ErrUnexpectedEOF", tt.off, tt.n, got, err, tt.want)
		}
		if asked := srv.requests(); !slices.Equal(asked, []string{"get"}) {
			t.Errorf("asked for %q", asked)
		}
	}
}

// fewer breaks the connection after n bytes of a body.
type fewer struct {
	http.ResponseWriter
	n int
}

func (f *fewer) Write(p []byte) (int, error) {
	if len(p) <= f.n {
		f.n -= len(p)
		return f.ResponseWriter.Write(p)
	}
	f.ResponseWriter.Write(p[:f.n])
	f.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// GCS says what the whole of an object must be.
func TestBodyAltered(t *testing.T) {
	s, _ := open(t, "", answers{"get": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Goog-Hash", "crc32c="+gcs.CRC([]byte("sent")))
		io.WriteString(w, "lost")
	}}})
	_, err := readAll(s, 0, -1)
	wantClass(t, err, nil)
}

func listing(next string, names ...string) http.HandlerFunc {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = fmt.Sprintf(`{"name":%q,"size":"1","updated":"2026-01-02T03:04:05.678Z"}`, name)
	}
	return text(200, fmt.Sprintf(`{"nextPageToken":%q,"items":[%s]}`, next, strings.Join(items, ",")))
}

func TestListAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []http.HandlerFunc
		want  []string // nil for an error
	}{
		{"nothing", []http.HandlerFunc{listing("")}, []string{}},
		{"pages", []http.HandlerFunc{listing("1", "p/a", "p/b"), listing("2"), listing("", "p/c")}, []string{"a", "b", "c"}},
		{"foreign objects", []http.HandlerFunc{listing("", "p/", "p/A", "p/a", "p/b/", "p/c//d", "p/e")}, []string{"a", "e"}},
		{"out of order", []http.HandlerFunc{listing("", "p/b", "p/a")}, nil},
		{"page twice", []http.HandlerFunc{listing("1", "p/a"), listing("", "p/a")}, nil},
		{"outside the prefix", []http.HandlerFunc{listing("", "q/a")}, nil},
		{"the same token again", []http.HandlerFunc{listing("1", "p/a"), listing("1"), listing("1")}, nil},
		{"second page fails", []http.HandlerFunc{listing("1", "p/a"), apiError(500, "", "")}, nil},
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

// A listing can be long: it is asked for no more than what it is for.
func TestListedAttributes(t *testing.T) {
	s, _ := open(t, "", answers{"list": {func(w http.ResponseWriter, r *http.Request) {
		fields := strings.FieldsFunc(r.URL.Query().Get("fields"), func(c rune) bool { return strings.ContainsRune(",()", c) })
		slices.Sort(fields)
		if want := []string{"items", "name", "nextPageToken", "prefixes", "size", "updated"}; !slices.Equal(fields, want) {
			t.Errorf("asked for %q, want %q", fields, want)
		}
		success(w, r)
	}}})
	if err := s.List(t.Context(), "", nil); err != nil {
		t.Error(err)
	}
}

func TestDeleteAnswers(t *testing.T) {
	gone := apiError(404, "notFound", "No such object: bucket/k")
	s, srv := open(t, "", answers{"delete": {gone, success, gone}})
	if err := s.Delete(t.Context(), "k", "l", "m"); err != nil || srv.count("delete") != 3 {
		t.Errorf("Delete = %v after %q", err, srv.requests())
	}
	s, _ = open(t, "", answers{"delete": {success, apiError(403, "forbidden", "")}})
	wantClass(t, s.Delete(t.Context(), "k", "l", "m"), store.ErrAuth)
}
