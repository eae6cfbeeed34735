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
	// ErrArchive says that a repository has only chosen points of another one: what came after
	// them is not there, and new points would lack it.
	ErrArchive = errors.New("this is a copy of chosen recovery points: what came after them is not there, and new points would lack it")
	// ErrNoReplica says that a repository is not a copy of another one, or not any more.
	ErrNoReplica = errors.New("this is no copy that backupd copy or replicas keep, or it was made a repository of its own before")
)

// Promotion says that a replica is one no longer.
type Promotion struct {
	Mark    Digest // of its ReplicaKey
	Archive bool   // it has only what chosen points need, see PromoteChosen
}

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

func (s *State) isPromoted(mark Digest) bool { return s.Promotion != nil && s.Promotion.Mark == mark }

// IsArchive says whether the repository has only chosen points of another one, so that
// nothing may be captured into it.
func (s *State) IsArchive() bool { return s.Promotion != nil && s.Promotion.Archive }

// refuseReplica returns ErrReplica if this is one.
func (r *Repository) refuseReplica(ctx context.Context, state *State) error {
	replica, err := r.IsReplica(ctx, state)
	if err == nil && replica {
		err = ErrReplica
	}
	return err
}

// Writable returns ErrReplica if this is a replica, and ErrNoSigningKey as OpenLog does.
// It is for who writes before, or
// without, the log; OpenLog and Follow look by themselves.
func (r *Repository) Writable(ctx context.Context) error {
	mark, err := Mark(ctx, r.store)
	if err != nil {
		return err
	}
	state, err := r.State(ctx, 0)
	if errors.Is(err, ErrDamaged) && mark == nil {
		return nil // it may be there to be mended
	}
	if err != nil {
		return err
	}
	return r.refuseWriter(ctx, state)
}

// refuseWriter returns why nothing may be appended to the log, which ends with the
// state: now, rather than when somebody has captured for a while.
func (r *Repository) refuseWriter(ctx context.Context, state *State) error {
	if err := r.refuseReplica(ctx, state); err != nil {
		return err
	}
	return r.mayAppend(state)
}

// Promote makes a replica a repository of its own, by an entry of its log. The
// error is ErrNoReplica if it is not one.
func (r *Repository) Promote(ctx context.Context, agent Agent, reason string, now func() time.Time) (*Entry, error) {
	note, err := NewNote(NotePromotion, struct {
		Reason string `json:"reason,omitempty"`
	}{reason})
	if err != nil {
		return nil, err
	}
	return r.promote(ctx, false, now, func(*State) (*Entry, error) { return &Entry{Agent: &agent, Note: note}, nil })
}

// PromoteChosen does so with a replica that has only what some of its points need, which
// are in its log: the other points are deleted, whether they are protected or not, and the
// segments that it lacks are removed.
func (r *Repository) PromoteChosen(ctx context.Context, agent Agent, points []PointRef, lacks *SegmentLot, now func() time.Time) (*Entry, error) {
	chosen := make(map[uint64]bool)
	for _, p := range points {
		chosen[p.Sequence] = true
	}
	note, err := NewNote(NotePromotion, map[string]string{"reason": "a copy of chosen points"})
	if err != nil {
		return nil, err
	}
	return r.promote(ctx, true, now, func(s *State) (*Entry, error) {
		e := &Entry{Agent: &agent, Note: note}
		for _, p := range s.Points {
			if !chosen[p.Sequence] {
				e.PointChanges = append(e.PointChanges, PointChange{Point: p.Sequence, Deleted: true})
			}
		}
		if len(lacks.Segments) > 0 {
			e.Removed = lacks
		}
		return e, nil
	})
}

// promote appends an entry that makes a replica a repository of its own.
func (r *Repository) promote(ctx context.Context, archive bool, now func() time.Time, build func(*State) (*Entry, error)) (*Entry, error) {
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
	return r.newLog(state, now).Append(ctx, func(s *State) (*Entry, error) {
		if s.isPromoted(*mark) { // meanwhile
			return nil, ErrNoReplica
		}
		e, err := build(s)
		if err == nil {
			e.Time, e.Promotion = now().UnixMilli(), &Promotion{*mark, archive}
		}
		return e, err
	})
}

// archives says whether an entry makes an archive, from which protected points may go, too.
func (e *Entry) archives() bool { return e.Promotion != nil && e.Promotion.Archive }

func (e *Entry) appendPromotion() []byte {
	if e.Promotion == nil {
		return nil
	}
	b := append([]byte(nil), e.Promotion.Mark[:]...)
	if e.Promotion.Archive {
		return append(b, 1)
	}
	return append(b, 0)
}

func (e *Entry) parsePromotion(r *wire.Reader) {
	var p Promotion
	copy(p.Mark[:], r.Bytes(len(p.Mark)))
	flags := r.Byte()
	if p.Archive = flags == 1; flags > 1 {
		r.Failf("flags %#x of a promotion", flags)
	}
	e.Promotion = &p
}

// applyPromotion also forgets what was verified: that was read elsewhere. An archive
// stays one.
func (s *State) applyPromotion(e *Entry) {
	if e.Promotion != nil {
		s.Promotion, s.Verified = &Promotion{e.Promotion.Mark, e.Promotion.Archive || s.IsArchive()}, [levels]Verified{}
	}
}
