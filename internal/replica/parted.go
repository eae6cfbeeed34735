package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Parted returns manifest.ErrDiverged, and the first entry that differs, if a copy has other
// entries than the repository. What is damaged, or missing, of either log it passes over.
func Parted(ctx context.Context, from, there *manifest.Repository) error {
	last, err := from.Last(ctx)
	var other uint64
	if err == nil {
		other, err = there.Last(ctx)
	}
	if last = min(last, other); err == nil && last > 0 {
		err = sameAt(ctx, from, there, last)
	}
	if errors.Is(err, manifest.ErrDiverged) {
		return firstParted(ctx, from, there, last)
	}
	if errors.Is(err, manifest.ErrDamaged) || errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// firstParted returns manifest.ErrDiverged of two logs of which an entry differs. Each entry
// has the digest of the one before, so that all behind the first one that differs do so, too.
func firstParted(ctx context.Context, from, there *manifest.Repository, seq uint64) error {
	first := fmt.Errorf("%w: entry %d differs, and perhaps others before it", manifest.ErrDiverged, seq)
	for same, other := uint64(0), seq; ; {
		middle := same + (other-same+1)/2
		err := sameAt(ctx, from, there, middle)
		switch {
		case err == nil:
			same = middle
		case errors.Is(err, manifest.ErrDiverged):
			other = middle
		case errors.Is(err, manifest.ErrDamaged), errors.Is(err, store.ErrNotExist):
			return first
		default:
			return err
		}
		if other-same == 1 {
			return from.SameEntry(ctx, other, there.Store())
		}
	}
}

// sameAt says if both have the same entry: the error is manifest.ErrDiverged if they have
// not, and manifest.ErrDamaged if one of them has none that anybody has written.
func sameAt(ctx context.Context, from, there *manifest.Repository, seq uint64) error {
	got, _, err := there.Peek(ctx, seq)
	if err != nil {
		return err
	}
	return sameAs(ctx, from, there, got)
}

// sameAs is sameAt of the head that the copy had with an entry.
func sameAs(ctx context.Context, from, there *manifest.Repository, got manifest.Head) error {
	seq := got.Sequence
	want, _, err := from.Peek(ctx, seq)
	if err != nil || got == want {
		return err
	}
	if err := there.SameEntry(ctx, seq, from.Store()); errors.Is(err, manifest.ErrDamaged) {
		return err
	}
	return from.SameEntry(ctx, seq, there.Store())
}
