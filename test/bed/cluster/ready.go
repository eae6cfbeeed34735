package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pollInterval is how often something that is about to come true is looked at.
const pollInterval = 20 * time.Millisecond

// WaitReady returns when every running broker answers and sees all running brokers registered. It fails with the end
// of the log of a broker that ends meanwhile, or of the one that is not ready when ctx ends.
func (c *Cluster) WaitReady(ctx context.Context) error {
	var running []*broker
	for _, b := range c.brokers {
		if b.running() != nil {
			running = append(running, b)
		}
	}
	for _, b := range running {
		if err := b.waitReady(ctx, running); err != nil {
			return fmt.Errorf("wait for broker %d: %w\n%s", b.id, err, b.logTail())
		}
	}
	return nil
}

// waitReady polls with requests to b alone: a client that knows several brokers would ask another one.
func (b *broker) waitReady(ctx context.Context, peers []*broker) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.ports[Plaintext].Addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	seed := client.SeedBrokers()[0]
	return poll(ctx, func() error {
		if b.running() == nil {
			return permanentError{errNotRunning}
		}
		answer, err := seed.Request(ctx, kmsg.NewPtrMetadataRequest())
		if err != nil {
			return err
		}
		return seesAll(answer.(*kmsg.MetadataResponse), peers)
	})
}

func seesAll(metadata *kmsg.MetadataResponse, peers []*broker) error {
	seen := map[int32]bool{}
	for _, b := range metadata.Brokers {
		seen[b.NodeID] = true
	}
	for _, b := range peers {
		if !seen[int32(b.id)] {
			return fmt.Errorf("broker %d is not registered", b.id)
		}
	}
	if metadata.ControllerID < 0 {
		return fmt.Errorf("no controller")
	}
	return nil
}

// permanentError is one that waiting does not cure.
type permanentError struct{ error }

// poll calls try until it returns nil, a permanentError, or ctx ends; then it returns try's last error.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if permanent, ok := err.(permanentError); ok {
			return permanent.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}
