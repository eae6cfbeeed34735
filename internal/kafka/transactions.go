package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Transaction is what the coordinator of a transactional id says of its current
// or latest transaction (KIP-664).
type Transaction struct {
	ID            string // the transactional id
	State         TransactionState
	ProducerID    int64
	ProducerEpoch int16
	Started       int64 // ms since 1970, -1 if there is none or the broker does not keep it
}

// TransactionState is Kafka's word for it, such as "Ongoing".
type TransactionState string

// Decided says that the transaction is to be committed or aborted, and that its
// markers are being written: some partitions may have theirs and others not.
func (s TransactionState) Decided() bool { return strings.HasPrefix(string(s), "Prepare") }

// Dead says that the coordinator does not know the id, or no more: it has expired.
func (s TransactionState) Dead() bool { return s == transactionDead }

const transactionDead TransactionState = "Dead"

// Ongoing says that the transaction is neither decided nor over.
func (s TransactionState) Ongoing() bool { return s == "Ongoing" }

// transactionBatch is how many ids are described in one request.
const transactionBatch = 1000

// TransactionalIDs lists the transactional ids that the coordinators know,
// sorted. It needs what ListTransactions needs.
func (c *Cluster) TransactionalIDs(ctx context.Context) ([]string, error) {
	list, err := c.ListTransactions(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids, nil
}

// ListTransactions lists the transactional ids that the coordinators know,
// sorted, with state and producer id. It needs Describe on every transactional
// id: brokers leave out, without a word, those that the principal may not
// describe. A broker that does not answer is an error, never a shorter list; but
// while a coordinator is moving, and has not begun to load its ids, no broker
// lists them.
func (c *Cluster) ListTransactions(ctx context.Context) ([]Transaction, error) {
	if err := c.checkTransactionalIDs(ctx); err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	var list []Transaction
	seen := make(map[string]bool) // one can be listed twice while its coordinator moves
	for _, shard := range c.cl.RequestSharded(ctx, kmsg.NewPtrListTransactionsRequest()) {
		err := requestError(ctx, c.cl, shard.Err)
		if err == nil {
			if code := shard.Resp.(*kmsg.ListTransactionsResponse).ErrorCode; code != 0 {
				err = brokerError(code, nil, denied{})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list transactions of broker %d: %w", shard.Meta.NodeID, err)
		}
		for _, t := range shard.Resp.(*kmsg.ListTransactionsResponse).TransactionStates {
			if !seen[t.TransactionalID] {
				seen[t.TransactionalID] = true
				list = append(list, Transaction{ID: t.TransactionalID, State: TransactionState(t.TransactionState), ProducerID: t.ProducerID, Started: -1})
			}
		}
	}
	slices.SortFunc(list, func(a, b Transaction) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// DescribeTransactions asks the coordinators of transactional ids. Ids that are
// not there any more are Dead and have no producer; those that must not be
// described, or whose coordinator is just moving, are left out.
func (c *Cluster) DescribeTransactions(ctx context.Context, ids []string) ([]Transaction, error) {
	var list []Transaction
	for batch := range slices.Chunk(ids, transactionBatch) {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = batch
		for _, shard := range c.cl.RequestSharded(ctx, req) {
			if err := requestError(ctx, c.cl, shard.Err); err != nil {
				return nil, fmt.Errorf("describe transactions: %w", err)
			}
			for _, t := range shard.Resp.(*kmsg.DescribeTransactionsResponse).TransactionStates {
				switch {
				case t.ErrorCode == kerr.TransactionalIDNotFound.Code:
					list = append(list, Transaction{ID: t.TransactionalID, State: transactionDead, ProducerID: -1, ProducerEpoch: -1, Started: -1})
					continue
				case t.ErrorCode != 0:
					continue
				}
				list = append(list, Transaction{
					ID: t.TransactionalID, State: TransactionState(t.State), ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch, Started: t.StartTimestamp,
				})
			}
		}
	}
	return list, nil
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
