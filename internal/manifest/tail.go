package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"golang.org/x/sync/errgroup"
)

// ErrDiverged says that two logs that should be one are not.
var ErrDiverged = errors.New("this is another repository, or another log")

// Stored is an entry with the bytes of its object.
type Stored struct {
	*Entry
	Bytes  []byte
	Digest Digest // of Bytes
}

// Tail reads a log from its first entry on, and goes on as it grows. It is not
// safe for concurrent use.
type Tail struct {
	repo  *Repository
	state *State
	last  uint64 // entry that is known to be there
}

// Tail returns one that has read nothing.
func (r *Repository) Tail() *Tail { return &Tail{repo: r, state: newState(r.digest)} }

// State is that after the last entry that Next has returned.
func (t *Tail) State() *State { return t.state }

// Next returns the next entries, a few at a time, or none if the log has no more
// of them now. Their order and their digests have been checked, and that each
// follows from the ones before.
func (t *Tail) Next(ctx context.Context) ([]Stored, error) {
	if t.state.Sequence >= t.last {
		if err := t.lookOn(ctx); err != nil || t.state.Sequence >= t.last {
			return nil, err
		}
	}
	objects, err := t.repo.readEntries(ctx, t.state.Sequence, t.last)
	if err != nil {
		return nil, err
	}
	list := make([]Stored, len(objects))
	for i, b := range objects {
		e, err := t.repo.applyBytes(ctx, t.state, b)
		if err != nil {
			return nil, err
		}
		list[i] = Stored{e, b, t.state.Head}
	}
	return list, nil
}

// lookOn finds out whether there are more entries. The listing of the whole log,
// which must have no gap, is made once; later on only the next entry is asked for.
func (t *Tail) lookOn(ctx context.Context) error {
	if t.last == 0 {
		last, err := t.repo.lastSequence(ctx, 0)
		t.last = last
		return err
	}
	switch _, err := t.repo.store.Stat(ctx, LogKey(t.last+1)); {
	case errors.Is(err, store.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", LogKey(t.last+1), err)
	}
	t.last++
	return nil
}

// readEntries reads the objects of the entries after one, up to the given last
// one, but not more than are fetched at once.
func (r *Repository) readEntries(ctx context.Context, after, last uint64) ([][]byte, error) {
	objects := make([][]byte, min(readAhead, last-after))
	g, ctx := errgroup.WithContext(ctx)
	for i := range objects {
		g.Go(func() (err error) {
			objects[i], err = r.readEntry(ctx, after+1+uint64(i))
			return err
		})
	}
	return objects, g.Wait()
}

// Entries returns entries after a head as they are stored, up to the given last
// one, but only a few at a time. They have been decoded, and continue the chain of
// digests from the head on; that they follow from what came before, who has read
// that must know.
func (r *Repository) Entries(ctx context.Context, after Head, last uint64) ([]Stored, error) {
	objects, err := r.readEntries(ctx, after.Sequence, last)
	if err != nil {
		return nil, err
	}
	list := make([]Stored, len(objects))
	for i, b := range objects {
		e, err := r.decodeAlone(ctx, b)
		if err == nil && (e.Sequence != after.Sequence+1 || e.Previous != after.Digest) {
			err = fmt.Errorf("its predecessor is not entry %s", after)
		}
		if err != nil {
			return nil, &Damage{LogKey(after.Sequence + 1), err}
		}
		after = Head{e.Sequence, sha256.Sum256(b)}
		list[i] = Stored{e, b, after.Digest}
	}
	return list, nil
}

// Peek returns the head that the log had with an entry, by its object alone, and
// the time of the entry. It does not look into it.
func (r *Repository) Peek(ctx context.Context, seq uint64) (Head, int64, error) {
	b, err := readObject(ctx, r.store, LogKey(seq), maxEntry)
	if err != nil {
		return Head{}, 0, fmt.Errorf("read %s: %w", LogKey(seq), err)
	}
	if len(b) < entryHeader {
		return Head{}, 0, damaged(LogKey(seq), "cut short at %d bytes", len(b))
	}
	return Head{seq, sha256.Sum256(b)}, int64(binary.BigEndian.Uint64(b[80:])), nil
}

// Last returns the sequence number of the log's last entry, or 0.
func (r *Repository) Last(ctx context.Context) (uint64, error) { return r.lastSequence(ctx, 0) }

// Clone makes a repository in st that has this one's identity, and is a copy of it
// once its segments and entries are there; or it opens the one that is there
// already, which may have the first entries. The error is ErrDiverged if that is
// another one.
func (r *Repository) Clone(ctx context.Context, st store.Store) (*Repository, error) {
	c, err := Open(ctx, st)
	if errors.Is(err, ErrNoRepository) {
		b, rerr := r.descriptor(ctx)
		if rerr != nil {
			return nil, rerr
		}
		_, perr := st.Put(ctx, RepositoryKey, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
		c, err = Open(ctx, st) // ours, or that of whoever was faster
		if err != nil && perr != nil && !errors.Is(perr, store.ErrExists) {
			return nil, fmt.Errorf("create %s: %w", RepositoryKey, perr)
		}
	}
	if err != nil {
		return nil, err
	}
	c.keys.identity = r.keys.identity
	c.trust.public, c.trust.head = r.trust.public, r.trust.head
	if c.digest != r.digest {
		return nil, fmt.Errorf("%w: the repository there is %s, this one is %s", ErrDiverged, c.ID, r.ID)
	}
	return c, nil
}

// Extend puts the next entry of the log that this repository is a copy of. All
// that it names must be there. It is no error if the entry is there already, and
// ErrDiverged if another one is.
func (r *Repository) Extend(ctx context.Context, e Stored) (err error) {
	key := LogKey(e.Sequence)
	pause := resolvePause
	for range resolveAttempts {
		if _, err = r.store.Put(ctx, key, bytes.NewReader(e.Bytes), store.PutOptions{IfAbsent: true}); err == nil {
			return nil
		}
		if ctx.Err() != nil || isHopeless(err) {
			break
		}
		if serr := e.In(ctx, r.store); serr == nil || errors.Is(serr, ErrDiverged) || errors.Is(serr, ErrDamaged) {
			return serr
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 32*resolvePause)
	}
	return fmt.Errorf("put %s: %w", key, err)
}

// isHopeless says whether a Put that failed so fails again.
func isHopeless(err error) bool {
	return errors.Is(err, store.ErrAuth) || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrUnusable)
}
