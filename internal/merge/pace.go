package merge

import (
	"context"
	"time"
)

// pace keeps reading and writing below a bandwidth.
type pace struct {
	perSecond int64 // bytes, 0 for no limit
	until     time.Time
}

func newPace(perSecond int64) *pace { return &pace{perSecond: perSecond} }

// wait returns once so many bytes more may have been moved.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.perSecond == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.until.Before(now) {
		p.until = now
	}
	p.until = p.until.Add(time.Duration(float64(n) / float64(p.perSecond) * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(p.until.Sub(now)):
		return nil
	}
}
