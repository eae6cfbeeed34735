package replica

import (
	"context"
	"errors"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// deleteAtOnce is how many objects are deleted by one request.
const deleteAtOnce = 1000

// deleteSegments deletes those that an entry which is in the copy already has
// removed. Who may not delete leaves them: nobody reads them.
func (c *Copier) deleteSegments(ctx context.Context, set manifest.SegmentSet) error {
	var keys []string
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := c.To.Delete(ctx, keys...)
		if errors.Is(err, store.ErrAuth) {
			c.Log.Info("what the repository has deleted stays in the copy, since it may not be deleted there", "objects", len(keys), "error", err)
			err = nil
		}
		keys = keys[:0]
		return err
	}
	for writer := range set.Writers() {
		for _, run := range set[writer] {
			for counter := run.First; ; counter++ {
				if keys = append(keys, manifest.SegmentKey(writer, counter)); len(keys) == deleteAtOnce {
					if err := flush(); err != nil {
						return err
					}
				}
				if counter == run.Last {
					break
				}
			}
		}
	}
	return flush()
}
