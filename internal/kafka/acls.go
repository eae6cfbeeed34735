package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ACL is one entry of the cluster's authorizer. All words are those of
// kafka-acls.sh; what has no word there is "#" and Kafka's number.
type ACL struct {
	ResourceType string // Topic, Group, Cluster, TransactionalId, DelegationToken, User
	ResourceName string // "*" with Literal: any
	Pattern      string // Literal, Prefixed
	Principal    string // such as "User:alice"
	Host         string // "*": any
	Operation    string // All, Read, …
	Permission   string // Allow, Deny
}

// String is the ACL in one line.
func (a ACL) String() string {
	return fmt.Sprintf("%s %s %s on %s:%s:%s from %s", a.Permission, a.Principal, a.Operation, a.Pattern, a.ResourceType, a.ResourceName, a.Host)
}

// Compare orders ACLs by resource, then by who may do what.
func (a ACL) Compare(b ACL) int {
	for _, pair := range [][2]string{
		{a.ResourceType, b.ResourceType}, {a.ResourceName, b.ResourceName}, {a.Pattern, b.Pattern}, {a.Principal, b.Principal},
		{a.Host, b.Host}, {a.Operation, b.Operation}, {a.Permission, b.Permission},
	} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}

// words are what Kafka's numbers mean.
type words []string

var (
	aclResources   = words{2: "Topic", 3: "Group", 4: "Cluster", 5: "TransactionalId", 6: "DelegationToken", 7: "User"}
	aclPatterns    = words{3: "Literal", 4: "Prefixed"}
	aclPermissions = words{2: "Deny", 3: "Allow"}
	aclOperations  = words{
		2: "All", 3: "Read", 4: "Write", 5: "Create", 6: "Delete", 7: "Alter", 8: "Describe", 9: "ClusterAction",
		10: "DescribeConfigs", 11: "AlterConfigs", 12: "IdempotentWrite", 13: "CreateTokens", 14: "DescribeTokens", 15: "TwoPhaseCommit",
	}
)

func (w words) word(number int8) string {
	if number >= 0 && int(number) < len(w) && w[number] != "" {
		return w[number]
	}
	return "#" + strconv.Itoa(int(number))
}

func (w words) number(word string) (int8, error) {
	if n := slices.Index(w, word); n >= 0 && word != "" {
		return int8(n), nil
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.TrimLeft(strings.Join(w, " "), " "))
}

// aclAny matches everything in a filter.
const aclAny = 1

// ACLs reads all ACLs, in the order of ACL.Compare. It needs Describe on the
// cluster. The error matches ErrUnsupported if there is no authorizer.
func (c *Cluster) ACLs(ctx context.Context) ([]ACL, error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = aclAny, aclAny, aclAny, aclAny
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, fmt.Errorf("read acls: %w", requestError(ctx, c.cl, err))
	}
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("read acls: %w", brokerError(resp.ErrorCode, resp.ErrorMessage, denied{operation: "Describe"}))
	}
	list := []ACL{}
	for _, r := range resp.Resources {
		for _, a := range r.ACLs {
			list = append(list, ACL{
				ResourceType: aclResources.word(int8(r.ResourceType)), ResourceName: r.ResourceName, Pattern: aclPatterns.word(int8(r.ResourcePatternType)),
				Principal: a.Principal, Host: a.Host, Operation: aclOperations.word(int8(a.Operation)), Permission: aclPermissions.word(int8(a.PermissionType)),
			})
		}
	}
	slices.SortFunc(list, ACL.Compare)
	return list, nil
}

// aclBatch is how many ACLs one request creates: the controller takes at most
// 10,000 records at once.
const aclBatch = 1000

// CreateACLs creates ACLs; those that are there already stay as they are. It
// needs Alter on the cluster, is safe to repeat, and returns the error of each
// ACL, nil if it is there now.
func (c *Cluster) CreateACLs(ctx context.Context, acls []ACL) ([]error, error) {
	results := make([]error, 0, len(acls))
	for batch := range slices.Chunk(acls, aclBatch) {
		some, err := c.createACLs(ctx, batch)
		if err != nil {
			return nil, fmt.Errorf("create acls: %w", err)
		}
		results = append(results, some...)
	}
	return results, nil
}

func (c *Cluster) createACLs(ctx context.Context, acls []ACL) ([]error, error) {
	results := make([]error, len(acls))
	req := kmsg.NewPtrCreateACLsRequest()
	var asked []int // indexes into acls of what is in req
	for i, a := range acls {
		creation, err := encodeACL(a)
		if err != nil {
			results[i] = err
			continue
		}
		req.Creations = append(req.Creations, creation)
		asked = append(asked, i)
	}
	if len(asked) == 0 {
		return results, nil
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, requestError(ctx, c.cl, err)
	}
	if len(resp.Results) != len(asked) {
		return nil, fmt.Errorf("%d answers for %d acls", len(resp.Results), len(asked))
	}
	for i, r := range resp.Results {
		if r.ErrorCode != 0 {
			results[asked[i]] = brokerError(r.ErrorCode, r.ErrorMessage, denied{operation: "Alter"})
		}
	}
	return results, nil
}

func encodeACL(a ACL) (kmsg.CreateACLsRequestCreation, error) {
	creation := kmsg.NewCreateACLsRequestCreation()
	creation.ResourceName, creation.Principal, creation.Host = a.ResourceName, a.Principal, a.Host
	for _, field := range []struct {
		words words
		word  string
		take  func(int8)
	}{
		{aclResources, a.ResourceType, func(n int8) { creation.ResourceType = kmsg.ACLResourceType(n) }},
		{aclPatterns, a.Pattern, func(n int8) { creation.ResourcePatternType = kmsg.ACLResourcePatternType(n) }},
		{aclOperations, a.Operation, func(n int8) { creation.Operation = kmsg.ACLOperation(n) }},
		{aclPermissions, a.Permission, func(n int8) { creation.PermissionType = kmsg.ACLPermissionType(n) }},
	} {
		n, err := field.words.number(field.word)
		if err != nil {
			return creation, err
		}
		field.take(n)
	}
	return creation, nil
}
