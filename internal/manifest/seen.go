package manifest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/offsite-kafka/offsite/internal/store"
)

// seen is the newest entry that this process has read or appended. Entries are never
// deleted: a log that ends before it has lost some, though nothing that is left of it
// tells.
type seen struct {
	mu   sync.Mutex
	head Head
}

// note takes in an entry that is part of the log.
func (s *seen) note(h Head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Sequence > s.head.Sequence {
		s.head = h
	}
}

func (s *seen) newest() Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// check returns an error for an entry in the place of the newest one.
func (s *seen) check(h Head) error {
	if known := s.newest(); h.Sequence == known.Sequence && h.Digest != known.Digest {
		return fmt.Errorf("another entry is in the place of the one that this process has read or written, %s", known.Digest)
	}
	return nil
}

// CheckDescriptor returns a *Damage unless the descriptor is there as it was opened.
func (r *Repository) CheckDescriptor(ctx context.Context) error {
	_, err := r.descriptor(ctx)
	if errors.Is(err, store.ErrNotExist) {
		return damaged(RepositoryKey, "missing: nobody can open the repository without it")
	}
	return err
}

// knownEnd is endOfLog, and finds entries missing at the end that this process knows.
func (r *Repository) knownEnd(ctx context.Context, from uint64) (uint64, error) {
	known := r.seen.newest() // before the listing, which may be older than what comes meanwhile
	last, err := r.endOfLog(ctx, from)
	if err == nil && last < known.Sequence {
		return 0, damaged(LogKey(last+1), "missing: this process has read or written the log up to entry %d", known.Sequence)
	}
	return last, err
}
