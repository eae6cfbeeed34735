// Package gcs keeps objects in a bucket of Google Cloud Storage.
//
// It speaks the JSON API through Google's SDK. What that repeats of its own
// accord, without telling anybody, is turned off; remote.Transport repeats.
//
// The identity needs storage.objects.list and storage.objects.get, without which
// GCS answers 403 where an object is absent, and storage.objects.create; to
// replace objects and for Delete storage.objects.delete. An upload that a killed
// process leaves behind is invisible, and GCS forgets it after a week.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// Environment variables that say where the server is. The first is of Google's
// client libraries, for servers that want no credentials, the second of gcloud.
const (
	emulatorEnv = "STORAGE_EMULATOR_HOST"
	endpointEnv = "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"
)

const (
	defaultEndpoint = "https://storage.googleapis.com/storage/v1/"
	endpointPath    = "/storage/v1/"
	scope           = storage.ScopeReadWrite
)

// Options say how objects are put.
type Options struct {
	// CredentialsFile has the credentials; if it is empty, they are found as the SDK
	// does.
	CredentialsFile string
	// Class is the storage class of what Sorting calls bulk; if it is empty, it is
	// that of the bucket.
	Class string
	// KMSKey is the key of Cloud KMS that the server encrypts objects with, by its
	// full name; if it is empty, the bucket says.
	KMSKey string

	Sorting store.Sorting
}

// Store is a bucket, or the part of it under a prefix.
type Store struct {
	bucket    string
	prefix    string // empty, or ends in a slash
	opts      Options
	transport *remote.Transport
	handle    func() (*storage.BucketHandle, error)
	parts     sync.Pool // *[]byte of capacity partSize
}

// Open prepares access to the objects under prefix in bucket. It asks nobody
// anything: credentials (Google's Application Default Credentials) are looked for
// by the first call.
func Open(bucket, prefix string, opts Options) (*Store, error) {
	if bucket == "" || strings.ContainsAny(bucket, "/\\ ") {
		return nil, fmt.Errorf("open gcs bucket %q: no name of a bucket: %w", bucket, store.ErrInvalid)
	}
	prefix, err := remote.CleanPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("open gcs bucket %s: %w", bucket, err)
	}
	endpoint, open, err := endpoint()
	if err != nil {
		return nil, fmt.Errorf("open gcs bucket %s: %w", bucket, err)
	}
	s := &Store{bucket: bucket, prefix: prefix, opts: opts, transport: remote.NewTransport()}
	s.handle = sync.OnceValues(func() (*storage.BucketHandle, error) { return s.newHandle(endpoint, open) })
	s.parts.New = func() any {
		buf := make([]byte, 0, partSize)
		return &buf
	}
	return s, nil
}

// endpoint returns where the server is, and whether it is open to everybody.
func endpoint() (endpoint string, open bool, err error) {
	if host := os.Getenv(emulatorEnv); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		endpoint, err = endpointOf(emulatorEnv, host)
		return endpoint, true, err
	}
	if base := os.Getenv(endpointEnv); base != "" {
		endpoint, err = endpointOf(endpointEnv, base)
		return endpoint, false, err
	}
	return defaultEndpoint, false, nil
}

// endpointOf completes what an environment variable says.
func endpointOf(name, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return "", fmt.Errorf("%s is not a URL such as https://host/: %w", name, store.ErrInvalid)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = endpointPath
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u.String(), nil
}

func (s *Store) newHandle(endpoint string, open bool) (*storage.BucketHandle, error) {
	transport := http.RoundTripper(s.transport)
	if !open {
		options := &credentials.DetectOptions{Scopes: []string{scope}}
		options.CredentialsFile = s.opts.CredentialsFile //nolint:staticcheck // warns of files that somebody else has written, of any kind; this is the operator's own
		creds, err := credentials.DetectDefault(options)
		if err != nil {
			return nil, noCredentials(err)
		}
		transport = authorized{transport, creds}
	}
	client, err := storage.NewClient(context.Background(), option.WithHTTPClient(&http.Client{Transport: supervised{transport}}),
		option.WithEndpoint(endpoint), option.WithoutAuthentication(), storage.WithJSONReads())
	if err != nil {
		return nil, err
	}
	// RetryNever does not hold for the parts of an upload, which would be repeated
	// for half a minute each; a function that is never for it does.
	never := storage.WithErrorFunc(func(error) bool { return false })
	return client.Bucket(s.bucket).Retryer(storage.WithPolicy(storage.RetryAlways), never), nil
}

// authorized sends requests with a token.
type authorized struct {
	base  http.RoundTripper
	creds *auth.Credentials
}

// RoundTrip implements http.RoundTripper.
func (a authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.creds.Token(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, tokenError(err)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token.Value)
	return a.base.RoundTrip(req)
}

var errNoCredentials = store.ErrNoCredentials

func noCredentials(err error) error {
	return fmt.Errorf("%w: %w: %v", store.ErrAuth, errNoCredentials, err)
}

// tokenError tells credentials that are refused, or are not there, from a server
// of tokens that does not answer.
func tokenError(err error) error {
	var (
		refused *auth.Error
		network *url.Error
	)
	switch {
	case errors.As(err, &refused) && refused.Temporary():
	case errors.As(err, &refused):
		return noCredentials(err)
	case !errors.As(err, &network):
		return noCredentials(err)
	}
	return fmt.Errorf("get credentials: %w", err)
}

// name returns the name in the bucket of the object under key.
func (s *Store) name(key string) string { return s.prefix + key }

// object returns the object under key, without asking for it.
func (s *Store) object(key string) (*storage.ObjectHandle, error) {
	bucket, err := s.handle()
	if err != nil {
		return nil, err
	}
	return bucket.Object(s.name(key)), nil
}
