package source

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// Patience repeats what fails for a reason that passes: a broker that has just
// died is asked for some seconds more, until the others know.
type Patience struct {
	Limit time.Duration // from the first failure on; 0: nothing is repeated
	Log   *slog.Logger
}

// The pauses between, the first doubled each time.
const (
	patiencePause = 500 * time.Millisecond
	patienceMost  = 8 * time.Second
)

// Do calls step, which may be repeated, until it succeeds, fails for good, or
// the limit is over.
func (p Patience) Do(ctx context.Context, what string, step func() error) error {
	err := step()
	failing, pause := time.Now(), patiencePause
	for passes(err) && time.Since(failing) < p.Limit {
		p.Log.Warn("the cluster did not answer; trying again", "step", what, "limit", p.Limit, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, patienceMost)
		err = step()
	}
	return err
}

// passes says whether another attempt may cure an error.
func passes(err error) bool {
	return errors.Is(err, kafka.ErrRetriable) || errors.Is(err, kafka.ErrUnreachable) || errors.Is(err, kafka.ErrNotLeader)
}

// patiently is Do of the runner's own patience.
func (r *Runner) patiently(ctx context.Context, what string, step func() error) error {
	return Patience{r.Patience, r.Log}.Do(ctx, what, step)
}
