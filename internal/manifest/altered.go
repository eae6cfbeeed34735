package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
)

// Altered finds entries from one on, at most so many, whose objects are not what they were:
// what that takes no entry before to tell, of which one cannot be read. It passes over those
// that are missing.
func (r *Repository) Altered(ctx context.Context, from uint64, most int) (list []*Damage, err error) {
	last := uint64(0)
	if err := r.store.List(ctx, "log/", func(info store.Info) error { // which may have holes
		if seq, ok := parseLogKey(info.Key); ok && (r.until == 0 || seq <= r.until) {
			last = max(last, seq)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the log: %w", err)
	}
	var c links
	for ; from <= last && len(c.found) < most; from += readAhead {
		objects, err := r.readThose(ctx, from, min(from+readAhead-1, last))
		if err != nil {
			return nil, err
		}
		for i, b := range objects {
			c.next(from+uint64(i), b)
		}
	}
	c.settle()
	return c.found[:min(len(c.found), most)], nil
}

// links compares each of some entries with the one before by what it says of that.
type links struct {
	found   []*Damage
	before  *Digest // of the object of the last entry, if that is sound by itself
	suspect uint64  // the last entry, if it does not follow the one before; or 0
}

// next takes in the object of an entry, which is nil if it is missing.
func (c *links) next(seq uint64, b []byte) {
	env, err := openEnvelope(b)
	if err == nil && env.entry.Sequence != seq {
		err = fmt.Errorf("it is entry %d", env.entry.Sequence)
	}
	if err != nil {
		c.settle()
		if c.before = nil; b != nil && !errors.Is(err, ErrVersion) {
			c.found = append(c.found, &Damage{LogKey(seq), err})
		}
		return
	}
	follows := c.before == nil || env.entry.Previous == *c.before
	switch {
	case c.suspect > 0 && follows: // so that it is the one before that
		c.replaced(c.suspect-1, c.suspect)
		c.suspect = 0
	case c.suspect > 0: // it belongs to neither
		c.replaced(c.suspect, seq)
		c.suspect = 0
	case !follows:
		c.suspect = seq
	}
	digest := Digest(sha256.Sum256(b))
	c.before = &digest
}

// settle is called where no entry follows that could tell more.
func (c *links) settle() {
	if c.suspect > 0 {
		c.replaced(c.suspect, c.suspect-1)
	}
	c.suspect = 0
}

func (c *links) replaced(seq, by uint64) {
	c.found = append(c.found, &Damage{LogKey(seq), fmt.Errorf("it and entry %d do not fit together: another entry is in its place", by)})
}

// readThose reads the objects of entries; that of one which is missing is nil.
func (r *Repository) readThose(ctx context.Context, from, last uint64) ([][]byte, error) {
	objects := make([][]byte, last-from+1)
	g, ctx := errgroup.WithContext(ctx)
	for i := range objects {
		g.Go(func() error {
			key := LogKey(from + uint64(i))
			b, err := readObject(ctx, r.store, key, maxEntry)
			switch {
			case errors.Is(err, store.ErrNotExist):
				return nil
			case errors.Is(err, ErrDamaged):
				b = []byte{} // too large
			case err != nil:
				return fmt.Errorf("read %s: %w", key, err)
			}
			objects[i] = b
			return nil
		})
	}
	return objects, g.Wait()
}
