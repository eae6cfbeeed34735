package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/offsite-kafka/offsite/internal/crypt"
)

// ErrUntrusted says that the log is not the one that the reader was told to trust.
var ErrUntrusted = errors.New("the log is not to be trusted")

// ErrNoSigningKey says that a log whose entries are signed cannot be appended to without a key.
var ErrNoSigningKey = errors.New("the log of this repository is signed, and there is no key to sign with")

// trust is what a reader demands of the log, if it demands anything.
type trust struct {
	public *crypt.PublicKey
	head   *Head
	proven atomic.Bool // that the head was in the log when it was read first
}

// SignWith makes every entry that is appended signed.
func (r *Repository) SignWith(key *crypt.SigningKey) { r.signing = key }

// Trust makes entries be refused that are not signed with the key, if it is not
// nil; and a log without the head, if that is not nil. The head vouches for the
// entries up to it, which need no signature.
func (r *Repository) Trust(public *crypt.PublicKey, head *Head) {
	r.trust.public, r.trust.head = public, head
}

// PinsHead says whether the log must have an entry that is known from elsewhere.
func (r *Repository) PinsHead() bool { return r.trust.head != nil }

// check returns ErrUntrusted for an entry that is not to be trusted.
func (t *trust) check(repository ID, env *envelope, b []byte) error {
	seq := env.entry.Sequence
	if t.head != nil && seq == t.head.Sequence {
		if sha256.Sum256(b) != t.head.Digest {
			return fmt.Errorf("%w: it is not the entry with this number that signing.head pins: the log was forged or rolled back", ErrUntrusted)
		}
		t.proven.Store(true)
	}
	switch {
	case t.public == nil, t.head != nil && seq <= t.head.Sequence:
		return nil
	case env.signature == nil:
		return fmt.Errorf("%w: it is not signed, although signing.publicKey demands it", ErrUntrusted)
	case !t.public.Verify(repository, env.digest, env.signature):
		return fmt.Errorf("%w: its signature is not by the key that signing.publicKey pins", ErrUntrusted)
	}
	return nil
}

// isSigned says whether an entry's object, which is sound, has a signature.
func isSigned(b []byte) bool { return binary.BigEndian.Uint32(b[88:])&flagSigned != 0 }

// mayAppend returns ErrNoSigningKey for an entry that would not be signed behind one that
// is: whoever pins the key would take the log for forged. Who has lost the key pins the
// last entry as the head, and goes on without.
func (r *Repository) mayAppend(s *State) error {
	if !s.signed || r.signing != nil || r.trust.head != nil && r.trust.head.Sequence == s.Sequence {
		return nil
	}
	return fmt.Errorf("%w: set signing.keyFile, or OFFSITE_SIGNING_KEY; only if the key is lost for good, go on without by setting signing.head to %s, the last entry", ErrNoSigningKey, Head{s.Sequence, s.Head})
}

// MayAppend returns the error with which an entry would be refused for want of a signature,
// for who wants to know before there is one.
func (l *Log) MayAppend() error { return l.repo.mayAppend(l.state) }

// proveHead makes sure that the pinned head is in the log that a state is of, each
// time: what the store gives now need not be what it gave before.
func (r *Repository) proveHead(ctx context.Context, state *State) error {
	t := &r.trust
	if t.head == nil || state.Sequence >= t.head.Sequence {
		return nil // or applyBytes has compared it
	}
	last, err := r.endOfLog(ctx, state.Sequence)
	if err != nil {
		return err
	}
	if last < t.head.Sequence {
		return fmt.Errorf("%w: it ends with entry %d, before entry %d, which signing.head pins: it was rolled back", ErrUntrusted, last, t.head.Sequence)
	}
	// The entries from the state on to the head prove the state's.
	previous := state.Head
	for seq := state.Sequence + 1; seq <= t.head.Sequence; seq++ {
		b, err := r.readEntry(ctx, seq)
		if err != nil {
			return err
		}
		env, err := openEnvelope(b)
		if err == nil && env.entry.Previous != previous {
			err = fmt.Errorf("its predecessor is not entry %d as it is", seq-1)
		}
		if err != nil {
			return &Damage{LogKey(seq), err}
		}
		if err := t.check(r.ID, env, b); err != nil {
			return fmt.Errorf("%s: %w", LogKey(seq), err)
		}
		previous = sha256.Sum256(b)
	}
	return nil
}
