package store

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

const supported = "a directory (/path, file:///path), s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix"

// Location is where a store is, as users write it.
type Location struct {
	Scheme    string // "s3", "gs", "az", or "" for a directory
	Path      string // of a directory
	Bucket    string // of s3 and gs; the account of az
	Container string // of az
	Prefix    string
}

// ParseLocation takes apart a directory path, a file URL, s3://bucket/prefix,
// gs://bucket/prefix or az://account/container/prefix. Errors show no URL that has a
// password in it.
func ParseLocation(rawURL string) (Location, error) {
	scheme, rest, ok := cutScheme(rawURL)
	if !ok {
		if rawURL == "" {
			return Location{}, fmt.Errorf("empty store URL: want %s", supported)
		}
		return directory(rawURL)
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return Location{}, err
	}
	form := map[string]string{"s3": "s3://bucket/prefix", "gs": "gs://bucket/prefix", "az": "az://account/container/prefix"}[scheme]
	switch {
	case scheme == "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return Location{}, fmt.Errorf("store URL %s: want file:///path with an absolute path", rawURL)
		}
		return directory(u.Path)
	case form == "":
		return Location{}, fmt.Errorf("store URL %s: unknown scheme %q: want %s", rawURL, scheme, supported)
	case !strings.HasPrefix(rest, "//"):
		return Location{}, fmt.Errorf("store URL %s: want %s", rawURL, form)
	}
	l := Location{Scheme: scheme, Bucket: u.Host, Prefix: strings.TrimPrefix(u.Path, "/")}
	if scheme == "az" {
		l.Container, l.Prefix, _ = strings.Cut(l.Prefix, "/")
	}
	if u.Host == "" || u.Port() != "" || scheme == "az" && l.Container == "" {
		endpoint := map[string]string{
			"s3": "store.s3.endpoint or AWS_ENDPOINT_URL_S3", "gs": "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE", "az": "AZURE_STORAGE_SERVICE_ENDPOINT",
		}[scheme]
		return Location{}, fmt.Errorf("store URL %s: want %s; an endpoint goes into %s", rawURL, form, endpoint)
	}
	return l, nil
}

// Overlaps says whether the one is the other, or lies in it.
func (l Location) Overlaps(o Location) bool {
	if l.Scheme != o.Scheme || l.Bucket != o.Bucket || l.Container != o.Container {
		return false
	}
	a, b := l.inside(), o.inside()
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// inside is what the names of all files or objects of the location begin with.
func (l Location) inside() string {
	if l.Scheme == "" {
		return strings.TrimRight(filepath.Clean(l.Path), "/") + "/"
	}
	if prefix := strings.Trim(l.Prefix, "/"); prefix != "" {
		return prefix + "/"
	}
	return ""
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

func parseURL(rawURL string) (*url.URL, error) {
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

func directory(path string) (Location, error) {
	if first, _, ok := strings.Cut(path, "//"); ok && first != "" && !strings.Contains(first, "/") && strings.Trim(first, ".") != "" {
		return Location{}, fmt.Errorf("store path %s: it looks like a URL without its colon: want %s; ./%s is a directory", path, supported, path)
	}
	if strings.Contains(path, "://") {
		return Location{}, fmt.Errorf("store path with :// in it: want %s", supported)
	}
	return Location{Path: path}, nil
}
