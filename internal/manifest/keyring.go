package manifest

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/store"
)

// Errors about the encryption of a repository.
var (
	// ErrLocked: an encrypted repository, and no identity that opens it.
	ErrLocked = errors.New("the repository is encrypted")
	// ErrRetired, which comes with ErrLocked: the identity opens what was written earlier.
	ErrRetired = errors.New("was retired")
	// ErrNotEncrypted: encryption was asked for, or something to decrypt it with is at
	// hand, and the repository is not encrypted.
	ErrNotEncrypted = errors.New("the repository is not encrypted")
)

// keyring opens what is sealed in an encrypted repository, as far as its identity
// can. It is safe for concurrent use.
type keyring struct {
	mu       sync.Mutex
	identity *crypt.Identity
	logKeys  map[Digest]*crypt.LogKey   // by check value
	data     map[string]*crypt.Identity // by recipient
	proven   statement                  // by the entries of the log
	before   []statement                // that, what earlier entries stated
	found    statement                  // without them; good for nothing but to be opened
	from     uint64                     // an entry of the log, from which on its last one is looked for
}

// mostBefore bounds how many earlier statements are kept: the first ones, which are
// there before anybody who means harm.
const mostBefore = 64

// statement are the generations of keys that an entry has stated.
type statement struct {
	list []Generation
	at   uint64 // the entry
}

// Unlock says with which identity a repository is read that is encrypted. It is
// called before anything else is done with it.
func (r *Repository) Unlock(id *crypt.Identity) { r.keys.identity = id }

// learn notes keys that the log has stated.
func (k *keyring) learn(list []Generation, entry uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(list) == 0 || entry < k.proven.at {
		return
	}
	if entry > k.proven.at && k.proven.at > 0 && len(k.before) < mostBefore {
		k.before = append(k.before, k.proven)
	}
	k.proven = statement{list, entry}
}

// lookFrom notes an entry that is in the log.
func (k *keyring) lookFrom(entry uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.from = max(k.from, entry)
}

func (k *keyring) newest() statement {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.proven
}

// wraps returns what may be one and the same generation, wrapped for different
// recipients, or, as what any writer may state, for nobody.
func (k *keyring) wraps(generation int, list []Generation) []*Generation {
	var all []*Generation
	lists := [][]Generation{list, k.proven.list, k.found.list}
	for _, b := range k.before {
		lists = append(lists, b.list)
	}
	for _, l := range lists {
		if generation < len(l) && l[generation].Check == list[generation].Check && l[generation].Recipient == list[generation].Recipient {
			all = append(all, &l[generation])
		}
	}
	return all
}

// fits says whether the keys that were found are those of the list, for others maybe.
func (k *keyring) fits(generation int, list []Generation) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.found.list
	return k.found.at == 0 || generation >= len(list) || generation < len(f) && f[generation].Check == list[generation].Check
}

// logKey returns the log key of a generation of the list.
func (k *keyring) logKey(repository ID, generation int, list []Generation) (*crypt.LogKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if generation >= len(list) {
		return nil, fmt.Errorf("%w: nothing is known of generation %d of its keys", ErrLocked, generation)
	}
	if key := k.logKeys[list[generation].Check]; key != nil {
		return key, nil
	}
	if k.identity == nil {
		return nil, fmt.Errorf("%w, and no identity is given", ErrLocked)
	}
	var forged error
	for _, g := range k.wraps(generation, list) {
		key, err := k.identity.UnwrapLogKey(g.LogKey, repository)
		if errors.Is(err, crypt.ErrNotForUs) {
			continue
		}
		if err == nil && !crypt.Equal(key.Check(generation), g.Check) {
			err = crypt.ErrForged
		}
		if err != nil {
			forged = fmt.Errorf("log key of generation %d: %w", generation, err)
			continue
		}
		if k.logKeys == nil {
			k.logKeys = make(map[Digest]*crypt.LogKey)
		}
		k.logKeys[g.Check] = key
		return key, nil
	}
	if forged != nil {
		return nil, forged
	}
	return nil, k.notForUs(generation, list, false)
}

// notForUs explains why an identity does not open a generation.
func (k *keyring) notForUs(generation int, list []Generation, data bool) error {
	var own []string
	for _, r := range k.identity.Recipients() {
		own = append(own, r.String())
	}
	who := strings.Join(own, ", ")
	is := func(h KeyHolder) bool { return k.identity.Is(h.Recipient) }
	if data && slices.ContainsFunc(list[generation].Writers, is) {
		return fmt.Errorf("%w: the identity of %s is a writer's, which reads the log but no record: give a reader's", ErrLocked, who)
	}
	for n := range list[:generation] {
		if slices.ContainsFunc(list[n].Readers, is) || slices.ContainsFunc(list[n].Writers, is) {
			return fmt.Errorf("%w: the identity of %s %w, and does not open generation %d of its keys", ErrLocked, who, ErrRetired, generation)
		}
	}
	return fmt.Errorf("%w: the identity of %s is none of those that open generation %d of its keys", ErrLocked, who, generation)
}

// dataIdentity returns the identity that opens data keys of a generation.
func (k *keyring) dataIdentity(generation int) (*crypt.Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.identity == nil || generation >= len(k.proven.list) {
		return nil, fmt.Errorf("%w: nothing is known of generation %d of its keys", ErrLocked, generation)
	}
	recipient := k.proven.list[generation].Recipient
	if id := k.data[recipient]; id != nil {
		return id, nil
	}
	var forged error
	for _, g := range k.wraps(generation, k.proven.list) {
		secret, err := k.identity.Unwrap(g.DataIdentity)
		if errors.Is(err, crypt.ErrNotForUs) {
			continue
		}
		var id *crypt.Identity
		if err == nil {
			id, err = crypt.ParseIdentity(secret)
		}
		if err == nil && !id.Is(recipient) {
			err = crypt.ErrForged
		}
		if err != nil {
			forged = fmt.Errorf("data identity of generation %d: %w", generation, err)
			continue
		}
		if k.data == nil {
			k.data = make(map[string]*crypt.Identity)
		}
		k.data[recipient] = id
		return id, nil
	}
	if forged != nil {
		return nil, forged
	}
	return nil, k.notForUs(generation, k.proven.list, true)
}

// logKey returns the log key of a generation of the list. Who became a recipient
// later finds what was wrapped for it through the last entry of the log.
func (r *Repository) logKey(ctx context.Context, generation int, list []Generation) (*crypt.LogKey, error) {
	key, err := r.keys.logKey(r.ID, generation, list)
	if !errors.Is(err, ErrLocked) || r.keys.identity == nil {
		return key, err
	}
	damage := r.findKeys(ctx)
	if damage == nil && !r.keys.fits(generation, list) {
		damage = damaged(LogKey(r.keys.found.at), "its keys are not those of the log before it")
	}
	if key, err = r.keys.logKey(r.ID, generation, list); errors.Is(err, ErrLocked) && damage != nil {
		return nil, fmt.Errorf("%w (%w)", err, damage)
	}
	return key, err
}

// findKeys notes the keys that are stated last, without the entries before them. With
// an error, they are older ones, or none.
func (r *Repository) findKeys(ctx context.Context) error {
	newest, err := r.newestKeys(ctx)
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	r.keys.found = newest
	return err
}

// newestKeys reads the keys that are stated last. If entries are damaged it returns
// those before them, with an error that names the last one that is.
func (r *Repository) newestKeys(ctx context.Context) (none statement, err error) {
	r.keys.mu.Lock()
	from := r.keys.from
	r.keys.mu.Unlock()
	last, err := r.listLog(ctx, from)
	var gap *logGap
	if errors.As(err, &gap) { // what comes before it can be read
		err = r.store.List(ctx, "log/", func(info store.Info) error {
			if seq, ok := parseLogKey(info.Key); ok {
				last = max(last, seq)
			}
			return nil
		})
	}
	if err != nil || last == 0 {
		return none, err
	}
	var first error
	for tries := 0; last > 0 && tries < keyTries; tries++ {
		at, err := r.keysBehind(ctx, last)
		var e *Entry
		if err == nil {
			e, err = r.keysAt(ctx, at)
		}
		if err == nil {
			return statement{e.Keys.Generations, at}, first
		}
		if !errors.Is(err, ErrDamaged) {
			return none, err
		}
		first = cmp.Or(first, err)
		last = max(at, 1) - 1 // what is damaged must not close what comes before it
	}
	return none, first
}

// keyTries bounds how many entries are damaged from the log's end on until nobody
// looks further for keys.
const keyTries = 16

// keysBehind returns which entry has the keys that an entry is sealed with, or the
// entry itself if it is not sealed, or with an error.
func (r *Repository) keysBehind(ctx context.Context, seq uint64) (uint64, error) {
	env, err := r.envelope(ctx, seq)
	switch {
	case err != nil:
		return seq, err
	case !env.sealed():
		return seq, nil
	case len(env.stored) < crypt.EntryOverhead:
		return seq, damaged(LogKey(seq), "%w: cut short", crypt.ErrForged)
	}
	return min(seq, binary.BigEndian.Uint64(env.stored)), nil
}

// keysAt returns the entry, which has keys, alone.
func (r *Repository) keysAt(ctx context.Context, seq uint64) (*Entry, error) {
	env, err := r.envelope(ctx, seq)
	if err != nil {
		return nil, err
	}
	body, err := env.unpack(nil)
	if err == nil {
		err = env.entry.parseBody(body)
	}
	if err == nil && env.entry.Keys == nil {
		err = errors.New("it has no keys, though a later entry says so")
	}
	if err != nil {
		return nil, &Damage{LogKey(seq), err}
	}
	return &env.entry, nil
}

func (r *Repository) envelope(ctx context.Context, seq uint64) (*envelope, error) {
	b, err := r.readEntry(ctx, seq)
	if err != nil {
		return nil, err
	}
	env, err := openEnvelope(b)
	if err == nil && env.entry.Sequence != seq {
		err = fmt.Errorf("it is entry %d", env.entry.Sequence)
	}
	if err != nil && !errors.Is(err, ErrVersion) {
		err = &Damage{LogKey(seq), err}
	}
	return env, err
}

// decode decodes the entry after state.
func (r *Repository) decode(ctx context.Context, state *State, b []byte) (*Entry, error) {
	if r.trust.public != nil || r.trust.head != nil { // before anything of it is decompressed
		env, err := openEnvelope(b)
		if err == nil {
			err = r.trust.check(r.ID, env, b)
		}
		if err != nil {
			return nil, err
		}
	}
	if !r.Encrypted {
		e, _, err := decodeEntry(b, nil)
		if err == nil && e.Keys != nil {
			err = errors.New("it has keys, in a repository that is not encrypted")
		}
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	e, env, err := decodeEntry(b, func(env *envelope) ([]byte, error) { return r.unseal(ctx, state, env) })
	if err != nil {
		return nil, err
	}
	if err := r.checkSealed(ctx, state, e, env); err != nil {
		return nil, err
	}
	return e, nil
}

// decodeAlone decodes an entry without those before it.
func (r *Repository) decodeAlone(ctx context.Context, b []byte) (*Entry, error) {
	if !r.Encrypted {
		e, _, err := decodeEntry(b, nil)
		return e, err
	}
	e, env, err := decodeEntry(b, func(env *envelope) ([]byte, error) {
		keys := r.keys.newest().list
		if env.generation >= len(keys) {
			newest, err := r.newestKeys(ctx)
			if err != nil && len(newest.list) == 0 {
				return nil, err
			}
			keys = newest.list
		}
		key, err := r.logKey(ctx, env.generation, keys)
		if err != nil {
			return nil, err
		}
		return key.OpenEntry(env.header, env.entry.Sequence, env.stored)
	})
	if err != nil || env.sealed() {
		return e, err
	}
	body, err := env.unpack(nil)
	if err != nil {
		return nil, err
	}
	return e, onlyKeys(body)
}

// unseal opens the body of the entry after state.
func (r *Repository) unseal(ctx context.Context, state *State, env *envelope) ([]byte, error) {
	if err := state.checkPlace(&env.entry); err != nil { // no key opens what belongs to another log
		return nil, err
	}
	if newest := len(state.Generations) - 1; env.generation != newest {
		return nil, fmt.Errorf("sealed with generation %d of the keys, the newest one is %d", env.generation, newest)
	}
	key, err := r.logKey(ctx, env.generation, state.Generations)
	if err != nil {
		return nil, err
	}
	body, err := key.OpenEntry(env.header, env.entry.Sequence, env.stored)
	if err == nil && binary.BigEndian.Uint64(env.stored) != state.KeysEntry {
		err = fmt.Errorf("the newest keys are in entry %d", state.KeysEntry)
	}
	return body, err
}
