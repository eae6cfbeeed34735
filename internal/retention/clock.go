package retention

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// probePrefix is that of objects which mean nothing (docs/format.md).
const probePrefix = "probe/"

// storeTick is how coarse the times are that stores tell.
const storeTick = time.Second

// earlierNow is the time by the clock of this machine or by that of the store, whichever
// is earlier: one that is a month ahead must end no grace, and no restore's pin.
func (p *Pruner) earlierNow(ctx context.Context, plan *plan) (time.Time, error) {
	now := p.Now()
	if p.Policy.LegalHold || plan.needs == nil {
		return now, nil // nothing is deleted
	}
	at, err := storeNow(ctx, p.Repository.Store())
	if err != nil {
		return now, fmt.Errorf("ask the store for its time: %w", err)
	}
	if theirs := at.Add(storeTick); !at.IsZero() && theirs.Before(now) {
		return theirs, nil
	}
	return now, nil
}

// storeNow returns what the store says of when an object was put that is put now. The
// object is deleted, if this identity may.
func storeNow(ctx context.Context, st store.Store) (time.Time, error) {
	key := probePrefix + manifest.NewID().String() + "-clock"
	if _, err := st.Put(ctx, key, strings.NewReader("clock"), store.PutOptions{}); err != nil {
		return time.Time{}, err
	}
	info, err := st.Stat(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	_ = st.Delete(ctx, key) // not everybody may; it means nothing
	return info.Modified, ctx.Err()
}
