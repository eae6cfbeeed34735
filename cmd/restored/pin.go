package main

import (
	"context"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
)

// pinPatience bounds how long a restore waits for its pin to be put or removed.
const pinPatience = 30 * time.Second

// pin keeps what a restore reads from being deleted, for as long as the restore runs.
type pin struct {
	repo *manifest.Repository
	g    *cli.Globals
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex // of what follows
	pin  *manifest.Pin
	told bool // that it cannot be kept up
}

// pinned puts a pin before anything is read of the log. Who restores need not be
// allowed to: then only the grace of the retention keeps what is read.
func pinned(ctx context.Context, g *cli.Globals, repo *manifest.Repository, command string) *pin {
	p := &pin{repo: repo, g: g}
	var err error
	if p.pin, err = repo.NewPin(ctx, g.Agent("restored", command), time.Now()); err == nil {
		err = p.put(ctx)
	}
	if err != nil {
		p.warn(err)
		return p
	}
	ctx, p.stop = context.WithCancel(ctx)
	p.done.Go(func() { p.refresh(ctx) })
	return p
}

// pinnedBack does so with --log-until for a command that otherwise puts none: what
// it is to read is removed already, and may be about to be deleted.
func pinnedBack(ctx context.Context, g *cli.Globals, repo *manifest.Repository, command string) *pin {
	if g.LogUntil() == 0 {
		return &pin{}
	}
	return pinned(ctx, g, repo, command)
}

func (p *pin) put(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pinPatience)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.repo.PutPin(ctx, p.pin)
}

// warn says once that the restore goes on without a pin.
func (p *pin) warn(err error) {
	if !p.told {
		p.g.Log.Warn("no pin in the repository keeps what is read from being deleted: only retention.grace does", "reason", err)
	}
	p.told = true
}

// refresh puts it again and again, until ctx ends.
func (p *pin) refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(manifest.PinRefresh):
		}
		if err := p.put(ctx); err != nil && ctx.Err() == nil {
			p.warn(err)
		}
	}
}

// names says which point is restored.
func (p *pin) names(ctx context.Context, point uint64) {
	if p.stop == nil {
		return
	}
	p.mu.Lock()
	p.pin.Point = point
	p.mu.Unlock()
	if err := p.put(ctx); err != nil {
		p.g.Log.Debug("the pin does not name its point", "error", err)
	}
}

// release takes it away; who may not delete says in it that it has ended.
func (p *pin) release(ctx context.Context) {
	if p.stop == nil {
		return
	}
	p.stop()
	p.done.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pinPatience)
	defer cancel()
	err := p.repo.DropPin(ctx, p.pin)
	if err != nil {
		p.pin.Ended = true
		err = p.repo.PutPin(ctx, p.pin)
	}
	if err != nil {
		p.g.Log.Info("the pin stays in the repository until it is stale", "pin", p.pin.ID, "reason", err)
	}
}
