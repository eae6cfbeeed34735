package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// ErrNoPin is that of a pin that is to be dropped and is not there.
var ErrNoPin = errors.New("there is no restore pin of this id")

// readPins fills in the pins of the report.
func (p *Pruner) readPins(ctx context.Context, r *Report) (err error) {
	r.Held = 0
	if r.Pins, err = p.Repository.Pins(ctx); err != nil {
		return err
	}
	for _, id := range p.DropPins {
		i := slices.IndexFunc(r.Pins, func(pin manifest.Pin) bool { return pin.ID == id })
		if i < 0 {
			return fmt.Errorf("%w: %s", ErrNoPin, id)
		}
		r.Pins[i].Ended = true
	}
	return nil
}

// holds says whether a pin keeps what an entry has removed from being deleted.
func (r *Report) holds(removal uint64, now time.Time) bool {
	return slices.ContainsFunc(r.Pins, func(pin manifest.Pin) bool { return pin.Holds(removal, now) })
}

// dropPins deletes the pins of restores that have ended, or have been dead for long.
func (p *Pruner) dropPins(ctx context.Context, r *Report, now time.Time) error {
	for i := range r.Pins {
		pin := &r.Pins[i]
		if !pin.Ended && !pin.Stale(now) {
			continue
		}
		if err := p.Repository.DropPin(ctx, pin); err != nil && !errors.Is(err, store.ErrAuth) {
			return err
		}
	}
	return nil
}
