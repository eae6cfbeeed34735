package replica

import (
	"context"
	"errors"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// reports copies those that are new. It comes before the entries that pin them.
func (c *Copier) reports(ctx context.Context, done *Result, bad *UnhealedError) error {
	if c.reported == nil {
		c.reported = make(map[string]bool)
	}
	keys, err := c.From.ReportKeys(ctx, c.reported)
	if err != nil {
		return err
	}
	for _, key := range keys {
		replaced, err := c.From.CopyReport(ctx, key, c.To)
		if errors.Is(err, manifest.ErrDamaged) {
			bad.add(err)
			continue
		}
		if err != nil {
			return err
		}
		if c.reported[key] = true; replaced {
			done.Damaged++
		}
	}
	return nil
}
