package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/offsite-kafka/offsite/internal/store"
)

// readAhead is how many entries are fetched at once while the log is read.
// Most entries are a few hundred bytes, so that latency is all that counts.
const readAhead = 16

// Read reads the log from its first entry to the entry upTo (0: the last) and
// calls fn after each with the entry and the state that includes it; both are
// valid during the call only. It returns the final state. Whatever is missing,
// damaged or out of order is a *Damage, as is a log that ends before an entry that
// this process has read or written; nothing behind upTo matters. fn may be nil.
func (r *Repository) Read(ctx context.Context, upTo uint64, fn func(*State, *Entry) error) (*State, error) {
	last, err := r.lastSequence(ctx, 0)
	var d *Damage
	if errors.As(err, &d) {
		if sound, ok := d.Sound(); ok && 0 < upTo && upTo <= sound {
			last, err = upTo, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if upTo > last {
		return nil, fmt.Errorf("there is no log entry %d: the last is %d", upTo, last)
	}
	if upTo > 0 {
		last = upTo
	}
	state := newState(r.digest)
	if err := r.readOn(ctx, state, last, fn); err != nil {
		return state, err
	}
	return state, r.proveHead(ctx, state)
}

// mostUnlisted is how many entries a listing of the log may leave out at its end: some file
// systems keep one for a minute.
const mostUnlisted = 100

// endOfLog lists the log from the shard of an entry on, 0 for all of it. A listing that is
// stale or cut short, without an error, looks like that of a shorter log: so what comes behind
// is asked for by its name. If that is much, it may have come while a long log was listed: then
// the end is listed again.
func (r *Repository) endOfLog(ctx context.Context, from uint64) (uint64, error) {
	for least := uint64(0); ; {
		listed, err := r.gapless(ctx, from)
		if err != nil {
			return 0, err
		}
		if listed < least {
			return 0, damaged(LogKey(listed+1), "the store leaves it out when it lists the log, and what follows, although they are there")
		}
		last, more, err := r.unlisted(ctx, listed)
		if !more {
			return last, err
		}
		from, least = last, last
	}
}

// unlisted returns the last of the entries that follow on one, of mostUnlisted at most, and
// whether there are more.
func (r *Repository) unlisted(ctx context.Context, last uint64) (uint64, bool, error) {
	for n := 0; ; n++ {
		_, err := r.store.Stat(ctx, LogKey(last+1))
		switch {
		case errors.Is(err, store.ErrNotExist):
			return last, false, nil
		case err != nil:
			return 0, false, fmt.Errorf("look for %s: %w", LogKey(last+1), err)
		case n == mostUnlisted:
			return last, true, nil
		}
		last++
	}
}

// gapless lists the log as endOfLog does. The listing must be gap-free: an entry that
// it does not name is missing, never "not there yet". But a listing may leave out what
// is put while it is made, even if it names what was put later; the next one has that.
func (r *Repository) gapless(ctx context.Context, from uint64) (uint64, error) {
	last, err := r.listLog(ctx, from)
	for {
		var gap, again *logGap
		if !errors.As(err, &gap) {
			break
		}
		last, err = r.listLog(ctx, from)
		if errors.As(err, &again) && again.missing == gap.missing {
			return 0, damaged(LogKey(gap.missing), "%w", err)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("list the log: %w", err)
	}
	return last, nil
}

// logGap: a listing of the log goes on behind an entry that it does not name.
type logGap struct{ missing, next uint64 }

func (g *logGap) Error() string {
	return fmt.Sprintf("missing: the log goes on with entry %d", g.next)
}

// logShard is how many entries have keys in one folder.
const logShard = 10_000

// listLog lists the log once, and returns the last sequence number, or the one
// before the shard of from if there is nothing from there on.
func (r *Repository) listLog(ctx context.Context, from uint64) (last uint64, err error) {
	shard := from / logShard
	if shard == 0 {
		return last, r.listShards(ctx, "log/", &last)
	}
	// The shard behind the one with the last entry is looked at, too: entries in it
	// would mean that some are missing.
	for last = shard*logShard - 1; ; shard++ {
		before := last
		if err := r.listShards(ctx, path.Dir(LogKey(shard*logShard))+"/", &last); err != nil || last == before {
			return last, err
		}
	}
}

func (r *Repository) listShards(ctx context.Context, prefix string, last *uint64) error {
	return r.store.List(ctx, prefix, func(info store.Info) error {
		seq, ok := parseLogKey(info.Key)
		if !ok {
			return nil
		}
		if seq != *last+1 {
			return &logGap{*last + 1, seq}
		}
		*last = seq
		return nil
	})
}

// readOn applies the entries after state up to last.
func (r *Repository) readOn(ctx context.Context, state *State, last uint64, fn func(*State, *Entry) error) error {
	for state.Sequence < last {
		batch, err := r.readEntries(ctx, state.Sequence, last)
		if err != nil {
			return err
		}
		for _, b := range batch {
			e, err := r.applyBytes(ctx, state, b)
			if err != nil {
				return err
			}
			if fn != nil {
				if err := fn(state, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *Repository) readEntry(ctx context.Context, seq uint64) ([]byte, error) {
	b, err := readObject(ctx, r.store, LogKey(seq), maxEntry)
	if errors.Is(err, store.ErrNotExist) {
		return nil, damaged(LogKey(seq), "missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", LogKey(seq), err)
	}
	return b, nil
}

// applyBytes decodes the entry after state and applies it.
func (r *Repository) applyBytes(ctx context.Context, state *State, b []byte) (*Entry, error) {
	key := LogKey(state.Sequence + 1)
	e, err := r.decode(ctx, state, b)
	if errors.Is(err, ErrVersion) || errors.Is(err, ErrLocked) || errors.Is(err, ErrUntrusted) {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if err == nil {
		err = state.check(e)
	}
	digest := Digest(sha256.Sum256(b))
	if err == nil {
		err = r.seen.check(Head{e.Sequence, digest})
	}
	if err != nil {
		return nil, &Damage{key, err}
	}
	r.apply(state, e, digest)
	state.signed = isSigned(b)
	return e, nil
}

// apply adds an entry to a state that is part of the log.
func (r *Repository) apply(state *State, e *Entry, digest Digest) {
	state.apply(e, digest)
	r.seen.note(state.HeadNow())
	if e.Keys != nil {
		r.keys.learn(e.Keys.Generations, e.Sequence)
	}
}

// Log appends to the repository's log. One goroutine uses it at a time.
type Log struct {
	repo   *Repository
	writer ID
	state  *State
	packer packer
	now    func() time.Time

	// Agent and Note, if set, are stated by the first entry that is appended,
	// unless it states others.
	Agent *Agent
	Note  *Note

	// Foreign, if set, is called for each entry of another process that Append
	// meets, with the state that includes it. Append returns its error.
	Foreign func(*State, *Entry) error
}

// OpenLog reads the log and returns it ready to be appended to by a writer
// that is new. The error is ErrReplica if the repository is one, and ErrNoSigningKey if
// the log is signed and this is not to sign, or that of BeforeAppending.
func (r *Repository) OpenLog(ctx context.Context, now func() time.Time) (*Log, error) {
	state, err := r.State(ctx, 0)
	if err == nil {
		state = r.withStretches(ctx, state)
		err = r.mayOpen(ctx, state)
	}
	return r.newLog(state, now), err
}

// Follow is OpenLog for a writer that wants to know of each entry: of those that
// are there fn is told now, and of those to come as Log.Foreign.
func (r *Repository) Follow(ctx context.Context, now func() time.Time, fn func(*State, *Entry) error) (*Log, error) {
	state, err := r.Read(ctx, 0, fn)
	if err == nil {
		err = r.mayOpen(ctx, state)
	}
	l := r.newLog(state, now)
	l.Foreign = fn
	return l, err
}

// mayOpen returns why the log, which ends with the state, may not be opened to be appended to.
func (r *Repository) mayOpen(ctx context.Context, state *State) error {
	err := r.refuseWriter(ctx, state)
	if err == nil && r.BeforeAppending != nil {
		err = r.BeforeAppending(ctx)
	}
	return err
}

func (r *Repository) newLog(state *State, now func() time.Time) *Log {
	return &Log{repo: r, writer: NewID(), state: state, now: now}
}

// CatchUp applies what others have appended since, and calls Foreign for each entry.
func (l *Log) CatchUp(ctx context.Context) error {
	for {
		b, err := readObject(ctx, l.repo.store, LogKey(l.state.Sequence+1), maxEntry)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", LogKey(l.state.Sequence+1), err)
		}
		if err := l.meet(ctx, b); err != nil {
			return err
		}
	}
}

// meet applies an entry of another process.
func (l *Log) meet(ctx context.Context, b []byte) error {
	e, err := l.repo.applyBytes(ctx, l.state, b)
	if err != nil {
		return err
	}
	if l.repo.isUnknown(e.Writer) {
		return fmt.Errorf("%w: %s", ErrOvertaken, LogKey(e.Sequence))
	}
	if l.Foreign == nil {
		return nil
	}
	return l.Foreign(l.state, e)
}

// State returns the state after the last entry known. Append changes it.
func (l *Log) State() *State { return l.state }

// Writer returns the id under which this log's user stores its segments.
func (l *Log) Writer() ID { return l.writer }

// resolveAttempts bounds how often an unknown outcome is asked about and the
// entry sent again, and resolvePause is the first pause between, doubled each
// time to at most 32 times: about 40 s in all.
const (
	resolveAttempts = 8
	resolvePause    = 250 * time.Millisecond
)

// Append commits the entry that build returns: build is called with the
// current state and fills in the sections; it returns an error (such as
// ErrFenced) if what it wanted to say no longer follows from the state. When
// another writer takes the sequence number, its entry is applied and build is
// called again. A nil entry means that there is nothing to say, and is
// returned. After a nil error the entry is durable and applied. ErrFenced,
// ErrOvertaken and errors of build leave nothing behind; after any other error
// it is unknown whether the entry is there: the log must be opened anew.
func (l *Log) Append(ctx context.Context, build func(*State) (*Entry, error)) (*Entry, error) {
	if l.repo.until > 0 {
		return nil, errUntil
	}
	for {
		if by, fenced := l.state.Fenced[l.writer]; fenced {
			return nil, fmt.Errorf("%w: log entry %d", ErrSwept, by)
		}
		e, err := build(l.state)
		if err != nil || e == nil {
			return nil, err
		}
		if err := l.repo.mayAppend(l.state); err != nil {
			return nil, err
		}
		e.Sequence, e.Previous = l.state.Sequence+1, l.state.Head
		e.Nonce, e.Writer = NewID(), l.writer
		if e.Agent == nil {
			e.Agent = l.Agent
		}
		if e.Note == nil && e.Keys == nil { // what is not sealed may hold no names
			e.Note = l.Note
		}
		b, err := l.seal(ctx, e)
		if err != nil {
			return nil, err
		}
		winner, err := l.put(ctx, e, b)
		if err != nil {
			l.repo.lostSight(l.writer)
			return nil, err
		}
		if winner == nil {
			l.repo.apply(l.state, e, sha256.Sum256(b))
			l.state.signed = isSigned(b)
			l.Agent, l.Note = nil, nil
			return e, nil
		}
		if err := l.meet(ctx, winner); err != nil {
			return nil, err
		}
	}
}

// seal encodes an entry and proves, before it is put, that readers will accept
// it.
func (l *Log) seal(ctx context.Context, e *Entry) ([]byte, error) {
	with, err := l.repo.entrySeal(l.state, e)
	if err != nil {
		return nil, err
	}
	b, err := e.encode(&l.packer, with, l.repo.signing, l.repo.ID)
	if err != nil {
		return nil, err
	}
	back, err := l.repo.decode(ctx, l.state, b)
	if errors.Is(err, ErrUntrusted) {
		return nil, err
	}
	if err == nil {
		err = l.state.check(back)
	}
	if err == nil && !bytes.Equal(back.appendBody(nil), e.appendBody(nil)) {
		err = errors.New("it does not decode to what was encoded")
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: internal error: refusing to write log entry %d: %w", e.Sequence, err)
	}
	return b, nil
}

// put creates the entry's object. It returns the bytes of the winner if that
// is somebody else.
func (l *Log) put(ctx context.Context, e *Entry, b []byte) (winner []byte, err error) {
	key := LogKey(e.Sequence)
	pause := resolvePause
	for range resolveAttempts {
		_, err = l.repo.store.Put(ctx, key, bytes.NewReader(b), store.PutOptions{IfAbsent: true})
		if err == nil {
			return nil, nil
		}
		if ctx.Err() != nil || isHopeless(err) {
			break
		}
		// Exists, or unknown: what stands under the key tells.
		found, rerr := readObject(ctx, l.repo.store, key, maxEntry)
		switch {
		case rerr == nil && bytes.Equal(found, b):
			return nil, nil
		case rerr == nil && isNonce(found, e.Nonce):
			return nil, damaged(key, "our own entry came back altered")
		case rerr == nil:
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 32*resolvePause)
	}
	return nil, fmt.Errorf("append log entry %d: %w", e.Sequence, err)
}

func isNonce(entry []byte, nonce ID) bool {
	return len(entry) >= 64 && ID(entry[48:64]) == nonce
}
