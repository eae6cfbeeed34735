package sink

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes that have been fetched and not yet been written.
type budget struct {
	sem   *semaphore.Weighted
	total int64
}

func newBudget(total int64) *budget {
	return &budget{semaphore.NewWeighted(total), total}
}

// reserve waits for room for a response of up to n bytes.
func (b *budget) reserve(ctx context.Context, n int64) (*grant, error) {
	n = min(n, b.total)
	if err := b.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	g := &grant{budget: b, bytes: n}
	g.users.Store(1)
	return g, nil
}

// grant is the share that one response has of the budget. It is given back
// when its last user is done; the pieces of a response alias one buffer.
type grant struct {
	budget *budget
	bytes  int64
	users  atomic.Int64
}

// shrink gives back what the response did not need.
func (g *grant) shrink(used int64) {
	if used < g.bytes {
		g.budget.sem.Release(g.bytes - used)
		g.bytes = used
	}
}

func (g *grant) use() { g.users.Add(1) }

func (g *grant) done() {
	if g.users.Add(-1) == 0 {
		g.budget.sem.Release(g.bytes)
	}
}
