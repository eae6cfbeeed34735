package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// searchLimit bounds how long the log is searched for what became of a point that nobody may ever have made.
const searchLimit = 10 * time.Second

// explainDeleted says of a point that is not found, by its id or name, when and by what it was deleted, if it was.
func explainDeleted(ctx context.Context, repo *manifest.Repository, at string, missing error) error {
	ctx, cancel := context.WithTimeout(ctx, searchLimit)
	defer cancel()
	var made, deleted manifest.PointRef // the last one that was called so, and what deleted it
	_, err := repo.Read(ctx, 0, func(_ *manifest.State, e *manifest.Entry) error {
		if e.Point != nil && (e.Point.Name == at || fmt.Sprint(e.Sequence) == at) {
			made = manifest.PointRef{Sequence: e.Sequence, Time: e.Point.Time}
		}
		for _, c := range e.PointChanges {
			if c.Deleted && c.Point == made.Sequence {
				deleted = manifest.PointRef{Sequence: e.Sequence, Time: e.Time}
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w; if it was deleted, \"backupd audit\" has it", missing)
	case err != nil || deleted.Sequence == 0:
		return missing
	}
	return fmt.Errorf("%w: %q, which is point %d of %s, was deleted at %s by log entry %d: \"backupd audit\" says by whom; --log-until %d still finds it, unless what it needs has been deleted, too",
		ErrNoPoint, at, made.Sequence, Clock(made.Time), Clock(deleted.Time), deleted.Sequence, deleted.Sequence-1)
}
