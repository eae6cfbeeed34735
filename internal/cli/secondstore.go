package cli

import (
	"context"
	"fmt"

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
// it. At another endpoint the same URL is another place.
func (g *Globals) IsRepository(url string) bool {
	a, errA := store.ParseLocation(g.repositoryURL())
	b, errB := store.ParseLocation(url)
	return errA == nil && errB == nil && g.Config.StoreAt(url).S3.Endpoint == g.Config.Store.S3.Endpoint && a.Overlaps(b)
}
