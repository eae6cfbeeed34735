package sink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

// slow is a store that takes its time for one entry of the log: it says that it
// is full, and puts the entry when the next one comes.
type slow struct {
	store.Store
	mu   sync.Mutex
	hold bool   // the next entry
	key  string // of the entry that is still to be put
	body []byte
}

func (s *slow) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (store.Info, error) {
	if !strings.HasPrefix(key, "log/") {
		return s.Store.Put(ctx, key, r, opts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold {
		s.hold, s.key = false, key
		s.body, _ = io.ReadAll(r)
		return store.Info{}, store.ErrFull
	}
	if s.key != "" {
		if _, err := s.Store.Put(ctx, s.key, bytes.NewReader(s.body), opts); err != nil {
			return store.Info{}, err
		}
		s.key = ""
	}
	return s.Store.Put(ctx, key, r, opts)
}

// What this process gave up and finds in the log later is not another's.
func TestOwnEntryAppearsLate(t *testing.T) {
	for name, capture := range map[string]func(*plant){
		"once": func(p *plant) {
			if _, err := p.Once(p.t.Context()); err != nil {
				p.t.Fatal(err)
			}
		},
		"run": func(p *plant) { p.run() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t, 1)
			st := &slow{Store: mem.New()}
			repo, err := manifest.OpenOrCreate(t.Context(), st, p.Cluster.ID(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			p.Repository = repo
			p.create("t", 1)
			p.produce("t", 0, 3)
			st.hold = true
			if _, err := p.Once(t.Context()); !errors.Is(err, store.ErrFull) {
				t.Fatalf("got %v", err)
			}
			p.produce("t", 0, 2)
			capture(p)
			p.await("all records, once", p.complete)
		})
	}
}
