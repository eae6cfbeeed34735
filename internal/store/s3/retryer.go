package s3

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

const (
	// attempts bounds how often a request is sent; between them the SDK waits
	// with exponential backoff and jitter: up to 2, 4, 8 and 16 s.
	attempts = 5
	// firstWait bounds these waits as long as nothing has ever answered: a wrong
	// endpoint is then more likely than a server that comes back.
	firstWait = time.Second
)

// retryer repeats requests as the SDK's own does, but tells of it.
type retryer struct {
	aws.RetryerV2
	reached *atomic.Bool
}

func newRetryer(reached *atomic.Bool, opts ...func(*retry.StandardOptions)) retryer {
	opts = append([]func(*retry.StandardOptions){func(o *retry.StandardOptions) { o.MaxAttempts = attempts }}, opts...)
	return retryer{retry.NewStandard(opts...), reached}
}

// IsErrorRetryable implements aws.Retryer.
func (r retryer) IsErrorRetryable(err error) bool {
	if !r.reached.Load() && remote.IsUnsent(err) && remote.IsTimeout(err) {
		return false // it has taken long enough
	}
	status := statusOf(err) // of a proxy, for one, which has no code that the SDK knows
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || r.RetryerV2.IsErrorRetryable(err)
}

// GetRetryToken implements aws.Retryer. It is called before each repetition.
func (r retryer) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	release, tokenErr := r.RetryerV2.GetRetryToken(ctx, err)
	// What may end as ErrUnreachable does so soon, and says all there is to say.
	if w := watchOf(ctx); tokenErr == nil && (r.reached.Load() || !remote.IsUnsent(err)) {
		store.TellRepetition(ctx, explain(err), r.waits(w.failed))
	}
	return release, tokenErr
}

// RetryDelay implements aws.Retryer.
func (r retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	wait, delayErr := r.RetryerV2.RetryDelay(attempt, err)
	longest := r.longest(attempt)
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		wait = max(wait, remote.RetryAfter(answer.Response.Header, longest))
	}
	return min(wait, longest), delayErr
}

// longest returns how long the wait after the given attempt can be.
func (r retryer) longest(attempt int) time.Duration {
	if !r.reached.Load() {
		return firstWait
	}
	return min(time.Second<<attempt, retry.DefaultMaxBackoff)
}

// waits returns how long all waits from that after the given attempt on can be.
func (r retryer) waits(attempt int) (sum time.Duration) {
	for ; attempt < attempts; attempt++ {
		sum += r.longest(attempt)
	}
	return sum
}
