package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/offsite-kafka/offsite/internal/crypt"
)

// checkSealed makes sure that what must be sealed is, and that keys come from
// somebody who knows those before them.
func (r *Repository) checkSealed(ctx context.Context, state *State, e *Entry, env *envelope) error {
	if env.sealed() {
		if e.Keys != nil {
			return errKeysSealed
		}
		return nil
	}
	body, err := env.unpack(nil)
	if err == nil {
		err = onlyKeys(body)
	}
	if err == nil {
		err = state.checkPlace(e)
	}
	if err != nil {
		return err
	}
	if e.Keys == nil {
		return errors.New("it is not sealed, although the repository is encrypted")
	}
	return r.checkKeys(ctx, state, e)
}

// checkKeys makes sure that keys may follow those of the state, and notes who has
// stated them.
func (r *Repository) checkKeys(ctx context.Context, state *State, e *Entry) error {
	if err := state.checkKeys(e.Keys); err != nil {
		return err
	}
	before := state.Generations
	if len(before) == 0 {
		before = e.Keys.Generations[:1]
	}
	key, err := r.logKey(ctx, len(before)-1, before)
	if err == nil && !crypt.Equal(e.Keys.mac(key, e.Sequence, e.Previous), e.Keys.MAC) {
		err = fmt.Errorf("its keys: %w", crypt.ErrForged)
	}
	if err == nil {
		e.Agent = e.Keys.openWho(key, e.Sequence)
	}
	return err
}

// proveKeys makes sure that the keys of a state that is not known from the log come
// from the log's first entry, each from somebody who knew those before: else who has
// none could put a snapshot of his own beside a log that he goes on with. It returns
// what all of these entries stated.
func (r *Repository) proveKeys(ctx context.Context, s *State) (steps []statement, err error) {
	if !r.Encrypted {
		return nil, nil
	}
	var chain []*Entry
	for seq := s.KeysEntry; seq > 0; {
		e, err := r.keysAt(ctx, seq)
		if err != nil {
			return nil, err
		}
		if e.Keys.Before >= seq {
			return nil, fmt.Errorf("the keys of entry %d are said to follow those of entry %d", seq, e.Keys.Before)
		}
		chain, seq = append(chain, e), e.Keys.Before
	}
	if n := len(chain); n == 0 || chain[n-1].Sequence != 1 || chain[n-1].Previous != r.digest {
		return nil, errors.New("its keys do not come from the first entry of the log")
	}
	at := newState(r.digest)
	for _, e := range slices.Backward(chain) {
		if err := r.checkKeys(ctx, at, e); err != nil {
			return nil, fmt.Errorf("the keys of entry %d: %w", e.Sequence, err)
		}
		at.applyKeys(e)
		steps = append(steps, statement{at.Generations, e.Sequence})
	}
	if !bytes.Equal(at.appendGenerations(), s.appendGenerations()) {
		return nil, fmt.Errorf("its keys are not those of entry %d", s.KeysEntry)
	}
	return steps, nil
}
