package replica

import (
	"bytes"
	"context"
	"errors"

	"github.com/offsite-kafka/offsite/internal/store"
)

// reports copies those that are new. It comes before the entries that pin them.
func (c *Copier) reports(ctx context.Context) error {
	if c.reported == nil {
		c.reported = make(map[string]bool)
	}
	list, err := c.From.Reports(ctx, c.reported)
	if err != nil {
		return err
	}
	for _, r := range list {
		_, b, err := c.From.ReadReport(ctx, r.Key)
		if err != nil {
			return err
		}
		_, err = c.To.Put(ctx, r.Key, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
		if err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		c.reported[r.Key] = true
	}
	return nil
}
