package azblob_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
)

var (
	_ store.Corrupter = (*azblob.Store)(nil)
	_ store.Versioner = (*azblob.Store)(nil)
	_ store.Locker    = (*azblob.Store)(nil)
)

// openProperties returns a store whose container has properties, or that answers as refused says.
func openProperties(t *testing.T, properties map[string]string, refused http.HandlerFunc) *azblob.Store {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range properties {
			w.Header().Set(name, value)
		}
		if refused != nil {
			refused(w, r)
		}
	}))
	t.Cleanup(web.Close)
	t.Setenv("AZURE_STORAGE_SERVICE_ENDPOINT", web.URL)
	t.Setenv("AZURE_STORAGE_KEY", "a2V5")
	s, err := azblob.Open("account", "container", "kafka/prod", azblob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.RetryAtOnce()
	return s
}

func TestLockAndVersioning(t *testing.T) {
	for name, test := range map[string]struct {
		properties map[string]string
		lock       store.Lock
		versions   bool // false: not known
	}{
		"none":       {nil, store.Lock{}, false},
		"policy":     {map[string]string{"x-ms-has-immutability-policy": "true"}, store.Lock{Mode: "an immutability policy"}, false},
		"legal hold": {map[string]string{"x-ms-has-immutability-policy": "false", "x-ms-has-legal-hold": "true"}, store.Lock{Mode: "a legal hold"}, false},
		"each blob":  {map[string]string{"x-ms-immutable-storage-with-versioning-enabled": "true"}, store.Lock{Possible: true}, true},
	} {
		s := openProperties(t, test.properties, nil)
		if got, err := s.Lock(t.Context()); err != nil || got != test.lock {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, test.lock)
		}
		if got, err := s.Versioning(t.Context()); got.Enabled != test.versions || (err == nil) != test.versions {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	s := openProperties(t, nil, apiError(403, "AuthorizationPermissionMismatch"))
	if _, err := s.Lock(t.Context()); !errors.Is(err, store.ErrAuth) || !strings.Contains(err.Error(), "properties of the container") {
		t.Errorf("denied: %v", err)
	}
}

func TestPutCorrupt(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		taken  bool
		err    error
	}{
		"refused": {apiError(400, "Crc64Mismatch"), false, nil},
		"taken":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }, true, nil},
		"denied":  {apiError(403, "AuthorizationFailure"), false, store.ErrAuth},
	} {
		taken, err := openProperties(t, nil, test.answer).PutCorrupt(t.Context(), "k", []byte("data"))
		if taken != test.taken || !errors.Is(err, test.err) {
			t.Errorf("%s: %t, %v", name, taken, err)
		}
	}
}
