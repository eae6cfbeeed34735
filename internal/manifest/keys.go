package manifest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offsite-kafka/offsite/internal/crypt"
)

// ErrKeyHolder says that the keys cannot be given to, or taken from, a recipient as it was asked for.
var ErrKeyHolder = errors.New("the keys stay as they are")

// InitializeKeys appends the first keys of an encrypted repository, for at least one
// reader, unless somebody has done so already.
func (l *Log) InitializeKeys(ctx context.Context, agent Agent, readers, writers []KeyHolder) error {
	_, err := l.Append(ctx, func(s *State) (*Entry, error) {
		if len(s.Generations) > 0 {
			return nil, nil
		}
		return l.newGeneration(ctx, s, agent, sorted(readers), sorted(writers))
	})
	return err
}

// AddKey wraps the keys for one more recipient, or one that was retired, as far as the
// identity of the repository opens them, and returns how many of the generations are
// wrapped for it.
func (l *Log) AddKey(ctx context.Context, agent Agent, holder KeyHolder, writer bool) (opened, all int, err error) {
	_, err = l.Append(ctx, func(s *State) (*Entry, error) {
		opened, all = 0, len(s.Generations)
		switch {
		case all == 0:
			return nil, fmt.Errorf("%w: there are no keys yet", ErrKeyHolder)
		case holds(*s.Generations[all-1].holders(writer), holder.Recipient):
			return nil, fmt.Errorf("%w: %s is a recipient already", ErrKeyHolder, holder.Recipient)
		}
		list := slices.Clone(s.Generations)
		for n := range list {
			switch err := l.add(ctx, s, n, &list[n], holder, writer); {
			case err == nil:
				opened++
			case n == all-1 || !errors.Is(err, ErrLocked):
				return nil, err
			}
		}
		return l.stateKeys(ctx, s, agent, list)
	})
	return opened, all, err
}

// holders are the recipients of a kind.
func (g *Generation) holders(writer bool) *[]KeyHolder {
	if writer {
		return &g.Writers
	}
	return &g.Readers
}

func holds(list []KeyHolder, recipient string) bool {
	return slices.ContainsFunc(list, func(h KeyHolder) bool { return h.Recipient == recipient })
}

// add wraps generation n for one more recipient, unless it is so already: one that was
// retired keeps the generations before. With an error it is left as it was.
func (l *Log) add(ctx context.Context, s *State, n int, to *Generation, holder KeyHolder, writer bool) error {
	g := *to
	held := g.holders(writer)
	if holds(*held, holder.Recipient) {
		return nil
	}
	logKey, err := l.repo.logKey(ctx, n, s.Generations)
	if err != nil {
		return err
	}
	if *held = sorted(append(slices.Clone(*held), holder)); len(*held) > maxHolders {
		return fmt.Errorf("%w: there are %d recipients of a kind at most", ErrKeyHolder, maxHolders)
	}
	if !writer {
		id, err := l.repo.keys.dataIdentity(n)
		if err != nil {
			return err
		}
		if g.DataIdentity, err = wrapFor([]byte(id.Secret()), g.Readers); err != nil {
			return err
		}
	}
	all, err := recipients(slices.Concat(g.Readers, g.Writers))
	if err != nil {
		return err
	}
	if g.LogKey, err = logKey.Wrap(all); err != nil {
		return err
	}
	*to = g
	return nil
}

// RetireKey makes a new generation of keys without a recipient, whatever it was, and
// returns its number. What was written before stays open to whoever has the identity.
// Without force, the only writer and the identity of the repository stay.
func (l *Log) RetireKey(ctx context.Context, agent Agent, recipient string, force bool) (generation int, err error) {
	_, err = l.Append(ctx, func(s *State) (*Entry, error) {
		generation = len(s.Generations)
		if generation == 0 {
			return nil, fmt.Errorf("%w: there are no keys yet", ErrKeyHolder)
		}
		last := &s.Generations[generation-1]
		other := func(h KeyHolder) bool { return h.Recipient != recipient }
		readers, writers := filter(last.Readers, other), filter(last.Writers, other)
		switch {
		case len(readers)+len(writers) == len(last.Readers)+len(last.Writers):
			return nil, fmt.Errorf("%w: %s is no recipient: \"backupd key list\" shows who is", ErrKeyHolder, recipient)
		case len(readers) == 0:
			return nil, fmt.Errorf("%w: %s is the only reader: nobody could read what is written from then on; add another one first", ErrKeyHolder, recipient)
		case force:
		case len(writers) == 0 && len(last.Writers) > 0:
			return nil, fmt.Errorf("%w: %s is the only writer: a backupd that has its identity could capture no more; add another one first (\"backupd key add --writer\"), or give --force", ErrKeyHolder, recipient)
		case l.repo.keys.identity != nil && l.repo.keys.identity.Is(recipient):
			return nil, fmt.Errorf("%w: %s is the recipient of the identity that retires it, which would open nothing of what is written from then on: use another identity, or give --force", ErrKeyHolder, recipient)
		}
		return l.newGeneration(ctx, s, agent, readers, writers)
	})
	return generation, err
}

func filter(list []KeyHolder, keep func(KeyHolder) bool) (kept []KeyHolder) {
	for _, h := range list {
		if keep(h) {
			kept = append(kept, h)
		}
	}
	return kept
}

// newGeneration returns an entry with one more generation of keys.
func (l *Log) newGeneration(ctx context.Context, s *State, agent Agent, readers, writers []KeyHolder) (*Entry, error) {
	n := len(s.Generations)
	if n == maxGenerations {
		return nil, fmt.Errorf("%w: there are %d generations, which is the most", ErrKeyHolder, n)
	}
	id, err := crypt.GenerateIdentity()
	if err != nil {
		return nil, err
	}
	logKey := crypt.NewLogKey(l.repo.ID)
	g := Generation{Recipient: id.Recipients()[0].String(), Check: logKey.Check(n), Readers: readers, Writers: writers}
	if g.DataIdentity, err = wrapFor([]byte(id.Secret()), readers); err != nil {
		return nil, err
	}
	to, err := recipients(slices.Concat(readers, writers))
	if err != nil {
		return nil, err
	}
	if g.LogKey, err = logKey.Wrap(to); err != nil {
		return nil, err
	}
	return l.stateKeys(ctx, s, agent, append(slices.Clone(s.Generations), g))
}

// stateKeys returns the entry that states the keys.
func (l *Log) stateKeys(ctx context.Context, s *State, agent Agent, list []Generation) (*Entry, error) {
	before := s.Generations
	if len(before) == 0 {
		before = list[:1]
	}
	key, err := l.repo.logKey(ctx, len(before)-1, before)
	if err != nil {
		return nil, err
	}
	keys := &Keys{Before: s.KeysEntry, Generations: list}
	keys.stateWho(key, len(before)-1, s.Sequence+1, s.Head, &agent)
	return &Entry{Time: l.now().UnixMilli(), Agent: &agent, Keys: keys}, nil
}

// sorted returns the list in the order in which an entry has it, each once.
func sorted(list []KeyHolder) []KeyHolder {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b KeyHolder) int { return strings.Compare(a.Recipient, b.Recipient) })
	return slices.CompactFunc(list, func(a, b KeyHolder) bool { return a.Recipient == b.Recipient })
}

// recipients are the keys of a list, each once.
func recipients(list []KeyHolder) (keys []crypt.Recipient, err error) {
	for _, h := range sorted(list) {
		key, err := crypt.ParseRecipient(h.Recipient)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func wrapFor(secret []byte, list []KeyHolder) ([]byte, error) {
	to, err := recipients(list)
	if err != nil {
		return nil, err
	}
	return crypt.Wrap(secret, to)
}
