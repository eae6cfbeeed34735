package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TransactionalIDs lists the transactional ids that the coordinators know,
// sorted. It needs Describe on every transactional id: brokers leave out, without a
// word, those that the principal may not describe.
func (c *Cluster) TransactionalIDs(ctx context.Context) ([]string, error) {
	if err := c.checkTransactionalIDs(ctx); err != nil {
		return nil, fmt.Errorf("list transactional ids: %w", err)
	}
	ids := []string{}
	for _, shard := range c.cl.RequestSharded(ctx, kmsg.NewPtrListTransactionsRequest()) {
		if shard.Err != nil {
			return nil, fmt.Errorf("list transactional ids: %w", requestError(ctx, c.cl, shard.Err))
		}
		resp := shard.Resp.(*kmsg.ListTransactionsResponse)
		if resp.ErrorCode != 0 {
			return nil, fmt.Errorf("list transactional ids: %w", brokerError(resp.ErrorCode, nil, denied{}))
		}
		for _, t := range resp.TransactionStates {
			ids = append(ids, t.TransactionalID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// checkTransactionalIDs asks for an id of which nobody has ever heard: a right on
// every id shows on it. It asks a broker directly, since looking up the
// coordinator would make Kafka create __transaction_state.
func (c *Cluster) checkTransactionalIDs(ctx context.Context) error {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{"offsite-" + rand.Text()}
	for _, b := range c.Brokers() {
		raw, err := c.cl.Broker(int(b.ID)).RetriableRequest(ctx, req)
		if err = requestError(ctx, c.cl, err); errors.Is(err, ErrRetriable) {
			continue // the next one will do
		}
		if err != nil {
			return err
		}
		for _, t := range raw.(*kmsg.DescribeTransactionsResponse).TransactionStates {
			if t.ErrorCode == kerr.TransactionalIDAuthorizationFailed.Code {
				return &AuthorizationError{Operation: "Describe", ResourceType: "TransactionalId", Resource: "*"}
			}
		}
		return nil
	}
	return fmt.Errorf("%w: no broker answers", ErrRetriable)
}
