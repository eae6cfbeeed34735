package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/mem"
)

func identity(t testing.TB) *crypt.Identity {
	t.Helper()
	id, err := crypt.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func holder(id *crypt.Identity) manifest.KeyHolder {
	return manifest.KeyHolder{Recipient: id.Recipients()[0].String(), Comment: "somebody"}
}

// sealed is an encrypted repository with its first two entries: keys, and a topic.
type sealed struct {
	st             store.Store
	reader, writer *crypt.Identity
	log            *manifest.Log
}

func newSealed(t testing.TB) *sealed {
	t.Helper()
	s := &sealed{st: mem.New(), reader: identity(t), writer: identity(t)}
	r, err := manifest.OpenOrCreateEncrypted(t.Context(), s.st, "cluster-1", created)
	if err != nil {
		t.Fatal(err)
	}
	r.Unlock(s.writer)
	s.log = openLog(t, r)
	if err := s.log.InitializeKeys(t.Context(), agentOne, []manifest.KeyHolder{holder(s.reader)}, []manifest.KeyHolder{holder(s.writer)}); err != nil {
		t.Fatal(err)
	}
	appendSealed(t, s.log, "orders")
	return s
}

var agentOne = manifest.Agent{Program: "test", Host: "here"}

// appendSealed appends an entry that introduces a topic.
func appendSealed(t testing.TB, l *manifest.Log, topic string) {
	t.Helper()
	_, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
		n := len(s.Topics)
		return &manifest.Entry{Topics: []manifest.TopicChange{{Number: n, Topic: manifest.Topic{ID: [16]byte{byte(n + 1)}, Name: topic, Partitions: 1, ReplicationFactor: 1}}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// as opens the repository with an identity, which may be nil.
func (s *sealed) as(t testing.TB, id *crypt.Identity) *manifest.Repository {
	t.Helper()
	r := open(t, s.st)
	r.Unlock(id)
	return r
}

func (s *sealed) wantTopics(t testing.TB, id *crypt.Identity, want int) {
	t.Helper()
	state, err := s.as(t, id).Read(t.Context(), 0, nil)
	if err != nil || len(state.Topics) != want {
		t.Fatalf("%v, want %d topics", err, want)
	}
}

func (s *sealed) wantLocked(t testing.TB, id *crypt.Identity, why string) {
	t.Helper()
	_, err := s.as(t, id).Read(t.Context(), 0, nil)
	if !errors.Is(err, manifest.ErrLocked) || errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), why) {
		t.Fatalf("%v, want %q", err, why)
	}
}

func objectAt(t testing.TB, st store.Store, key string) []byte {
	t.Helper()
	body, err := st.Get(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhoOpensTheLog(t *testing.T) {
	s := newSealed(t)
	s.wantTopics(t, s.reader, 1)
	s.wantTopics(t, s.writer, 1)
	s.wantLocked(t, nil, "no identity is given")
	s.wantLocked(t, identity(t), "none of those that open generation 0")
	if bytes.Contains(objectAt(t, s.st, manifest.LogKey(2)), []byte("orders")) {
		t.Error("the name of the topic can be read")
	}
}

func TestAddKey(t *testing.T) {
	s := newSealed(t)
	late := identity(t)
	if _, _, err := s.log.AddKey(t.Context(), agentOne, holder(late), false); !errors.Is(err, manifest.ErrLocked) || !strings.Contains(err.Error(), "a writer's") {
		t.Errorf("a writer adds a reader: %v", err)
	}
	byReader := openLog(t, s.as(t, s.reader))
	if opened, all, err := byReader.AddKey(t.Context(), agentOne, holder(late), false); err != nil || opened != 1 || all != 1 {
		t.Fatalf("%d of %d, %v", opened, all, err)
	}
	if _, _, err := byReader.AddKey(t.Context(), agentOne, holder(late), false); !errors.Is(err, manifest.ErrKeyHolder) {
		t.Errorf("again: %v", err)
	}
	appendSealed(t, s.log, "payments") // by the writer, which meets the new keys
	s.wantTopics(t, late, 2)
	s.wantTopics(t, s.reader, 2)
	// A point before it became a recipient is open to it, too.
	if state, err := s.as(t, late).Read(t.Context(), 2, nil); err != nil || len(state.Topics) != 1 {
		t.Errorf("up to entry 2: %v", err)
	}
	writer := identity(t)
	if _, _, err := s.log.AddKey(t.Context(), agentOne, holder(writer), true); err != nil {
		t.Fatal(err)
	}
	s.wantTopics(t, writer, 2)
}

// Of a generation whose data the identity does not open, nobody becomes a reader, and no entry says so.
func TestAddReaderOfSome(t *testing.T) {
	s := newSealed(t)
	if err := openLog(t, s.as(t, s.writer)).AddGeneration(t.Context(), agentOne, []manifest.KeyHolder{holder(s.writer)}, nil); err != nil {
		t.Fatal(err)
	}
	late := identity(t)
	byWriter := openLog(t, s.as(t, s.writer)) // which is a reader of the second generation
	if opened, all, err := byWriter.AddKey(t.Context(), agentOne, holder(late), false); err != nil || opened != 1 || all != 2 {
		t.Fatalf("%d of %d, %v", opened, all, err)
	}
	g := byWriter.State().Generations
	if len(g[0].Readers) != 1 || len(g[1].Readers) != 2 {
		t.Errorf("readers are %v and %v", g[0].Readers, g[1].Readers)
	}
}

func TestRetireKey(t *testing.T) {
	s := newSealed(t)
	second := identity(t)
	byReader := openLog(t, s.as(t, s.reader))
	if _, err := byReader.RetireKey(t.Context(), agentOne, holder(s.reader).Recipient, false); !errors.Is(err, manifest.ErrKeyHolder) || !strings.Contains(err.Error(), "the only reader") {
		t.Errorf("the only reader: %v", err)
	}
	if _, err := byReader.RetireKey(t.Context(), agentOne, holder(second).Recipient, false); !errors.Is(err, manifest.ErrKeyHolder) {
		t.Errorf("a stranger: %v", err)
	}
	if _, _, err := byReader.AddKey(t.Context(), agentOne, holder(second), false); err != nil {
		t.Fatal(err)
	}
	if n, err := openLog(t, s.as(t, s.writer)).RetireKey(t.Context(), agentOne, holder(s.reader).Recipient, false); err != nil || n != 1 {
		t.Fatalf("generation %d, %v", n, err)
	}
	appendSealed(t, s.log, "payments")
	s.wantTopics(t, second, 2)
	s.wantTopics(t, s.writer, 2)
	s.wantLocked(t, s.reader, "was retired")
	// Who is made one again after that reads all of it.
	if opened, all, err := openLog(t, s.as(t, second)).AddKey(t.Context(), agentOne, manifest.KeyHolder{Recipient: holder(identity(t)).Recipient}, false); err != nil || opened != 2 || all != 2 {
		t.Errorf("%d of %d, %v", opened, all, err)
	}
}

// Nobody locks himself, or whoever captures, out by mistake.
func TestRetireOneself(t *testing.T) {
	s := newSealed(t)
	second := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(second), false); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		what     string
		by, whom *crypt.Identity
		want     string
	}{
		{"the only writer, by itself", s.writer, s.writer, "the only writer"},
		{"the only writer, by a reader", s.reader, s.writer, "the only writer"},
		{"a reader, by itself", second, second, "of the identity that retires it"},
	} {
		l := openLog(t, s.as(t, test.by))
		_, err := l.RetireKey(t.Context(), agentOne, holder(test.whom).Recipient, false)
		if !errors.Is(err, manifest.ErrKeyHolder) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--force") {
			t.Errorf("%s: %v", test.what, err)
		}
		if n := len(l.State().Generations); n != 1 {
			t.Errorf("%s: %d generations", test.what, n)
		}
	}
	if n, err := openLog(t, s.as(t, s.writer)).RetireKey(t.Context(), agentOne, holder(s.writer).Recipient, true); err != nil || n != 1 {
		t.Errorf("by force: generation %d, %v", n, err)
	}
	if _, err := openLog(t, s.as(t, s.reader)).RetireKey(t.Context(), agentOne, holder(second).Recipient, false); err != nil {
		t.Errorf("without a writer, a reader: %v", err)
	}
}

// Who was retired may come back, and opens what was written meanwhile, too.
func TestRetiredComesBack(t *testing.T) {
	s := newSealed(t)
	second := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(second), false); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []*crypt.Identity{second, s.writer} {
		if _, err := openLog(t, s.as(t, s.reader)).RetireKey(t.Context(), agentOne, holder(gone).Recipient, true); err != nil {
			t.Fatal(err)
		}
	}
	appendSealed(t, openLog(t, s.as(t, s.reader)), "payments")
	s.wantLocked(t, second, "was retired")
	s.wantLocked(t, s.writer, "was retired")
	for _, back := range []struct {
		id     *crypt.Identity
		writer bool
	}{{second, false}, {s.writer, true}} {
		byReader := openLog(t, s.as(t, s.reader))
		if opened, all, err := byReader.AddKey(t.Context(), agentOne, holder(back.id), back.writer); err != nil || opened != 3 || all != 3 {
			t.Fatalf("%d of %d, %v", opened, all, err)
		}
		if _, _, err := byReader.AddKey(t.Context(), agentOne, holder(back.id), back.writer); !errors.Is(err, manifest.ErrKeyHolder) || !strings.Contains(err.Error(), "already") {
			t.Errorf("twice: %v", err)
		}
		s.wantTopics(t, back.id, 2)
	}
	for n, g := range openLog(t, s.as(t, s.reader)).State().Generations {
		if len(g.Readers) != 2 || len(g.Writers) != 1 {
			t.Errorf("generation %d: %d readers, %d writers", n, len(g.Readers), len(g.Writers))
		}
	}
	again := s.as(t, second)
	if _, err := again.Read(t.Context(), 0, nil); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := again.DataIdentity(n); err != nil {
			t.Errorf("records of generation %d: %v", n, err)
		}
	}
	appendSealed(t, openLog(t, s.as(t, s.writer)), "refunds")
	s.wantTopics(t, second, 3)
}

// Who was given the keys, and from whom they were taken, is in the audit, with who did it.
func TestAuditKeys(t *testing.T) {
	s := newSealed(t)
	second := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(second), false); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, s.as(t, s.writer)).RetireKey(t.Context(), agentOne, holder(s.reader).Recipient, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLog(t, s.as(t, second)).AddKey(t.Context(), agentOne, holder(s.reader), true); err != nil {
		t.Fatal(err)
	}
	reader, late, writer := holder(s.reader).Recipient, holder(second).Recipient, holder(s.writer).Recipient
	var got []string
	if _, err := s.as(t, second).Audit(t.Context(), nil, func(a manifest.Action) {
		for _, k := range a.Keys {
			got = append(got, fmt.Sprintf("%s %s %s %s %v by %s", a.Kind, k.Change, k.Role, k.Recipient, k.Generations, a.Agent.Program))
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"key-init init reader " + reader + " [0] by test", "key-init init writer " + writer + " [0] by test",
		"key-add add reader " + late + " [0] by test",
		"key-retire retire reader " + reader + " [1] by test",
		"key-add add writer " + reader + " [0 1] by test",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whoever is first makes the keys; the others get them or are told that they are not theirs.
func TestInitializeKeysRace(t *testing.T) {
	st, shared := mem.New(), identity(t)
	r, err := manifest.OpenOrCreateEncrypted(t.Context(), st, "cluster-1", created)
	if err != nil {
		t.Fatal(err)
	}
	var racers sync.WaitGroup
	for range 8 {
		racers.Go(func() {
			r := open(t, st)
			r.Unlock(shared)
			l := openLog(t, r)
			if err := l.InitializeKeys(t.Context(), agentOne, []manifest.KeyHolder{holder(shared)}, nil); err != nil || l.State().Sequence != 1 {
				t.Errorf("entry %d, %v", l.State().Sequence, err)
			}
		})
	}
	racers.Wait()
	stranger := open(t, st)
	stranger.Unlock(identity(t))
	if _, err := stranger.OpenLog(t.Context(), time.Now); !errors.Is(err, manifest.ErrLocked) {
		t.Errorf("somebody else: %v", err)
	}
	if _, err := r.OpenLog(t.Context(), time.Now); !errors.Is(err, manifest.ErrLocked) {
		t.Errorf("nobody: %v", err)
	}
}

// Nothing is appended that is not sealed, not even before there are keys.
func TestNoKeysNoEntries(t *testing.T) {
	r, err := manifest.OpenOrCreateEncrypted(t.Context(), mem.New(), "cluster-1", created)
	if err != nil {
		t.Fatal(err)
	}
	r.Unlock(identity(t))
	_, err = openLog(t, r).Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return introduce(1), nil })
	if !errors.Is(err, manifest.ErrLocked) {
		t.Errorf("%v", err)
	}
}

// Every bit of each entry, and every length, is noticed, and the error names the entry.
func TestAlteredSealedEntries(t *testing.T) {
	s := newSealed(t)
	for seq := uint64(1); seq <= 2; seq++ {
		key := manifest.LogKey(seq)
		good := objectAt(t, s.st, key)
		read := func() error {
			_, err := s.as(t, s.reader).Read(t.Context(), 0, nil)
			return err
		}
		try := func(what string, b []byte) {
			t.Helper()
			put(t, s.st, key, b)
			if err := read(); err == nil || !strings.Contains(err.Error(), key) {
				t.Fatalf("%s: %v", what, err)
			}
			if len(b) < len(good) || bytes.Equal(b[:len(b)-32], good[:len(b)-32]) {
				return
			}
			// With a digest that fits, it is the seal, the MAC or the chain that shows it.
			put(t, s.st, key, redigested(b))
			if err := read(); !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrLocked) && !errors.Is(err, manifest.ErrVersion) {
				t.Fatalf("%s, with a new digest: %v", what, err)
			}
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			try(fmt.Sprintf("entry %d, byte %d altered", seq, i), bad)
			if i%16 == 0 {
				try(fmt.Sprintf("entry %d, cut at byte %d", seq, i), good[:i])
			}
		}
		put(t, s.st, key, good)
	}
	s.wantTopics(t, s.reader, 1)
}

// redigested returns an entry's object with the SHA-256 that it should have.
func redigested(b []byte) []byte {
	sum := sha256.Sum256(b[:len(b)-32])
	return append(bytes.Clone(b[:len(b)-32]), sum[:]...)
}

// forge appends what somebody would who can write to the store, and to whom chain and digests are no obstacle.
func (s *sealed) forge(t testing.TB, e *manifest.Entry) error {
	t.Helper()
	state := s.log.State()
	e.Sequence, e.Previous, e.Nonce = state.Sequence+1, state.Head, manifest.NewID()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.st, manifest.LogKey(e.Sequence), b)
	_, err = s.as(t, s.reader).Read(t.Context(), 0, nil)
	if derr := s.st.Delete(t.Context(), manifest.LogKey(e.Sequence)); derr != nil {
		t.Fatal(derr)
	}
	return err
}

func TestForgedEntries(t *testing.T) {
	s := newSealed(t)
	mine := identity(t) // of the forger
	generations := s.log.State().Generations
	own := func(n int) manifest.Generation {
		key := crypt.NewLogKey(s.as(t, nil).ID)
		wrapped, err := key.Wrap(append(mine.Recipients(), s.reader.Recipients()...))
		if err != nil {
			t.Fatal(err)
		}
		return manifest.Generation{Recipient: holder(mine).Recipient, LogKey: wrapped, Check: key.Check(n), Readers: []manifest.KeyHolder{holder(mine)}}
	}
	first, err := manifest.DecodeEntry(objectAt(t, s.st, manifest.LogKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	old := *first.Keys
	old.Before = 1
	readers := generations[0]
	readers.Readers = []manifest.KeyHolder{holder(mine)}
	for _, bad := range []struct {
		what  string
		entry *manifest.Entry
		want  string
	}{
		{"a plain entry", introduce(1), "is not sealed, although the repository is encrypted"},
		{"a plain entry with nothing in it", &manifest.Entry{}, "it is not sealed"},
		{"a plain entry with keys and something else", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: generations}, Topics: introduce(1).Topics}, "section 2 is not sealed"},
		{"an old statement", &manifest.Entry{Keys: &old}, "its keys: it is altered"},
		{"the same keys without a MAC", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: generations}}, "its keys: it is altered"},
		{"another reader", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: []manifest.Generation{readers}}}, "its keys: it is altered"},
		{"a generation of one's own", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: append(generations[:1:1], own(1))}}, "its keys: it is altered"},
		{"a statement that leaves one out", &manifest.Entry{Keys: &manifest.Keys{Generations: generations}}, "the keys before were stated by entry 1, it says 0"},
		{"the first generation replaced", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: []manifest.Generation{own(0)}}}, "changes its identity"},
		{"two generations at once", &manifest.Entry{Keys: &manifest.Keys{Before: 1, Generations: append(generations[:1:1], own(1), own(2))}}, "3 generations of keys after 1"},
	} {
		if err := s.forge(t, bad.entry); !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), manifest.LogKey(3)) {
			t.Errorf("%s: %v", bad.what, err)
		}
	}
	plain := create(t, mem.New())
	p := &sealed{st: plain.Store(), log: openLog(t, plain), reader: nil}
	if err := p.forge(t, &manifest.Entry{Keys: &manifest.Keys{Generations: generations}}); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("keys in a repository that is not encrypted: %v", err)
	}
	put(t, p.st, manifest.LogKey(1), objectAt(t, s.st, manifest.LogKey(2)))
	if _, err := plain.Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("a sealed entry in a repository that is not encrypted: %v", err)
	}
}

// Who was retired knows the keys from before, and can write no more with them.
func TestRetiredKeysSealNothing(t *testing.T) {
	s := newSealed(t)
	late := openLog(t, s.as(t, s.writer))
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(identity(t)), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.RetireKey(t.Context(), agentOne, holder(s.writer).Recipient, true); err != nil {
		t.Fatal(err)
	}
	// It meets that it was retired, before it is tried.
	_, err := late.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return introduce(1), nil })
	if !errors.Is(err, manifest.ErrLocked) || !errors.Is(err, manifest.ErrRetired) || !strings.Contains(err.Error(), "was retired") {
		t.Errorf("%v", err)
	}
	// What it seals with the keys that it has is refused.
	state := s.log.State()
	e := introduce(1)
	e.Sequence, e.Previous = state.Sequence+1, state.Head
	forged, err := s.as(t, s.writer).EncodeSealed(state, e, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.st, manifest.LogKey(e.Sequence), forged)
	if _, err := s.as(t, s.reader).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), "sealed with generation 0 of the keys, the newest one is 1") {
		t.Errorf("%v", err)
	}
}

func TestSealObject(t *testing.T) {
	s := newSealed(t)
	r := s.as(t, s.writer)
	state, err := r.Read(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.SealObject(state, "snapshot/1", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	// Also before the log has been read.
	if got, err := s.as(t, s.reader).OpenObject(t.Context(), "snapshot/1", b); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.as(t, s.reader).OpenObject(t.Context(), "snapshot/2", b); !errors.Is(err, crypt.ErrForged) {
		t.Errorf("in another's place: %v", err)
	}
}

func signingKey(t testing.TB) *crypt.SigningKey {
	t.Helper()
	k, err := crypt.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// trusting opens a repository with what is pinned.
func trusting(t testing.TB, st store.Store, key *crypt.SigningKey, head *manifest.Head) *manifest.Repository {
	t.Helper()
	r := open(t, st)
	if key == nil {
		r.Trust(nil, head)
		return r
	}
	public := key.Public()
	r.Trust(&public, head)
	return r
}

func TestSignatures(t *testing.T) {
	st, key := mem.New(), signingKey(t)
	begin(t, st, 1) // entry 1 is not signed
	signed := open(t, st)
	signed.SignWith(key)
	l := openLog(t, signed)
	for from := range int64(3) {
		if _, err := l.Append(t.Context(), extend(0, from, from+1)); err != nil {
			t.Fatal(err)
		}
	}
	head := func(seq uint64) *manifest.Head {
		return &manifest.Head{Sequence: seq, Digest: sha256.Sum256(objectAt(t, st, manifest.LogKey(seq)))}
	}
	wrong := head(3)
	wrong.Digest[0] ^= 1
	past := head(4)
	past.Sequence = 5
	for _, test := range []struct {
		what string
		key  *crypt.SigningKey
		head *manifest.Head
		upTo uint64
		want string // of the error, or empty
	}{
		{"nothing is demanded", nil, nil, 0, ""},
		{"the first entry is not signed", key, nil, 0, manifest.LogKey(1) + ": the log is not to be trusted: it is not signed"},
		{"a head vouches for it", key, head(1), 0, ""},
		{"a head behind it, too", key, head(3), 0, ""},
		{"a head alone", nil, head(4), 0, ""},
		{"a head behind what is read", key, head(3), 2, ""},
		{"another key", signingKey(t), head(1), 0, manifest.LogKey(2) + ": the log is not to be trusted: its signature is not by the key"},
		{"another head", nil, wrong, 0, manifest.LogKey(3) + ": the log is not to be trusted: it is not the entry"},
		{"another head behind what is read", nil, wrong, 2, manifest.LogKey(3) + ": the log is not to be trusted: it is not the entry"},
		{"rolled back", nil, past, 0, "it ends with entry 4, before entry 5"},
		{"rolled back, and less is read", nil, past, 2, "it ends with entry 4, before entry 5"},
	} {
		_, err := trusting(t, st, test.key, test.head).Read(t.Context(), test.upTo, nil)
		if (err == nil) != (test.want == "") || err != nil && (!errors.Is(err, manifest.ErrUntrusted) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	// Nobody forgets the key by mistake, and what somebody does without it is refused by who pins it.
	way := "setting signing.head to " + head(4).String()
	forgetful := open(t, st)
	_, opened := forgetful.OpenLog(t.Context(), time.Now)
	_, followed := forgetful.Follow(t.Context(), time.Now, func(*manifest.State, *manifest.Entry) error { return nil })
	for _, err := range []error{opened, followed, forgetful.Writable(t.Context())} {
		if !errors.Is(err, manifest.ErrNoSigningKey) || !strings.Contains(err.Error(), way) {
			t.Errorf("who forgets the key: %v", err)
		}
	}
	if _, err := openLog(t, trusting(t, st, nil, head(4))).Append(t.Context(), extend(0, 3, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := trusting(t, st, key, head(1)).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrUntrusted) || !strings.Contains(err.Error(), manifest.LogKey(5)) {
		t.Errorf("an entry that is not signed: %v", err)
	}
}

// An entry cannot be had signed for another place, or lose its signature without a trace.
// Whether an entry is to be trusted is decided before anything in it is decompressed or parsed.
func TestSignatureIsCheckedFirst(t *testing.T) {
	st, key := mem.New(), signingKey(t)
	begin(t, st, 1)
	head := &manifest.Head{Sequence: 1, Digest: sha256.Sum256(objectAt(t, st, manifest.LogKey(1)))}
	if _, err := openLog(t, open(t, st)).Append(t.Context(), extend(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(objectAt(t, st, manifest.LogKey(2)))
	b[100] = 127 // no section that anybody knows
	put(t, st, manifest.LogKey(2), redigested(b))
	if _, err := trusting(t, st, key, head).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrUntrusted) {
		t.Errorf("what nobody has signed is looked into: %v", err)
	}
	if _, err := open(t, st).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrVersion) {
		t.Errorf("without a key that is pinned: %v", err)
	}
}

func TestAlteredSignature(t *testing.T) {
	st, key := mem.New(), signingKey(t)
	r := create(t, st)
	r.SignWith(key)
	l := openLog(t, r)
	for range 2 {
		if _, err := l.Append(t.Context(), func(s *manifest.State) (*manifest.Entry, error) {
			if len(s.Topics) == 0 {
				return introduce(1), nil
			}
			return extend(0, 0, 1)(s)
		}); err != nil {
			t.Fatal(err)
		}
	}
	good := objectAt(t, st, manifest.LogKey(2))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		put(t, st, manifest.LogKey(2), bad)
		if _, err := trusting(t, st, key, nil).Read(t.Context(), 0, nil); err == nil || !strings.Contains(err.Error(), manifest.LogKey(2)) {
			t.Fatalf("byte %d altered: %v", i, err)
		}
	}
	put(t, st, manifest.LogKey(2), good[:len(good)-64])
	if _, err := trusting(t, st, nil, nil).Read(t.Context(), 0, nil); !errors.Is(err, manifest.ErrDamaged) {
		t.Errorf("without its signature: %v", err)
	}
}

// A snapshot of an encrypted repository is sealed, and of use to whoever opens the log: also to who became a recipient later.
func TestSealedSnapshot(t *testing.T) {
	s := newSealed(t)
	ref, err := s.log.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(objectAt(t, s.st, manifest.SnapshotKey(2)), []byte("orders")) {
		t.Error("the name of the topic can be read")
	}
	if _, err := s.log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
		t.Fatal(err)
	}
	late := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(late), false); err != nil {
		t.Fatal(err)
	}
	for _, id := range []*crypt.Identity{s.reader, s.writer, late} {
		entries := 0
		r := s.as(t, id)
		state, err := r.ReadSince(t.Context(), 0, func(*manifest.State) bool { return true }, func(*manifest.State, *manifest.Entry) error { entries++; return nil })
		if err != nil || entries != 2 || len(state.Topics) != 1 || state.KeysEntry != 4 {
			t.Errorf("%d entries are read behind the snapshot, keys in entry %d: %v", entries, state.KeysEntry, err)
		}
		if _, err := r.NewSeal(manifest.NewID(), 1); err != nil {
			t.Errorf("a segment cannot be sealed: %v", err)
		}
	}
	if _, err := s.as(t, identity(t)).State(t.Context(), 0); !errors.Is(err, manifest.ErrLocked) {
		t.Errorf("somebody else: %v", err)
	}
	good := objectAt(t, s.st, manifest.SnapshotKey(2))
	for i := 0; i < len(good); i += 7 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		put(t, s.st, manifest.SnapshotKey(2), bad)
		entries := 0
		if _, err := s.as(t, s.reader).ReadSince(t.Context(), 0, nil, func(*manifest.State, *manifest.Entry) error { entries++; return nil }); err != nil || entries != 4 {
			t.Fatalf("byte %d of the snapshot altered: %d entries are read, %v", i, entries, err)
		}
	}
}

// Who has no key, but may create objects, forges a repository of the same name, and puts the end of its log behind the
// real one, with a snapshot that hides where they part. Whoever begins at that must find out all the same.
func TestForgedSnapshot(t *testing.T) {
	s := newSealed(t)
	f := &sealed{st: mem.New(), reader: s.reader, writer: identity(t)}
	put(t, f.st, manifest.RepositoryKey, objectAt(t, s.st, manifest.RepositoryKey))
	f.log = openLog(t, f.as(t, f.writer))
	if err := f.log.InitializeKeys(t.Context(), agentOne, []manifest.KeyHolder{holder(s.reader)}, []manifest.KeyHolder{holder(s.writer), holder(f.writer)}); err != nil {
		t.Fatal(err)
	}
	appendSealed(t, f.log, "forged")
	if _, _, err := f.log.AddKey(t.Context(), agentOne, holder(identity(t)), true); err != nil {
		t.Fatal(err)
	}
	ref, err := f.log.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{manifest.LogKey(3), manifest.LogKey(4), manifest.SnapshotKey(3)} {
		put(t, s.st, key, objectAt(t, f.st, key))
	}
	for who, id := range map[string]*crypt.Identity{"a reader": s.reader, "a writer": s.writer} {
		state, err := s.as(t, id).State(t.Context(), 0)
		if !errors.Is(err, manifest.ErrDamaged) || !strings.Contains(err.Error(), manifest.LogKey(3)) {
			t.Errorf("%s reads topics %v, %v", who, state.Topics, err)
		}
	}
}

// Keys that were added and retired before a snapshot are proven from the first ones on.
func TestSnapshotBehindKeys(t *testing.T) {
	s := newSealed(t)
	second := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), agentOne, holder(second), false); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, s.as(t, s.writer)).RetireKey(t.Context(), agentOne, holder(s.reader).Recipient, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLog(t, s.as(t, second)).AddKey(t.Context(), agentOne, holder(identity(t)), true); err != nil {
		t.Fatal(err)
	}
	if err := s.log.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref, err := s.log.PutSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.log.Append(t.Context(), func(*manifest.State) (*manifest.Entry, error) { return &manifest.Entry{Snapshot: ref}, nil }); err != nil {
		t.Fatal(err)
	}
	for who, id := range map[string]*crypt.Identity{"a reader": second, "a writer": s.writer} {
		entries := 0
		r := s.as(t, id)
		state, err := r.ReadSince(t.Context(), 0, func(*manifest.State) bool { return true }, func(*manifest.State, *manifest.Entry) error { entries++; return nil })
		if err != nil || entries != 1 || len(state.Generations) != 2 {
			t.Errorf("%s: %d entries behind the snapshot, %d generations, %v", who, entries, len(state.Generations), err)
		}
	}
}

// keysBody is the body of the first entry of an encrypted repository.
func keysBody(t testing.TB) []byte {
	t.Helper()
	e, err := manifest.DecodeEntry(objectAt(t, newSealed(t).st, manifest.LogKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	return e.Body()
}

// Who has changed the keys is said to those who open the log, and to nobody else.
func TestWhoChangesKeysIsSealed(t *testing.T) {
	s := newSealed(t)
	who := manifest.Agent{Program: "backupd key retire", Host: "a-host-of-theirs", Principal: "alice-the-operator"}
	second := identity(t)
	if _, _, err := openLog(t, s.as(t, s.reader)).AddKey(t.Context(), who, holder(second), false); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(t, s.as(t, s.writer)).RetireKey(t.Context(), who, holder(s.reader).Recipient, false); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{3, 4} {
		b := objectAt(t, s.st, manifest.LogKey(seq))
		if bytes.Contains(b, []byte(who.Host)) || bytes.Contains(b, []byte(who.Principal)) {
			t.Errorf("who wrote entry %d can be read", seq)
		}
	}
	var found []manifest.Agent
	if _, err := s.as(t, second).Read(t.Context(), 0, func(_ *manifest.State, e *manifest.Entry) error {
		if e.Keys != nil {
			found = append(found, *e.Agent)
		}
		return nil
	}); err != nil || len(found) != 3 || found[0] != agentOne || found[1] != who || found[2] != who {
		t.Errorf("keys by %+v, %v", found, err)
	}
}

// Sections of keys that are not as they should be.
func TestHostileKeys(t *testing.T) {
	generation := func(recipient string, holders ...[]byte) []byte {
		return join(str(recipient), str("identity"), str("key"), make([]byte, 32), join(holders...))
	}
	mine := holder(identity(t)).Recipient
	own := join(uv(1), str(mine), str("comment"))
	mac := make([]byte, 32)
	for _, bad := range []struct {
		what    string
		payload []byte
	}{
		{"no generation", join(uv(0), mac)},
		{"more generations than bytes", join(uv(1<<16), mac)},
		{"another recipient", join(uv(1), generation("age1xyz", own, uv(0)), mac)},
		{"a recipient in capitals", join(uv(1), generation(strings.ToUpper(mine), own, uv(0)), mac)},
		{"no reader", join(uv(1), generation(mine, uv(0), own), mac)},
		{"a reader twice", join(uv(1), generation(mine, join(uv(2), str(mine), str(""), str(mine), str("")), uv(0)), mac)},
		{"too many readers", join(uv(1), generation(mine, join(uv(1<<20), make([]byte, 1<<21)), uv(0)), mac)},
		{"a comment that is no text", join(uv(1), generation(mine, join(uv(1), str(mine), str("\xff")), uv(0)), mac)},
		{"a comment that is too long", join(uv(1), generation(mine, join(uv(1), str(mine), str(strings.Repeat("x", 257))), uv(0)), mac)},
		{"a wrap that is too long", join(uv(1), str(mine), str(strings.Repeat("x", 64<<10+1)), str("key"), mac, own, uv(0), mac)},
		{"no MAC", join(uv(1), generation(mine, own, uv(0)))},
		{"a byte behind", join(uv(1), generation(mine, own, uv(0)), mac, uv(0))},
	} {
		if _, err := manifest.DecodeEntry(plain(section(16, join(uv(0), str("who"), bad.payload)))); err == nil {
			t.Errorf("%s is accepted", bad.what)
		}
	}
	if _, err := manifest.DecodeEntry(plain(section(16, join(uv(0), str("who"), uv(1), generation(mine, own, uv(0)), mac)))); err != nil {
		t.Errorf("without any of that: %v", err)
	}
}

// Any writer may state keys, also ones that nobody can open. Those that earlier entries stated do.
func TestKeysStatedForNobody(t *testing.T) {
	s := newSealed(t)
	reader := s.as(t, s.reader)
	if _, err := reader.Read(t.Context(), 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := reader.DataIdentity(0); err != nil {
		t.Fatalf("before: %v", err)
	}
	thief := openLog(t, s.as(t, s.writer))
	_, err := thief.Append(t.Context(), func(st *manifest.State) (*manifest.Entry, error) {
		list := slices.Clone(st.Generations)
		stranger := identity(t)
		key, _ := crypt.ParseRecipient(stranger.Recipients()[0].String())
		list[0].DataIdentity, _ = crypt.Wrap([]byte("AGE-SECRET-KEY-gone"), []crypt.Recipient{key})
		list[0].LogKey = list[0].DataIdentity
		return thief.StateKeysAs(t.Context(), st, list)
	})
	if err != nil {
		t.Fatalf("the thief is refused: %v", err)
	}
	again := s.as(t, s.reader)
	if _, err := again.Read(t.Context(), 0, nil); err != nil {
		t.Fatalf("the log: %v", err)
	}
	if err := again.DataIdentity(0); err != nil {
		t.Errorf("no record of history can be opened any more: %v", err)
	}
}

// A pinned head proves what is read now, not what was read before.
func TestHeadIsProvenEachTime(t *testing.T) {
	st, key := mem.New(), signingKey(t)
	begin(t, st, 1)
	l := openLog(t, open(t, st))
	for from := range int64(4) {
		if _, err := l.Append(t.Context(), extend(0, from, from+1)); err != nil {
			t.Fatal(err)
		}
	}
	head := &manifest.Head{Sequence: 5, Digest: sha256.Sum256(objectAt(t, st, manifest.LogKey(5)))}
	r := trusting(t, st, key, head)
	if _, err := r.Read(t.Context(), 0, nil); err != nil {
		t.Fatal(err)
	}
	// Somebody who may write to the store, and has no key, forges entries 2 and 3.
	forged := mem.New()
	put(t, forged, manifest.RepositoryKey, objectAt(t, st, manifest.RepositoryKey))
	put(t, forged, manifest.LogKey(1), objectAt(t, st, manifest.LogKey(1)))
	fl := openLog(t, open(t, forged))
	for _, to := range []int64{100, 200} {
		if _, err := fl.Append(t.Context(), extend(0, to-100, to)); err != nil {
			t.Fatal(err)
		}
	}
	for seq := uint64(2); seq <= 3; seq++ {
		put(t, st, manifest.LogKey(seq), objectAt(t, forged, manifest.LogKey(seq)))
	}
	if _, err := trusting(t, st, key, head).Read(t.Context(), 3, nil); !errors.Is(err, manifest.ErrDamaged) && !errors.Is(err, manifest.ErrUntrusted) {
		t.Fatalf("a new process: %v", err)
	}
	state, err := r.Read(t.Context(), 3, nil)
	if err == nil {
		t.Errorf("forged entries are believed: position %d, was 2", state.Streams[0].Next)
	}
}
