package store

import (
	"context"
	"time"
)

// Repetition is told of an attempt that failed and that a store repeats by
// itself. left is for how long it will go on waiting between attempts before it
// gives up. It may be called by several goroutines at once.
type Repetition func(err error, left time.Duration)

type repetitionKey struct{}

// WithRepetition returns a context for calls of a Store whose repetitions, of
// which the outcome says nothing, somebody wants to know at once.
func WithRepetition(ctx context.Context, tell Repetition) context.Context {
	return context.WithValue(ctx, repetitionKey{}, tell)
}

// TellRepetition is what a Store calls before it waits to repeat an attempt.
func TellRepetition(ctx context.Context, err error, left time.Duration) {
	if tell, ok := ctx.Value(repetitionKey{}).(Repetition); ok {
		tell(err, left)
	}
}
