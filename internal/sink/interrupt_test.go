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

// down is a store that takes no segments, and says when one was offered.
type down struct {
	store.Store
	offered chan struct{}
}

var errDown = errors.New("the store is down")

func (d down) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if !strings.HasPrefix(key, "data/") {
		return d.Store.Put(ctx, key, r, opts)
	}
	select {
	case d.offered <- struct{}{}:
	default:
	}
	return store.Info{}, errDown
}

// Run that is told to stop while the store is down does not say that all is
// well.
func TestRunEndsWhileTheStoreIsDown(t *testing.T) {
	p := newPlant(t, 1)
	st := down{mem.New(), make(chan struct{}, 1)}
	repo, err := manifest.OpenOrCreate(t.Context(), st, p.Cluster.ID(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.Repository = repo
	p.create("t", 1)
	p.produce("t", 0, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-st.offered
		cancel()
	}()
	if err := p.Run(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, errDown) || !strings.Contains(err.Error(), "not in the repository") {
		t.Errorf("got %v, want an error that says what is missing and why", err)
	}
	if _, _, state := p.held(); state.SegmentCount != 0 {
		t.Error("there is a segment")
	}
}
