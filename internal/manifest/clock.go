package manifest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// probePrefix is that of objects which mean nothing (docs/format.md).
const probePrefix = "probe/"

// storeTick is how coarse the times are that stores tell.
const storeTick = time.Second

// EarlierNow is the time by the clock of this machine or by that of a store, whichever
// is earlier: one that is a month ahead must end no grace, and no restore's pin.
func EarlierNow(ctx context.Context, st store.Store, now time.Time) (time.Time, error) {
	at, err := storeNow(ctx, st)
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
	key := probePrefix + NewID().String() + "-clock"
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
