package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/segment"
)

// entrySeal is what the next entry is sealed with.
type entrySeal struct {
	key        *crypt.LogKey
	generation int
	keys       uint64 // the entry with the newest keys
}

// entrySeal returns nil for an entry that is not to be sealed.
func (r *Repository) entrySeal(state *State, e *Entry) (*entrySeal, error) {
	if !r.Encrypted || e.Keys != nil {
		return nil, nil
	}
	newest := len(state.Generations) - 1
	if newest < 0 {
		return nil, fmt.Errorf("%w, and its first entry, which has the keys, was never made: start backupd with encryption.recipients", ErrLocked)
	}
	if err := r.CheckReaders(state.Generations); err != nil {
		return nil, err
	}
	key, err := r.keys.logKey(r.ID, newest, state.Generations)
	if err != nil {
		return nil, err
	}
	return &entrySeal{key, newest, state.KeysEntry}, nil
}

// NewSeal returns what a new segment is sealed with, with the newest keys that were
// met in the log: nil if the repository is not encrypted.
func (r *Repository) NewSeal(writer ID, counter uint64) (*segment.Seal, error) {
	if !r.Encrypted {
		return nil, nil
	}
	keys := r.keys.newest().list
	newest := len(keys) - 1
	if newest < 0 {
		return nil, fmt.Errorf("%w, and its log has not been read", ErrLocked)
	}
	if err := r.CheckReaders(keys); err != nil {
		return nil, err
	}
	logKey, err := r.keys.logKey(r.ID, newest, keys)
	if err != nil {
		return nil, err
	}
	to, err := crypt.ParseRecipient(keys[newest].Recipient)
	if err != nil {
		return nil, err
	}
	object := SegmentKey(writer, counter)
	secret, share, wrapped, err := crypt.NewDataKey(to, r.ID, object)
	if err != nil {
		return nil, err
	}
	key := &segment.Key{Generation: newest, Writer: writer, Counter: counter, Share: share, Wrapped: wrapped}
	return segment.NewSeal(key, secret, func(plain []byte) []byte { return logKey.SealObject(newest, object, plain) }), nil
}

// OpenFooter opens the footer of the segment with the given key, which the log
// names, from its last ref.TailLength bytes. Damage is a *Damage.
func (r *Repository) OpenFooter(ctx context.Context, key string, ref segment.Ref, tail []byte) (f *segment.Footer, err error) {
	if r.Encrypted {
		f, err = ref.OpenSealed(tail, segment.Unlock{
			Footer: func(sealed []byte) ([]byte, error) { return r.OpenObject(ctx, key, sealed) },
			Key:    r.dataKey,
		})
	} else {
		f, err = ref.Open(tail)
	}
	if errors.Is(err, segment.ErrCorrupt) {
		return nil, &Damage{Key: key, Err: err}
	}
	return f, err
}

// OpensRecords returns why the identity cannot open data of a generation of keys, or
// nil if it can: ErrLocked if it is a writer's, or none of those that were given the keys.
func (r *Repository) OpensRecords(generation int) error {
	_, err := r.keys.dataIdentity(generation)
	return err
}

// dataKey opens the data key of a segment.
func (r *Repository) dataKey(k *segment.Key) (*crypt.DataKey, error) {
	id, err := r.keys.dataIdentity(k.Generation)
	if err != nil {
		return nil, err
	}
	return id.UnwrapDataKey(k.Share, k.Wrapped, r.ID, SegmentKey(k.Writer, k.Counter))
}

// SealObject seals the content of an object other than an entry or a segment, with
// the newest keys of the state. Without encryption it returns the content.
func (r *Repository) SealObject(state *State, key string, content []byte) ([]byte, error) {
	return r.sealObject(state.Generations, key, content)
}

func (r *Repository) sealObject(keys []Generation, key string, content []byte) ([]byte, error) {
	if !r.Encrypted {
		return content, nil
	}
	newest := len(keys) - 1
	if newest < 0 {
		return nil, fmt.Errorf("%w, and its log has not been read", ErrLocked)
	}
	if err := r.CheckReaders(keys); err != nil {
		return nil, err
	}
	logKey, err := r.keys.logKey(r.ID, newest, keys)
	if err != nil {
		return nil, err
	}
	return logKey.SealObject(newest, key, content), nil
}

// OpenObject returns what SealObject was given. What is altered is an error that
// wraps crypt.ErrForged.
func (r *Repository) OpenObject(ctx context.Context, key string, sealed []byte) ([]byte, error) {
	if !r.Encrypted {
		return sealed, nil
	}
	generation, err := crypt.ObjectGeneration(sealed)
	if err != nil {
		return nil, err
	}
	keys := r.keys.newest().list
	if generation >= len(keys) { // the log has not been read so far
		newest, err := r.newestKeys(ctx)
		if err != nil && len(newest.list) == 0 {
			return nil, err
		}
		keys = newest.list
	}
	logKey, err := r.logKey(ctx, generation, keys)
	if err != nil {
		return nil, err
	}
	return logKey.OpenObject(key, sealed)
}
