package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Operation is something that an ACL can allow, as Kafka numbers them.
type Operation int8

// The operations that Offsite needs.
const (
	OpRead            = Operation(kmsg.ACLOperationRead)
	OpWrite           = Operation(kmsg.ACLOperationWrite)
	OpCreate          = Operation(kmsg.ACLOperationCreate)
	OpDelete          = Operation(kmsg.ACLOperationDelete)
	OpAlter           = Operation(kmsg.ACLOperationAlter)
	OpDescribe        = Operation(kmsg.ACLOperationDescribe)
	OpClusterAction   = Operation(kmsg.ACLOperationClusterAction)
	OpDescribeConfigs = Operation(kmsg.ACLOperationDescribeConfigs)
	OpAlterConfigs    = Operation(kmsg.ACLOperationAlterConfigs)
	OpIdempotentWrite = Operation(kmsg.ACLOperationIdempotentWrite)
)

// String is the spelling of kafka-acls.sh, such as "DescribeConfigs".
func (op Operation) String() string {
	names := [...]string{
		OpRead: "Read", OpWrite: "Write", OpCreate: "Create", OpDelete: "Delete", OpAlter: "Alter",
		OpDescribe: "Describe", OpClusterAction: "ClusterAction", OpDescribeConfigs: "DescribeConfigs",
		OpAlterConfigs: "AlterConfigs", OpIdempotentWrite: "IdempotentWrite",
	}
	if op < OpRead || int(op) >= len(names) {
		return fmt.Sprintf("operation %d", int8(op))
	}
	return names[op]
}

// Rights is the set of operations that our principal may do on one resource.
// On a cluster without an authorizer it has all that the resource knows.
type Rights uint32

// Has reports whether op is allowed.
func (r Rights) Has(op Operation) bool { return r&(1<<op) != 0 }

// String lists the operations, separated by commas.
func (r Rights) String() string {
	var names []string
	for op := OpRead; op <= OpIdempotentWrite; op++ {
		if r.Has(op) {
			names = append(names, op.String())
		}
	}
	return strings.Join(names, ",")
}

// TopicRights is what our principal may do on one topic.
type TopicRights struct {
	Rights Rights
	// Err is ErrUnknownTopic, or an *AuthorizationError when the principal
	// may not even describe the topic.
	Err error
}

// errRightsUnknown is when a broker leaves out what it was asked for.
var errRightsUnknown = errors.New("the broker does not tell rights")

// TopicRights reads what our principal may do on each of the named topics. It
// is slow on brokers for many topics.
func (c *Cluster) TopicRights(ctx context.Context, names []string) (map[string]TopicRights, error) {
	all := make(map[string]TopicRights, len(names))
	if len(names) == 0 {
		return all, nil
	}
	resp, err := c.metadata(ctx, names, true)
	if err != nil {
		return nil, fmt.Errorf("read rights on topics: %w", err)
	}
	for i := range resp.Topics {
		topic := newTopic(&resp.Topics[i])
		r := TopicRights{Err: topic.Err}
		if topic.Err == nil {
			r.Rights, r.Err = rights(resp.Topics[i].AuthorizedOperations)
		}
		all[topic.Name] = r
	}
	return all, nil
}

// ClusterRights reads what our principal may do on the cluster resource.
func (c *Cluster) ClusterRights(ctx context.Context) (Rights, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return 0, fmt.Errorf("read rights on the cluster: %w", requestError(ctx, c.cl, err))
	}
	if resp.ErrorCode != 0 {
		return 0, fmt.Errorf("read rights on the cluster: %w", brokerError(resp.ErrorCode, resp.ErrorMessage, denied{operation: "Describe"}))
	}
	r, err := rights(resp.ClusterAuthorizedOperations)
	if err != nil {
		return 0, fmt.Errorf("read rights on the cluster: %w", err)
	}
	return r, nil
}

// CheckGroupRights returns an *AuthorizationError unless the principal may
// describe all groups: by a right on the cluster, or on every group. Brokers
// leave the others out of what Groups lists, and do not say so.
func (c *Cluster) CheckGroupRights(ctx context.Context) error {
	r, err := c.ClusterRights(ctx)
	if err == nil && r.Has(OpDescribe) || err != nil && !errors.Is(err, errRightsUnknown) {
		return err
	}
	// A right on every group shows on one of which nobody has ever heard.
	_, err = c.GroupOffsets(ctx, []string{"offsite-" + rand.Text()})
	if errors.Is(err, ErrAuthorization) {
		return &AuthorizationError{Operation: "Describe", ResourceType: "Group", Resource: "*"}
	}
	return err
}

func rights(operations int32) (Rights, error) {
	if operations == math.MinInt32 { // Kafka's way of leaving it out
		return 0, errRightsUnknown
	}
	return Rights(operations), nil
}
