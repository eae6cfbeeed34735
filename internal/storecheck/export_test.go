package storecheck

import (
	"context"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// RunAt is Run with another clock.
func RunAt(ctx context.Context, st store.Store, now func() time.Time, tell func(Result)) ([]string, error) {
	return newChecker(st, now).run(ctx, tell)
}

// The bounds that tests count on.
const (
	Racers    = racers
	Rounds    = rounds
	FewRounds = fewRounds
	CheckTime = checkTime
)
