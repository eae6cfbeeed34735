package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// mark makes sure that the copy is known for one, before there is anything of it.
// What is no replica yet, although it has entries, may be what a replica was copied
// from: the wrong way round, its writers would be locked out.
func (c *Copier) mark(ctx context.Context) error {
	if c.marked {
		return nil
	}
	there, err := manifest.Mark(ctx, c.To)
	if err != nil {
		return fmt.Errorf("in the copy: %w", err)
	}
	if there == nil && c.head.Sequence > 0 {
		replica, err := c.From.IsReplica(ctx, c.tail.State())
		if err != nil {
			return err
		}
		if replica {
			return fmt.Errorf("%w: what is to be copied is a copy itself, and what is there is none: is it the other way round?", manifest.ErrDiverged)
		}
	}
	if there == nil {
		err = manifest.MarkReplica(ctx, c.To)
	}
	c.marked = err == nil
	return err
}

// lookOut makes sure that what a copy cannot be without is still there, and else has it
// all looked after: somebody may have taken the copy away.
func (c *Copier) lookOut(ctx context.Context) error {
	if c.there == nil || !c.marked || c.head.Sequence == 0 || c.census.descriptor != sound || len(c.census.lostEntries) > 0 {
		return nil
	}
	for _, key := range []string{manifest.RepositoryKey, manifest.ReplicaKey, manifest.LogKey(c.head.Sequence)} {
		_, err := c.To.Stat(ctx, key)
		if errors.Is(err, store.ErrNotExist) {
			c.Log.Warn("the copy has lost an object that it had: all of it is looked after", "object", key)
			c.Forget()
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the copy: %w", err)
		}
	}
	return nil
}
