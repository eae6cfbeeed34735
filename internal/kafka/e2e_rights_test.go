//go:build e2e

package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/offsite-kafka/offsite/internal/kafka"
	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

func TestBrokerNamesMissingRights(t *testing.T) {
	for _, version := range []string{cluster.Kafka43, cluster.Kafka39} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			b := cluster.Start(t, cluster.Options{
				Version:    version,
				Authorizer: true,
				Listeners:  []cluster.Listener{cluster.SASL},
				Users:      []cluster.User{{Name: "alice", Password: "secret"}},
			})
			root := connect(t, at(b.Bootstrap()...))
			for _, name := range []string{"open", "described", "closed"} {
				create(t, root, name, 1)
			}
			alice := connect(t, with(at(b.Addrs(cluster.SASL)...), nil, login("SCRAM-SHA-512", "alice", "secret")))
			admin := kadm.NewClient(b.Client(t))
			for _, acl := range []*kadm.ACLBuilder{
				kadm.NewACLs().Topics("open").Groups("mine").Operations(kadm.OpRead),
				kadm.NewACLs().Topics("described").Operations(kadm.OpDescribe),
			} {
				created, err := admin.CreateACLs(t.Context(), acl.ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:alice").AllowHosts())
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range created {
					if c.Err != nil {
						t.Fatal(c.Err)
					}
				}
			}
			eventuallyAllowed(t, alice, "open", "described")
			testMissingRights(t, root, alice)
		})
	}
}

// eventuallyAllowed waits until the broker has the ACLs that were created.
func eventuallyAllowed(t *testing.T, c *kafka.Cluster, names ...string) {
	t.Helper()
	eventually(t, func() error {
		rights, err := c.TopicRights(t.Context(), names)
		if err != nil {
			return err
		}
		for _, name := range names {
			if rights[name].Err != nil {
				return kafka.ErrRetriable
			}
		}
		return nil
	})
}
