package storecheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

const rightsFix = "give the identity the rights of backupd (docs/operations.md, Rights)"

const directoryFix = "check the owner and the permissions of the directory, and that it is neither mounted read-only nor immutable"

const credentialsFix = "check the credentials themselves, key and secret, and whether they have expired: nobody can say yet what they may do"

// isOfFile says whether it is the system that has refused something, to do with a file.
func isOfFile(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

func isAbsent(err error) bool { return errors.Is(err, store.ErrNotExist) }

// nothingThere is the result of what needs an object, without one.
func nothingThere() (Result, error) {
	return Result{State: Unknown, Detail: "no object could be created to try it with"}, nil
}

// create puts the first canary.
func (c *checker) create(ctx context.Context) (Result, error) {
	content := make([]byte, canaryBytes)
	rand.Read(content) // never fails (crypto/rand)
	c.put[0] = c.now()
	if err := c.putNew(ctx, c.key(0), content); err != nil {
		if errors.Is(err, store.ErrAuth) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrUnreachable) {
			c.forget(c.key(0)) // nothing can have been stored
		}
		return Result{Fix: rightsFix}, err
	}
	c.put[1] = c.now()
	c.canary = content
	return Result{State: OK, Detail: "objects can be created"}, nil
}

// read looks for the canary right after it was put.
func (c *checker) read(ctx context.Context) (Result, error) {
	if c.canary == nil {
		return nothingThere()
	}
	const lost = "a backup would be lost: use another store"
	got, err := c.content(ctx, c.key(0), 0, -1)
	switch {
	case isAbsent(err):
		return Result{State: Failed, Detail: "an object that was created is not there", Fix: lost}, nil
	case err != nil:
		return Result{Fix: rightsFix}, err
	case !bytes.Equal(got, c.canary):
		return Result{State: Failed, Detail: fmt.Sprintf("an object of %d bytes came back as %d others", len(c.canary), len(got)), Fix: lost}, nil
	}
	info, err := c.Stat(ctx, c.key(0))
	if err != nil {
		return Result{Fix: rightsFix}, err
	}
	if info.Size != int64(len(c.canary)) {
		return Result{State: Failed, Detail: fmt.Sprintf("an object of %d bytes is said to have %d", len(c.canary), info.Size), Fix: lost}, nil
	}
	c.modified = info.Modified
	return Result{State: OK, Detail: "what was created can be read at once, and is the same"}, nil
}

// ranges reads parts of the canary.
func (c *checker) ranges(ctx context.Context) (Result, error) {
	if c.canary == nil {
		return nothingThere()
	}
	const fix = "nothing could be restored: use another store, or a way to it without the proxy that alters ranges"
	for _, r := range []struct{ off, n int64 }{{0, 1}, {100, 50}, {canaryBytes - 10, 100}, {500, -1}, {canaryBytes, 1}} {
		want := c.canary[r.off:]
		if r.n >= 0 {
			want = want[:min(r.n, int64(len(want)))]
		}
		got, err := c.content(ctx, c.key(0), r.off, r.n)
		if err != nil {
			return Result{Fix: fix}, fmt.Errorf("read %d bytes at %d of %d: %w", r.n, r.off, canaryBytes, err)
		}
		if !bytes.Equal(got, want) {
			return Result{State: Failed, Detail: fmt.Sprintf("a read at %d of %d bytes gave %d bytes, want %d, or others", r.off, canaryBytes, len(got), len(want)), Fix: fix}, nil
		}
	}
	if _, err := c.content(ctx, c.key(0), canaryBytes+1, 1); !errors.Is(err, store.ErrRange) {
		return Result{State: Failed, Detail: fmt.Sprintf("a read beyond the end of an object is not refused (%v)", err), Fix: fix}, nil
	}
	return Result{State: OK, Detail: "parts of an object can be read"}, nil
}

// delete removes the canary. It finds out how many others there may be.
func (c *checker) delete(ctx context.Context) (Result, error) {
	if c.canary == nil {
		return nothingThere()
	}
	key := c.key(0)
	err := c.Delete(ctx, key)
	switch {
	case errors.Is(err, store.ErrAuth):
		return Result{State: OK, Detail: "this identity may not delete, which backupd need not: " +
			"what was put to try the store stays as " + c.prefix + "*"}, nil
	case err != nil && ctx.Err() == nil:
		return Result{State: Warning, Detail: "objects cannot be deleted: " + err.Error(),
			Fix: "what was put to try the store stays as " + c.prefix + "*"}, nil
	case err != nil:
		return Result{}, err
	}
	if _, err := c.Stat(ctx, key); !isAbsent(err) {
		return Result{State: Warning, Detail: fmt.Sprintf("an object that was deleted is still there (%v)", err),
			Fix: "what was put to try the store stays as " + c.prefix + "*"}, nil
	}
	c.deletes = true
	c.forget(key)
	return Result{State: OK, Detail: "this identity may delete; backupd need not, so that another one for it is safer without"}, nil
}

// list looks for all canaries, the last of which was put a moment ago.
func (c *checker) list(ctx context.Context) (Result, error) {
	if c.canary == nil {
		return nothingThere()
	}
	const fix = "log entries would be overlooked: use another store"
	var got []string
	err := c.List(ctx, c.prefix, func(info store.Info) error {
		got = append(got, info.Key)
		return nil
	})
	if err != nil {
		return Result{Fix: rightsFix}, err
	}
	for key := range c.there {
		if !slices.Contains(got, key) {
			return Result{State: Failed, Detail: "an object that was created is not listed: " + key, Fix: fix}, nil
		}
	}
	if !slices.IsSorted(got) || slices.ContainsFunc(got, func(key string) bool { return !strings.HasPrefix(key, c.prefix) }) {
		return Result{State: Failed, Detail: "objects are not listed in the order of their names, or others than were asked for", Fix: fix}, nil
	}
	return Result{State: OK, Detail: fmt.Sprintf("what was created is listed at once (%d objects)", len(c.there))}, nil
}

// lastCanary is the number of that which must not come to be.
const lastCanary = 99

// checksum sends content that looks altered.
func (c *checker) checksum(ctx context.Context) (Result, error) {
	corrupter, ok := c.Store.(store.Corrupter)
	if !ok {
		return Result{State: Unknown, Detail: "a store of this kind sends no checksums"}, nil
	}
	if c.canary == nil {
		return nothingThere()
	}
	const fix = "reach the server by TLS only; \"restored verify\" finds what was altered"
	key := c.key(lastCanary)
	taken, err := corrupter.PutCorrupt(ctx, key, []byte("canary with a wrong checksum"))
	if err != nil && ctx.Err() == nil {
		return Result{State: Unknown, Detail: err.Error()}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if _, err := c.Stat(ctx, key); err == nil || taken {
		return Result{State: Failed, Detail: "content that is not that of its checksum is stored", Fix: fix}, nil
	}
	c.forget(key)
	return Result{State: OK, Detail: "content that is not that of its checksum is refused"}, nil
}

// maxSkew is how far apart clocks may be without a word. Stores refuse signatures
// from about 5 to 15 min on.
const maxSkew = 30 * time.Second

// clock compares the time at which the canary was put with what the store says.
func (c *checker) clock(context.Context) (Result, error) {
	switch {
	case c.canary == nil:
		return nothingThere()
	case c.modified.IsZero():
		return Result{State: Unknown, Detail: "the store does not say when an object was created"}, nil
	}
	skew := skewOf(c.modified, c.put[0], c.put[1])
	if skew.Abs() <= maxSkew {
		return Result{State: OK, Detail: "the clocks of this machine and of the store agree"}, nil
	}
	word := "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return Result{State: Warning, Detail: fmt.Sprintf("the clock of the store is %s %s this machine's, from which recovery points have their times", skew.Abs().Round(time.Second), word),
		Fix: "let both follow a time server (NTP)"}, nil
}

// skewOf returns how far a time lies outside of the span in which it should be.
// Most stores tell whole seconds.
func skewOf(t, from, to time.Time) time.Duration {
	switch from = from.Truncate(time.Second); {
	case t.Before(from):
		return t.Sub(from)
	case t.After(to):
		return t.Sub(to)
	}
	return 0
}
