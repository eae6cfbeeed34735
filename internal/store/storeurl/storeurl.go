// Package storeurl opens object stores by the URLs that users write.
package storeurl

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/azblob"
	"github.com/offsite-kafka/offsite/internal/store/dir"
	"github.com/offsite-kafka/offsite/internal/store/gcs"
	"github.com/offsite-kafka/offsite/internal/store/s3"
)

const supported = "a directory (/path, file:///path), s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix"

// Options are those of each kind of store; those of other kinds than the URL's do
// not count.
type Options struct {
	S3    s3.Options
	GCS   gcs.Options
	Azure azblob.Options
}

// Open returns the store at a directory path, a file URL, s3://bucket/prefix,
// gs://bucket/prefix or az://account/container/prefix. It contacts nothing and
// creates nothing. Credentials, and what is in no option, come from the environment and
// configuration of the provider's SDK, never from the URL, which ends up in logs;
// for the same reason errors show no URL that has a password in it.
func Open(ctx context.Context, rawURL string, opts Options) (store.Store, error) {
	scheme, rest, ok := cutScheme(rawURL)
	if !ok {
		if rawURL == "" {
			return nil, fmt.Errorf("empty store URL: want %s", supported)
		}
		return openDir(rawURL)
	}
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch scheme {
	case "file":
		return openFile(rawURL, u)
	case "s3":
		if !strings.HasPrefix(rest, "//") {
			return nil, fmt.Errorf("store URL %s: want s3://bucket/prefix", rawURL)
		}
		return openS3(ctx, rawURL, u, opts.S3)
	case "gs":
		if !strings.HasPrefix(rest, "//") {
			return nil, fmt.Errorf("store URL %s: want gs://bucket/prefix", rawURL)
		}
		return openGCS(rawURL, u, opts.GCS)
	case "az":
		if !strings.HasPrefix(rest, "//") {
			return nil, fmt.Errorf("store URL %s: want az://account/container/prefix", rawURL)
		}
		return openAzure(rawURL, u, opts.Azure)
	}
	return nil, fmt.Errorf("store URL %s: unknown scheme %q: want %s", rawURL, scheme, supported)
}

// cutScheme finds what comes before a colon that comes before a slash. Such
// paths are refused, as more likely mistyped URLs; "./a:b" is a way to name one.
func cutScheme(rawURL string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(rawURL, ":")
	if !ok || strings.Contains(scheme, "/") {
		return "", "", false
	}
	return scheme, rest, true
}

func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		var parseErr *url.Error
		if errors.As(err, &parseErr) {
			err = parseErr.Err // without the URL
		}
		return nil, fmt.Errorf("store URL: %w: want %s", err, supported)
	}
	// An "@" anywhere in front of the path, however it is spelled.
	if u.User != nil || strings.Contains(u.Opaque, "@") {
		return nil, errors.New("store URL with user or password in it: credentials belong in the environment")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("store URL with a query or fragment: want %s", supported)
	}
	return u, nil
}

func openFile(rawURL string, u *url.URL) (store.Store, error) {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("store URL %s: want file:///path with an absolute path", rawURL)
	}
	return openDir(u.Path)
}

func openDir(path string) (store.Store, error) {
	if strings.Contains(path, "://") {
		return nil, fmt.Errorf("store path with :// in it: want %s", supported)
	}
	s, err := dir.Open(path)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openS3(ctx context.Context, rawURL string, u *url.URL, opts s3.Options) (store.Store, error) {
	if u.Host == "" || u.Port() != "" {
		return nil, fmt.Errorf("store URL %s: want s3://bucket/prefix; an endpoint goes into store.s3.endpoint or AWS_ENDPOINT_URL_S3", rawURL)
	}
	s, err := s3.Open(ctx, u.Host, strings.TrimPrefix(u.Path, "/"), opts)
	if err != nil {
		return nil, fmt.Errorf("store URL %s: %w", rawURL, err)
	}
	return s, nil
}

func openGCS(rawURL string, u *url.URL, opts gcs.Options) (store.Store, error) {
	if u.Host == "" || u.Port() != "" {
		return nil, fmt.Errorf("store URL %s: want gs://bucket/prefix; an endpoint goes into CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", rawURL)
	}
	s, err := gcs.Open(u.Host, strings.TrimPrefix(u.Path, "/"), opts)
	if err != nil {
		return nil, fmt.Errorf("store URL %s: %w", rawURL, err)
	}
	return s, nil
}

func openAzure(rawURL string, u *url.URL, opts azblob.Options) (store.Store, error) {
	container, prefix, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Host == "" || u.Port() != "" || container == "" {
		return nil, fmt.Errorf("store URL %s: want az://account/container/prefix; an endpoint goes into AZURE_STORAGE_SERVICE_ENDPOINT", rawURL)
	}
	s, err := azblob.Open(u.Host, container, prefix, opts)
	if err != nil {
		return nil, fmt.Errorf("store URL %s: %w", rawURL, err)
	}
	return s, nil
}
