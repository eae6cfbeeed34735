package kafka_test

import (
	"crypto/tls"
	"net"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/authority"
)

func at(addresses ...string) kafka.Config { return kafka.Config{BootstrapServers: addresses} }

func with(cfg kafka.Config, t *kafka.TLS, s *kafka.SASL) kafka.Config {
	cfg.TLS, cfg.SASL = t, s
	return cfg
}

func config(f *kfake.Cluster, t *kafka.TLS, s *kafka.SASL) kafka.Config {
	return with(at(f.ListenAddrs()...), t, s)
}

func login(mechanism, user, password string) *kafka.SASL {
	return &kafka.SASL{Mechanism: mechanism, Username: user, Password: func() (string, error) { return password, nil }}
}

func newAuthority(t *testing.T, name string) *authority.Authority {
	t.Helper()
	a, err := authority.New(t.TempDir() + "/" + name)
	if err != nil {
		t.Fatalf("create authority: %v", err)
	}
	return a
}

func issue(t *testing.T, a *authority.Authority, leaf authority.Leaf) authority.Pair {
	t.Helper()
	pair, err := a.Issue(leaf)
	if err != nil {
		t.Fatalf("issue certificate: %v", err)
	}
	return pair
}

func serverTLS(t *testing.T, a *authority.Authority, leaf authority.Leaf) *tls.Config {
	t.Helper()
	pair := issue(t, a, leaf)
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatalf("load certificate: %v", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

func mutualTLS(t *testing.T, a *authority.Authority) *tls.Config {
	t.Helper()
	cfg := serverTLS(t, a, authority.Leaf{Hosts: []string{"127.0.0.1"}})
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, a.Pool()
	return cfg
}

// listen serves every connection with fn until the test ends.
func listen(t *testing.T, fn func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				fn(c)
			}()
		}
	}()
	return l.Addr().String()
}

// hangUp reads something and closes, as Kafka does with what it cannot parse.
func hangUp(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)) }

func answer(s string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<16))
		_, _ = c.Write([]byte(s))
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func split(t *testing.T, address string) (string, int32) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatalf("split %s: %v", address, err)
	}
	n, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatalf("parse port %s: %v", port, err)
	}
	return host, int32(n)
}
