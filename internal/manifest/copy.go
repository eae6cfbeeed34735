package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
)

// LastListed returns the last entry that there is an object of in a store, or 0. It
// takes gaps as they are: a copy can have lost some.
func LastListed(ctx context.Context, st store.Store) (last uint64, err error) {
	if err = st.List(ctx, "log/", func(info store.Info) error {
		if seq, ok := parseLogKey(info.Key); ok {
			last = max(last, seq)
		}
		return nil
	}); err != nil {
		return 0, fmt.Errorf("list the log: %w", err)
	}
	return last, nil
}

// In compares an entry with the object that a copy has in its place. The error is a
// *Damage if that is not what anybody has written, and ErrDiverged if it is another
// entry.
func (e *Stored) In(ctx context.Context, copied store.Store) error {
	key := LogKey(e.Sequence)
	b, err := readObject(ctx, copied, key, maxEntry)
	if errors.Is(err, ErrDamaged) {
		return err
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return sameEntry(e.Sequence, e.Bytes, b)
}

// SameEntry compares an entry of this repository with the object that a copy has in
// its place, as Stored.In does.
func (r *Repository) SameEntry(ctx context.Context, seq uint64, copied store.Store) error {
	b, err := r.readEntry(ctx, seq)
	if err != nil {
		return err
	}
	e := Stored{Entry: &Entry{Sequence: seq}, Bytes: b}
	return e.In(ctx, copied)
}

// sameEntry compares an entry's object, which is sound, with another one. The
// digest at its end does not cover a signature.
func sameEntry(seq uint64, want, got []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	found, err := openEnvelope(got)
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%w: entry %d is the first that differs", ErrDiverged, seq)
	}
	if err != nil {
		return &Damage{LogKey(seq), err}
	}
	if wanted, err := openEnvelope(want); err == nil && wanted.digest == found.digest {
		return damaged(LogKey(seq), "its signature is not the one that was written")
	}
	return fmt.Errorf("%w: entry %d is the first that differs", ErrDiverged, seq)
}

// ReplaceIn puts an entry in the place of one that a copy has damaged.
func (e *Stored) ReplaceIn(ctx context.Context, copied store.Store) error {
	if _, err := copied.Put(ctx, LogKey(e.Sequence), bytes.NewReader(e.Bytes), store.PutOptions{}); err != nil {
		return fmt.Errorf("replace %s: %w", LogKey(e.Sequence), err)
	}
	return nil
}

// At returns the copy of this repository in a store, whether there is one or not.
func (r *Repository) At(st store.Store) *Repository {
	c := &Repository{ID: r.ID, ClusterID: r.ClusterID, Created: r.Created, Encrypted: r.Encrypted, Debug: r.Debug, store: st, digest: r.digest}
	c.keys.identity = r.keys.identity
	return c
}

// Restate puts the descriptor into the store of a copy that has lost it, or has it
// damaged.
func (r *Repository) Restate(ctx context.Context, copied store.Store) error {
	b, err := r.descriptor(ctx)
	if err != nil {
		return err
	}
	if _, err := copied.Put(ctx, RepositoryKey, bytes.NewReader(b), store.PutOptions{}); err != nil {
		return fmt.Errorf("replace %s: %w", RepositoryKey, err)
	}
	return nil
}

// descriptor reads it again.
func (r *Repository) descriptor(ctx context.Context) ([]byte, error) {
	b, err := readObject(ctx, r.store, RepositoryKey, maxDescriptor)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", RepositoryKey, err)
	}
	if sha256.Sum256(b) != r.digest {
		return nil, damaged(RepositoryKey, "it has changed since it was opened")
	}
	return b, nil
}
