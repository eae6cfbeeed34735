package replica

import (
	"context"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
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
