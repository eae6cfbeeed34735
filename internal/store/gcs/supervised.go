package gcs

import (
	"context"
	"net/http"
)

// supervisor sends a request that the SDK makes for a call of this package. The
// SDK does what it thinks best with an answer, and tells nobody.
type supervisor func(base http.RoundTripper, req *http.Request) (*http.Response, error)

type supervisorKey struct{}

// supervise returns a context for the requests of one call.
func supervise(ctx context.Context, s supervisor) context.Context {
	return context.WithValue(ctx, supervisorKey{}, s)
}

// supervised leaves requests to the supervisor of their call, if it has one.
type supervised struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t supervised) RoundTrip(req *http.Request) (*http.Response, error) {
	if s, ok := req.Context().Value(supervisorKey{}).(supervisor); ok {
		return s(t.base, req)
	}
	return t.base.RoundTrip(req)
}

// misbehaviour is what no server of GCS would answer, so that the SDK does not
// reckon with it.
type misbehaviour string

func (m misbehaviour) Error() string { return string(m) }
