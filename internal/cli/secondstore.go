package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/limited"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
)

// StoreAt opens another store than that of the repository, with the settings of the
// replica at this URL if the configuration has one, and never those of the repository's
// store but its limits. It repeats what fails for reasons that may pass.
func (g *Globals) StoreAt(ctx context.Context, url string) (store.Store, error) {
	c := g.Config.StoreAt(url)
	st, err := openStore(ctx, &c)
	if err != nil { // nothing has been contacted yet
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	st = limited.New(st, limited.Config{Upload: c.MaxUpload.Bytes(), Download: c.MaxDownload.Bytes()})
	return retrying.New(st, retrying.Config{Name: c.URL}, g.Log), nil
}

// IsRepository says whether a URL is where the repository is, or lies in it or around
// it, also through symbolic links. At another endpoint the same URL is another place.
func (g *Globals) IsRepository(url string) bool {
	a, errA := store.ParseLocation(g.repositoryURL())
	b, errB := store.ParseLocation(url)
	if errA != nil || errB != nil || a.Scheme == "s3" && endpointOf(g.Config.Store) != endpointOf(g.Config.StoreAt(url)) {
		return false
	}
	a.Path, b.Path = followed(a.Path), followed(b.Path)
	return a.Overlaps(b)
}

// endpointOf is where a store's server is, as far as the configuration or the environment says it.
func endpointOf(s config.Store) string {
	return strings.TrimRight(cmp.Or(s.S3.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")), "/")
}

// followed is a path without symbolic links, as far as it exists.
func followed(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	dir, name := filepath.Split(strings.TrimRight(path, "/"))
	if dir == "" || dir == "/" || name == "" {
		return path
	}
	return filepath.Join(followed(dir), name)
}
