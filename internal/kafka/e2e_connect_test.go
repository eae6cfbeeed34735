//go:build e2e

package kafka_test

import (
	"testing"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/authority"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

// Every way in, and every way to get it wrong, with the words of the error.
func TestBrokerListeners(t *testing.T) {
	for _, version := range []string{cluster.Kafka43, cluster.Kafka39} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testListeners(t, cluster.Start(t, cluster.Options{
				Version:   version,
				Listeners: []cluster.Listener{cluster.SASL, cluster.TLS, cluster.MTLS, cluster.SASLTLS},
				Users:     []cluster.User{{Name: "alice", Password: "secret"}},
				Properties: map[string]string{
					"listener.name.sasltls.sasl.enabled.mechanisms": "SCRAM-SHA-512",
				},
			}))
		})
	}
}

func testListeners(t *testing.T, b *cluster.Cluster) {
	other := newAuthority(t, "other")
	trust := &kafka.TLS{CAFile: b.Authority().CertFile()}
	certified := func(a *authority.Authority) *kafka.TLS {
		pair := issue(t, a, authority.Leaf{CommonName: "backup"})
		return &kafka.TLS{CAFile: trust.CAFile, CertFile: pair.CertFile, KeyFile: pair.KeyFile}
	}
	alice := func(mechanism string) *kafka.SASL { return login(mechanism, "alice", "secret") }
	tests := []struct {
		name     string
		listener cluster.Listener
		tls      *kafka.TLS
		sasl     *kafka.SASL
		kind     error // nil: it connects
		want     []string
	}{
		{"plaintext", cluster.Plaintext, nil, nil, nil, nil},
		{"plain", cluster.SASL, nil, alice("PLAIN"), nil, nil},
		{"scram 256", cluster.SASL, nil, alice("scram-sha-256"), nil, nil},
		{"scram 512", cluster.SASL, nil, alice("SCRAM_SHA_512"), nil, nil},
		{"tls", cluster.TLS, trust, nil, nil, nil},
		{"mutual tls", cluster.MTLS, certified(b.Authority()), nil, nil, nil},
		{"scram over tls", cluster.SASLTLS, trust, alice("SCRAM-SHA-512"), nil, nil},

		{"plaintext to tls", cluster.TLS, nil, nil, kafka.ErrTLS, []string{"requires tls"}},
		{"plaintext with sasl to tls", cluster.SASLTLS, nil, alice("SCRAM-SHA-512"), kafka.ErrTLS, []string{"requires tls"}},
		{"tls to plaintext", cluster.Plaintext, trust, nil, kafka.ErrTLS, []string{"does not speak tls"}},
		{"unknown authority", cluster.TLS, &kafka.TLS{CAFile: other.CertFile()}, nil, kafka.ErrTLS, []string{"authority that is not trusted"}},
		{"other server name", cluster.TLS, &kafka.TLS{CAFile: trust.CAFile, ServerName: "broker.example"}, nil, kafka.ErrTLS, []string{"another name", "broker.example"}},
		{"no client certificate", cluster.MTLS, trust, nil, kafka.ErrTLS, []string{"requires a client certificate"}},
		{"foreign client certificate", cluster.MTLS, certified(other), nil, kafka.ErrTLS, []string{"refused the client certificate"}},
		{"sasl missing", cluster.SASL, nil, nil, kafka.ErrAuthentication, []string{"requires sasl"}},
		{"sasl missing over tls", cluster.SASLTLS, trust, nil, kafka.ErrAuthentication, []string{"requires sasl"}},
		{"sasl on a listener without", cluster.Plaintext, nil, alice("PLAIN"), kafka.ErrAuthentication, []string{"does not use sasl"}},
		{"mechanism not enabled", cluster.SASLTLS, trust, alice("SCRAM-SHA-256"), kafka.ErrAuthentication, []string{"mechanism SCRAM-SHA-256 is not enabled"}},
		{"wrong password, plain", cluster.SASL, nil, login("PLAIN", "alice", "wrong"), kafka.ErrAuthentication, []string{"username or password is wrong"}},
		{"wrong password, scram", cluster.SASL, nil, login("SCRAM-SHA-512", "alice", "wrong"), kafka.ErrAuthentication, []string{"username or password is wrong"}},
		{"unknown user", cluster.SASL, nil, login("SCRAM-SHA-256", "bob", "secret"), kafka.ErrAuthentication, []string{"username or password is wrong"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := with(at(b.Addrs(test.listener)...), test.tls, test.sasl)
			c, err := kafka.Connect(t.Context(), cfg, quiet)
			if err != nil {
				if test.kind == nil {
					t.Fatalf("Connect: %v", err)
				}
				expectError(t, err, test.kind, append(test.want, b.Addrs(test.listener)[0])...)
				return
			}
			defer c.Close()
			if test.kind != nil {
				t.Fatal("Connect succeeded")
			}
			if got, want := c.ID(), b.ID(); got != want {
				t.Errorf("ID() = %q, want %q", got, want)
			}
		})
	}
}
