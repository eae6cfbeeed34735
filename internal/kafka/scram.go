package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ScramCredential is all that brokers tell of a user's credential: its keys
// cannot be read.
type ScramCredential struct {
	User       string
	Mechanism  string // SCRAM-SHA-256, SCRAM-SHA-512
	Iterations int32
}

var scramMechanisms = words{1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}

// ScramCredentials lists the SCRAM credentials of all users, in no order. It
// needs Describe on the cluster.
func (c *Cluster) ScramCredentials(ctx context.Context) ([]ScramCredential, error) {
	// Without the right, brokers (3.9.2 and 4.3.1 among them) fail over their own refusal and do not answer.
	if r, err := c.ClusterRights(ctx); err == nil && !r.Has(OpDescribe) {
		return nil, fmt.Errorf("read scram users: %w", &AuthorizationError{Operation: "Describe", ResourceType: "Cluster", Resource: "kafka-cluster"})
	} else if err != nil && !errors.Is(err, errRightsUnknown) {
		return nil, err
	}
	resp, err := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest().RequestWith(ctx, c.cl)
	if err != nil {
		return nil, fmt.Errorf("read scram users: %w", requestError(ctx, c.cl, err))
	}
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("read scram users: %w", brokerError(resp.ErrorCode, resp.ErrorMessage, denied{operation: "Describe"}))
	}
	list := []ScramCredential{}
	for _, r := range resp.Results {
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case errors.Is(err, kerr.ResourceNotFound): // removed meanwhile
			continue
		case err != nil:
			return nil, fmt.Errorf("read scram user %s: %w", r.User, brokerError(r.ErrorCode, r.ErrorMessage, denied{operation: "Describe"}))
		}
		for _, info := range r.CredentialInfos {
			list = append(list, ScramCredential{r.User, scramMechanisms.word(info.Mechanism), info.Iterations})
		}
	}
	return list, nil
}
