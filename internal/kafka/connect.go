package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// connectBudget bounds Connect as a whole.
	connectBudget = 15 * time.Second

	// attemptBudget bounds one address: a dial, the handshakes, one answer.
	// The minimum is granted even when that many addresses exceed the whole.
	attemptBudget    = 7 * time.Second
	minAttemptBudget = 2 * time.Second
)

// Cluster is a connection to one cluster. Its methods may be called
// concurrently.
type Cluster struct {
	cfg Config
	log *slog.Logger
	cl  *kgo.Client
	id  string

	mu      sync.Mutex
	brokers []Broker // of the latest metadata
}

// Connect reaches the cluster, authenticates and reads its id. It tries each
// bootstrap address once, in order, then checks that one of the brokers that
// the cluster advertises can be reached as well, and gives up after 15 seconds
// in all. The error names each address it tried with the reason and what to do
// about it, in one line, and matches ErrUnreachable, ErrTLS or
// ErrAuthentication. A cancelled ctx is returned as such.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Cluster, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	c := &Cluster{cfg: cfg, log: log}
	if err := c.bootstrap(ctx); err != nil {
		return nil, fmt.Errorf("connect to kafka: %w", err)
	}
	return c, nil
}

// ID is the cluster id, as kafka-cluster.sh cluster-id prints it.
func (c *Cluster) ID() string { return c.id }

// Close ends the connections of the Cluster itself. Requests in progress fail.
// Close its Fetchers and Producers before.
func (c *Cluster) Close() { c.cl.Close() }

// Brokers lists the live brokers, sorted by id, as of the latest metadata that
// Connect or Topics read.
func (c *Cluster) Brokers() []Broker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.brokers)
}

func (c *Cluster) remember(resp *kmsg.MetadataResponse) {
	brokers := make([]Broker, 0, len(resp.Brokers))
	for _, b := range resp.Brokers {
		rack := ""
		if b.Rack != nil {
			rack = *b.Rack
		}
		brokers = append(brokers, Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: rack})
	}
	slices.SortFunc(brokers, func(a, b Broker) int { return int(a.ID) - int(b.ID) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = brokers
}

// bootstrap asks the addresses of the configuration for the brokers, then one
// of these brokers for the same.
func (c *Cluster) bootstrap(ctx context.Context) error {
	deadline := time.Now().Add(connectBudget)
	first, err := c.cfg.newClient(c.cfg.BootstrapServers, c.log)
	if err != nil {
		return err
	}
	defer first.Close()
	resp, err := c.firstAnswer(ctx, targets(first, c.cfg.BootstrapServers), deadline)
	if err != nil {
		return err
	}
	if resp.ClusterID == nil || *resp.ClusterID == "" || len(resp.Brokers) == 0 {
		return fmt.Errorf("%w: the cluster names no id or no brokers: it is still starting, or too old", ErrUnreachable)
	}
	c.id = *resp.ClusterID
	c.remember(resp)

	advertised := c.addresses()
	// The library begins with any of these addresses, and a dead bootstrap
	// address costs it a timeout: put those first that are known to be alive.
	cl, err := c.cfg.newClient(append(advertised, c.cfg.BootstrapServers...), c.log)
	if err != nil {
		return err
	}
	if _, err := c.firstAnswer(ctx, targets(cl, advertised), deadline); err != nil {
		cl.Close()
		return fmt.Errorf("the bootstrap address answers, but no broker can be used under the address that it advertises; check advertised.listeners: %w", err)
	}
	c.cl = cl
	return nil
}

// addresses are those that the live brokers advertise.
func (c *Cluster) addresses() []string {
	var list []string
	for _, b := range c.Brokers() {
		list = append(list, b.address())
	}
	return list
}

// target is an address to try, and the library's handle for it.
type target struct {
	address string
	broker  *kgo.Broker
}

// targets pairs the first addresses that cl was given with their handles.
func targets(cl *kgo.Client, addresses []string) []target {
	list := make([]target, len(addresses))
	for i, b := range cl.SeedBrokers()[:len(addresses)] {
		list[i] = target{addresses[i], b}
	}
	return list
}

// firstAnswer asks the targets in turn for broker metadata. Credentials that
// one broker refuses are not offered to the others: that could lock an account.
func (c *Cluster) firstAnswer(ctx context.Context, targets []target, deadline time.Time) (*kmsg.MetadataResponse, error) {
	var failed connectError
	for i, t := range targets {
		left := time.Until(deadline) / time.Duration(len(targets)-i)
		if left = min(left, attemptBudget); left < minAttemptBudget {
			left = minAttemptBudget
		}
		if time.Until(deadline) <= 0 {
			failed = append(failed, &AddressError{Address: t.address, Kind: ErrUnreachable, Reason: "not tried, time was up"})
			continue
		}
		resp, err := ask(ctx, t, left)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := c.explain(t.address, left, err)
		failed = append(failed, e)
		if errors.Is(e.Kind, ErrAuthentication) {
			break
		}
	}
	return nil, failed
}

func ask(ctx context.Context, t target, budget time.Duration) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	raw, err := t.broker.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := raw.(*kmsg.MetadataResponse)
	return resp, kerr.ErrorForCode(resp.ErrorCode)
}

// explain finds the reason for a failed first exchange. A connection that ends
// early says little by itself, but at this point it is far more often the
// wrong kind of listener than a broker that happens to stop.
func (c *Cluster) explain(address string, budget time.Duration, err error) *AddressError {
	var known *AddressError
	if errors.As(err, &known) {
		known.Address = address
		return known
	}
	e := &AddressError{Address: address, Kind: ErrAuthentication, Cause: err}
	var hangup *hangupError
	switch {
	case errors.Is(err, ErrAuthentication): // of our own making: the password
		e.Reason = "no credentials"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		e.Reason, e.Fix = "username or password is wrong", "check both, and that the user exists for mechanism "+c.cfg.SASL.Mechanism
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		e.Reason, e.Fix = "sasl mechanism "+c.cfg.SASL.Mechanism+" is not enabled on this listener", "use another mechanism or port"
	case errors.Is(err, kerr.IllegalSaslState):
		e.Reason, e.Fix = "listener does not use sasl", "use its sasl port, or turn sasl off"
	case errors.As(err, &hangup) && hangup.answered && c.cfg.SASL == nil:
		e.Reason, e.Fix = "broker closed the connection after its first answer: the listener requires sasl", "configure sasl, or use a port without it"
	case errors.As(err, &hangup) && hangup.answered:
		e.Reason, e.Fix = "broker closed the connection while authenticating by "+c.cfg.SASL.Mechanism, "check that the listener uses sasl with this mechanism, the username and the password, and see the broker's log"
	case errors.As(err, &hangup) && c.cfg.TLS == nil:
		e.Kind, e.Reason, e.Fix = ErrTLS, "connection closed without an answer: the listener probably requires tls", "turn tls on, or check the port"
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Reason, e.Cause = ErrUnreachable, fmt.Sprintf("no answer within %v", budget.Round(time.Second)), nil
		e.Fix = "check firewalls and that a broker listens on this port"
	default:
		e.Kind, e.Reason = ErrUnreachable, "no broker answers here"
	}
	return e
}

// connectError is the failure of every address, in one line.
type connectError []*AddressError

func (e connectError) Error() string {
	parts := make([]string, len(e))
	for i, a := range e {
		parts[i] = a.Error()
	}
	return strings.Join(parts, "; ")
}

func (e connectError) Unwrap() []error {
	errs := make([]error, len(e))
	for i, a := range e {
		errs[i] = a
	}
	return errs
}
