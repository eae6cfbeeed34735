//go:build e2e

package e2e_test

import (
	"net"
	"testing"

	"github.com/offsite-kafka/offsite/test/bed/authority"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestBadConnection(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{
		Listeners:  []cluster.Listener{cluster.SASL, cluster.TLS, cluster.MTLS, cluster.SASLTLS},
		Users:      []cluster.User{{Name: "alice", Password: secret}},
		Properties: map[string]string{"listener.name.sasltls.sasl.enabled.mechanisms": "SCRAM-SHA-512"},
	})
	stranger, err := authority.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Issue(authority.Leaf{CommonName: "backup"})
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := writeFile(t, "right", secret), writeFile(t, "wrong", secret+secret)
	address := func(l cluster.Listener) string { return c.Addrs(l)[0] }
	login := func(mechanism, user, file string) []string {
		return []string{"-X", "kafka.sasl.mechanism=" + mechanism, "-X", "kafka.sasl.username=" + user, "-X", "kafka.sasl.passwordFile=" + file}
	}
	trust := []string{"-X", "kafka.tls.caFile=" + c.Authority().CertFile()}
	and := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for _, test := range []struct {
		name, address string
		args          []string
		code          int
		words         []string
	}{
		{"closed port", closedPort(t), nil, 1, []string{"connection refused", "check that a broker listens"}},
		{"unknown host", "kafka.invalid:9092", nil, 1, []string{"does not resolve"}},
		{"all of several", closedPort(t) + "," + "kafka.invalid:9092", nil, 1, []string{"connection refused", "kafka.invalid:9092: host name does not resolve"}},
		{"wrong password, PLAIN", address(cluster.SASL), login("PLAIN", "alice", wrong), 1, []string{address(cluster.SASL), "username or password is wrong"}},
		{"wrong password, SCRAM", address(cluster.SASL), login("SCRAM-SHA-512", "alice", wrong), 1, []string{address(cluster.SASL), "username or password is wrong"}},
		{"unknown user", address(cluster.SASL), login("SCRAM-SHA-256", "bob", right), 1, []string{address(cluster.SASL), "username or password is wrong"}},
		{"mechanism not enabled", address(cluster.SASLTLS), and(trust, login("PLAIN", "alice", right)), 1, []string{"PLAIN", "not enabled"}},
		{"unknown mechanism", address(cluster.SASL), login("GSSAPI", "alice", right), 2, []string{"kafka.sasl.mechanism", "GSSAPI", "SCRAM-SHA-512"}},
		{"no password", address(cluster.SASL), login("PLAIN", "alice", ""), 2, []string{"passwordFile", "KAFKA_SASL_PASSWORD"}},
		{"password file missing", address(cluster.SASL), login("PLAIN", "alice", "/nowhere/pw"), 2, []string{"kafka.sasl.passwordFile", "/nowhere/pw"}},
		{"SASL missing", address(cluster.SASL), nil, 1, []string{address(cluster.SASL), "requires sasl", "configure sasl"}},
		{"SASL not wanted", address(cluster.Plaintext), login("PLAIN", "alice", right), 1, []string{"does not use sasl"}},
		{"plaintext to TLS", address(cluster.TLS), nil, 1, []string{address(cluster.TLS), "requires tls", "turn tls on"}},
		{"SASL in plaintext to TLS", address(cluster.SASLTLS), login("SCRAM-SHA-512", "alice", right), 1, []string{"requires tls"}},
		{"TLS to plaintext", address(cluster.Plaintext), trust, 1, []string{"does not speak tls", "turn tls off"}},
		{"wrong CA", address(cluster.TLS), []string{"-X", "kafka.tls.caFile=" + stranger.CertFile()}, 1, []string{address(cluster.TLS), "not trusted", "ca file"}},
		{"CA file missing", address(cluster.TLS), []string{"-X", "kafka.tls.caFile=/nowhere/ca.pem"}, 2, []string{"kafka.tls.caFile", "/nowhere/ca.pem", "no such file"}},
		{"CA file without certificate", address(cluster.TLS), []string{"-X", "kafka.tls.caFile=" + right}, 2, []string{"kafka.tls.caFile", right, "no PEM certificate"}},
		{"wrong name", address(cluster.TLS), and(trust, []string{"-X", "kafka.tls.serverName=broker.example"}), 1, []string{"another name", "broker.example"}},
		{"no client certificate", address(cluster.MTLS), trust, 1, []string{address(cluster.MTLS), "requires a client certificate"}},
		{"foreign client certificate", address(cluster.MTLS), and(trust, []string{"-X", "kafka.tls.certFile=" + foreign.CertFile, "-X", "kafka.tls.keyFile=" + foreign.KeyFile}), 1, []string{"refused the client certificate"}},
		{"certificate without key", address(cluster.MTLS), and(trust, []string{"-X", "kafka.tls.certFile=" + foreign.CertFile}), 2, []string{"certFile", "keyFile"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRepository(t)
			args := and([]string{"once", "--log-level", "debug", "--bootstrap-server", test.address}, test.args)
			words := test.words
			if test.code == exitFailed {
				words = append(words, "connect to kafka")
			}
			wantError(t, r.try("backupd", nil, args...), test.code, words...)
			wantJSONError(t, r.try("backupd", nil, append(args, "-o", "json")...), test.code)
			r.wantNothing(t)
		})
	}
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
