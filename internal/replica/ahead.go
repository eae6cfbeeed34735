package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// ErrAhead says that a copy goes on where the log of the repository ends. What the
// repository appends before it has that back parts the two for good.
var ErrAhead = errors.New("the end of the repository's log is lost, and the copy still has it: put it back with \"backupd repair --from COPY\" before anything else is appended")

// ErrPromoted says that a copy is none any more. It is a manifest.ErrDiverged.
var ErrPromoted = fmt.Errorf("%w: it was promoted", manifest.ErrDiverged)

// errArchive says so of one that nothing is captured into.
var errArchive = fmt.Errorf("%w: it is an archive", manifest.ErrDiverged)

// Ahead returns ErrAhead if the copy in a store is ahead of the repository, and ErrPromoted
// if it goes on there as a repository of its own. It looks at the entry behind the
// repository's last one only, and writes nothing; whatever else is wrong with the copy, a
// Copier says.
func Ahead(ctx context.Context, from *manifest.Repository, to store.Store) error {
	last, err := from.Last(ctx)
	if err != nil {
		return err
	}
	if _, err := to.Stat(ctx, manifest.LogKey(last+1)); errors.Is(err, store.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for %s: %w", manifest.LogKey(last+1), err)
	}
	if _, err := from.Store().Stat(ctx, manifest.LogKey(last+1)); err == nil { // appended meanwhile, and copied
		return nil
	}
	head := from.Tail().State().HeadNow()
	if last > 0 {
		if head, _, err = from.Peek(ctx, last); err != nil {
			return err
		}
	}
	if err = beyond(ctx, from, head, to); errors.Is(err, manifest.ErrDiverged) && !errors.Is(err, ErrPromoted) {
		return nil
	}
	return err
}

// beyond says what the copy has behind a head of the repository, where that has nothing,
// or another entry: ErrAhead if it is the next entry of this log, else manifest.ErrDiverged.
func beyond(ctx context.Context, from *manifest.Repository, head manifest.Head, to store.Store) error {
	next := head.Sequence + 1
	list, err := from.At(to).Entries(ctx, head, next)
	if errors.Is(err, manifest.ErrDamaged) {
		return fmt.Errorf("%w: it has an entry %d, the repository ends with %d", manifest.ErrDiverged, next, head.Sequence)
	}
	if err != nil {
		return err
	}
	mark, err := manifest.Mark(ctx, to)
	if err != nil {
		return err
	}
	if p := list[0].Promotion; mark != nil && p != nil && p.Mark == *mark {
		if p.Archive {
			return fmt.Errorf("%w by its entry %d: give another place", errArchive, next)
		}
		return fmt.Errorf("%w by its entry %d, and is a repository of its own since: capture into that one, or keep the copy of this one in another place", ErrPromoted, next)
	}
	return fmt.Errorf("%w: it has an entry %d, the repository ends with %d", ErrAhead, next, head.Sequence)
}

// parted says of a copy with another entry than the repository if it was promoted. What
// was found about the entries that both have, of which the first differs, is err.
func (c *Copier) parted(ctx context.Context, both []manifest.Stored, err error) error {
	if !errors.Is(err, manifest.ErrDiverged) {
		return err
	}
	for i := range both {
		if errors.Is(both[i].In(ctx, c.To), manifest.ErrDiverged) {
			before := manifest.Head{Sequence: both[i].Sequence - 1, Digest: both[i].Previous}
			if why := beyond(ctx, c.From, before, c.To); errors.Is(why, ErrPromoted) || errors.Is(why, errArchive) {
				return why
			}
			return err
		}
	}
	return err
}
