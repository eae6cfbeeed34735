package azblob

import (
	"net/http"
	"time"

	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// RetryAtOnce takes the waiting out of the retries, not their number.
func (s *Store) RetryAtOnce() {
	s.transport.After = func(time.Duration) <-chan time.Time { return time.After(0) }
}

// Transport makes do answer the requests.
func (s *Store) Transport(do func(*http.Request) (*http.Response, error)) {
	s.transport.Base = roundTripper(do)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// The limits that tests count on.
const (
	Attempts      = remote.Attempts
	PartSize      = partSize
	PartsInFlight = partsInFlight
)
