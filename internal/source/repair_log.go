package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Reasons why an entry of the log stays as it is.
const (
	whyNoCopy   = "nothing but a copy of the log can bring it back: give one with --from"
	whyTooShort = "the copy ends before it"
	whyBehind   = "an entry before it is damaged, too, and has to be mended first"
	whySame     = "the copy has the same entry"
	whyNoLink   = "the entry that the copy has there is not the one that the next entry of the repository follows"
)

// lostEntry is one of the log that a copy has as it was.
type lostEntry struct {
	manifest.Stored
	damaged bool // else missing
}

// verify verifies every digest, after it has brought back what is lost of the log, so
// that what is behind can be read. What that was it adds to the damages.
func (r *Repairer) verify(ctx context.Context, res *Repair) error {
	for {
		end, err := r.lostEnd(ctx)
		if err == nil {
			err = r.bringAllBack(ctx, end, res)
		}
		if err != nil {
			return err
		}
		report, err := Verify(ctx, r.Repository, Scope{Level: manifest.LevelDigest, Keeping: r.Keeping, LogNeeds: r.LogNeeds}, r.Progress)
		res.Report = report
		if err != nil || r.DryRun || len(report.Damages) == 0 || report.Damages[0].Entries == 0 {
			return err
		}
		found, why, err := r.lostEntries(ctx, report.Damages[0].Entries)
		if err != nil || why != "" {
			return err
		}
		if err := r.bringAllBack(ctx, found, res); err != nil {
			return err
		}
	}
}

// lostEnd returns what a copy has behind the end of the log. Without it nothing looks
// damaged: only a copy knows that the log was longer. What is lost before its end is
// brought back first.
func (r *Repairer) lostEnd(ctx context.Context) (found []lostEntry, err error) {
	if r.Replica == nil {
		return nil, nil
	}
	last, err := r.Repository.Last(ctx)
	if err == nil {
		found, _, err = r.lostEntries(ctx, last+1)
	}
	if errors.Is(err, manifest.ErrDamaged) {
		return nil, nil
	}
	return found, err
}

// BringEndBack brings back the end of the log, as far as a copy has it, which must be as far
// as an entry, and says which entries these are, or with DryRun would be. If the copy has no
// such end, there are none. The copy's log must be trusted.
func (r *Repairer) BringEndBack(ctx context.Context, until uint64) ([]Mended, error) {
	list, err := r.lostEnd(ctx)
	if err != nil || len(list) == 0 || list[len(list)-1].Sequence < until {
		return nil, err
	}
	var res Repair
	err = r.bringAllBack(ctx, list, &res)
	return res.Damages, err
}

// bringAllBack brings back entries, in their order, or with DryRun only says so.
func (r *Repairer) bringAllBack(ctx context.Context, list []lostEntry, res *Repair) error {
	for i := range list {
		if !r.DryRun {
			if err := r.bringBack(ctx, &list[i]); err != nil {
				return err
			}
		}
		res.Damages = append(res.Damages, Mended{Key: manifest.LogKey(list[i].Sequence), Entry: list[i].Sequence})
	}
	return nil
}

func (r *Repairer) bringBack(ctx context.Context, e *lostEntry) error {
	if e.damaged {
		return e.ReplaceIn(ctx, r.Repository.Store())
	}
	if err := r.Repository.Extend(ctx, e.Stored); err != nil {
		return fmt.Errorf("bring back %s: %w", manifest.LogKey(e.Sequence), err)
	}
	return nil
}

// lostEntries returns the entries from the first one on that cannot be read, up to one
// that both logs have, or says why nothing can be done. Those of the copy have been read
// from the first one on: they continue what is sound before, and what is sound behind
// continues them. What a copy has since it was promoted is its own.
func (r *Repairer) lostEntries(ctx context.Context, first uint64) (found []lostEntry, why string, err error) {
	if r.Replica == nil {
		return nil, whyNoCopy, nil
	}
	state, err := r.Replica.Read(ctx, 0, nil)
	var d *manifest.Damage
	if errors.As(err, &d) {
		return nil, "nor can the copy's log be read: " + d.Error(), nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the log of the copy: %w", err)
	}
	mark, err := manifest.Mark(ctx, r.Replica.Store())
	if err != nil {
		return nil, "", fmt.Errorf("look at the copy: %w", err)
	}
	head, err := r.soundHead(ctx, first-1)
	if err != nil {
		return nil, "", err
	}
	for head.Sequence < state.Sequence {
		list, err := r.Replica.Entries(ctx, head, head.Sequence+1)
		if errors.As(err, &d) {
			return nil, whyNoLink, nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("read the log of the copy: %w", err)
		}
		e := lostEntry{Stored: list[0]}
		if mark != nil && e.Promotion != nil && e.Promotion.Mark == *mark {
			break
		}
		switch err := e.In(ctx, r.Repository.Store()); {
		case err == nil && len(found) == 0:
			return nil, whySame, nil
		case err == nil:
			return found, "", nil
		case errors.Is(err, manifest.ErrDiverged):
			return nil, whyNoLink, nil
		case errors.Is(err, manifest.ErrDamaged):
			e.damaged = true
		case !errors.Is(err, store.ErrNotExist):
			return nil, "", err
		}
		found = append(found, e)
		head = manifest.Head{Sequence: e.Sequence, Digest: e.Digest}
	}
	return r.linked(ctx, found, head)
}

// linked says whether what the repository has behind the end of the copy, if anything,
// continues that.
func (r *Repairer) linked(ctx context.Context, found []lostEntry, head manifest.Head) ([]lostEntry, string, error) {
	if len(found) == 0 {
		return nil, whyTooShort, nil
	}
	_, err := r.Repository.Store().Stat(ctx, manifest.LogKey(head.Sequence+1))
	if errors.Is(err, store.ErrNotExist) {
		return found, "", nil
	}
	if err == nil {
		_, err = r.Repository.Entries(ctx, head, head.Sequence+1)
	}
	if errors.Is(err, manifest.ErrDamaged) {
		return nil, whyNoLink, nil
	}
	return found, "", err
}

// soundHead returns the head of the log up to an entry before the damage.
func (r *Repairer) soundHead(ctx context.Context, last uint64) (manifest.Head, error) {
	if last == 0 {
		return r.Repository.Tail().State().HeadNow(), nil
	}
	state, err := r.Repository.Read(ctx, last, nil)
	if err != nil {
		return manifest.Head{}, err
	}
	return state.HeadNow(), nil
}
