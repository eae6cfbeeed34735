package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/store"
)

// MendDescriptor puts back the RepositoryKey of a repository that has lost it, or in
// whose place there is something else, from a copy. It is the same one if the first
// entry of the log, which begins with its digest, is there in both and follows it; the
// error is ErrDiverged if it is not. Nothing is done to one that is sound. With dry
// nothing is done at all. mended says whether there was, or is, something to do.
func MendDescriptor(ctx context.Context, st, from store.Store, dry bool) (mended bool, err error) {
	was, err := readObject(ctx, st, RepositoryKey, maxDescriptor)
	missing := errors.Is(err, store.ErrNotExist)
	var damage *Damage
	if err != nil && !missing && !errors.As(err, &damage) {
		return false, fmt.Errorf("read %s: %w", RepositoryKey, err)
	}
	if err == nil {
		if _, err = parseDescriptor(was); err == nil || errors.Is(err, ErrVersion) {
			return false, nil // Open says what there is to say
		}
	}
	copied, err := readObject(ctx, from, RepositoryKey, maxDescriptor)
	if err != nil {
		return false, fmt.Errorf("read %s of the copy: %w", RepositoryKey, err)
	}
	repo, err := parseDescriptor(copied)
	if err != nil {
		return false, fmt.Errorf("the copy: %w", err)
	}
	if err := repo.begins(ctx, st); err != nil || dry {
		return err == nil, err
	}
	if _, err := st.Put(ctx, RepositoryKey, bytes.NewReader(copied), store.PutOptions{IfAbsent: missing}); err != nil && !errors.Is(err, store.ErrExists) {
		return false, fmt.Errorf("put %s: %w", RepositoryKey, err)
	}
	return true, nil
}

// begins returns an error unless the log in a store is provably that of the repository.
func (r *Repository) begins(ctx context.Context, st store.Store) error {
	first, err := readObject(ctx, st, LogKey(1), maxEntry)
	if err != nil {
		return fmt.Errorf("is the copy one of this repository? only %s could prove it: %w", LogKey(1), err)
	}
	env, err := openEnvelope(first)
	if err != nil {
		return &Damage{LogKey(1), err}
	}
	if env.entry.Previous != r.digest {
		return fmt.Errorf("%w: %s does not follow the %s of the copy, which is of another repository", ErrDiverged, LogKey(1), RepositoryKey)
	}
	return nil
}
