package cluster

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// createUsers creates the SCRAM credentials and returns when all brokers have them.
func (c *Cluster) createUsers(ctx context.Context) error {
	if len(c.options.Users) == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		if err := c.setPasswords(ctx, client, mechanism); err != nil {
			return fmt.Errorf("create users: %w", err)
		}
	}
	for _, b := range c.brokers {
		if err := c.waitUsers(ctx, b); err != nil {
			return fmt.Errorf("wait for users on broker %d: %w\n%s", b.id, err, b.logTail())
		}
	}
	return nil
}

// setPasswords does one mechanism, because Kafka refuses a request that names a user twice.
func (c *Cluster) setPasswords(ctx context.Context, client *kgo.Client, mechanism kadm.ScramMechanism) error {
	var upserts []kadm.UpsertSCRAM
	for _, u := range c.options.Users {
		upserts = append(upserts, kadm.UpsertSCRAM{User: u.Name, Mechanism: mechanism, Iterations: 4096, Password: u.Password})
	}
	altered, err := kadm.NewClient(client).AlterUserSCRAMs(ctx, nil, upserts)
	if err != nil {
		return err
	}
	return altered.Error()
}

// waitUsers returns when b itself has the credentials of all users: every broker follows the metadata log at its own
// pace.
func (c *Cluster) waitUsers(ctx context.Context, b *broker) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.ports[Plaintext].Addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	request := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	for _, u := range c.options.Users {
		user := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
		user.Name = u.Name
		request.Users = append(request.Users, user)
	}
	return poll(ctx, func() error {
		answer, err := client.SeedBrokers()[0].Request(ctx, request)
		if err != nil {
			return err
		}
		for _, result := range answer.(*kmsg.DescribeUserSCRAMCredentialsResponse).Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return fmt.Errorf("describe user %s: %w", result.User, err)
			}
			if len(result.CredentialInfos) < 2 {
				return fmt.Errorf("user %s has %d credentials", result.User, len(result.CredentialInfos))
			}
		}
		return nil
	})
}
