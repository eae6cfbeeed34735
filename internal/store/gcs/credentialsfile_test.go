package gcs_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store/gcs"
)

// The file of the options counts more than the environment, in which there may be the credentials for another store.
func TestCredentialsFile(t *testing.T) {
	setCredentials(t, "/nowhere/credentials.json")
	var authorization string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		success(w, r)
	}))
	defer web.Close()
	t.Setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", web.URL)
	s, err := gcs.Open("bucket", "", gcs.Options{CredentialsFile: serviceAccount(t, tokens(t, giveToken))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), "k"); err != nil || authorization != "Bearer secret-token" {
		t.Errorf("Stat = %v, asked with %q", err, authorization)
	}
}
