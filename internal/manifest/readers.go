package manifest

import (
	"fmt"
	"slices"
)

// SealOnlyFor says who may be able to read what is sealed from now on: once the log has
// keys for another reader, nothing is, with the error ErrKeyHolder. Any writer may state
// such keys. It is called before anything else is done with the repository.
func (r *Repository) SealOnlyFor(recipients []string) { r.readers = recipients }

// CheckReaders returns ErrKeyHolder if the newest of the keys are for a reader for whom
// nothing is sealed.
func (r *Repository) CheckReaders(keys []Generation) error {
	if r.readers == nil || len(keys) == 0 {
		return nil
	}
	for _, h := range keys[len(keys)-1].Readers {
		if !slices.Contains(r.readers, h.Recipient) {
			return fmt.Errorf("%w: %s could read what is written, and encryption.recipients does not name it: add it there, or retire it with \"backupd key retire\"", ErrKeyHolder, h.Recipient)
		}
	}
	return nil
}
