package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Quota is what one entity is limited to.
type Quota struct {
	// Entity has one element per type (user, client-id, ip).
	Entity []QuotaEntity
	// Values are by Kafka's names, such as "producer_byte_rate".
	Values map[string]float64
}

// QuotaEntity is a user, a client id or an address; Name is nil for the default
// of all that have none of their own.
type QuotaEntity struct {
	Type string
	Name *string
}

// Quotas reads all client quotas, in no order. It needs DescribeConfigs on the
// cluster.
func (c *Cluster) Quotas(ctx context.Context) ([]Quota, error) {
	resp, err := kmsg.NewPtrDescribeClientQuotasRequest().RequestWith(ctx, c.cl)
	if err != nil {
		return nil, fmt.Errorf("read client quotas: %w", requestError(ctx, c.cl, err))
	}
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("read client quotas: %w", brokerError(resp.ErrorCode, resp.ErrorMessage, denied{operation: "DescribeConfigs"}))
	}
	list := make([]Quota, 0, len(resp.Entries))
	for _, e := range resp.Entries {
		q := Quota{Values: make(map[string]float64)}
		for _, part := range e.Entity {
			q.Entity = append(q.Entity, QuotaEntity{part.Type, part.Name})
		}
		for _, v := range e.Values {
			q.Values[v.Key] = v.Value
		}
		list = append(list, q)
	}
	return list, nil
}

// SetQuotas sets the given values and leaves all others as they are. It needs
// AlterConfigs on the cluster, is safe to repeat, and returns the error of each
// quota, in the order of quotas.
func (c *Cluster) SetQuotas(ctx context.Context, quotas []Quota) ([]error, error) {
	if len(quotas) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrAlterClientQuotasRequest()
	for _, q := range quotas {
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for _, part := range q.Entity {
			e := kmsg.NewAlterClientQuotasRequestEntryEntity()
			e.Type, e.Name = part.Type, part.Name
			entry.Entity = append(entry.Entity, e)
		}
		for key, value := range q.Values {
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Value = key, value
			entry.Ops = append(entry.Ops, op)
		}
		req.Entries = append(req.Entries, entry)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return nil, fmt.Errorf("set client quotas: %w", requestError(ctx, c.cl, err))
	}
	return quotaResults(quotas, resp)
}

// quotaResults finds the answer for each quota: brokers answer in any order.
func quotaResults(quotas []Quota, resp *kmsg.AlterClientQuotasResponse) ([]error, error) {
	at := make(map[string]int, len(quotas))
	results := make([]error, len(quotas))
	for i, q := range quotas {
		at[entityKey(q.Entity)], results[i] = i, errNoAnswer
	}
	for _, e := range resp.Entries {
		var entity []QuotaEntity
		for _, part := range e.Entity {
			entity = append(entity, QuotaEntity{part.Type, part.Name})
		}
		i, asked := at[entityKey(entity)]
		if !asked {
			return nil, fmt.Errorf("set client quotas: answer for %v, which was not asked for", entity)
		}
		results[i] = nil
		if e.ErrorCode != 0 {
			results[i] = brokerError(e.ErrorCode, e.ErrorMessage, denied{operation: "AlterConfigs"})
		}
	}
	return results, nil
}

// entityKey names an entity whatever the order of its parts.
func entityKey(entity []QuotaEntity) string {
	parts := make([]string, len(entity))
	for i, e := range entity {
		parts[i] = fmt.Sprintf("%q", e.Type)
		if e.Name != nil {
			parts[i] += fmt.Sprintf("=%q", *e.Name)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
