package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/authority"
)

func TestConnectNamesClusterAndBrokers(t *testing.T) {
	f := fake(t, kfake.NumBrokers(3), kfake.ClusterID("the-cluster"))
	c := connectFake(t, f)
	if got, want := c.ID(), "the-cluster"; got != want {
		t.Errorf("ID() = %q, want %q", got, want)
	}
	brokers := c.Brokers()
	if got, want := len(brokers), 3; got != want {
		t.Fatalf("%d brokers, want %d", got, want)
	}
	for i, b := range brokers {
		if b.ID != int32(i) || b.Host == "" || b.Port == 0 {
			t.Errorf("broker %d = %+v, want id %d with an address", i, b, i)
		}
	}
}

func TestConnectSkipsDeadAddresses(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	cfg := kafka.Config{BootstrapServers: append([]string{closedPort(t)}, f.ListenAddrs()...)}
	c := connect(t, cfg)
	if c.ID() == "" {
		t.Error("no cluster id")
	}
}

// What an operator reads when a connection cannot be made. Each of the words
// has to be there, and the error has to match one sentinel and no other. The
// fake hangs up where a real broker would say why it refuses a login; the test
// against one has those.
func TestConnectErrors(t *testing.T) {
	ca := newAuthority(t, "broker")
	other := newAuthority(t, "other")
	secure := fake(t, kfake.NumBrokers(1), kfake.TLS(serverTLS(t, ca, authority.Leaf{Hosts: []string{"127.0.0.1"}})))
	expired := fake(t, kfake.NumBrokers(1), kfake.TLS(serverTLS(t, ca, authority.Leaf{Hosts: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Hour)})))
	elsewhere := fake(t, kfake.NumBrokers(1), kfake.TLS(serverTLS(t, ca, authority.Leaf{Hosts: []string{"broker.example"}})))
	mutual := fake(t, kfake.NumBrokers(1), kfake.TLS(mutualTLS(t, ca)))
	plain := fake(t, kfake.NumBrokers(1))
	scram := fake(t, kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "alice", "secret"))
	dead, dead2 := closedPort(t), closedPort(t)
	trust := &kafka.TLS{CAFile: ca.CertFile()}
	foreign := issue(t, other, authority.Leaf{CommonName: "backup"})

	tests := []struct {
		name string
		cfg  kafka.Config
		kind error
		want []string
	}{
		{"nothing listens", at(dead, dead2), kafka.ErrUnreachable, []string{dead + ": connection refused", dead2 + ": connection refused"}},
		{"name does not resolve", at("broker.invalid:9092"), kafka.ErrUnreachable, []string{"broker.invalid:9092", "resolve"}},
		{"http server", at(listen(t, answer("HTTP/1.1 400 Bad Request\r\n\r\n"))), kafka.ErrUnreachable, []string{"HTTP server"}},
		{"plaintext to tls", config(secure, nil, nil), kafka.ErrTLS, []string{secure.ListenAddrs()[0], "requires tls", "turn tls on"}},
		{"plaintext to a listener that only hangs up", at(listen(t, hangUp)), kafka.ErrTLS, []string{"probably requires tls"}},
		{"tls to plaintext that hangs up", with(at(listen(t, hangUp)), trust, nil), kafka.ErrTLS, []string{"does not speak tls"}},
		{"tls to plaintext", with(at(listen(t, answer("\x00\x00\x00\x08abcdefgh"))), trust, nil), kafka.ErrTLS, []string{"does not speak tls"}},
		{"unknown authority", config(secure, &kafka.TLS{CAFile: other.CertFile()}, nil), kafka.ErrTLS, []string{"authority that is not trusted", "ca file"}},
		{"expired", config(expired, trust, nil), kafka.ErrTLS, []string{"expired"}},
		{"other host name", config(elsewhere, trust, nil), kafka.ErrTLS, []string{"another name", "127.0.0.1"}},
		{"no client certificate", config(mutual, trust, nil), kafka.ErrTLS, []string{"requires a client certificate"}},
		{"foreign client certificate", config(mutual, &kafka.TLS{CAFile: ca.CertFile(), CertFile: foreign.CertFile, KeyFile: foreign.KeyFile}, nil), kafka.ErrTLS, []string{"refused the client certificate"}},
		{"ca file missing", config(secure, &kafka.TLS{CAFile: "/nonexistent/ca.pem"}, nil), kafka.ErrTLS, []string{"/nonexistent/ca.pem"}},
		{"certificate without key", config(mutual, &kafka.TLS{CertFile: "cert.pem"}, nil), kafka.ErrTLS, []string{"go together"}},
		{"sasl missing", config(scram, nil, nil), kafka.ErrAuthentication, []string{"requires sasl"}},
		{"sasl on a listener without", config(plain, nil, login("scram_sha_256", "alice", "secret")), kafka.ErrAuthentication, []string{"sasl"}},
		{"mechanism not enabled", config(scram, nil, login("PLAIN", "alice", "secret")), kafka.ErrAuthentication, []string{"authenticating by PLAIN", "mechanism"}},
		{"wrong password", config(scram, nil, login("SCRAM-SHA-256", "alice", "wrong")), kafka.ErrAuthentication, []string{"authenticating by SCRAM-SHA-256", "password"}},
		{"unknown mechanism", config(scram, nil, login("GSSAPI", "alice", "secret")), kafka.ErrAuthentication, []string{`"GSSAPI"`}},
		{"empty password", config(scram, nil, login("SCRAM-SHA-256", "alice", "")), kafka.ErrAuthentication, []string{"empty"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			c, err := kafka.Connect(t.Context(), test.cfg, quiet)
			if err == nil {
				c.Close()
				t.Fatal("Connect succeeded")
			}
			expectError(t, err, test.kind, test.want...)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func expectError(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	t.Logf("error: %v", err)
	for _, k := range []error{kafka.ErrUnreachable, kafka.ErrTLS, kafka.ErrAuthentication, kafka.ErrAuthorization} {
		if got, want := errors.Is(err, k), k == kind; got != want {
			t.Errorf("errors.Is(err, %q) = %v, want %v", k, got, want)
		}
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q", w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Error("error has more than one line")
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("error has the password in it")
	}
}

func TestConnectWithSASL(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "alice", "one"), kfake.Superuser("SCRAM-SHA-256", "alice", "two"), kfake.Superuser("SCRAM-SHA-512", "alice", "three"))
	for mechanism, password := range map[string]string{
		"PLAIN": "one", "plain": "one", "SCRAM-SHA-256": "two", "scram_sha_256": "two", "ScramSha512": "three",
	} {
		t.Run(mechanism, func(t *testing.T) {
			connect(t, config(f, nil, login(mechanism, "alice", password)))
		})
	}
}

func TestConnectWithClientCertificate(t *testing.T) {
	ca := newAuthority(t, "broker")
	f := fake(t, kfake.NumBrokers(1), kfake.TLS(mutualTLS(t, ca)))
	client := issue(t, ca, authority.Leaf{CommonName: "backup"})
	connect(t, config(f, &kafka.TLS{CAFile: ca.CertFile(), CertFile: client.CertFile, KeyFile: client.KeyFile}, nil))
}

func TestConnectWithServerName(t *testing.T) {
	ca := newAuthority(t, "broker")
	f := fake(t, kfake.NumBrokers(1), kfake.TLS(serverTLS(t, ca, authority.Leaf{Hosts: []string{"broker.example"}})))
	connect(t, config(f, &kafka.TLS{CAFile: ca.CertFile(), ServerName: "broker.example"}, nil))
}

// The bootstrap address works, and what the cluster advertises does not.
func TestConnectChecksAdvertisedListeners(t *testing.T) {
	f := fake(t, kfake.NumBrokers(1))
	dead := closedPort(t)
	host, port := split(t, dead)
	f.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.ClusterID = kmsg.StringPtr("x")
		b := kmsg.NewMetadataResponseBroker()
		b.Host, b.Port = host, port
		resp.Brokers = append(resp.Brokers, b)
		return resp, nil, true
	})
	_, err := kafka.Connect(t.Context(), kafka.Config{BootstrapServers: f.ListenAddrs()}, quiet)
	if err == nil {
		t.Fatal("Connect succeeded")
	}
	expectError(t, err, kafka.ErrUnreachable, "advertised.listeners", dead)
}

func TestConnectToSilenceIsBounded(t *testing.T) {
	t.Parallel()
	began := time.Now()
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	_, err := kafka.Connect(t.Context(), at(silent, silent, silent), quiet)
	if err == nil {
		t.Fatal("Connect succeeded")
	}
	expectError(t, err, kafka.ErrUnreachable, "no answer within")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v, want 15 s at most", took)
	}
}

func TestConnectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kafka.Connect(ctx, at(closedPort(t)), quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v, want context.Canceled", err)
	}
}

func TestConfigDoesNotPrintThePassword(t *testing.T) {
	cfg := kafka.Config{SASL: login("PLAIN", "alice", "secret")}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb, cfg) + fmt.Sprintf(verb, *cfg.SASL); strings.Contains(s, "secret") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}
