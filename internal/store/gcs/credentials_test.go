package gcs_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
)

// setCredentials makes the test independent of the configuration of the machine.
func setCredentials(t *testing.T, file string) {
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", "")
}

// serviceAccount writes the key of a service account whose tokens come from tokenURL.
func serviceAccount(t *testing.T, tokenURL string) (file string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeJSON(t, map[string]string{
		"type": "service_account", "client_email": "offsite@example.iam", "private_key_id": "1", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

func writeJSON(t *testing.T, v any) (file string) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// tokens answers like a server of tokens.
func tokens(t *testing.T, answer http.HandlerFunc) string {
	web := httptest.NewServer(answer)
	t.Cleanup(web.Close)
	return web.URL
}

func giveToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"access_token":"secret-token","token_type":"Bearer","expires_in":3600}`)
}

// The credentials of the environment reach a server of one's own.
func TestCredentialsAndEndpoint(t *testing.T) {
	tokenURL := tokens(t, giveToken)
	federated := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(federated, []byte("of-the-pod"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"service account": serviceAccount(t, tokenURL),
		"workload identity": writeJSON(t, map[string]any{
			"type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"token_url": tokenURL, "credential_source": map[string]string{"file": federated},
		}),
	} {
		t.Run(name, func(t *testing.T) {
			setCredentials(t, file)
			var asked, authorization string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked, authorization = r.URL.Path, r.Header.Get("Authorization")
				success(w, r)
			}))
			defer web.Close()
			for value, path := range map[string]string{
				web.URL: "/storage/v1/b/bucket/o/pre fix/k", web.URL + "/": "/storage/v1/b/bucket/o/pre fix/k", web.URL + "/other/v1": "/other/v1/b/bucket/o/pre fix/k",
			} {
				t.Setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", value)
				s, err := gcs.Open("bucket", "pre fix", gcs.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Stat(t.Context(), "k"); err != nil || asked != path || authorization != "Bearer secret-token" {
					t.Errorf("Stat at %s = %v, asked for %q with %q, want %q with the token", value, err, asked, authorization, path)
				}
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
	}
	t.Setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "http://127.0.0.1:1")
	for name, tt := range map[string]struct{ file, says string }{
		"no such file": {filepath.Join(t.TempDir(), "none.json"), "none.json"},
		"no JSON":      {writeJSON(t, "text"), "json"},
		"refused":      {serviceAccount(t, tokens(t, refuse)), "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			setCredentials(t, tt.file)
			s, err := gcs.Open("bucket", "", gcs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{1, gcs.PartSize + 1} {
				err := putBytes(s, size, true)
				wantClass(t, err, store.ErrAuth)
				if text := err.Error(); !strings.HasPrefix(text, "put k: "+store.ErrAuth.Error()+": no credentials found: ") || !strings.Contains(text, tt.says) {
					t.Errorf("Put of %d bytes = %v, want ErrAuth that says %q", size, err, tt.says)
				}
			}
			wantClass(t, s.List(t.Context(), "", nil), store.ErrAuth)
			_, err = s.Stat(t.Context(), "k")
			wantClass(t, err, store.ErrAuth)
			_, err = readAll(s, 0, -1)
			wantClass(t, err, store.ErrAuth)
			wantClass(t, s.Delete(t.Context(), "k"), store.ErrAuth)
		})
	}
}

// That the server of tokens does not answer says nothing about the credentials.
func TestTokensUnreachable(t *testing.T) {
	t.Setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "http://127.0.0.1:1")
	setCredentials(t, serviceAccount(t, "http://127.0.0.1:1/token"))
	s, err := gcs.Open("bucket", "", gcs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "k")
	if wantClass(t, err, store.ErrUnreachable); !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("Stat = %v, want it to say where", err)
	}
}

// A server that was never there is given up soon, in words that name it.
func TestNeverReached(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:1":        "connection refused",
		"http://store.invalid:9000": "store.invalid",
		secure.URL:                  "certificate",
	} {
		s := openAt(t, endpoint, "")
		_, err := s.Stat(t.Context(), "k")
		wantClass(t, err, store.ErrUnreachable)
		if text := err.Error(); !strings.HasPrefix(text, "stat k: cannot reach the object store: "+endpoint+": ") || !strings.Contains(text, want) {
			t.Errorf("%s, want it to begin with the endpoint and to say %q", text, want)
		}
		wantClass(t, putBytes(s, 1, true), store.ErrUnreachable)
		wantClass(t, putBytes(s, gcs.PartSize+1, true), store.ErrUnreachable)
		wantClass(t, s.List(t.Context(), "", nil), store.ErrUnreachable)
		wantClass(t, s.Delete(t.Context(), "k"), store.ErrUnreachable)
	}
}

// What was there and is not any more may come back.
func TestGone(t *testing.T) {
	s, _ := open(t, "", nil)
	if err := putBytes(s, 1, true); err != nil {
		t.Fatal(err)
	}
	tries := 0
	s.Transport(func(*http.Request) (*http.Response, error) {
		tries++
		return nil, errors.New("connection reset")
	})
	wantClass(t, putBytes(s, 1, true), nil)
	if tries != gcs.Attempts {
		t.Errorf("tried %d times, want %d", tries, gcs.Attempts)
	}
}
