package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/faulty"
)

// ending is how a process ends at a call.
type ending string

// The endings: before the call takes effect, or after, with all that is under way.
const (
	dieBefore ending = "die before"
	dieAfter  ending = "die after"
)

// errDead is final, so that what is left of a dead process does not go on trying.
var errDead = fmt.Errorf("the process is dead: %w", store.ErrAuth)

// process is the store of one process after the other, of which one dies at the
// call at.
type process struct {
	store.Store
	how ending
	at  int // 0 for never

	mu    sync.Mutex
	calls int // of all processes
	died  int // how many did
	dead  bool
}

// restart begins another process if this one is dead, and tells whether it was.
func (p *process) restart() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.dead
	p.dead = false
	return was
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *process) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *process) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.died++
}

// call makes one call, unless the process is dead.
func (p *process) call(do func() error) error {
	p.mu.Lock()
	p.calls++
	last := p.at > 0 && p.calls == p.at
	p.mu.Unlock()
	if last && p.how == dieBefore {
		p.die()
	}
	if p.isDead() {
		return errDead
	}
	err := do()
	if last && p.how == dieAfter {
		p.die()
		return errDead
	}
	return err
}

func (p *process) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (info store.Info, err error) {
	err = p.call(func() error {
		info, err = p.Store.Put(ctx, key, mortalReader{p, r}, opts)
		return err
	})
	return info, err
}

func (p *process) Get(ctx context.Context, key string, off, n int64) (body io.ReadCloser, err error) {
	err = p.call(func() error {
		body, err = p.Store.Get(ctx, key, off, n)
		return err
	})
	return body, err
}

func (p *process) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = p.call(func() error {
		info, err = p.Store.Stat(ctx, key)
		return err
	})
	return info, err
}

func (p *process) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return p.call(func() error { return p.Store.List(ctx, prefix, fn) })
}

func (p *process) Delete(ctx context.Context, keys ...string) error {
	return p.call(func() error { return p.Store.Delete(ctx, keys...) })
}

// mortalReader ends the uploads that are under way when the process dies.
type mortalReader struct {
	p *process
	r io.Reader
}

func (r mortalReader) Read(b []byte) (int, error) {
	if r.p.isDead() {
		return 0, errDead
	}
	return r.r.Read(b)
}

// silence is how long a call hangs before it is given up, as the stores that are
// reached by a network do after minutes. It is long for a store in memory, on a
// machine that has other things to do.
const silence = time.Second

// impatient ends the calls that hang.
type impatient struct{ store.Store }

// bounded makes a call, whose end by silence must not look like one by the caller.
func bounded(ctx context.Context, do func(context.Context) error) error {
	short, cancel := context.WithTimeout(ctx, silence)
	defer cancel() // the bodies of these stores do not need it
	err := do(short)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: silence", faulty.ErrInjected)
	}
	return err
}

func (i impatient) Put(ctx context.Context, key string, r io.Reader, opts store.PutOptions) (info store.Info, err error) {
	// The body of a segment is written as records come in: that is no silence of the store.
	data, err := io.ReadAll(r)
	if err != nil {
		return info, err
	}
	err = bounded(ctx, func(ctx context.Context) error {
		info, err = i.Store.Put(ctx, key, bytes.NewReader(data), opts)
		return err
	})
	return info, err
}

func (i impatient) Get(ctx context.Context, key string, off, n int64) (body io.ReadCloser, err error) {
	err = bounded(ctx, func(ctx context.Context) error {
		body, err = i.Store.Get(ctx, key, off, n)
		return err
	})
	return body, err
}

func (i impatient) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = bounded(ctx, func(ctx context.Context) error {
		info, err = i.Store.Stat(ctx, key)
		return err
	})
	return info, err
}

func (i impatient) List(ctx context.Context, prefix string, fn func(store.Info) error) error {
	return bounded(ctx, func(ctx context.Context) error { return i.Store.List(ctx, prefix, fn) })
}

func (i impatient) Delete(ctx context.Context, keys ...string) error {
	return bounded(ctx, func(ctx context.Context) error { return i.Store.Delete(ctx, keys...) })
}
