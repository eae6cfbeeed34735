//go:build e2e

package cluster_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/offsite-kafka/offsite/test/bed/authority"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestListeners(t *testing.T) {
	for _, version := range []string{cluster.Kafka43, cluster.Kafka39} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testListeners(t, cluster.Start(t, cluster.Options{
				Version:   version,
				Listeners: []cluster.Listener{cluster.SASL, cluster.TLS, cluster.MTLS, cluster.SASLTLS},
				Users:     []cluster.User{{Name: "alice", Password: "s3cret, with space"}},
			}))
		})
	}
}

func testListeners(t *testing.T, c *cluster.Cluster) {
	good, bad := login{"alice", "s3cret, with space"}, login{"alice", "wrong"}
	anonymous := clientTLS(t, c.Authority())
	certified := clientTLS(t, c.Authority(), authority.Leaf{CommonName: "alice"})
	other, err := authority.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		listener cluster.Listener
		options  []kgo.Opt
		ok       bool
	}{
		{"PLAIN", cluster.SASL, []kgo.Opt{kgo.SASL(good.plain())}, true},
		{"PLAIN with wrong password", cluster.SASL, []kgo.Opt{kgo.SASL(bad.plain())}, false},
		{"SCRAM-SHA-256", cluster.SASL, []kgo.Opt{kgo.SASL(good.scram().AsSha256Mechanism())}, true},
		{"SCRAM-SHA-512", cluster.SASL, []kgo.Opt{kgo.SASL(good.scram().AsSha512Mechanism())}, true},
		{"SCRAM with wrong password", cluster.SASL, []kgo.Opt{kgo.SASL(bad.scram().AsSha512Mechanism())}, false},
		{"TLS", cluster.TLS, []kgo.Opt{kgo.DialTLSConfig(anonymous)}, true},
		{"TLS of another authority", cluster.TLS, []kgo.Opt{kgo.DialTLSConfig(clientTLS(t, other))}, false},
		{"mTLS", cluster.MTLS, []kgo.Opt{kgo.DialTLSConfig(certified)}, true},
		{"mTLS without certificate", cluster.MTLS, []kgo.Opt{kgo.DialTLSConfig(anonymous)}, false},
		{"SCRAM over TLS", cluster.SASLTLS, []kgo.Opt{kgo.DialTLSConfig(anonymous), kgo.SASL(good.scram().AsSha512Mechanism())}, true},
		{"SCRAM over TLS without login", cluster.SASLTLS, []kgo.Opt{kgo.DialTLSConfig(anonymous)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := listTopics(t, append(test.options, kgo.SeedBrokers(c.Addrs(test.listener)...)))
			if (err == nil) != test.ok {
				t.Errorf("list topics: %v, want success: %v", err, test.ok)
			}
		})
	}
}

func TestAuthorizerDeniesWhatNoACLAllows(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{
		Authorizer: true,
		Listeners:  []cluster.Listener{cluster.SASL},
		Users:      []cluster.User{{Name: "alice", Password: "a"}, {Name: "root", Password: "r"}},
		SuperUsers: []string{"User:root"},
	})
	createTopic(t, c, "orders")
	for user, allowed := range map[login]bool{{"alice", "a"}: false, {"root", "r"}: true} {
		seeds := kgo.SeedBrokers(c.Addrs(cluster.SASL)...)
		client, err := kgo.NewClient(seeds, kgo.SASL(user.scram().AsSha256Mechanism()))
		if err != nil {
			t.Fatal(err)
		}
		topics, err := kadm.NewClient(client).ListTopics(t.Context())
		client.Close()
		if err != nil {
			t.Fatalf("list topics as %s: %v", user.name, err)
		}
		if topics.Has("orders") != allowed {
			t.Errorf("%s sees the topic: %v, want %v", user.name, topics.Has("orders"), allowed)
		}
	}
}

type login struct{ name, password string }

func (l login) plain() sasl.Mechanism {
	return plain.Auth{User: l.name, Pass: l.password}.AsMechanism()
}
func (l login) scram() scram.Auth { return scram.Auth{User: l.name, Pass: l.password} }

func clientTLS(t *testing.T, a *authority.Authority, leaves ...authority.Leaf) *tls.Config {
	t.Helper()
	var pairs []authority.Pair
	for _, leaf := range leaves {
		pair, err := a.Issue(leaf)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair)
	}
	config, err := a.ClientTLS(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// listTopics gives a refused client little time: some refusals are retried as long as the context lasts.
func listTopics(t *testing.T, options []kgo.Opt) error {
	t.Helper()
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = kadm.NewClient(client).ListTopics(ctx)
	return err
}
