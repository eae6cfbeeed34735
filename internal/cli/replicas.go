package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
)

// LookPatience bounds how long a replica is waited for, which may be in a region
// that is gone.
const LookPatience = 15 * time.Second

// NotBehind returns an error if a replica has what the repository has lost of its log, or
// goes on there as a repository of its own: whatever is appended there parts the two for
// good. A replica that cannot be looked at now keeps nobody from appending.
func (g *Globals) NotBehind(ctx context.Context, repo *manifest.Repository) error {
	errs := make([]error, len(g.Config.Replicas))
	var all sync.WaitGroup
	for i := range g.Config.Replicas {
		url := g.Config.Replicas[i].URL
		all.Go(func() {
			err := g.aheadAt(ctx, url, repo)
			if errors.Is(err, replica.ErrAhead) || errors.Is(err, replica.ErrPromoted) {
				errs[i] = fmt.Errorf("replicas[%d]: %s: %w", i, url, err)
			} else if err != nil && ctx.Err() == nil {
				g.Log.Warn("not known if the replica has what the repository has lost", "replica", url, "error", err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (g *Globals) aheadAt(ctx context.Context, url string, repo *manifest.Repository) error {
	ctx, cancel := context.WithTimeout(ctx, LookPatience)
	defer cancel()
	st, err := g.StoreAt(ctx, url)
	if err != nil {
		return err
	}
	return replica.Ahead(ctx, repo, st)
}

// notBehindOnce is NotBehind for whoever opens the log of a repository more than once.
func (g *Globals) notBehindOnce(repo *manifest.Repository) func(context.Context) error {
	var once sync.Once
	var err error
	return func(ctx context.Context) error {
		once.Do(func() { err = g.NotBehind(ctx, repo) })
		return err
	}
}
