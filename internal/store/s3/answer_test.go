package s3_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

// A message has what the server says, and nothing of the request; the rest is a detail. Wrong credentials are told from
// rights that are missing.
func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		status      int
		body, says  string
		credentials bool
	}{
		{403, "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature is wrong.</Message></Error>", "status 403: SignatureDoesNotMatch: The signature is wrong.", true},
		{403, "<Error><Code>InvalidAccessKeyId</Code></Error>", "status 403: InvalidAccessKeyId", true},
		{403, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>", "status 403: AccessDenied: No.", false},
		{405, "<html>", "status 405", false},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "REQUEST7")
			w.Header().Set("X-Amz-Id-2", "HOST7")
			w.WriteHeader(tc.status)
			w.Write([]byte(tc.body))
		}))
		open(t, "", nil)
		s, err := s3.Open(t.Context(), "bucket", "", s3.Options{Endpoint: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(t.Context(), "k", 0, -1)
		srv.Close()
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Fatalf("%d: %v, want %q in it", tc.status, err, tc.says)
		}
		for _, noise := range []string{"REQUEST7", "HOST7", "operation error", "https response error", "api error"} {
			if strings.Contains(err.Error(), noise) {
				t.Errorf("%q is in %v", noise, err)
			}
		}
		var more store.Detailed
		if !errors.As(err, &more) || !strings.Contains(more.Detail(), "REQUEST7") {
			t.Errorf("the id of the request is nowhere in %v", err)
		}
		if errors.Is(err, store.ErrCredentials) != tc.credentials {
			t.Errorf("%v: of the credentials is %t", err, !tc.credentials)
		}
	}
}
