package metadata

import (
	"context"

	"github.com/offsite-kafka/offsite/internal/kafka"
)

// ACLList are all ACLs, in the order of kafka.ACL.Compare.
type ACLList []ACL

// ACL is the JSON form of an ACL.
type ACL struct {
	Host       string `json:"host"`
	Name       string `json:"name"`
	Operation  string `json:"operation"`
	Pattern    string `json:"pattern"`
	Permission string `json:"permission"`
	Principal  string `json:"principal"`
	Type       string `json:"type"`
}

func readACLs(ctx context.Context, c *kafka.Cluster) (Content, error) {
	acls, err := c.ACLs(ctx)
	if err != nil {
		return nil, err
	}
	list := make(ACLList, len(acls))
	for i, a := range acls {
		list[i] = ACL{
			Host: a.Host, Name: a.ResourceName, Operation: a.Operation, Pattern: a.Pattern, Permission: a.Permission, Principal: a.Principal, Type: a.ResourceType,
		}
	}
	return list, nil
}

// Kafka returns the ACL as package kafka has it.
func (a ACL) Kafka() kafka.ACL {
	return kafka.ACL{
		ResourceType: a.Type, ResourceName: a.Name, Pattern: a.Pattern, Principal: a.Principal, Host: a.Host, Operation: a.Operation, Permission: a.Permission,
	}
}

// Len implements Content.
func (l ACLList) Len() int { return len(l) }

// Settings implements Content.
func (l ACLList) Settings() []Setting {
	list := make([]Setting, len(l))
	for i, a := range l {
		list[i] = Setting{Object: a.Kafka().String()}
	}
	return list
}
