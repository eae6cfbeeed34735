package authority_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/authority"
)

func TestHandshake(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	local := []string{"127.0.0.1"}
	for _, test := range []struct {
		name   string
		issuer *authority.Authority
		leaf   authority.Leaf
		ok     bool
	}{
		{"trusted", ours, authority.Leaf{CommonName: "a", Hosts: local}, true},
		{"other authority", theirs, authority.Leaf{CommonName: "a", Hosts: local}, false},
		{"other host", ours, authority.Leaf{CommonName: "a", Hosts: []string{"example.org"}}, false},
		{"expired", ours, authority.Leaf{CommonName: "a", Hosts: local, NotAfter: time.Now().Add(-time.Minute)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := test.issuer.Issue(test.leaf)
			if err != nil {
				t.Fatal(err)
			}
			client, err := ours.ClientTLS()
			if err != nil {
				t.Fatal(err)
			}
			err = handshake(t, pair, client)
			if (err == nil) != test.ok {
				t.Errorf("handshake: %v, want success: %v", err, test.ok)
			}
		})
	}
}

func newAuthority(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.New(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// handshake connects to a server that presents pair, and returns the client's view.
func handshake(t *testing.T, pair authority.Pair, client *tls.Config) error {
	t.Helper()
	// The file with key and certificate must do for both, as it does for Kafka.
	cert, err := tls.LoadX509KeyPair(pair.KeyAndCertFile, pair.KeyAndCertFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp4", listener.Addr().String(), client)
	if err != nil {
		return err
	}
	return conn.Close()
}
