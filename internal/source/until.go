package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// gone explains a missing object to who reads the repository as it was before an
// entry that removed it: there the log says nothing of that.
func gone(ctx context.Context, repo *manifest.Repository, d *manifest.Damage) error {
	if _, err := repo.Store().Stat(ctx, d.Key); !errors.Is(err, store.ErrNotExist) {
		return d
	}
	removals, err := repo.RemovalsBehind(ctx)
	if err != nil {
		return errors.Join(d, err)
	}
	if text := deletedBy(removals, d.Key); text != "" {
		return fmt.Errorf("%w: %s %s", ErrRefused, d.Key, text)
	}
	return d
}

// deletedBy says which entry is to blame for a segment that is not there, or nothing.
func deletedBy(removals []manifest.Removal, key string) string {
	writer, counter, ok := manifest.ParseSegmentKey(key)
	for i := range removals {
		if r := &removals[i]; ok && r.Segments.Has(writer, counter) {
			return fmt.Sprintf("is gone: log entry %d of %s has removed it, and its object was deleted since; a copy of the repository, or an older version of the object in the store, may have it", r.Sequence, Clock(r.Time))
		}
	}
	return ""
}

// explainGone does the same in the report of a verification.
func (v *verifier) explainGone(ctx context.Context) error {
	removals, err := v.RemovalsBehind(ctx)
	if err != nil || len(removals) == 0 {
		return err
	}
	for i := range v.report.Damages {
		d := &v.report.Damages[i]
		writer, counter, ok := manifest.ParseSegmentKey(d.Key)
		if !ok || v.listed.Has(writer, counter) {
			continue
		}
		if text := deletedBy(removals, d.Key); text != "" {
			d.Reason += ": it " + text
		}
	}
	return nil
}
