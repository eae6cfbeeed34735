package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// dialTimeout bounds name resolution, the TCP connection and the TLS handshake
// together: generous for another continent, short enough to fail over.
const dialTimeout = 5 * time.Second

// AddressError is why one broker address could not be used: what was seen, and
// what usually cures it. It matches its Kind, and what Cause matches.
type AddressError struct {
	Address string
	Kind    error  // ErrUnreachable, ErrTLS or ErrAuthentication
	Reason  string // what was seen
	Fix     string // what to do; may be ""
	Cause   error  // may be nil
}

func (e *AddressError) Error() string {
	s := e.Address + ": " + e.Reason
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns Kind and, if there is one, Cause.
func (e *AddressError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// dialer opens connections and turns what goes wrong into an *AddressError,
// which the client library passes through. Doing it here, where the bytes are,
// is what keeps us from having to read the meaning out of error texts.
type dialer struct {
	tls *TLS
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, dialError(address, err)
	}
	if d.tls == nil {
		return &conn{Conn: tcp, address: address}, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	h := &handshake{address: address, haveCert: d.tls.CertFile != ""}
	cfg, err := d.tls.config(host, h)
	if err != nil {
		_ = tcp.Close()
		return nil, &AddressError{Address: address, Kind: ErrTLS, Reason: "tls files cannot be used", Cause: err}
	}
	secure := tls.Client(tcp, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = tcp.Close()
		return nil, h.explain(err)
	}
	return &conn{Conn: secure, address: address, handshake: h}, nil
}

func dialError(address string, err error) error {
	e := &AddressError{Address: address, Kind: ErrUnreachable, Cause: err}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Reason, e.Fix = "host name does not resolve", "check its spelling and the DNS of this machine"
	case errors.As(err, &dns):
		e.Reason, e.Fix = "host name cannot be resolved", "check the DNS of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason, e.Fix = "connection refused", "check that a broker listens on this port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason, e.Fix = fmt.Sprintf("no connection within %v", dialTimeout), "check firewalls, network policies and the port"
	default:
		e.Reason = "cannot connect"
	}
	return e
}

// handshake is what we know about one TLS session when the broker ends it.
type handshake struct {
	address  string
	haveCert bool
	asked    atomic.Bool // the broker asked for a client certificate
}

func (t *TLS) config(host string, h *handshake) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca file %s holds no PEM certificate", t.CAFile)
		}
	}
	client := new(tls.Certificate) // empty: none is sent
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
		}
		client = &pair
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		h.asked.Store(true)
		return client, nil
	}
	return cfg, nil
}

// explain says why the handshake, or under TLS 1.3 the first read after it,
// failed.
func (h *handshake) explain(err error) error {
	e := &AddressError{Address: h.address, Kind: ErrTLS, Cause: err}
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknown):
		e.Reason, e.Fix = "broker certificate is signed by an authority that is not trusted", "set the ca file to the one of this cluster"
	case errors.As(err, &hostname):
		e.Reason, e.Fix = "broker certificate is for another name", "use a name it lists, or set the server name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Reason, e.Fix = "broker certificate is expired or not valid yet", "renew it, or correct this machine's clock"
	case errors.As(err, &record), errors.Is(err, io.EOF):
		e.Reason, e.Fix = "listener does not speak tls", "use its tls port, or turn tls off"
	case h.asked.Load() && !h.haveCert && (isAlert(err) || isHangup(err)):
		e.Reason, e.Fix = "listener requires a client certificate", "set the certificate and key files"
	case h.asked.Load() && isAlert(err):
		e.Reason, e.Fix = "broker refused the client certificate", "check that it is valid and signed by an authority that the broker trusts"
	case isAlert(err):
		e.Reason, e.Fix = "broker refused the tls handshake", "check that it supports tls 1.2 or later"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason, e.Fix = fmt.Sprintf("no tls handshake within %v", dialTimeout), "check that this is a tls port"
	default:
		e.Reason = "tls handshake failed"
	}
	return e
}

// isAlert reports whether the other side ended the TLS session with an alert.
// crypto/tls does not export the type of alerts, but it marks them like this.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func isHangup(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// conn watches the first bytes and the end of a connection, the two places
// where a misconfigured listener shows.
type conn struct {
	net.Conn
	address   string
	handshake *handshake // nil without TLS
	answered  atomic.Bool
}

// hangupError is a connection that the broker ended. Whether that is a fault of
// the configuration only Connect can guess: brokers restart.
type hangupError struct {
	answered bool // it had sent something before
	err      error
}

func (e *hangupError) Error() string { return "connection closed by the broker: " + e.err.Error() }
func (e *hangupError) Unwrap() error { return e.err }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.answered.Swap(true) {
		if bad := c.notKafka(p[:n]); bad != nil {
			return 0, bad
		}
	}
	if err == nil {
		return n, nil
	}
	if c.handshake != nil && !c.answered.Load() && (isAlert(err) || isHangup(err) && c.handshake.asked.Load() && !c.handshake.haveCert) {
		return n, c.handshake.explain(err)
	}
	if isHangup(err) {
		return n, &hangupError{answered: c.answered.Load(), err: err}
	}
	return n, err
}

// notKafka looks at the first bytes of the first response. They are its size,
// which is small, so neither of the two can be mistaken for one.
func (c *conn) notKafka(first []byte) error {
	const alert, version3 = 0x15, 0x03
	switch {
	case first[0] == alert && (len(first) < 2 || first[1] == version3):
		return &AddressError{
			Address: c.address, Kind: ErrTLS,
			Reason: "listener requires tls", Fix: "turn tls on, or use its plaintext port",
		}
	case first[0] == 'H' && (len(first) < 2 || first[1] == 'T'):
		return &AddressError{
			Address: c.address, Kind: ErrUnreachable,
			Reason: "an HTTP server answers here, not a broker", Fix: "check the port",
		}
	}
	return nil
}
