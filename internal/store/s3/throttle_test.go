package s3_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// A server that has enough of more than one part at a time soon gets one at a time, and more again later.
func TestFewerPartsAfterThrottling(t *testing.T) {
	s, _ := open(t, "", nil)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		inFlight, refused, most, capacity := 0, 0, 0, 1
		s.Transport(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			if opOf(r) != "UploadPart" {
				success(w, r)
				return w.Result(), nil
			}
			mu.Lock()
			inFlight++
			busy := inFlight > capacity
			most = max(most, inFlight)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			inFlight--
			if busy {
				refused++
				apiError(503, "SlowDown")(w, r)
				return w.Result(), nil
			}
			success(w, r)
			return w.Result(), nil
		})
		const uploads, parts = 3, 6
		put := func() {
			var wg sync.WaitGroup
			for range uploads {
				wg.Go(func() {
					if _, err := s.Put(t.Context(), "k", bytes.NewReader(make([]byte, parts*s3.PartSize)), store.PutOptions{}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		put()
		// What goes well opens the window, so that two are tried now and then: at most once for each that arrives.
		if most != uploads*s3.PartsInFlight || refused > uploads*parts+most {
			t.Errorf("%d parts at once, %d of %d were refused", most, refused, uploads*parts)
		}
		most, refused, capacity = 0, 0, 100
		put()
		put()
		if most < 4 || refused > 0 {
			t.Errorf("only %d parts at once when the server can take more", most)
		}
	})
}

// Uploads that hang are sent again, as often as others, and end.
func TestHungUpload(t *testing.T) {
	for _, size := range []int{1000, s3.PartSize + 1} {
		s, _ := open(t, "", nil)
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			sent := map[string]int{}
			s.Transport(func(r *http.Request) (*http.Response, error) {
				op := opOf(r)
				mu.Lock()
				sent[op]++
				mu.Unlock()
				if op == "UploadPart" || op == "PutObject" {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				w := httptest.NewRecorder()
				success(w, r)
				return w.Result(), nil
			})
			began := time.Now()
			err := putBytes(s, size, true)
			wantClass(t, err, nil)
			if !remote.IsTimeout(err) {
				t.Errorf("%d bytes: %v", size, err)
			}
			if n := sent["PutObject"]; size == 1000 && n != s3.Attempts {
				t.Errorf("sent %d times", n)
			}
			if n := sent["UploadPart"]; size > 1000 && (n < s3.Attempts || n > 2*s3.Attempts) {
				t.Errorf("parts were sent %d times", n)
			}
			if took := time.Since(began); took > time.Hour/2 {
				t.Errorf("%d bytes: took %s", size, took)
			}
		})
	}
}

// What asks for less is asked again, whoever says it.
func TestThrottlingWithoutACode(t *testing.T) {
	for _, status := range []int{408, 429, 503} {
		s, srv := open(t, "", answers{"PutObject": {apiError(status, ""), success}, "GetObject": {apiError(status, ""), success}})
		if err := putBytes(s, 1, true); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if _, err := readAll(s, 0, -1); err != nil || srv.count("PutObject") != 2 || srv.count("GetObject") != 2 {
			t.Errorf("%d: %v after %v", status, err, srv.requests())
		}
	}
}
