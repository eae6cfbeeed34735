package s3

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// RetryAtOnce takes the waiting out of the retries, not their number.
func (s *Store) RetryAtOnce() {
	s.client = s3.New(s.client.Options(), func(o *s3.Options) {
		o.Retryer = newRetryer(&s.reached, func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	})
}

// Transport makes do answer the requests.
func (s *Store) Transport(do func(*http.Request) (*http.Response, error)) {
	s.client = s3.New(s.client.Options(), func(o *s3.Options) { o.HTTPClient = client(do) })
}

type client func(*http.Request) (*http.Response, error)

func (c client) Do(r *http.Request) (*http.Response, error) { return c(r) }

// The limits that tests count on.
const (
	Attempts      = attempts
	PartSize      = partSize
	PartsInFlight = partsInFlight
)
