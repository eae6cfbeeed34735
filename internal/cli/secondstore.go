package cli

import (
	"context"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/limited"
	"github.com/offsite-kafka/offsite/internal/store/retrying"
	"github.com/offsite-kafka/offsite/internal/store/storeurl"
)

// StoreAt opens another store than that of the repository, with the same limits and
// none of its other settings. It repeats what fails for reasons that may pass.
func (g *Globals) StoreAt(ctx context.Context, url string) (store.Store, error) {
	st, err := storeurl.Open(ctx, url, storeOptions(&config.Default().Store))
	if err != nil { // nothing has been contacted yet
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	c := &g.Config.Store
	st = limited.New(st, limited.Config{Upload: int64(c.MaxUpload), Download: int64(c.MaxDownload)})
	return retrying.New(st, retrying.Config{}, g.Log), nil
}

// IsRepository says whether a URL is where the repository is, or lies in it or around
// it. With an endpoint of its own the same URL may be another place.
func (g *Globals) IsRepository(url string) bool {
	a, errA := store.ParseLocation(g.repositoryURL())
	b, errB := store.ParseLocation(url)
	return errA == nil && errB == nil && g.Config.Store.S3.Endpoint == "" && a.Overlaps(b)
}
