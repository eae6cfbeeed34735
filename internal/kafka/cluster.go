package kafka

import (
	"context"
	"errors"
	"log/slog"
)

// Cluster is a connection to one cluster. Its methods may be called
// concurrently.
type Cluster struct {
	id string
}

// Connect reaches the cluster, authenticates and reads its id. It tries each
// bootstrap address once, in order, and gives up after 15 seconds in all. The
// error names each address it tried with the reason and what to do about it,
// in one line, and matches ErrUnreachable, ErrTLS, ErrAuthentication or
// ErrAuthorization. A cancelled ctx is returned as such.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Cluster, error) {
	return nil, errors.ErrUnsupported
}

// ID is the cluster id, as kafka-cluster.sh cluster-id prints it.
func (c *Cluster) ID() string { return c.id }

// Close ends all connections of the Cluster, but not those of its Fetchers and
// Producers. Requests in progress fail.
func (c *Cluster) Close() {}
