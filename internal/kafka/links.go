package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// links sends requests to brokers by id, with connections of its own, and
// retries nothing.
//
// Each broker has a client of the library to itself that knows no other. One
// client for all would have to read metadata first, from any broker: a broker
// that hangs would then be in the way of those that do not.
type links struct {
	cluster *Cluster

	mu     sync.Mutex
	closed bool
	open   map[int32]link
}

type link struct {
	address string
	cl      *kgo.Client
}

func (c *Cluster) newLinks() (*links, error) {
	if c.cl.Context().Err() != nil {
		return nil, errClosed
	}
	return &links{cluster: c, open: make(map[int32]link)}, nil
}

// request sends req to the broker. Its error is one of requestError, or
// ErrRetriable if the cluster has no such broker just now.
func (l *links) request(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	cl, err := l.client(ctx, broker)
	if err != nil {
		return nil, err
	}
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil && cl.Context().Err() != nil && !l.isClosed() {
		return nil, fmt.Errorf("%w: broker %d has another address now", ErrRetriable, broker)
	}
	return resp, requestError(ctx, cl, err)
}

func (l *links) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *links) client(ctx context.Context, broker int32) (*kgo.Client, error) {
	address, err := l.cluster.address(ctx, broker)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	old, ok := l.open[broker]
	if ok && old.address == address {
		return old.cl, nil
	}
	cl, err := l.cluster.cfg.newClient([]string{address}, l.cluster.log)
	if err != nil {
		return nil, err
	}
	if ok {
		old.cl.Close()
	}
	l.open[broker] = link{address, cl}
	return cl, nil
}

// close ends all connections. Requests in progress fail, and so do later ones.
func (l *links) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, k := range l.open {
		k.cl.Close()
	}
}

// address returns where the broker is according to the latest metadata, and
// reads them again if they do not have it.
func (c *Cluster) address(ctx context.Context, broker int32) (string, error) {
	find := func() (string, bool) {
		brokers := c.Brokers()
		i := slices.IndexFunc(brokers, func(b Broker) bool { return b.ID == broker })
		if i < 0 {
			return "", false
		}
		return brokers[i].address(), true
	}
	if address, ok := find(); ok {
		return address, nil
	}
	if _, err := c.metadata(ctx, []string{}, false); err != nil {
		return "", err
	}
	if address, ok := find(); ok {
		return address, nil
	}
	return "", fmt.Errorf("%w: the cluster has no broker %d", ErrRetriable, broker)
}
