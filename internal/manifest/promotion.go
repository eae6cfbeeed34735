package manifest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/wire"
)

// ReplicaKey is the key of the mark that makes a repository a replica.
const ReplicaKey = "replica.json"

// secPromotion is a section that readers may skip.
const secPromotion = 132

// NotePromotion is the kind of the note of an entry that promotes a replica.
const NotePromotion = "promote"

// maxMark bounds what is read of a mark, in bytes.
const maxMark = 4096

var (
	// ErrReplica says that a repository is a copy of another one: what it is a copy of
	// is written to, and nothing else.
	ErrReplica = errors.New("this is a copy of the repository, kept by backupd copy or replicas: nothing else may write to it")
	// ErrNoReplica says that a repository is not a copy of another one, or not any more.
	ErrNoReplica = errors.New("this is no copy that backupd copy or replicas keep, or it was made a repository of its own before")
)

// MarkReplica marks what is in a store, or will be, as a replica, unless it is one.
func MarkReplica(ctx context.Context, st store.Store) error {
	text, err := json.Marshal(map[string]string{"replica": rand.Text()})
	if err != nil {
		return fmt.Errorf("mark the copy: %w", err)
	}
	_, err = st.Put(ctx, ReplicaKey, bytes.NewReader(text), store.PutOptions{IfAbsent: true})
	if err == nil {
		return nil
	}
	if mark, merr := Mark(ctx, st); merr == nil && mark != nil { // ours, or another copier's
		return nil
	}
	return fmt.Errorf("mark the copy: put %s: %w", ReplicaKey, err)
}

// Mark returns the digest of the mark in a store, or nil if there is none.
func Mark(ctx context.Context, st store.Store) (*Digest, error) {
	b, err := readObject(ctx, st, ReplicaKey, maxMark)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ReplicaKey, err)
	}
	d := Digest(sha256.Sum256(b))
	return &d, nil
}

// IsReplica says whether this is a replica. The state is that of its whole log.
func (r *Repository) IsReplica(ctx context.Context, state *State) (bool, error) {
	mark, err := Mark(ctx, r.store)
	return mark != nil && !state.isPromoted(*mark), err
}

func (s *State) isPromoted(mark Digest) bool { return s.Promotion != nil && *s.Promotion == mark }

// refuseReplica returns ErrReplica if this is one.
func (r *Repository) refuseReplica(ctx context.Context, state *State) error {
	replica, err := r.IsReplica(ctx, state)
	if err == nil && replica {
		err = ErrReplica
	}
	return err
}

// Writable returns ErrReplica if this is a replica. It is for who writes before, or
// without, the log; OpenLog and Follow look by themselves.
func (r *Repository) Writable(ctx context.Context) error {
	if mark, err := Mark(ctx, r.store); err != nil || mark == nil {
		return err
	}
	state, err := r.State(ctx, 0)
	if err != nil {
		return err
	}
	return r.refuseReplica(ctx, state)
}

// Promote makes a replica a repository of its own, by an entry of its log. The
// error is ErrNoReplica if it is not one.
func (r *Repository) Promote(ctx context.Context, agent Agent, reason string, now func() time.Time) (*Entry, error) {
	state, err := r.State(ctx, 0)
	if err != nil {
		return nil, err
	}
	mark, err := Mark(ctx, r.store)
	if err != nil {
		return nil, err
	}
	if mark == nil || state.isPromoted(*mark) {
		return nil, ErrNoReplica
	}
	note, err := NewNote(NotePromotion, struct {
		Reason string `json:"reason,omitempty"`
	}{reason})
	if err != nil {
		return nil, err
	}
	return r.newLog(state, now).Append(ctx, func(s *State) (*Entry, error) {
		if s.isPromoted(*mark) { // meanwhile
			return nil, ErrNoReplica
		}
		return &Entry{Time: now().UnixMilli(), Agent: &agent, Note: note, Promotion: mark}, nil
	})
}

func (e *Entry) appendPromotion() []byte {
	if e.Promotion == nil {
		return nil
	}
	return e.Promotion[:]
}

func (e *Entry) parsePromotion(r *wire.Reader) {
	var d Digest
	copy(d[:], r.Bytes(len(d)))
	e.Promotion = &d
}

// applyPromotion also forgets what was verified: that was read elsewhere.
func (s *State) applyPromotion(e *Entry) {
	if e.Promotion != nil {
		s.Promotion, s.Verified = e.Promotion, [levels]Verified{}
	}
}
