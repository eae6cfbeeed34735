package sink

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// unusable is a store that meets its end in the first Put under a prefix.
type unusable struct {
	store.Store
	under string
}

func (u unusable) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if strings.HasPrefix(key, u.under) {
		return store.Info{}, store.ErrUnusable
	}
	return u.Store.Put(ctx, key, r, opts)
}

// Only another process can go on with such a store, so Run must end.
func TestRunEndsWithAnUnusableStore(t *testing.T) {
	for _, under := range []string{"data/", "log/"} {
		t.Run(under, func(t *testing.T) {
			p := newPlant(t, 1)
			p.create("t", 1)
			p.produce("t", 0, 1)
			var err error
			p.Repository, err = manifest.OpenOrCreate(t.Context(), unusable{mem.New(), under}, p.Cluster.ID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := p.Run(ctx); !errors.Is(err, store.ErrUnusable) {
				t.Errorf("Run = %v, want ErrUnusable", err)
			}
		})
	}
}
