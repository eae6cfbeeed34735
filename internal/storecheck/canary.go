package storecheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// CanaryPrefix is that of the keys of all canaries. docs/format.md leaves it to
// them.
const CanaryPrefix = "probe/"

// removeTime bounds the clean-up, which also follows an interruption.
const removeTime = 30 * time.Second

// canaries are the objects of one run.
type canaries struct {
	store  store.Store
	prefix string

	mu    sync.Mutex
	tried []string        // keys under which there is an object, or may be
	there map[string]bool // those under which there is one
}

func newCanaries(st store.Store) *canaries {
	var id [8]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	return &canaries{store: st, prefix: CanaryPrefix + hex.EncodeToString(id[:]) + "-", there: make(map[string]bool)}
}

// key returns the key of the n-th canary, and notes that there may be an object.
func (c *canaries) key(n int) string {
	key := fmt.Sprintf("%s%02d", c.prefix, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.tried, key) {
		c.tried = append(c.tried, key)
	}
	return key
}

// found notes that there is an object under a key.
func (c *canaries) found(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.there[key] = true
}

// forget notes that there is no object under a key.
func (c *canaries) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.there, key)
	c.tried = slices.DeleteFunc(c.tried, func(k string) bool { return k == key })
}

// putNew puts the object under a key at which nobody else has one. That it exists
// can only mean that the store has sent it twice.
func (c *canaries) putNew(ctx context.Context, key string, content []byte) error {
	err := c.putIfAbsent(ctx, key, content)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	c.found(key)
	return nil
}

func (c *canaries) putIfAbsent(ctx context.Context, key string, content []byte) error {
	_, err := c.store.Put(ctx, key, bytes.NewReader(content), store.PutOptions{IfAbsent: true})
	return err
}

// content returns n bytes of an object from off on, to its end if n is negative.
func (c *canaries) content(ctx context.Context, key string, off, n int64) ([]byte, error) {
	body, err := c.store.Get(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 2*canaryBytes)) // whatever a server sends
}

// remove deletes what was put, and returns the keys of what may still be there.
func (c *canaries) remove(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tried) == 0 || c.store.Delete(ctx, c.tried...) == nil {
		return nil
	}
	for _, key := range c.tried {
		if _, err := c.store.Stat(ctx, key); !isAbsent(err) {
			left = append(left, key)
		}
	}
	return left
}
