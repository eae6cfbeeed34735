package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const (
	// maxResponseBytes bounds what one response can make us allocate. It has
	// to exceed the largest batch, which a fetch returns whatever its limits.
	maxResponseBytes = 256 << 20

	// Requests that may be retried are, for this long and this often.
	retryTimeout = 20 * time.Second
	maxRetries   = 8
)

// Kafka's request keys of which we limit the version.
const (
	keyOffsetCommit = 8
	keyOffsetFetch  = 9
)

// validate checks what can be checked without the network.
func (cfg Config) validate() error {
	if len(cfg.BootstrapServers) == 0 {
		return errors.New("no bootstrap servers")
	}
	if t := cfg.TLS; t != nil {
		if (t.CertFile == "") != (t.KeyFile == "") {
			return fmt.Errorf("%w: certificate file and key file go together: certificate %q, key %q", ErrTLS, t.CertFile, t.KeyFile)
		}
		if _, err := t.config("", new(handshake)); err != nil {
			return fmt.Errorf("%w: %w", ErrTLS, err)
		}
	}
	if cfg.SASL != nil {
		if _, err := cfg.SASL.mechanism(); err != nil {
			return err
		}
	}
	return nil
}

// newClient returns a client with its own connections; it dials on demand.
func (cfg Config) newClient(seeds []string, log *slog.Logger) (*kgo.Client, error) {
	// By topic name, as the caller has them: from version 10 on these two
	// speak of topic ids and drop what belongs to deleted topics.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(keyOffsetCommit, 9)
	versions.SetMaxKeyVersion(keyOffsetFetch, 9)

	id := cfg.ClientID
	if id == "" {
		id = "offsite"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.Dialer(dialer{tls: cfg.TLS}.dial),
		kgo.ClientID(id),
		kgo.MaxVersions(versions),
		kgo.BrokerMaxReadBytes(maxResponseBytes),
		kgo.RetryTimeout(retryTimeout),
		kgo.RequestRetries(maxRetries),
		kgo.DisableClientMetrics(), // we must not push telemetry to a cluster we only read
		kgo.WithLogger(debugLogger{log}),
	}
	if cfg.SASL != nil {
		m, err := cfg.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("set up kafka client: %w", err)
	}
	return cl, nil
}

// mechanism resolves the name and binds the credentials.
func (s *SASL) mechanism() (sasl.Mechanism, error) {
	if s.Password == nil {
		return nil, fmt.Errorf("%w: sasl without a password", ErrAuthentication)
	}
	asScram := func(context.Context) (scram.Auth, error) {
		pass, err := s.password()
		return scram.Auth{User: s.Username, Pass: pass}, err
	}
	switch plainName(s.Mechanism) {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := s.password()
			return plain.Auth{User: s.Username, Pass: pass}, err
		}), nil
	case "SCRAMSHA256":
		return scram.Sha256(asScram), nil
	case "SCRAMSHA512":
		return scram.Sha512(asScram), nil
	}
	return nil, fmt.Errorf("%w: sasl mechanism %w", ErrAuthentication, CheckMechanism(s.Mechanism))
}

// CheckMechanism returns an error that lists the known SASL mechanisms if name
// is none of them.
func CheckMechanism(name string) error {
	switch plainName(name) {
	case "PLAIN", "SCRAMSHA256", "SCRAMSHA512":
		return nil
	}
	return fmt.Errorf("%q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", name)
}

func plainName(mechanism string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToUpper(mechanism))
}

func (s *SASL) password() (string, error) {
	pass, err := s.Password()
	if err != nil {
		return "", fmt.Errorf("%w: read sasl password: %w", ErrAuthentication, err)
	}
	if s.Username == "" || pass == "" {
		return "", fmt.Errorf("%w: sasl username or password is empty", ErrAuthentication)
	}
	return pass, nil
}

// debugLogger passes on what the client library says, all of it at debug: what
// an operator has to act on reaches them as an error of ours.
type debugLogger struct{ log *slog.Logger }

// Level leaves out the library's own debug lines, several per request.
func (l debugLogger) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelNone
}

func (l debugLogger) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	l.log.Debug("kafka client", append([]any{"message", msg}, keyvals...)...)
}

// errClosed is what requests get after Close.
var errClosed = fmt.Errorf("connections to kafka: %w", net.ErrClosed)

// requestError types an error of a whole request that was sent under ctx.
// Brokers come and go, so whatever the network did is retriable; what another
// attempt cannot cure is not.
func requestError(ctx context.Context, cl *kgo.Client, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var address *AddressError
	var op *net.OpError
	switch {
	case errors.Is(err, kgo.ErrClientClosed), cl.Context().Err() != nil:
		return errClosed
	case errors.Is(err, ErrAuthentication):
		return err
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return fmt.Errorf("%w: %w", ErrAuthentication, err)
	case errors.As(err, &address) && !errors.Is(address.Kind, ErrUnreachable):
		return err
	case errors.As(err, &address), errors.As(err, &op), isHangup(err),
		errors.Is(err, os.ErrDeadlineExceeded), kgo.IsRetryableBrokerErr(err), kerr.IsRetriable(err):
		return fmt.Errorf("%w: %w", ErrRetriable, err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
